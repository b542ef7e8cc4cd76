//! Sessions that were taken from the journal of a cluster.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;

use crate::{
    cluster::{Offset, RecordedEvent, SessionRecord, TakenSession},
    util::{Mutex, log},
};

/// The maximum number of bytes of events that are kept while a socket is being recovered.
const MAX_BYTES: usize = 4 << 20;

/// A session that its client has claimed. If its socket is not accepted, it is stored again when this is dropped.
pub(crate) struct Claimed {
    taken: TakenSession,
    /// The last event that the client has seen.
    seen: Offset,
    delivered: Arc<Mutex<Delivered>>,
    settled: AtomicBool,
    save: Box<dyn Fn(SessionRecord) + Send + Sync>,
}

/// The events that are delivered in a namespace while a socket is being recovered, beginning before the journal is read.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    events: Vec<Arc<RecordedEvent>>,
    bytes: usize,
    overflowed: bool,
}

impl Delivered {
    /// Too many events have been delivered, or those of the journal are not the same any more.
    pub(super) fn overflow(&mut self) {
        self.overflowed = true;
        self.events = Vec::new();
    }

    pub(super) fn push(&mut self, event: &Arc<RecordedEvent>) {
        self.bytes += event.cost();
        if self.bytes > MAX_BYTES {
            self.overflow();
        } else if !self.overflowed {
            self.events.push(event.clone());
        }
    }
}

impl Claimed {
    pub(super) fn new(
        taken: TakenSession,
        seen: Offset,
        delivered: Arc<Mutex<Delivered>>,
        save: impl Fn(SessionRecord) + Send + Sync + 'static,
    ) -> Self {
        Self { taken, seen, delivered, settled: AtomicBool::new(false), save: Box::new(save) }
    }

    pub(super) fn session(&self) -> &SessionRecord {
        &self.taken.session
    }

    /// Returns the data that the application had stored.
    pub(super) fn data(&self) -> Option<Bytes> {
        let data = &self.taken.session.data;
        let is_some = data.attachments().is_empty() && !data.is_unset();
        is_some.then(|| Bytes::copy_from_slice(data.json().as_bytes()))
    }

    /// Returns the events that the client missed and that were read from the journal.
    pub(super) fn missed(&self) -> impl Iterator<Item = &RecordedEvent> {
        self.taken.events.iter().filter(|event| self.taken.session.was_meant(event))
    }

    /// Returns the events that the client missed since then, and the offset of the last event of the namespace. Returns `None` if there
    /// were too many.
    pub(super) fn missed_since(&self) -> Option<(Vec<Arc<RecordedEvent>>, Offset)> {
        let delivered = self.delivered.lock();
        if delivered.overflowed {
            log!(debug, "too many events were delivered while a client was recovered");
            return None;
        }
        // This node may deliver events later than the one on which the client was.
        let last_read = self.taken.events.last().map_or(self.seen, |event| event.offset.max(self.seen));
        let later = delivered.events.iter().filter(|event| event.offset > last_read);
        let last = delivered.events.last().map_or(last_read, |event| event.offset.max(last_read));
        Some((later.filter(|event| self.taken.session.was_meant(event)).cloned().collect(), last))
    }

    /// Records that the socket has been accepted.
    pub(super) fn settle(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if !self.settled.load(Ordering::Relaxed) {
            (self.save)(self.taken.session.clone());
        }
    }
}

impl fmt::Debug for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claimed").field("id", &self.taken.session.id).finish_non_exhaustive()
    }
}
