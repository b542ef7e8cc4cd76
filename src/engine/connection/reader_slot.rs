use std::task::Waker;

use crate::engine::Reader;

/// Where the reader of a session lies while no transport reads.
pub(super) struct ReaderSlot {
    pub(super) reader: Option<Box<dyn Reader>>,
    pub(super) waiting: Option<Waker>,
    /// The connection has ended: the reader is not kept.
    pub(super) closed: bool,
}

impl ReaderSlot {
    pub(super) fn new() -> Self {
        Self { reader: None, waiting: None, closed: false }
    }
}
