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

/// What one namespace remembers: its recent events, and the sessions of its sockets.
///
/// For each event the caller takes a [`stamp`](Self::stamp), gives the event to the sockets that it is for, tells the
/// [`cursor`](Self::cursor) of each what came of it, and [records](Self::record) it. A session begins with
/// [`join`](Self::join), changes its rooms by [`enter`](Self::enter) and [`exit`](Self::exit), and ends with one of
/// [`lose`](Self::lose), [`end`](Self::end) and [`take_back`](Self::take_back). A client that returns [claims](Self::claim)
/// its session, and joins with it.
///
/// The order of these calls is the order in which things happen: whoever is in a room when an event is recorded gets it, now
/// or after a return.
///
/// [`clean`](Self::clean) is called from time to time. [Garbage](Garbage) holds values of the user, to be dropped where no lock is held.
#[derive(Debug)]
pub(crate) struct History {
    config: RecoveryConfig,
    offsets: Offsets,
    log: Log,
    live: HashMap<SessionKey, Live, RandomState>,
    saved: SavedSessions,
    last_key: u64,
}

/// Sessions that have been forgotten.
pub(crate) type Garbage = Vec<Arc<Saved>>;

impl History {
    /// A history whose offsets begin with `tag`. It must tell the history from that of other servers.
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

    /// How long a client may be away.
    pub(crate) fn max_age(&self) -> Duration {
        self.config.max_disconnection
    }

    // Events.

    /// The place of the next event. A volatile one is not recorded, and has that of the last event.
    pub(crate) fn stamp(&mut self, now: Instant, volatile: bool) -> Stamp {
        self.log.forget_old(&self.config, now);
        Stamp { offset: self.log.last() + u64::from(!volatile), log_start: self.log.start() }
    }

    /// The event as its recipients get it.
    pub(crate) fn stamped(&self, stamp: Stamp, packet: &Encoded) -> Encoded {
        packet.with_offset(&self.offsets.write(stamp.offset))
    }

    /// What a session has been sent.
    pub(crate) fn cursor(&mut self, key: SessionKey) -> Option<&mut Cursor> {
        self.live.get_mut(&key).map(|live| &mut live.cursor)
    }

    /// Keeps an event that has been stamped.
    pub(crate) fn record(&mut self, now: Instant, scope: Scope, stamped: Encoded) {
        if let Scope::One { attempt: Some(attempt), .. } = &scope
            && let Some(live) = self.live.get_mut(attempt)
        {
            live.is_undoable = true;
        }
        self.log.push(&self.config, now, scope, stamped);
    }

    // Sessions.

    /// A session begins, or goes on where the client's claim says. Returns the events that the client has missed. `None` if
    /// some of those have been forgotten since the claim.
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

    /// A session joins a room of which it is not a member. That of its id is none of those.
    pub(crate) fn enter(&mut self, key: SessionKey, room: Room) {
        if let Some(live) = self.live.get_mut(&key) {
            live.memberships.join(room, self.log.last());
        }
    }

    /// A session leaves a room.
    pub(crate) fn exit(&mut self, key: SessionKey, room: &str) {
        if let Some(live) = self.live.get_mut(&key) {
            live.memberships.leave(room, self.log.last(), self.log.start());
        }
    }

    /// The socket of a session has lost its connection: the session is kept for its return.
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

    /// A session ends for good.
    pub(crate) fn end(&mut self, key: SessionKey) {
        self.remove(key);
    }

    /// A client that returned was not accepted: its session is as it was before, and what was for that attempt alone is
    /// withdrawn. There is no key if the attempt ended before the session had joined.
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

    /// A client asks for a session with the last offset that it has seen, if it has seen one. It gets the session if that is
    /// remembered, and everything that it missed. Nobody can claim it a second time.
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

    /// Whether the client of a session is away, and may come back.
    pub(crate) fn is_away(&self, now: Instant, private_id: &str) -> bool {
        self.saved.left(private_id).is_some_and(|left| now.duration_since(left) <= self.config.max_disconnection)
    }

    /// Whether any client may come back.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.saved.is_empty()
    }

    /// Whether nothing is left that [`evict`](Self::evict) could forget later.
    pub(crate) fn is_empty(&self) -> bool {
        self.log.is_empty() && self.saved.is_empty()
    }

    /// Forgets what has become old.
    #[must_use]
    pub(crate) fn evict(&mut self, now: Instant) -> Garbage {
        self.log.forget_old(&self.config, now);
        self.saved.forget_old(self.config.max_disconnection, now)
    }

    /// As [`evict`](Self::evict), and forgets the rooms that sessions left so long ago that nothing of that time is kept. Linear
    /// in the sessions.
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
