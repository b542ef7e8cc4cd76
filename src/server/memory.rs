//! Sessions of sockets that may be recovered: claiming, joining, leaving and eviction.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::Deserialize;

use crate::{
    engine::{CloseCause, generate_id},
    packet::Encoded,
    recovery::{History, RecoveryConfig, Restored},
    room::Room,
    util::{Mutex, MutexGuard, now, shrink},
};

use super::{
    reason::DisconnectReason,
    recovery_session::RecoverySession,
    state::{Memory, NamespaceState, Remembered, Socket},
};

/// The part of the auth payload by which a client asks to be recovered.
#[derive(Deserialize)]
struct Claim {
    pid: String,
    #[serde(default)]
    offset: Option<String>,
}

impl Memory {
    pub(super) fn new(config: RecoveryConfig) -> Self {
        const TAG_LENGTH: usize = 8;
        let history = History::new(config, generate_id()[..TAG_LENGTH].to_owned());
        Self {
            state: Mutex::new(Remembered { history, live: HashMap::default() }),
            is_cleaned: AtomicBool::new(false),
            cleaning: Mutex::default(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.state.lock()
    }

    /// Claims the session that the auth payload names. Returns it if the history has everything that the client missed. A session
    /// can be claimed once.
    pub(crate) fn claim(&self, auth: &[u8]) -> Option<Arc<Restored>> {
        let claim: Claim = serde_json::from_slice(auth).ok()?;
        let predecessor = self.lock().live.get(&*claim.pid).cloned().flatten();
        if let Some(socket) = predecessor {
            // The client has noticed the lost connection before the server.
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

    /// Registers the socket of a claimed session, so that a successor finds it.
    pub(crate) fn expect(&self, socket: &Arc<Socket>) {
        if let Some(session) = socket.session.as_ref().filter(|session| session.recovered) {
            self.lock().live.insert(session.private_id.clone(), Some(socket.clone()));
        }
    }

    /// Removes a socket from the namespace. Its session is kept if its client may return.
    pub(crate) fn leave(&self, socket: &Arc<Socket>, session: &RecoverySession, recoverable: bool) {
        // Cloning and dropping user values may run user code, so it happens without the lock.
        let server = &socket.client.server;
        let cloned = recoverable.then(|| server.catch_panic(|| socket.all_extensions())).flatten();
        let (data, extensions) = (socket.data_bytes(), cloned.unwrap_or_default());
        let mut state = self.lock();
        let rooms = socket.take_from_rooms();
        let (key, restored) = (session.key(), session.take_restored());
        let is_its = |live: &Option<Arc<Socket>>| match live {
            Some(live) => Arc::ptr_eq(live, socket),
            // The connection ended before the socket was registered.
            None => restored.is_some(),
        };
        if state.live.get(&session.private_id).is_some_and(is_its) {
            state.live.remove(&session.private_id);
            shrink(&mut state.live);
        }
        let history = &mut state.history;
        let garbage = match (key, &restored) {
            // The socket was rejected, or lost again before it was accepted: its session stays as it was.
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
        socket.report_rooms(&rooms);
    }

    /// Returns `true` if a client may still return.
    pub(crate) fn is_awaited(&self) -> bool {
        self.lock().history.is_awaited()
    }

    /// Evicts old entries. Returns `true` if there are others to evict later.
    fn clean(&self) -> bool {
        let mut state = self.lock();
        let garbage = state.history.clean(now());
        let more = !state.history.is_empty();
        // Under the lock, so that entries recorded later start a new task.
        self.is_cleaned.store(more, Ordering::Relaxed);
        drop(state);
        drop(garbage);
        more
    }
}

impl Remembered {
    /// Adds the session to the namespace. Returns the events that the client missed, or `None` if some of them have been evicted
    /// since the session was claimed. The session has ended in that case.
    pub(crate) fn join(
        &mut self,
        socket: &Arc<Socket>,
        session: &RecoverySession,
        restored: Option<&Restored>,
    ) -> Option<Vec<Encoded>> {
        let Some((key, missed)) = self.history.join(socket.id.clone(), session.private_id.clone(), restored) else {
            // The caller drops its clone without the lock.
            session.take_restored();
            return None;
        };
        self.live.insert(session.private_id.clone(), Some(socket.clone()));
        session.set_key(key);
        Some(missed)
    }

    /// Records that a session has joined a room. `room` is the registry's copy of the name, which all members share.
    pub(crate) fn enter(&mut self, session: &RecoverySession, room: Room) {
        if let Some(key) = session.key() {
            self.history.enter(key, room);
        }
    }

    /// Records that a session has left a room.
    pub(crate) fn exit(&mut self, session: &RecoverySession, room: &str) {
        if let Some(key) = session.key() {
            self.history.exit(key, room);
        }
    }
}

impl NamespaceState {
    /// Starts a task that evicts old entries, unless there is one.
    pub(crate) fn clean_later(self: &Arc<Self>) {
        let Some(memory) = self.memory.as_ref().filter(|memory| !memory.is_cleaned.load(Ordering::Relaxed)) else {
            return;
        };
        let Some(server) = self.server.upgrade() else { return };
        let Some(runtime) = server.try_runtime() else { return };
        if memory.is_cleaned.swap(true, Ordering::Relaxed) {
            return;
        }
        // The task does not keep the namespace alive, which may be dropped earlier to make room for others.
        let (namespace, max_age) = (Arc::downgrade(self), memory.lock().history.max_age());
        // Created before the first poll, because a task may be dropped without being polled.
        let mut guard = CleaningGuard(Some(namespace));
        let cleaning = runtime.spawn(async move {
            loop {
                tokio::time::sleep(max_age + Duration::from_millis(1)).await;
                let Some(namespace) = guard.namespace() else { break };
                let more = namespace.memory.as_ref().is_some_and(Memory::clean);
                if namespace.is_empty()
                    && let Some(server) = namespace.server.upgrade()
                {
                    server.namespaces.remove_if_unused(&namespace);
                }
                if !more {
                    // Another task may have started.
                    guard.disarm();
                    break;
                }
            }
        });
        *memory.cleaning.lock() = Some(cleaning.abort_handle());
    }
}

/// The task that evicts entries. If a runtime that shuts down drops it, another one can start.
struct CleaningGuard(Option<Weak<NamespaceState>>);

impl CleaningGuard {
    fn namespace(&self) -> Option<Arc<NamespaceState>> {
        self.0.as_ref().and_then(Weak::upgrade)
    }

    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for CleaningGuard {
    fn drop(&mut self) {
        let namespace = self.namespace();
        if let Some(memory) = namespace.as_deref().and_then(|namespace| namespace.memory.as_ref()) {
            memory.is_cleaned.store(false, Ordering::Relaxed);
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(cleaning) = self.cleaning.get_mut() {
            cleaning.abort();
        }
    }
}

#[cfg(all(test, feature = "test-util"))]
mod tests {
    use serde_json::json;

    use crate::{RecoveryConfig, SocketIoConfig, SocketIoService, test::TestClient};

    #[tokio::test(start_paused = true)]
    async fn what_is_emitted_to_a_session_between_its_claim_and_its_socket_is_kept() {
        let io = SocketIoService::new(SocketIoConfig::new().recovery(RecoveryConfig::new())).io();
        let client = TestClient::connect(&io).await.unwrap();
        let socket = client.socket().unwrap();
        client.lose_connection().await;
        let inner = socket.inner();
        let memory = inner.namespace.memory.as_ref().unwrap();
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
