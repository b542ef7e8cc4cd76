//! Connection state recovery: a client that was cut off comes back as the socket that it was, and gets what it missed.
//!
//! Every event that is emitted is stamped with an offset and kept for a while. A socket that loses its connection leaves
//! its id, its rooms and its data behind, under a private id that only its client knows; the client returns with it and
//! with the last offset that it saw. Socket.IO protocol 5, section "Connection to a namespace".

mod log;
mod saved;

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use http::Extensions;
use parking_lot::{Mutex, MutexGuard};
use serde::Deserialize;

use crate::{
    config::SlowClientPolicy,
    connection::{SendError, now},
    engine::{CloseCause, generate_id},
    packet::Encoded,
    room::{Recipients, Room, Selection},
    socket::{DisconnectReason, Socket, SocketId},
};

pub(crate) use self::saved::Restored;
use self::{
    log::{Log, Target},
    saved::{Saved, SavedSessions},
};

/// How long and how much a server remembers, so that clients can recover their connections. See
/// [`SocketIoConfig::recovery`](crate::SocketIoConfig::recovery).
#[derive(Debug, Clone)]
#[must_use]
pub struct Recovery {
    pub(crate) max_disconnection: Duration,
    max_packets: usize,
    max_bytes: usize,
    max_sessions: usize,
    pub(crate) skip_layers: bool,
}

impl Default for Recovery {
    fn default() -> Self {
        Self::new()
    }
}

impl Recovery {
    /// The defaults: two minutes, and in each namespace 10,000 events of 16 MiB together, and 10,000 sessions.
    pub fn new() -> Self {
        Self {
            max_disconnection: Duration::from_secs(120),
            max_packets: 10_000,
            max_bytes: 16 << 20,
            max_sessions: 10_000,
            skip_layers: false,
        }
    }

    /// How long a client may be away, and how long events are kept. Default: two minutes.
    pub fn max_disconnection(mut self, duration: Duration) -> Self {
        self.max_disconnection = duration.min(crate::config::FOREVER);
        self
    }

    /// How many events are kept in each namespace. Default: 10,000.
    ///
    /// A client that missed an older one is not recovered.
    pub fn max_packets(mut self, packets: usize) -> Self {
        self.max_packets = packets;
        self
    }

    /// How many bytes of events are kept in each namespace. Default: 16 MiB.
    ///
    /// A client that missed an older one is not recovered.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// How many sockets that are away are remembered in each namespace. Default: 10,000. The oldest are forgotten first.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.max_sessions = sessions;
        self
    }

    /// Whether a client that returns is spared the layers of its namespace. Default: false.
    ///
    /// If so, `on_connect` runs alone, with what the layers put on the request when the socket was admitted first. Node
    /// does that by default. A client whose rights have been withdrawn in the meantime then comes back all the same, without
    /// the deadline or the permit that a layer may have given it.
    pub fn skip_layers(mut self, skip: bool) -> Self {
        self.skip_layers = skip;
        self
    }
}

/// What one namespace remembers.
pub(crate) struct Memory {
    settings: Recovery,
    /// In front of each offset: a client may bring one that an earlier server, or another node, has given it.
    tag: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    log: Log,
    saved: SavedSessions,
    /// The sockets that are there, by the private ids of their sessions.
    live: HashMap<Arc<str>, Arc<Socket>, RandomState>,
    /// A task forgets what has become old.
    cleaning: bool,
}

/// What makes a socket recoverable.
pub(crate) struct Session {
    /// Only the client knows it.
    pub(crate) private_id: Arc<str>,
    /// The offset that preceded the session.
    begun: AtomicU64,
    /// The last offset that was sent to the client.
    last_sent: AtomicU64,
    /// The first offset behind that which could not be: the socket was closing, for instance. 0 if there is none.
    first_missed: AtomicU64,
    accepted: AtomicBool,
    /// The last offset before each room was joined: what was said there earlier is not this client's.
    joined: Mutex<HashMap<Room, u64>>,
    /// Where the session left off, until it has been accepted again.
    restored: Mutex<Option<Arc<Restored>>>,
    pub(crate) recovered: bool,
}

impl Session {
    pub(crate) fn new(restored: Option<Arc<Restored>>) -> Self {
        let private_id = restored.as_ref().map_or_else(|| generate_id().into(), |r| r.saved.private_id.clone());
        Self {
            private_id,
            begun: AtomicU64::new(0),
            last_sent: AtomicU64::new(0),
            first_missed: AtomicU64::new(0),
            accepted: AtomicBool::new(false),
            joined: Mutex::default(),
            recovered: restored.is_some(),
            restored: Mutex::new(restored),
        }
    }

    /// Whether an event has found no room, so that the connection is about to be closed.
    fn is_let_go(&self, socket: &Socket) -> bool {
        self.first_missed.load(Ordering::Relaxed) != 0
            && socket.connection.server.settings.slow_client_policy == SlowClientPolicy::Disconnect
    }

    /// What the layers and handlers had put on the socket, before it was lost.
    pub(crate) fn restored_extensions(&self) -> Extensions {
        let restored = self.restored().clone();
        restored.map(|restored| restored.saved.extensions.clone()).unwrap_or_default()
    }

    /// The client is told that it is accepted: nothing is left to restore. What is returned is to be dropped while no lock
    /// is held.
    pub(crate) fn settle(&self) -> Option<Arc<Restored>> {
        self.accepted.store(true, Ordering::Relaxed);
        self.restored().take()
    }

    fn joined(&self) -> MutexGuard<'_, HashMap<Room, u64>> {
        self.joined.lock()
    }

    fn restored(&self) -> MutexGuard<'_, Option<Arc<Restored>>> {
        self.restored.lock()
    }
}

/// What a client that returns puts into its auth payload.
#[derive(Deserialize)]
struct Claim {
    pid: String,
    #[serde(default)]
    offset: Option<String>,
}

/// Whom an event is for.
pub(crate) enum Audience<'a> {
    One(&'a Arc<Socket>),
    /// The members of a selection, without the sender. Looked up while nobody comes or goes.
    Many {
        selection: &'a Selection,
        sender: Option<SocketId>,
        find: &'a dyn Fn() -> Recipients<Arc<Socket>>,
    },
}

/// What became of an event.
#[derive(Default)]
pub(crate) struct Emitted {
    pub(crate) recipients: Option<Recipients<Arc<Socket>>>,
    pub(crate) failed: Vec<(Arc<Socket>, SendError)>,
}

impl Memory {
    pub(crate) fn new(settings: Recovery) -> Self {
        Self { settings, tag: generate_id()[..TAG_LENGTH].to_owned(), state: Mutex::default() }
    }

    pub(crate) fn skips_layers(&self) -> bool {
        self.settings.skip_layers
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    // Emitting.

    /// Stamps an event, keeps it unless it is volatile, and gives it to the recipients.
    ///
    /// All of that under one lock: each client gets the events of a namespace in the order of their offsets, so that the
    /// last offset that it saw says all. No user code runs under it, and nobody is woken.
    pub(crate) fn emit(&self, audience: Audience<'_>, packet: &Encoded, volatile: bool) -> Emitted {
        let mut emitted = Emitted::default();
        let mut wakers = Vec::new();
        {
            let mut state = self.state();
            if let Audience::One(socket) = &audience
                && let Some(held) = socket.hold_early(packet, volatile)
            {
                // It is stamped when the socket joins.
                drop(state);
                emitted.failed.extend(held.err().map(|error| ((*socket).clone(), error)));
                return emitted;
            }
            let offset = state.log.last() + u64::from(!volatile);
            let stamped = packet.with_offset(&self.write(offset));
            let mut give = |socket: &Arc<Socket>| {
                let form = if socket.session.is_some() { &stamped } else { packet };
                // Where slow clients are let go, nothing may follow what one of them has missed.
                let is_let_go = socket.session.as_ref().is_some_and(|session| session.is_let_go(socket));
                let sent =
                    if is_let_go { Err(SendError::Closed) } else { socket.try_deliver(Cow::Borrowed(form), volatile) };
                if let Some(session) = &socket.session {
                    match &sent {
                        Ok(sent) if sent.queued => {
                            session.last_sent.store(offset, Ordering::Relaxed);
                            session.first_missed.store(0, Ordering::Relaxed);
                        }
                        Err(_) if !volatile && session.first_missed.load(Ordering::Relaxed) == 0 => {
                            session.first_missed.store(offset, Ordering::Relaxed);
                        }
                        Ok(_) | Err(_) => {}
                    }
                }
                match sent {
                    Ok(sent) => wakers.extend(sent.waker),
                    Err(error) => emitted.failed.push((socket.clone(), error)),
                }
            };
            let target = match audience {
                Audience::One(socket) => {
                    give(socket);
                    // Whoever emits to one socket is told if that failed.
                    emitted.failed.is_empty().then(|| Target::One(socket.id.clone()))
                }
                Audience::Many { selection, sender, find } => {
                    let recipients = find();
                    recipients.iter().for_each(give);
                    emitted.recipients = Some(recipients);
                    Some(Target::Selection(selection.clone(), sender))
                }
            };
            if let Some(target) = target.filter(|_| !volatile) {
                state.log.push(&self.settings, now(), target, stamped);
            }
        }
        wakers.into_iter().for_each(std::task::Waker::wake);
        emitted
    }

    // Coming and going.

    /// A client wants to join, and says perhaps that it is one that was here. Its session, if it is remembered and
    /// everything that it missed is still known; nobody can claim it a second time.
    pub(crate) fn claim(&self, auth: &[u8]) -> Option<Arc<Restored>> {
        let claim: Claim = serde_json::from_slice(auth).ok()?;
        let predecessor = self.state().live.get(&*claim.pid).cloned();
        if let Some(socket) = predecessor {
            // The client knows that the connection is lost; the server did not yet, or is just about to deal with it.
            socket.connection.abort(CloseCause::TransportClose);
            socket.close(DisconnectReason::TransportClose);
            if let Some(session) = socket.session.as_ref().filter(|_| socket.is_lost()) {
                self.leave(&socket, session, true);
            }
        }
        let now = now();
        let mut state = self.state();
        let garbage = state.forget_old(&self.settings, now);
        let restored = state.saved.take(&claim.pid).and_then(|(saved, left)| {
            if now.duration_since(left) > self.settings.max_disconnection {
                return None;
            }
            let seen = match claim.offset.as_deref().map(|offset| self.read(offset)) {
                None | Some(Offset::Foreign) => 0,
                Some(Offset::Ours(offset)) if offset <= state.log.last() => offset,
                Some(Offset::Ours(_) | Offset::Garbage) => return None,
            };
            // Up to where the client has everything that was for it.
            let from = if seen == saved.last_sent { seen.max(saved.has_all_until) } else { seen.max(saved.begun) };
            state.log.has_all_since(from).then(|| Arc::new(Restored { saved, left, from, seen }))
        });
        drop(state);
        drop(garbage);
        restored
    }

    /// A socket that wants to be recovered is known from now on, so that a successor finds it.
    pub(crate) fn expect(&self, socket: &Arc<Socket>) {
        if let Some(session) = socket.session.as_ref().filter(|session| session.recovered) {
            self.state().live.insert(session.private_id.clone(), socket.clone());
        }
    }

    /// A socket joins rooms: `join` does it, while nothing is emitted.
    pub(crate) fn join_rooms(&self, session: &Session, rooms: &[Room], join: impl FnOnce()) {
        let state = self.state();
        join();
        let mut joined = session.joined();
        for room in rooms {
            joined.entry(room.clone()).or_insert(state.log.last());
        }
    }

    /// A socket joins its namespace: `join` does it, with the rooms that it had, unless it is too late for that; nothing is
    /// emitted meanwhile. Answers what the socket missed.
    pub(crate) fn join(
        &self,
        socket: &Arc<Socket>,
        session: &Session,
        join: impl FnOnce(&[Room]) -> Option<Vec<Room>>,
    ) -> Vec<Encoded> {
        let restored = session.restored().clone();
        let rooms: Vec<Room> = restored.iter().flat_map(|restored| restored.saved.rooms.keys().cloned()).collect();
        let mut state = self.state();
        let Some(joined) = join(&rooms) else {
            return Vec::new();
        };
        {
            let mut known = session.joined();
            known.extend(restored.iter().flat_map(|restored| restored.saved.rooms.clone()));
            for room in joined {
                known.entry(room).or_insert(state.log.last());
            }
        }
        state.live.insert(session.private_id.clone(), socket.clone());
        let mut missed = Vec::new();
        match &restored {
            None => session.begun.store(state.log.last(), Ordering::Relaxed),
            Some(restored) => {
                let entries: Vec<_> =
                    state.log.since(restored.from).filter(|entry| entry.is_for(&restored.saved)).collect();
                session.begun.store(restored.saved.begun, Ordering::Relaxed);
                let last_sent = entries.last().map_or(restored.seen, |entry| entry.offset);
                session.last_sent.store(last_sent, Ordering::Relaxed);
                missed.extend(entries.into_iter().map(|entry| entry.packet.clone()));
            }
        }
        // What layers emitted to it before it was there follows what it missed.
        socket.stamp_early(|packet| {
            let stamped = packet.with_offset(&self.write(state.log.last() + 1));
            state.log.push(&self.settings, now(), Target::One(socket.id.clone()), stamped.clone());
            session.last_sent.store(state.log.last(), Ordering::Relaxed);
            stamped
        });
        missed
    }

    /// A socket leaves its rooms, while nothing is emitted. Its session is kept if it was accepted and its client may come
    /// back.
    pub(crate) fn leave(&self, socket: &Arc<Socket>, session: &Session, recoverable: bool) {
        // Cloning and dropping what is the user's may run the user's code: not under the lock.
        let cloned = recoverable.then(|| catch_unwind(AssertUnwindSafe(|| socket.all_extensions())).ok()).flatten();
        let extensions = cloned.unwrap_or_default();
        let data = socket.data_bytes();
        let mut garbage = Vec::new();
        let restored;
        {
            let now = now();
            let mut state = self.state();
            let rooms = socket.leave_rooms();
            let is_there = state.live.get(&session.private_id).is_some_and(|live| Arc::ptr_eq(live, socket));
            if is_there {
                state.live.remove(&session.private_id);
            }
            restored = session.restored().take();
            let saved = match &restored {
                // It was refused, or lost again before it was accepted: nothing has changed.
                Some(restored) => Some((restored.saved.clone(), restored.left)),
                None if recoverable && is_there && session.accepted.load(Ordering::Relaxed) => {
                    let has_all_until = match session.first_missed.load(Ordering::Relaxed) {
                        0 => state.log.last(),
                        first_missed => first_missed - 1,
                    };
                    let joined = session.joined();
                    let since = |room: Room| (joined.get(&room).copied().unwrap_or(0), room);
                    let rooms = rooms.into_iter().map(since).map(|(since, room)| (room, since)).collect();
                    let saved = Saved {
                        id: socket.id.clone(),
                        private_id: session.private_id.clone(),
                        rooms,
                        data,
                        extensions,
                        begun: session.begun.load(Ordering::Relaxed),
                        last_sent: session.last_sent.load(Ordering::Relaxed),
                        has_all_until,
                    };
                    Some((Arc::new(saved), now))
                }
                None => None,
            };
            if let Some((saved, left)) = saved {
                garbage = state.saved.insert(saved, left, self.settings.max_sessions);
            }
            garbage.extend(state.forget_old(&self.settings, now));
        }
        drop((restored, garbage));
    }

    /// Whether somebody may still come back.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.state().saved.is_empty()
    }

    /// Whether the caller has to see to it that [`clean`](Self::clean) is called every [`max_age`](Self::max_age).
    pub(crate) fn begin_cleaning(&self) -> bool {
        !std::mem::replace(&mut self.state().cleaning, true)
    }

    /// Forgets what has become old. Answers whether there is more to forget later.
    pub(crate) fn clean(&self) -> bool {
        let mut state = self.state();
        let garbage = state.forget_old(&self.settings, now());
        state.cleaning = !state.saved.is_empty() || !state.log.is_empty();
        let more = state.cleaning;
        drop(state);
        drop(garbage);
        more
    }

    pub(crate) fn max_age(&self) -> Duration {
        self.settings.max_disconnection
    }

    // Offsets.

    fn write(&self, offset: u64) -> String {
        format!("{}.{offset:x}", self.tag)
    }

    fn read(&self, text: &str) -> Offset {
        let Some((tag, offset)) = text.split_once('.').filter(|(tag, _)| tag.len() == TAG_LENGTH) else {
            return Offset::Garbage;
        };
        match u64::from_str_radix(offset, 16) {
            // Only what `write` writes.
            Ok(number) if format!("{number:x}") != offset => Offset::Garbage,
            Ok(number) if tag == self.tag => Offset::Ours(number),
            Ok(_) => Offset::Foreign,
            Err(_) => Offset::Garbage,
        }
    }
}

const TAG_LENGTH: usize = 8;

/// An offset that a client brings.
enum Offset {
    Ours(u64),
    /// The client has it from another server, and so has seen nothing of this one.
    Foreign,
    /// None at all: the client takes the last argument of any event for one, if it is a string.
    Garbage,
}

impl State {
    /// What is forgotten is to be dropped while the lock is not held.
    fn forget_old(&mut self, settings: &Recovery, now: Instant) -> Vec<Arc<Saved>> {
        self.log.forget_old(settings, now);
        self.saved.forget_old(settings.max_disconnection, now)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("settings", &self.settings).finish_non_exhaustive()
    }
}
