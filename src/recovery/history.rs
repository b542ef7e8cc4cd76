use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use foldhash::fast::RandomState;
use http::Extensions;

use crate::{
    packet::Encoded,
    room::{Room, SocketId},
    util::shrink,
};

use super::{
    config::RecoveryConfig,
    log::Log,
    memberships::Memberships,
    offset::{Brought, Offsets, Stamp},
    scope::{Scope, SessionKey},
    session::{Cursor, Live, Restored, Saved, SavedSessions},
};

/// The history of one namespace: recent events, and the sessions of its sockets.
///
/// For each event, the caller takes a [`stamp`](Self::stamp), sends the event to its recipients, reports the result to the
/// [`cursor`](Self::cursor) of each, and [records](Self::record) the event. A session begins with [`join`](Self::join), changes
/// its rooms with [`enter`](Self::enter) and [`exit`](Self::exit), and ends with [`lose`](Self::lose), [`end`](Self::end) or
/// [`take_back`](Self::take_back). A returning client [claims](Self::claim) its session and joins with it.
///
/// The order of calls matters: a session that is in a room when an event is recorded gets the event, immediately or after its
/// recovery.
///
/// The caller must call [`clean`](Self::clean) regularly. [Garbage](Garbage) contains user values, which must be dropped without
/// a lock.
#[derive(Debug)]
pub(crate) struct History {
    config: RecoveryConfig,
    offsets: Offsets,
    log: Log,
    live: HashMap<SessionKey, Live, RandomState>,
    saved: SavedSessions,
    last_key: u64,
}

/// Evicted sessions.
pub(crate) type Garbage = Vec<Arc<Saved>>;

impl History {
    /// Creates a history whose offsets begin with `tag`, which must differ from the tags of other servers.
    pub(crate) fn new(config: RecoveryConfig, tag: String) -> Self {
        Self {
            config,
            offsets: Offsets::new(tag),
            log: Log::default(),
            live: HashMap::default(),
            saved: SavedSessions::default(),
            last_key: 0,
        }
    }

    /// Returns how long after its disconnection a client can be recovered.
    pub(crate) fn max_age(&self) -> Duration {
        self.config.max_disconnection
    }

    // Events.

    /// Returns the stamp of the next event. A volatile event is not recorded and gets the stamp of the last recorded event.
    pub(crate) fn stamp(&mut self, now: Instant, volatile: bool) -> Stamp {
        self.log.forget_old(&self.config, now);
        Stamp { offset: self.log.last() + u64::from(!volatile), log_start: self.log.start() }
    }

    /// Returns the event with its offset, as it is sent to clients.
    pub(crate) fn stamped(&self, stamp: Stamp, packet: &Encoded) -> Encoded {
        packet.with_offset(&self.offsets.write(stamp.offset))
    }

    /// Returns the cursor of a session.
    pub(crate) fn cursor(&mut self, key: SessionKey) -> Option<&mut Cursor> {
        self.live.get_mut(&key).map(|live| &mut live.cursor)
    }

    /// Records a stamped event.
    pub(crate) fn record(&mut self, now: Instant, scope: Scope, stamped: Encoded) {
        if let Scope::One { attempt: Some(attempt), .. } = &scope
            && let Some(live) = self.live.get_mut(attempt)
        {
            live.is_undoable = true;
        }
        self.log.push(&self.config, now, scope, stamped);
    }

    // Sessions.

    /// Begins a session, or continues one that was claimed. Returns the events that its client missed, or `None` if some of them
    /// have been evicted since the claim.
    pub(crate) fn join(
        &mut self,
        id: SocketId,
        private_id: Arc<str>,
        restored: Option<&Restored>,
    ) -> Option<(SessionKey, Vec<Encoded>)> {
        let mut missed = Vec::new();
        let (memberships, cursor) = match restored {
            None => (Memberships::default(), Cursor::new(self.log.last())),
            Some(Restored { saved, position, .. }) => {
                if position.from < self.log.start() {
                    return None;
                }
                let mut last_sent = position.seen;
                for entry in self.log.since(position.from).filter(|entry| saved.was_meant(entry)) {
                    last_sent = entry.offset;
                    missed.push(entry.packet.clone());
                }
                (saved.memberships.clone(), saved.resume(*position, last_sent, self.log.start()))
            }
        };
        self.last_key += 1;
        let key = SessionKey(self.last_key);
        let joined = self.log.last();
        self.live.insert(key, Live { id, private_id, memberships, cursor, joined, is_undoable: false });
        Some((key, missed))
    }

    /// Records that a session joins a room. The session must not be in the room, and the room must not be that of its id.
    pub(crate) fn enter(&mut self, key: SessionKey, room: Room) {
        if let Some(live) = self.live.get_mut(&key) {
            live.memberships.join(room, self.log.last());
        }
    }

    /// Records that a session leaves a room.
    pub(crate) fn exit(&mut self, key: SessionKey, room: &str) {
        if let Some(live) = self.live.get_mut(&key) {
            live.memberships.leave(room, self.log.last(), self.log.start());
        }
    }

    /// Keeps the session of a socket that has lost its connection.
    #[must_use]
    pub(crate) fn lose(
        &mut self,
        now: Instant,
        key: SessionKey,
        data: Option<Bytes>,
        extensions: Extensions,
    ) -> Garbage {
        let mut garbage = self.evict(now);
        if let Some(live) = self.remove(key) {
            let saved = Saved::new(live, self.log.last(), data, extensions);
            garbage.extend(self.saved.insert(Arc::new(saved), now, self.config.max_sessions));
        }
        garbage
    }

    /// Ends a session that cannot be recovered.
    pub(crate) fn end(&mut self, key: SessionKey) {
        self.remove(key);
    }

    /// Restores a claimed session whose client was not accepted, and withdraws the events for that attempt. `key` is `None` if
    /// the attempt ended before the session joined.
    #[must_use]
    pub(crate) fn take_back(&mut self, now: Instant, key: Option<SessionKey>, restored: &Restored) -> Garbage {
        if let Some((key, live)) = key.and_then(|key| Some((key, self.remove(key)?)))
            && live.is_undoable
        {
            self.log.undo(key, live.joined);
        }
        let mut garbage = self.saved.insert(restored.saved.clone(), restored.left, self.config.max_sessions);
        garbage.extend(self.evict(now));
        garbage
    }

    /// Claims a session with the last offset that its client saw, if it saw one. Returns the session if the history contains
    /// everything that the client missed. A session can be claimed once.
    #[must_use]
    pub(crate) fn claim(
        &mut self,
        now: Instant,
        private_id: &str,
        offset: Option<&str>,
    ) -> (Option<Restored>, Garbage) {
        let mut garbage = self.evict(now);
        let Some((saved, left)) = self.saved.take(private_id) else {
            return (None, garbage);
        };
        let seen = match offset.map(|offset| self.offsets.read(offset)) {
            None | Some(Brought::Foreign) => Some(0),
            Some(Brought::Ours(offset)) => Some(offset),
            Some(Brought::Garbage) => None,
        };
        let reaches_back = |from| from >= self.log.start() && from >= saved.memberships.known_since();
        match seen.and_then(|seen| saved.position(seen)).filter(|position| reaches_back(position.from)) {
            Some(position) => (Some(Restored { saved, left, position }), garbage),
            None => {
                garbage.push(saved);
                (None, garbage)
            }
        }
    }

    /// Returns `true` if the client of a session is away and may return.
    pub(crate) fn is_away(&self, now: Instant, private_id: &str) -> bool {
        self.saved.left(private_id).is_some_and(|left| now.duration_since(left) <= self.config.max_disconnection)
    }

    /// Returns `true` if any client may return.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.saved.is_empty()
    }

    /// Returns `true` if there is nothing that [`evict`](Self::evict) could remove later.
    pub(crate) fn is_empty(&self) -> bool {
        self.log.is_empty() && self.saved.is_empty()
    }

    /// Removes old events and sessions.
    #[must_use]
    pub(crate) fn evict(&mut self, now: Instant) -> Garbage {
        self.log.forget_old(&self.config, now);
        self.saved.forget_old(self.config.max_disconnection, now)
    }

    /// Like [`evict`](Self::evict), and also removes stays in rooms that ended before the oldest recorded event. Linear in the
    /// number of sessions.
    #[must_use]
    pub(crate) fn clean(&mut self, now: Instant) -> Garbage {
        let garbage = self.evict(now);
        let log_start = self.log.start();
        self.live.values_mut().for_each(|live| live.memberships.forget(log_start));
        garbage
    }

    fn remove(&mut self, key: SessionKey) -> Option<Live> {
        let live = self.live.remove(&key);
        shrink(&mut self.live);
        live
    }
}

#[cfg(any(test, fuzzing))]
pub(super) mod model;
#[cfg(test)]
mod tests;
