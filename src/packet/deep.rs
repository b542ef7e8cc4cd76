//! JSON that is nested so deeply that reading it needs more stack than a thread of tokio's is sure to have.

use std::{panic::resume_unwind, thread};

use serde::de::Error as _;

/// The levels that `serde_json` reads without ado. Values that are nested no deeper are read where they arrive.
pub(super) const SHALLOW: usize = 127;

/// The most that [`max_json_depth`](crate::SocketIoConfig::max_json_depth) may be.
pub(crate) const MAX_JSON_DEPTH: usize = 1024;

/// The most levels of a packet's JSON: those of an argument, and the array of the arguments.
pub(super) const MAX_LEVELS: usize = MAX_JSON_DEPTH + 1;

/// Stack for one level. What serde derives takes less than 4 KiB in a debug build, also where binary is looked for.
const LEVEL: usize = 32 * 1024;

/// Runs something that recurses up to [`MAX_LEVELS`] deep, on a thread that has the stack for it.
pub(super) fn run<R: Send>(read: impl FnOnce() -> serde_json::Result<R> + Send) -> serde_json::Result<R> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("deep-json".to_owned()).stack_size(MAX_LEVELS * LEVEL);
        let thread = thread.spawn_scoped(scope, read).map_err(serde_json::Error::custom)?;
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}
