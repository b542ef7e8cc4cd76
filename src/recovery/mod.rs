//! Connection state recovery: a client that was cut off comes back as the socket that it was, and gets what it missed.
//!
//! Every event that is emitted is stamped with an offset and kept for a while. A socket that loses its connection leaves
//! its id, its rooms and its data behind, under a private id that only its client knows; the client returns with it and
//! with the last offset that it saw. Socket.IO protocol 5, section "Connection to a namespace".

mod log;
mod saved;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use http::Extensions;
use serde::Deserialize;

use crate::{
    connection::{SendError, now},
    engine::{CloseCause, generate_id},
    packet::Encoded,
    room::Room,
    socket::{DisconnectReason, Socket},
};

use self::{log::Log, saved::SavedSessions};
pub(crate) use self::{
    log::Target,
    saved::{Restored, Saved},
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
        self.max_disconnection = duration;
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
    /// does that by default. A client whose rights have been withdrawn in the meantime then comes back all the same.
    pub fn skip_layers(mut self, skip: bool) -> Self {
        self.skip_layers = skip;
        self
    }
}

/// What one namespace remembers.
pub(crate) struct Memory {
    settings: Recovery,
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
    /// Where the session left off, if it is one that returns.
    restored: Mutex<Option<Restored>>,
    pub(crate) recovered: bool,
}

impl Session {
    pub(crate) fn new(restored: Option<Restored>) -> Self {
        let private_id = restored.as_ref().map_or_else(|| generate_id().into(), |r| r.saved.private_id.clone());
        Self {
            private_id,
            begun: AtomicU64::new(0),
            last_sent: AtomicU64::new(0),
            first_missed: AtomicU64::new(0),
            recovered: restored.is_some(),
            restored: Mutex::new(restored),
        }
    }

    /// Puts on a request what the layers put on the one by which the socket was admitted first.
    pub(crate) fn restore_extensions(&self, extensions: &mut Extensions) {
        if let Some(restored) = &*self.restored() {
            extensions.extend(restored.saved.extensions.clone());
        }
    }

    /// The client has been told: nothing is left to restore.
    pub(crate) fn settle(&self) {
        *self.restored() = None;
    }

    fn restored(&self) -> MutexGuard<'_, Option<Restored>> {
        self.restored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a client that returns puts into its auth payload.
#[derive(Deserialize)]
struct Claim {
    pid: String,
    #[serde(default)]
    offset: Option<String>,
}

impl Memory {
    pub(crate) fn new(settings: Recovery) -> Self {
        Self { settings, state: Mutex::default() }
    }

    pub(crate) fn skips_layers(&self) -> bool {
        self.settings.skip_layers
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Emitting.

    /// Stamps an event, keeps it unless it is volatile, and gives it to the recipients.
    ///
    /// All of that under one lock: each client gets the events of a namespace in the order of their offsets, so that the
    /// last offset that it saw says all. Answers who had no room for it.
    pub(crate) fn emit(
        &self,
        target: Target,
        packet: &Encoded,
        volatile: bool,
        each: impl FnOnce(&mut dyn FnMut(&Arc<Socket>)),
    ) -> Vec<(Arc<Socket>, SendError)> {
        let mut state = self.state();
        let offset = state.log.last() + u64::from(!volatile);
        let stamped = packet.with_offset(&to_text(offset));
        let mut failed = Vec::new();
        each(&mut |socket| {
            let sent = match &socket.session {
                Some(session) => {
                    let sent = socket.deliver_quietly(&stamped, volatile);
                    match sent {
                        Ok(true) => {
                            session.last_sent.store(offset, Ordering::Relaxed);
                            session.first_missed.store(0, Ordering::Relaxed);
                        }
                        Err(_) if !volatile && session.first_missed.load(Ordering::Relaxed) == 0 => {
                            session.first_missed.store(offset, Ordering::Relaxed);
                        }
                        Ok(false) | Err(_) => {}
                    }
                    sent
                }
                None => socket.deliver_quietly(packet, volatile),
            };
            if let Err(error) = sent {
                failed.push((socket.clone(), error));
            }
        });
        // Whoever emits to one socket is told if that failed.
        let is_kept = !volatile && (failed.is_empty() || matches!(target, Target::Selection(..)));
        if is_kept {
            state.log.push(&self.settings, now(), target, stamped);
        }
        failed
    }

    // Coming and going.

    /// A client wants to join, and says perhaps that it is one that was here. Its session, if it is remembered and
    /// everything that it missed is still known; nobody can claim it a second time.
    pub(crate) fn claim(&self, auth: &[u8]) -> Option<Restored> {
        let claim: Claim = serde_json::from_slice(auth).ok()?;
        let predecessor = self.state().live.get(&*claim.pid).cloned();
        if let Some(socket) = predecessor {
            // The client knows that the connection is lost; the server did not yet.
            socket.connection.abort(CloseCause::TransportClose);
            socket.close(DisconnectReason::TransportClose);
        }
        let mut state = self.state();
        let now = now();
        state.forget_old(&self.settings, now);
        let saved = state.saved.take(&claim.pid)?;
        let seen = match &claim.offset {
            Some(offset) => from_text(offset).filter(|offset| *offset <= state.log.last())?,
            None => 0,
        };
        // Up to where the client has everything that was for it.
        let from = if seen == saved.last_sent { seen.max(saved.left_at) } else { seen.max(saved.begun) };
        state.log.has_all_since(from).then_some(Restored { saved, from, seen })
    }

    /// A socket joins its namespace: `join` does it, unless it is too late for that, while nothing is emitted. Answers what
    /// the socket missed.
    pub(crate) fn join(
        &self,
        socket: &Arc<Socket>,
        session: &Session,
        join: impl FnOnce(Option<&Saved>) -> bool,
    ) -> Vec<Encoded> {
        let mut state = self.state();
        let restored = session.restored();
        if !join(restored.as_ref().map(|restored| &restored.saved)) {
            return Vec::new();
        }
        state.live.insert(session.private_id.clone(), socket.clone());
        let Some(Restored { saved, from, seen }) = &*restored else {
            session.begun.store(state.log.last(), Ordering::Relaxed);
            return Vec::new();
        };
        let missed: Vec<_> = state.log.since(*from).filter(|entry| entry.is_for(saved)).collect();
        session.begun.store(saved.begun, Ordering::Relaxed);
        session.last_sent.store(missed.last().map_or(*seen, |entry| entry.offset), Ordering::Relaxed);
        missed.into_iter().map(|entry| entry.packet.clone()).collect()
    }

    /// A socket leaves: `leave` takes it out of its rooms, while nothing is emitted, and answers which they were. Its
    /// session is kept if its client may come back.
    pub(crate) fn leave(
        &self,
        socket: &Arc<Socket>,
        session: &Session,
        end: Ending,
        leave: impl FnOnce() -> Vec<Room>,
    ) {
        let mut state = self.state();
        let rooms = leave();
        if state.live.get(&session.private_id).is_some_and(|live| Arc::ptr_eq(live, socket)) {
            state.live.remove(&session.private_id);
        }
        let saved = match session.restored().take() {
            // It was refused, or lost again before it was accepted: nothing has changed.
            Some(restored) => restored.saved,
            None if !end.accepted || !end.recoverable => return,
            None => Saved {
                id: socket.id.clone(),
                private_id: session.private_id.clone(),
                rooms,
                data: socket.data_bytes(),
                extensions: socket.all_extensions(),
                begun: session.begun.load(Ordering::Relaxed),
                last_sent: session.last_sent.load(Ordering::Relaxed),
                left_at: match session.first_missed.load(Ordering::Relaxed) {
                    0 => state.log.last(),
                    first_missed => first_missed - 1,
                },
            },
        };
        let now = now();
        state.saved.insert(saved, now, self.settings.max_sessions);
        state.forget_old(&self.settings, now);
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
        state.forget_old(&self.settings, now());
        state.cleaning = !state.saved.is_empty() || !state.log.is_empty();
        state.cleaning
    }

    pub(crate) fn max_age(&self) -> Duration {
        self.settings.max_disconnection
    }
}

impl State {
    fn forget_old(&mut self, settings: &Recovery, now: Instant) {
        self.log.forget_old(settings, now);
        self.saved.forget_old(settings.max_disconnection, now);
    }
}

/// How a socket leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    pub(crate) accepted: bool,
    /// The client lost its connection, and may come back.
    pub(crate) recoverable: bool,
}

fn to_text(offset: u64) -> String {
    format!("{offset:x}")
}

fn from_text(text: &str) -> Option<u64> {
    // Only what `to_text` writes.
    u64::from_str_radix(text, 16).ok().filter(|offset| to_text(*offset) == text)
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("settings", &self.settings).finish_non_exhaustive()
    }
}
