use std::task::Waker;

use crate::engine::Reader;

/// Stores the reader of a session while no task reads.
pub(super) struct ReaderSlot {
    pub(super) reader: Option<Box<dyn Reader>>,
    pub(super) waiting: Option<Waker>,
    /// The connection has ended. A reader that is put back is dropped.
    pub(super) closed: bool,
}

impl ReaderSlot {
    pub(super) fn new() -> Self {
        Self { reader: None, waiting: None, closed: false }
    }
}
