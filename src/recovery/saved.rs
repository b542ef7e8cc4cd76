use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Extensions;

use crate::{room::Room, socket::SocketId};

/// What a socket leaves behind for its return.
pub(crate) struct Saved {
    pub(crate) id: SocketId,
    pub(crate) private_id: Arc<str>,
    /// That of its own id among them; with the last offset before each was joined.
    pub(crate) rooms: HashMap<Room, u64>,
    pub(crate) data: Option<Bytes>,
    pub(crate) extensions: Extensions,
    /// The offset that preceded the session.
    pub(super) begun: u64,
    /// The last offset that was sent to it.
    pub(super) last_sent: u64,
    /// Up to this offset everything was sent to it that was for it.
    pub(super) has_all_until: u64,
}

/// A session that has been claimed by the client that had it.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) saved: Arc<Saved>,
    /// When the socket was lost.
    pub(super) left: Instant,
    /// What the client missed stands behind this offset.
    pub(super) from: u64,
    /// The last offset that the client saw; 0 if none.
    pub(super) seen: u64,
}

/// The sessions of sockets that are away. Keys come from clients: std's hasher resists chosen ones.
///
/// What is taken out of it holds values of the user's, and is handed to the caller to be dropped.
#[derive(Default)]
pub(super) struct SavedSessions {
    by_private_id: HashMap<Arc<str>, (Arc<Saved>, Instant)>,
    /// In the order in which they left; may name some that have returned.
    order: VecDeque<(Arc<str>, Instant)>,
}

impl SavedSessions {
    pub(super) fn is_empty(&self) -> bool {
        self.by_private_id.is_empty()
    }

    /// Keeps the session of a socket that left at a time. Answers those that have to make room for it.
    pub(super) fn insert(&mut self, saved: Arc<Saved>, left: Instant, limit: usize) -> Vec<Arc<Saved>> {
        let entry = (saved.private_id.clone(), left);
        // One that was claimed in vain is as old as it was.
        let place = self.order.partition_point(|(_, other)| *other <= left);
        self.order.insert(place, entry);
        let replaced = self.by_private_id.insert(saved.private_id.clone(), (saved, left));
        let mut forgotten: Vec<_> = replaced.into_iter().map(|(saved, _)| saved).collect();
        while self.by_private_id.len() > limit || self.order.len() > limit.saturating_mul(2).max(64) {
            match self.order.pop_front() {
                Some(first) => forgotten.extend(self.forget(&first)),
                None => break,
            }
        }
        forgotten
    }

    pub(super) fn take(&mut self, private_id: &str) -> Option<(Arc<Saved>, Instant)> {
        self.by_private_id.remove(private_id)
    }

    pub(super) fn forget_old(&mut self, max_age: Duration, now: Instant) -> Vec<Arc<Saved>> {
        let mut forgotten = Vec::new();
        while self.order.front().is_some_and(|(_, left)| now.duration_since(*left) > max_age) {
            let first = self.order.pop_front();
            forgotten.extend(first.and_then(|first| self.forget(&first)));
        }
        if self.by_private_id.is_empty() {
            *self = Self::default();
        }
        forgotten
    }

    /// Forgets a session, unless it has returned since.
    fn forget(&mut self, (private_id, left): &(Arc<str>, Instant)) -> Option<Arc<Saved>> {
        let is_it = self.by_private_id.get(private_id).is_some_and(|(_, at)| at == left);
        if is_it { self.take(private_id).map(|(saved, _)| saved) } else { None }
    }
}

impl fmt::Debug for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Saved").field("id", &self.id).field("rooms", &self.rooms).finish_non_exhaustive()
    }
}
