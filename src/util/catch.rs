use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs user code. Returns `None` if it panicked.
pub(crate) fn catch_panic<R>(run: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(run)).ok()
}
