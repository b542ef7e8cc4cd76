//! The phases of a socket, and what it carries.

use std::{
    any::Any,
    mem::take,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::Extensions;
use parking_lot::{Mutex, MutexGuard};

use crate::{
    engine::{CloseCause, ProtocolVersion},
    packet::encode_simple,
    recovery::{RecoverySession, Restored},
    room::{Room, SocketId},
};

use super::{
    acks::Acks,
    buffer::{Buffer, Held},
    layer_data::{LayerData, LayerId},
    reason::DisconnectReason,
    state::{Client, Memory, NamespaceState, Socket},
};

/// What a client is taken to have sent that sends nothing.
pub(super) const EMPTY_AUTH: &[u8] = b"{}";

pub(super) const ADMITTING: u8 = 0;
pub(super) const HELD: u8 = 1;
pub(super) const CONNECTED: u8 = 2;
/// It ended, and its client shall not come back as this socket.
pub(super) const CLOSED: u8 = 3;
/// It ended because its connection was lost.
pub(super) const LOST: u8 = 4;

impl Socket {
    pub(crate) fn new(
        client: Arc<Client>,
        namespace: Arc<NamespaceState>,
        auth: &[u8],
        restored: Option<Arc<Restored>>,
    ) -> Arc<Self> {
        let saved = restored.as_ref().map(|restored| &*restored.saved);
        let recoverable = namespace.memory.is_some() && client.connection.wire_format.protocol == ProtocolVersion::V4;
        Arc::new(Self {
            id: saved.map_or_else(
                || SocketId::new(client.connection.wire_format.protocol, &client.connection.id, namespace.name()),
                |saved| saved.id.clone(),
            ),
            data: Mutex::new(saved.and_then(|saved| saved.data.clone())),
            session: recoverable.then(|| Box::new(RecoverySession::new(restored))),
            namespace,
            client,
            acks: Acks::default(),
            extensions: Mutex::default(),
            layer_data: LayerData::default(),
            auth: Mutex::new(Some(if auth == EMPTY_AUTH { Box::default() } else { auth.into() })),
            application_data: OnceLock::new(),
            disconnect_due: AtomicBool::new(false),
            declined: AtomicBool::new(false),
            phase: AtomicU8::new(ADMITTING),
            buffer: Mutex::default(),
            member: Mutex::new(None),
            running: AtomicUsize::new(0),
        })
    }

    pub(super) fn phase(&self) -> u8 {
        self.phase.load(Ordering::Acquire)
    }

    pub(super) fn buffer(&self) -> MutexGuard<'_, Option<Box<Buffer>>> {
        self.buffer.lock()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.phase() == CONNECTED
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.phase() >= CLOSED
    }

    /// What remembers it, and as what, if it can be recovered.
    pub(super) fn recovery(&self) -> Option<(&Memory, &RecoverySession)> {
        Some((self.namespace.memory.as_ref()?, self.session.as_deref()?))
    }

    /// `on_connect` has been reached, or would have been if there were one.
    pub(crate) fn was_reached(&self) -> bool {
        self.phase() != ADMITTING
    }

    /// `on_connect` refuses the client: it has cleaned up after itself, and no handler of a disconnection runs.
    pub(crate) fn decline(&self) {
        self.declined.store(true, Ordering::Release);
    }

    pub(crate) fn is_admitting(&self) -> bool {
        matches!(self.phase(), ADMITTING | HELD)
    }

    /// Whether the connection was lost, and nobody wanted the socket to end.
    pub(crate) fn is_lost(&self) -> bool {
        self.phase() == LOST
    }

    /// Whether either side wanted the socket to end.
    pub(crate) fn was_dismissed(&self) -> bool {
        self.phase() == CLOSED
    }

    /// Whether its client lost its connection, and came back as the socket that it was.
    pub(crate) fn is_recovered(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.recovered)
    }

    // What it carries.

    /// What came with CONNECT, as JSON. `None` once the socket has left.
    pub(crate) fn auth(&self) -> Option<Box<[u8]>> {
        self.auth.lock().clone().map(|auth| if auth.is_empty() { EMPTY_AUTH.into() } else { auth })
    }

    /// Drops the auth payload, so that a `SocketRef` that outlives the socket does not keep it.
    pub(crate) fn forget_auth(&self) {
        let auth = self.auth.lock().take();
        drop(auth);
    }

    /// What handlers keep about the socket, as JSON.
    pub(crate) fn data_bytes(&self) -> Option<Bytes> {
        self.data.lock().clone()
    }

    pub(crate) fn set_data(&self, json: Option<Bytes>) {
        *self.data.lock() = json;
    }

    pub(crate) fn extension<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        match &*self.extensions.lock() {
            Some(own) => own.get().cloned(),
            None => self.client.connection.request.extension().cloned(),
        }
    }

    pub(crate) fn change_extensions<R>(&self, change: impl FnOnce(&mut Extensions) -> R) -> R {
        let mut own = self.extensions.lock();
        let result = change(own.get_or_insert_with(|| self.client.connection.request.to_extensions()));
        drop(own);
        // After its last handler, what is set is not kept.
        if self.is_closed() && self.auth.lock().is_none() {
            self.drop_extensions();
        }
        result
    }

    /// Drops the extensions of a socket that has left once its last handler has ended: one of them may hold the socket.
    pub(crate) fn drop_extensions(&self) {
        if self.is_closed() && self.running_events() == 0 {
            let own = self.extensions.lock().take();
            self.client.server.catch_panic(|| drop(own));
        }
    }

    pub(crate) fn all_extensions(&self) -> Extensions {
        self.extensions.lock().clone().unwrap_or_else(|| self.client.connection.request.to_extensions())
    }

    /// Keeps a value of a layer until the socket is closed. If it is closed already, the value is dropped at once.
    pub(crate) fn keep(&self, value: impl Any + Send) {
        self.layer_data.add(value, || self.is_closed());
    }

    /// Changes the value that a layer keeps on this socket, which is made if there is none. What is made for a closed
    /// socket is not kept.
    ///
    /// `change` must not run user code: a lock is held.
    pub(crate) fn with_kept<T: Any + Send, R>(
        &self,
        layer: LayerId,
        make: impl FnOnce() -> T,
        change: impl FnOnce(&mut T) -> R,
    ) -> R {
        self.layer_data.with(layer, || self.is_closed(), make, change)
    }

    // Admission.

    /// The layers have let the CONNECT through: the socket joins the namespace, held.
    ///
    /// What the layers put on the request stays on the socket; if there are none, nothing has to be kept.
    ///
    /// Returns false if the namespace has been removed, or if the session of a client that returns cannot go on any more. In the
    /// latter case the connection is closed: the client connects again, and gets a new session.
    pub(crate) fn hold(self: &Arc<Self>, extensions: Option<Extensions>) -> bool {
        if let Some(extensions) = extensions {
            self.merge_extensions(extensions);
        }
        match self.recovery() {
            Some((memory, session)) => self.hold_recoverable(memory, session),
            None => {
                let mut buffer = self.buffer();
                if self.phase() == ADMITTING {
                    let rooms = buffer.as_mut().map(|buffer| take(&mut buffer.rooms)).unwrap_or_default();
                    if self.enter(&[], &rooms).is_none() {
                        drop(buffer);
                        self.close(DisconnectReason::ServerNamespaceDisconnect);
                        return false;
                    }
                    self.phase.store(HELD, Ordering::Release);
                }
                true
            }
        }
    }

    /// As [`hold`](Self::hold). The session begins, or goes on in the rooms that it was in.
    fn hold_recoverable(self: &Arc<Self>, memory: &Memory, session: &RecoverySession) -> bool {
        let restored = session.restored();
        let mut state = memory.lock();
        let mut buffer = self.buffer();
        if self.phase() != ADMITTING {
            return true;
        }
        let Some(missed) = state.join(self, session, restored.as_deref()) else {
            drop(buffer);
            drop(state);
            self.client
                .connection
                .abort(CloseCause::Forced("what the client missed was forgotten before it was admitted"));
            self.close(DisconnectReason::TransportClose);
            return false;
        };
        let changes = buffer.as_mut().map(|buffer| (take(&mut buffer.rooms), take(&mut buffer.left)));
        let (rooms, left) = changes.unwrap_or_default();
        let was_in = restored.iter().flat_map(|restored| restored.rooms());
        let stayed_in: Vec<Room> = was_in.filter(|room| !left.contains(room)).cloned().collect();
        let Some(joined) = self.enter(&stayed_in, &rooms) else {
            drop(buffer);
            drop(state);
            self.close(DisconnectReason::ServerNamespaceDisconnect);
            return false;
        };
        left.iter().for_each(|room| state.exit(session, room));
        joined.into_iter().for_each(|room| state.enter(session, room));
        // What layers emitted to the socket before it was there follows what its client missed.
        for held in buffer.iter_mut().flat_map(|buffer| &mut buffer.packets).filter(|held| held.early) {
            *held = Held { packet: state.stamp_early(self, session, &held.packet), early: false };
        }
        self.phase.store(HELD, Ordering::Release);
        drop(buffer);
        drop(state);
        // Without the locks: this may run a parser.
        for packet in &missed {
            self.client.packets_of(packet);
        }
        if !missed.is_empty() {
            self.buffer().get_or_insert_default().missed = missed;
        }
        true
    }

    /// Enters the namespace, the rooms that the socket was in, and new ones. Returns those that are new indeed, or `None` if the
    /// namespace has been removed.
    fn enter(self: &Arc<Self>, was_in: &[Room], rooms: &[Room]) -> Option<Vec<Room>> {
        self.namespace.with_registry(|registry| {
            if self.namespace.is_removed() {
                return None;
            }
            let id = registry.insert(self.id.room(), self.clone());
            for room in was_in {
                registry.join(id, room);
            }
            Some(rooms.iter().filter_map(|room| registry.join(id, room).cloned()).collect())
        })
    }

    /// What the socket had before it was lost, what layers gave it, what they put on the request: the last one counts.
    fn merge_extensions(&self, request: Extensions) {
        // Values are the user's: they are cloned and dropped while nothing is locked.
        let mut merged = self.session.as_ref().map(|session| session.restored_extensions()).unwrap_or_default();
        let own = self.extensions.lock().take();
        merged.extend(own.unwrap_or_default());
        merged.extend(request);
        let before = self.extensions.lock().replace(merged);
        drop(before);
    }

    /// The socket is accepted: CONNECT goes out, then what the client missed, then everything that was held.
    ///
    /// Node sends what was missed first. But the JavaScript client keeps events that precede CONNECT in a buffer, which it
    /// neither clears when the connection is cut nor counts in its offset: a cut in between would give duplicates.
    ///
    /// Answers whether the socket had not been closed in the meantime.
    pub(crate) fn accept(self: &Arc<Self>) -> bool {
        let payload = match (self.client.connection.wire_format.protocol, &self.session) {
            (ProtocolVersion::V3, _) => String::new(),
            (ProtocolVersion::V4, None) => [r#"{"sid":""#, &self.id, r#""}"#].concat(),
            (ProtocolVersion::V4, Some(session)) => {
                [r#"{"sid":""#, &self.id, r#"","pid":""#, &session.private_id, r#""}"#].concat()
            }
        };
        let connect = encode_simple(b'0', self.namespace.name(), &payload);
        self.client.packets_of(&connect);
        let mut buffer = self.buffer();
        if self.phase() != HELD {
            return false;
        }
        self.client.connection.establish();
        let Buffer { packets, missed, .. } = buffer.take().map(|buffer| *buffer).unwrap_or_default();
        let held = packets.iter().map(|held| &held.packet);
        let settled = self.session.as_ref().map(|session| session.settle());
        let accept = || self.phase.store(CONNECTED, Ordering::Release);
        let waker = self.client.release([&connect].into_iter().chain(&missed).chain(held), accept);
        drop(buffer);
        drop(settled);
        self.namespace.meters().joined();
        if let Some(waker) = waker {
            waker.wake();
        }
        self.client.release_admission(self);
        true
    }
}
