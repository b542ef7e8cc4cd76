use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Extensions;

use crate::{
    room::{Room, Selection, SocketId},
    util::shrink,
};

use super::{log::Entry, memberships::Memberships, offset::Stamp, scope::Scope};

/// The session of a socket in the namespace.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) id: SocketId,
    pub(super) private_id: Arc<str>,
    pub(super) memberships: Memberships,
    pub(super) cursor: Cursor,
    /// The last offset before the socket joined.
    pub(super) joined: u64,
    /// Whether some events are only for this attempt to join.
    pub(super) is_undoable: bool,
}

/// The progress of a session: the events that the client was sent or must have seen.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    /// The last offset before the session began.
    pub(super) begun: u64,
    /// The last offset sent to the client, or `begun`.
    last_sent: u64,
    /// The first later offset that could not be sent to the client.
    first_missed: Option<u64>,
    gap: Gap,
}

/// A range of offsets without an event for the client: if it has seen `seen`, it has everything up to `until`. With this, a
/// client that got no event for a long time can be recovered after the last event that it saw has been evicted.
#[derive(Debug, Clone, Copy)]
struct Gap {
    seen: u64,
    until: u64,
}

impl Gap {
    /// Returns the gap to keep: the newer one, or the older one if it is much longer and its end has not been evicted.
    fn or_newer(self, newer: Self, log_start: u64) -> Self {
        let is_worth_more = self.until - self.seen > 2 * (newer.until - newer.seen);
        if self.until >= log_start && is_worth_more { self } else { newer }
    }
}

impl Cursor {
    /// Creates the cursor of a new session, which begins after the last event.
    pub(super) fn new(last: u64) -> Self {
        Self { begun: last, last_sent: last, first_missed: None, gap: Gap { seen: last, until: last } }
    }

    /// Returns `true` if an event could not be sent to the client, and no later one has been sent.
    pub(crate) fn has_missed(&self) -> bool {
        self.first_missed.is_some()
    }

    pub(crate) fn sent(&mut self, stamp: Stamp) {
        self.first_missed = None;
        if stamp.offset > self.last_sent + 1 {
            let newer = Gap { seen: self.last_sent, until: stamp.offset - 1 };
            self.gap = self.gap.or_newer(newer, stamp.log_start);
        }
        self.last_sent = stamp.offset;
    }

    pub(crate) fn missed(&mut self, stamp: Stamp) {
        self.first_missed.get_or_insert(stamp.offset);
    }
}

/// The session of a disconnected client.
pub(crate) struct Saved {
    pub(crate) id: SocketId,
    pub(crate) private_id: Arc<str>,
    pub(crate) data: Option<Bytes>,
    pub(crate) extensions: Extensions,
    pub(super) memberships: Memberships,
    pub(super) cursor: Cursor,
    /// A client that has seen everything that it was sent has all events up to this offset.
    pub(super) complete_until: u64,
}

impl Saved {
    /// Creates a saved session that ended after the last event.
    pub(super) fn new(live: Live, last: u64, data: Option<Bytes>, extensions: Extensions) -> Self {
        let complete_until = live.cursor.first_missed.map_or(last, |missed| missed - 1);
        let Live { id, private_id, memberships, cursor, .. } = live;
        Self { id, private_id, data, extensions, memberships, cursor, complete_until }
    }

    /// Returns the position of a client that has seen `offset`, or `None` if that offset was not sent to it.
    pub(super) fn position(&self, offset: u64) -> Option<Position> {
        let Cursor { begun, last_sent, gap, .. } = self.cursor;
        // Clients keep the offset of their previous session until they have seen an event of the next one.
        let seen = offset.max(begun);
        let from = if seen == last_sent {
            seen.max(self.complete_until)
        } else if seen >= gap.seen {
            seen.max(gap.until)
        } else {
            seen
        };
        (seen <= last_sent).then_some(Position { seen, from })
    }

    /// Returns the cursor of a session that continues at a position and has been sent everything up to `last_sent`.
    pub(super) fn resume(&self, Position { seen, from }: Position, last_sent: u64, log_start: u64) -> Cursor {
        let gap = self.cursor.gap.or_newer(Gap { seen, until: from }, log_start);
        Cursor { begun: self.cursor.begun, last_sent, first_missed: None, gap }
    }

    /// Returns `true` if an event after the beginning of the session was for it, or would have been if its socket had been
    /// connected.
    pub(super) fn was_meant(&self, entry: &Entry) -> bool {
        let was_in = |room: &Room| **room == *self.id || self.memberships.contained(room, entry.offset);
        match &entry.scope {
            Scope::One { id, .. } => *id == self.id,
            Scope::Selection { sender: Some(sender), .. } if *sender == self.id => false,
            Scope::Selection { selection: Selection { rooms, except }, .. } => {
                (rooms.is_empty() || rooms.iter().any(was_in)) && !except.iter().any(was_in)
            }
            Scope::Nobody => false,
        }
    }
}

/// The progress of a returning client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    /// The last offset that it saw, or the one at which its session began.
    pub(super) seen: u64,
    /// The events that it missed have greater offsets than this.
    pub(super) from: u64,
}

/// A session that its client has claimed.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) saved: Arc<Saved>,
    /// The time at which the socket was lost.
    pub(super) left: Instant,
    pub(super) position: Position,
}

impl Restored {
    /// Returns the rooms of the socket, except that of its id.
    pub(crate) fn rooms(&self) -> impl Iterator<Item = &Room> {
        self.saved.memberships.current()
    }
}

/// The sessions of disconnected clients. With std's hasher, which resists chosen keys, because keys come from clients.
///
/// Removed sessions hold values of the user, whose `Drop` must not run under the lock. They are returned to the caller.
#[derive(Debug, Default)]
pub(super) struct SavedSessions {
    by_private_id: HashMap<Arc<str>, Away>,
    by_age: BTreeMap<(Instant, u64), Arc<str>>,
    next: u64,
}

#[derive(Debug)]
struct Away {
    saved: Arc<Saved>,
    left: Instant,
    /// Distinguishes sessions that were lost at the same time.
    number: u64,
}

impl SavedSessions {
    pub(super) fn is_empty(&self) -> bool {
        self.by_private_id.is_empty()
    }

    /// Returns the time at which the socket of a session was lost.
    pub(super) fn left(&self, private_id: &str) -> Option<Instant> {
        self.by_private_id.get(private_id).map(|away| away.left)
    }

    /// Adds the session of a socket that was lost at `left`. Returns the sessions that were evicted to make room.
    #[must_use]
    pub(super) fn insert(&mut self, saved: Arc<Saved>, left: Instant, limit: usize) -> Vec<Arc<Saved>> {
        let mut removed: Vec<_> = self.take(&saved.private_id).map(|(saved, _)| saved).into_iter().collect();
        let (private_id, number) = (saved.private_id.clone(), self.next);
        self.next += 1;
        self.by_age.insert((left, number), private_id.clone());
        self.by_private_id.insert(private_id, Away { saved, left, number });
        while self.by_private_id.len() > limit {
            removed.extend(self.take_oldest());
        }
        removed
    }

    pub(super) fn take(&mut self, private_id: &str) -> Option<(Arc<Saved>, Instant)> {
        let Away { saved, left, number } = self.by_private_id.remove(private_id)?;
        self.by_age.remove(&(left, number));
        shrink(&mut self.by_private_id);
        Some((saved, left))
    }

    #[must_use]
    pub(super) fn forget_old(&mut self, max_age: Duration, now: Instant) -> Vec<Arc<Saved>> {
        let mut removed = Vec::new();
        while self.by_age.first_key_value().is_some_and(|((left, _), _)| now.duration_since(*left) > max_age) {
            removed.extend(self.take_oldest());
        }
        removed
    }

    fn take_oldest(&mut self) -> Option<Arc<Saved>> {
        let (_, private_id) = self.by_age.pop_first()?;
        self.take(&private_id).map(|(saved, _)| saved)
    }
}

impl fmt::Debug for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Saved").field("id", &self.id).field("memberships", &self.memberships).finish_non_exhaustive()
    }
}
