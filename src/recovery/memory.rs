use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    time::Duration,
};

use foldhash::fast::RandomState;
use parking_lot::{Mutex, MutexGuard};
use serde::Deserialize;

use crate::{
    config::SlowClientPolicy,
    engine::{CloseCause, SendError, Sent, generate_id},
    packet::Encoded,
    room::{Recipients, Room, Selection, SocketId},
    socket::{DisconnectReason, Socket},
    util::now,
};

use super::{History, Recovery, RecoverySession, Restored, Scope, Stamp, shrink};

/// What one namespace remembers, and the lock under which it emits.
///
/// Everything that decides who gets an event happens under it: sockets join and leave the namespace and its rooms, and events
/// are stamped, queued for their recipients and recorded. So each client gets the events of a namespace in the order of their
/// offsets, and the last offset that it saw says all. Of the user's code, only a parser runs under the lock; nobody is woken.
pub(crate) struct Memory {
    max_disconnection: Duration,
    skip_layers: bool,
    state: Mutex<State>,
    /// A task forgets what has become old.
    cleaning: AtomicBool,
}

/// The locked part of a [`Memory`].
pub(crate) struct State {
    history: History,
    /// The sockets that are there, by the private ids of their sessions; among them those that are about to come back. There is
    /// none for a session that has just been claimed.
    live: HashMap<Arc<str>, Option<Arc<Socket>>, RandomState>,
}

/// What a client that returns puts into its auth payload.
#[derive(Deserialize)]
struct Claim {
    pid: String,
    #[serde(default)]
    offset: Option<String>,
}

/// What became of a broadcast.
#[derive(Default)]
#[must_use]
pub(crate) struct Broadcast {
    wakers: Vec<Waker>,
    failed: Vec<(Arc<Socket>, SendError)>,
}

impl Broadcast {
    /// Wakes the drivers of the recipients, once nothing is locked. Returns the sockets that did not get the event.
    pub(crate) fn wake(self) -> Vec<(Arc<Socket>, SendError)> {
        self.wakers.into_iter().for_each(Waker::wake);
        self.failed
    }
}

impl Memory {
    pub(crate) fn new(config: Recovery) -> Self {
        const TAG_LENGTH: usize = 8;
        let Recovery { max_disconnection, skip_layers, .. } = config;
        let history = History::new(config, generate_id()[..TAG_LENGTH].to_owned());
        Self {
            max_disconnection,
            skip_layers,
            state: Mutex::new(State { history, live: HashMap::default() }),
            cleaning: AtomicBool::new(false),
        }
    }

    pub(crate) fn skips_layers(&self) -> bool {
        self.skip_layers
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    // Emitting.

    /// Emits an event to the client of a socket, wakes its driver and deals with a client that is too slow.
    ///
    /// If the connection of the socket has been lost, and its client may come back, the event is kept; or, if the client has
    /// come back as another socket, given to that.
    pub(crate) fn emit(
        &self,
        socket: &Arc<Socket>,
        session: &RecoverySession,
        packet: &Encoded,
        volatile: bool,
    ) -> Result<(), SendError> {
        let mut state = self.lock();
        if let Some(held) = socket.hold_early(packet, volatile) {
            // It is stamped when the socket joins.
            drop(state);
            return held.map(drop).inspect_err(|error| socket.deal_with(*error));
        }
        let heir = if socket.is_lost() { Some(state.heir(session)?) } else { None };
        let recipient = heir.as_ref().map_or(Some(socket), Option::as_ref);
        // What is said to a client that has come back is for it even if it is refused.
        let attempt = if heir.is_some() { None } else { session.attempt() };
        let scope = Scope::One { id: socket.id.clone(), attempt };
        let (sent, kept) = state.emit_to(recipient, scope, packet, volatile);
        drop(state);
        match sent {
            Ok(sent) => sent.waker.into_iter().for_each(Waker::wake),
            Err(error) => recipient.into_iter().for_each(|socket| socket.deal_with(error)),
        }
        if let Some(heir) = heir.flatten() {
            heir.observe(packet);
        }
        kept
    }

    // Coming and going.

    /// A client wants to join, and says perhaps that it is one that was here. Returns its session, if that is remembered with
    /// everything that the client missed. Nobody can claim it a second time.
    pub(crate) fn claim(&self, auth: &[u8]) -> Option<Arc<Restored>> {
        let claim: Claim = serde_json::from_slice(auth).ok()?;
        let predecessor = self.lock().live.get(&*claim.pid).cloned().flatten();
        if let Some(socket) = predecessor {
            // The client knows that the connection is lost; the server did not yet, or is just about to deal with it.
            socket.client.connection.abort(CloseCause::TransportClose);
            socket.close(DisconnectReason::TransportClose);
            if let Some(session) = socket.session.as_ref().filter(|_| socket.is_lost()) {
                self.leave(&socket, session, true);
            }
        }
        let mut state = self.lock();
        let (restored, garbage) = state.history.claim(now(), &claim.pid, claim.offset.as_deref());
        if let Some(restored) = &restored {
            state.live.insert(restored.saved.private_id.clone(), None);
        }
        drop(state);
        drop(garbage);
        restored.map(Arc::new)
    }

    /// The socket of a session that has been claimed is known from now on, so that a successor finds it.
    pub(crate) fn expect(&self, socket: &Arc<Socket>) {
        if let Some(session) = socket.session.as_ref().filter(|session| session.recovered) {
            self.lock().live.insert(session.private_id.clone(), Some(socket.clone()));
        }
    }

    /// A socket leaves the namespace. Its session is kept if its client may come back.
    pub(crate) fn leave(&self, socket: &Arc<Socket>, session: &RecoverySession, recoverable: bool) {
        // Cloning and dropping what is the user's may run the user's code: not under the lock.
        let server = &socket.client.server;
        let cloned = recoverable.then(|| server.contained(|| socket.all_extensions())).flatten();
        let (data, extensions) = (socket.data_bytes(), cloned.unwrap_or_default());
        let mut state = self.lock();
        socket.leave_rooms();
        let (key, restored) = (session.key(), session.take_restored());
        let is_its = |live: &Option<Arc<Socket>>| match live {
            Some(live) => Arc::ptr_eq(live, socket),
            // Its connection ended before it was known.
            None => restored.is_some(),
        };
        if state.live.get(&session.private_id).is_some_and(is_its) {
            state.live.remove(&session.private_id);
            shrink(&mut state.live);
        }
        let history = &mut state.history;
        let garbage = match (key, &restored) {
            // It was refused, or lost again before it was accepted: nothing has changed.
            (key, Some(restored)) => history.take_back(now(), key, restored),
            (Some(key), None) if recoverable && session.is_accepted() => history.lose(now(), key, data, extensions),
            (Some(key), None) => {
                history.end(key);
                Vec::new()
            }
            (None, None) => Vec::new(),
        };
        drop(state);
        drop((restored, garbage));
    }

    /// Whether somebody may still come back.
    pub(crate) fn is_awaited(&self) -> bool {
        self.lock().history.is_awaited()
    }

    /// Whether a task calls [`clean`](Self::clean) every [`max_age`](Self::max_age).
    pub(crate) fn is_cleaned(&self) -> bool {
        self.cleaning.load(Ordering::Relaxed)
    }

    /// Whether the caller has to start that task.
    pub(crate) fn begin_cleaning(&self) -> bool {
        !self.cleaning.swap(true, Ordering::Relaxed)
    }

    /// The task has ended before its time.
    pub(crate) fn stop_cleaning(&self) {
        self.cleaning.store(false, Ordering::Relaxed);
    }

    /// Forgets what has become old. Returns whether there is more to forget later.
    pub(crate) fn clean(&self) -> bool {
        let mut state = self.lock();
        let garbage = state.history.clean(now());
        let more = !state.history.is_empty();
        // Under the lock: what is recorded later finds it.
        self.cleaning.store(more, Ordering::Relaxed);
        drop(state);
        drop(garbage);
        more
    }

    pub(crate) fn max_age(&self) -> Duration {
        self.max_disconnection
    }
}

impl State {
    /// A session joins the namespace. Returns the events that its client has missed. `None` if some of those have been
    /// forgotten since the client claimed the session, which is over then.
    pub(crate) fn join(
        &mut self,
        socket: &Arc<Socket>,
        session: &RecoverySession,
        restored: Option<&Restored>,
    ) -> Option<Vec<Encoded>> {
        let Some((key, missed)) = self.history.join(socket.id.clone(), session.private_id.clone(), restored) else {
            // The caller drops the other one where nothing is locked.
            session.take_restored();
            return None;
        };
        self.live.insert(session.private_id.clone(), Some(socket.clone()));
        session.set_key(key);
        Some(missed)
    }

    /// A session has joined a room, whose name its members share.
    pub(crate) fn enter(&mut self, session: &RecoverySession, room: Room) {
        if let Some(key) = session.key() {
            self.history.enter(key, room);
        }
    }

    /// A session has left a room.
    pub(crate) fn exit(&mut self, session: &RecoverySession, room: &str) {
        if let Some(key) = session.key() {
            self.history.exit(key, room);
        }
    }

    /// Stamps and records an event that was emitted to a socket before it joined. It will be sent if the socket is accepted.
    pub(crate) fn stamp_early(&mut self, socket: &Socket, session: &RecoverySession, packet: &Encoded) -> Encoded {
        let now = now();
        let stamp = self.history.stamp(now, false);
        let stamped = self.history.stamped(stamp, packet);
        let attempt = session.key();
        if let Some(cursor) = attempt.and_then(|key| self.history.cursor(key)) {
            cursor.sent(stamp);
        }
        self.history.record(now, Scope::One { id: socket.id.clone(), attempt }, stamped.clone());
        stamped
    }

    /// Stamps an event, queues it for the recipients, and records it unless it is volatile.
    pub(crate) fn broadcast(
        &mut self,
        recipients: &Recipients<Arc<Socket>>,
        selection: &Selection,
        sender: Option<SocketId>,
        packet: &Encoded,
        volatile: bool,
    ) -> Broadcast {
        let now = now();
        let stamp = self.history.stamp(now, volatile);
        let stamped = self.history.stamped(stamp, packet);
        let mut broadcast = Broadcast::default();
        for socket in recipients.iter() {
            match self.give(socket, stamp, &stamped, packet, volatile) {
                Ok(sent) => broadcast.wakers.extend(sent.waker),
                Err(error) => broadcast.failed.push((socket.clone(), error)),
            }
        }
        if !volatile {
            self.history.record(now, Scope::Selection { selection: selection.clone(), sender }, stamped);
        }
        broadcast
    }

    /// The socket to which an event for one that was lost is given. `None` inside if the client is away: the event is kept.
    fn heir(&self, session: &RecoverySession) -> Result<Option<Arc<Socket>>, SendError> {
        match self.live.get(&session.private_id) {
            None if self.history.is_away(now(), &session.private_id) => Ok(None),
            // It will get the event when it joins.
            Some(None) => Ok(None),
            Some(Some(heir)) if !heir.was_reached() => Ok(None),
            Some(Some(heir)) if !heir.was_dismissed() => Ok(Some(heir.clone())),
            Some(Some(_)) | None => Err(SendError::Closed),
        }
    }

    /// Gives an event to one socket, and records it. Returns what came of that, and what the emitter is told: an event that
    /// could not be sent is kept if the client may come back.
    fn emit_to(
        &mut self,
        recipient: Option<&Arc<Socket>>,
        scope: Scope,
        packet: &Encoded,
        volatile: bool,
    ) -> (Result<Sent, SendError>, Result<(), SendError>) {
        let now = now();
        let stamp = self.history.stamp(now, volatile);
        let stamped = self.history.stamped(stamp, packet);
        let sent = match recipient {
            Some(socket) => self.give(socket, stamp, &stamped, packet, volatile),
            None => Ok(Sent::default()),
        };
        let told = match (&sent, recipient) {
            (Err(error), Some(socket)) if !is_kept(socket, *error) => Err(*error),
            _ => Ok(()),
        };
        if told.is_ok() && !volatile {
            self.history.record(now, scope, stamped);
        }
        (sent, told)
    }

    /// Queues an event for a socket, and notes what came of that.
    fn give(
        &mut self,
        socket: &Arc<Socket>,
        stamp: Stamp,
        stamped: &Encoded,
        packet: &Encoded,
        volatile: bool,
    ) -> Result<Sent, SendError> {
        let key = socket.session.as_ref().and_then(|session| session.key());
        let mut cursor = key.and_then(|key| self.history.cursor(key));
        // Where slow clients are let go, nothing may follow what one of them has missed.
        if cursor.as_ref().is_some_and(|cursor| cursor.has_missed()) && lets_slow_clients_go(socket) {
            return Err(SendError::Closed);
        }
        let form = if cursor.is_some() { stamped } else { packet };
        let sent = socket.try_deliver(Cow::Borrowed(form), volatile);
        if let Some(cursor) = &mut cursor {
            match &sent {
                Ok(sent) if sent.queued => cursor.sent(stamp),
                Err(_) if !volatile => cursor.missed(stamp),
                Ok(_) | Err(_) => {}
            }
        }
        sent
    }
}

/// Whether an event is kept for a socket to which it could not be sent.
fn is_kept(socket: &Socket, error: SendError) -> bool {
    let may_return = !socket.was_dismissed() && socket.session.as_ref().is_some_and(|session| session.is_kept());
    may_return && (error == SendError::Closed || lets_slow_clients_go(socket))
}

fn lets_slow_clients_go(socket: &Socket) -> bool {
    socket.client.server.settings.slow_client_policy == SlowClientPolicy::Disconnect
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("max_disconnection", &self.max_disconnection).finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "test-util"))]
mod tests {
    use serde_json::json;

    use crate::{Recovery, SocketIoConfig, SocketIoService, test::TestClient};

    #[tokio::test(start_paused = true)]
    async fn what_is_emitted_to_a_session_between_its_claim_and_its_socket_is_kept() {
        let io = SocketIoService::new(SocketIoConfig::new().recovery(Recovery::new())).io();
        let client = TestClient::connect(&io).await.unwrap();
        let socket = client.socket().unwrap();
        client.lose_connection().await;
        let inner = socket.inner();
        let memory = inner.namespace.memory().unwrap();
        let pid = inner.session.as_ref().unwrap().private_id.clone();
        let claim = json!({"pid": &*pid}).to_string();
        let restored = memory.claim(claim.as_bytes()).unwrap();
        socket.emit("n", &1).unwrap();
        assert!(memory.claim(claim.as_bytes()).is_none());
        let mut state = memory.lock();
        let (_, missed) = state.history.join(inner.id.clone(), pid, Some(&restored)).unwrap();
        assert_eq!(missed.len(), 1);
    }
}
