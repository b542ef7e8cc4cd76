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
    /// That of its own id among them.
    pub(crate) rooms: Vec<Room>,
    pub(crate) data: Option<Bytes>,
    pub(crate) extensions: Extensions,
    /// The offset that preceded the session.
    pub(super) begun: u64,
    /// The last offset that was sent to it.
    pub(super) last_sent: u64,
    /// Up to this offset everything was sent to it that was for it.
    pub(super) left_at: u64,
}

/// A session that has been claimed by the client that had it.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) saved: Saved,
    /// What the client missed stands behind this offset.
    pub(super) from: u64,
    /// The last offset that the client saw; 0 if none.
    pub(super) seen: u64,
}

/// The sessions of sockets that are away. Keys come from clients: std's hasher resists chosen ones.
#[derive(Default)]
pub(super) struct SavedSessions {
    by_private_id: HashMap<Arc<str>, (Saved, Instant)>,
    /// In the order in which they left; may name some that have returned.
    order: VecDeque<(Arc<str>, Instant)>,
}

impl SavedSessions {
    pub(super) fn is_empty(&self) -> bool {
        self.by_private_id.is_empty()
    }

    pub(super) fn insert(&mut self, saved: Saved, now: Instant, limit: usize) {
        self.order.push_back((saved.private_id.clone(), now));
        self.by_private_id.insert(saved.private_id.clone(), (saved, now));
        while self.by_private_id.len() > limit || self.order.len() > limit.saturating_mul(2).max(64) {
            if !self.forget_first() {
                break;
            }
        }
    }

    pub(super) fn take(&mut self, private_id: &str) -> Option<Saved> {
        self.by_private_id.remove(private_id).map(|(saved, _)| saved)
    }

    pub(super) fn forget_old(&mut self, max_age: Duration, now: Instant) {
        while self.order.front().is_some_and(|(_, left)| now.duration_since(*left) > max_age) {
            self.forget_first();
        }
        if self.by_private_id.is_empty() {
            *self = Self::default();
        }
    }

    /// Forgets the one that left first, unless it has returned since. Answers whether there was one.
    fn forget_first(&mut self) -> bool {
        let Some((private_id, left)) = self.order.pop_front() else {
            return false;
        };
        if self.by_private_id.get(&private_id).is_some_and(|(_, at)| *at == left) {
            self.by_private_id.remove(&private_id);
        }
        true
    }
}

impl fmt::Debug for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Saved").field("id", &self.id).field("rooms", &self.rooms).finish_non_exhaustive()
    }
}
