//! Deserializes JSON that is nested so deeply that it may need more stack than a tokio worker has.

use std::{panic::resume_unwind, thread};

use serde::de::Error as _;

/// The recursion limit of `serde_json`. Values up to this depth are deserialized on the current thread.
pub(super) const SHALLOW: usize = 127;

/// The upper bound of [`max_json_depth`](crate::SocketIoConfig::max_json_depth).
pub(crate) const MAX_JSON_DEPTH: usize = 1024;

/// The maximum depth of a packet's JSON: that of an argument, and the array of the arguments.
pub(super) const MAX_LEVELS: usize = MAX_JSON_DEPTH + 1;

/// Stack for one level. Derived code takes less than 4 KiB in a debug build, also if it looks for binary.
const LEVEL: usize = 32 * 1024;

/// Runs a function that recurses up to [`MAX_LEVELS`] deep, on a thread with enough stack.
pub(super) fn run<R: Send>(read: impl FnOnce() -> serde_json::Result<R> + Send) -> serde_json::Result<R> {
    let (mut read, mut result) = (Some(read), None);
    run_on_thread(&mut || result = read.take().map(|read| read()))?;
    result.expect("the thread has called it")
}

/// Not generic, because it is compiled for each type of arguments otherwise.
fn run_on_thread(run: &mut (dyn FnMut() + Send)) -> serde_json::Result<()> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("deep-json".to_owned()).stack_size(MAX_LEVELS * LEVEL);
        let thread = thread.spawn_scoped(scope, run).map_err(serde_json::Error::custom)?;
        thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        Ok(())
    })
}
