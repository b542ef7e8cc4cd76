//! Sessions of sockets that may come back: claimed, joined, left and forgotten.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use serde::Deserialize;

use crate::{
    engine::{CloseCause, generate_id},
    packet::Encoded,
    recovery::{History, RecoveryConfig, RecoverySession, Restored},
    room::Room,
    util::{now, shrink},
};

use super::{
    reason::DisconnectReason,
    state::{Memory, NamespaceState, Remembered, Socket},
};

/// What a client that returns puts into its auth payload.
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
        let cloned = recoverable.then(|| server.catch_panic(|| socket.all_extensions())).flatten();
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

    /// Forgets what has become old. Returns whether there is more to forget later.
    fn clean(&self) -> bool {
        let mut state = self.lock();
        let garbage = state.history.clean(now());
        let more = !state.history.is_empty();
        // Under the lock: what is recorded later finds it.
        self.is_cleaned.store(more, Ordering::Relaxed);
        drop(state);
        drop(garbage);
        more
    }
}

impl Remembered {
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
}

impl NamespaceState {
    /// Sees to it that what is remembered is forgotten in time.
    pub(crate) fn clean_later(self: &Arc<Self>) {
        let Some(memory) = self.memory.as_ref().filter(|memory| !memory.is_cleaned.load(Ordering::Relaxed)) else {
            return;
        };
        let Some(server) = self.server.upgrade() else { return };
        let Some(runtime) = server.try_runtime() else { return };
        if memory.is_cleaned.swap(true, Ordering::Relaxed) {
            return;
        }
        // The task does not keep the namespace, which may make room for another one before all is forgotten.
        let (namespace, max_age) = (Arc::downgrade(self), memory.lock().history.max_age());
        // Made before the first poll: a task may be dropped without one.
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
                    // Another task may have begun.
                    guard.disarm();
                    break;
                }
            }
        });
        *memory.cleaning.lock() = Some(cleaning.abort_handle());
    }
}

/// The task that makes a namespace forget. If it is dropped, by a runtime that ends, another one is to begin.
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
