//! The phases and values of a socket.

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

use crate::{
    engine::{CloseCause, ProtocolVersion, Session},
    packet::encode_simple,
    room::{Room, SocketId},
    util::{Mutex, MutexGuard},
};

use super::{
    acks::Acks,
    buffer::{Buffer, BufferedPacket},
    layer_data::{LayerData, LayerId},
    reason::DisconnectReason,
    recovery_session::RecoverySession,
    state::{Change, Client, Memory, NamespaceState, Socket},
};

/// The auth payload of a client that sends none.
pub(super) const EMPTY_AUTH: &[u8] = b"{}";

pub(super) const ADMITTING: u8 = 0;
pub(super) const ACCEPTING: u8 = 1;
pub(super) const CONNECTED: u8 = 2;
/// It was ended on purpose. Its client cannot recover it.
pub(super) const CLOSED: u8 = 3;
/// It was ended by the loss of its connection.
pub(super) const LOST: u8 = 4;

impl Socket {
    pub(crate) fn new(
        client: Arc<Client>,
        namespace: Arc<NamespaceState>,
        auth: &[u8],
        session: Option<RecoverySession>,
    ) -> Arc<Self> {
        let identity = session.as_ref().and_then(RecoverySession::identity);
        let (id, data) = identity.unwrap_or_else(|| {
            (SocketId::new(client.connection.wire_format.protocol, &client.connection.id, namespace.name()), None)
        });
        let is_observed = client.server.is_observed();
        Arc::new(Self {
            id,
            data: Mutex::new(data.map(Box::new)),
            session: session.map(Box::new),
            namespace,
            client,
            acks: Acks::default(),
            extensions: Mutex::default(),
            layer_data: LayerData::default(),
            auth: Mutex::new(Some(if auth == EMPTY_AUTH { Box::default() } else { auth.into() })),
            application_data: OnceLock::new(),
            is_watched: AtomicBool::new(is_observed),
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

    /// Returns the namespace's memory and the socket's session, if it can be recovered.
    pub(super) fn recovery(&self) -> Option<(&Memory, &RecoverySession)> {
        Some((self.namespace.memory.as_ref()?, self.session.as_deref()?))
    }

    /// Returns `true` if `on_connect` has been reached, or would have been if there were one.
    pub(crate) fn has_entered(&self) -> bool {
        self.phase() != ADMITTING
    }

    /// Records that `on_connect` itself rejects the client, so that no handler of the disconnection runs.
    pub(crate) fn decline(&self) {
        self.declined.store(true, Ordering::Release);
    }

    pub(crate) fn is_admitting(&self) -> bool {
        matches!(self.phase(), ADMITTING | ACCEPTING)
    }

    /// Returns `true` if the connection was lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.phase() == LOST
    }

    /// Returns `true` if either side ended the socket on purpose.
    pub(crate) fn was_dismissed(&self) -> bool {
        self.phase() == CLOSED
    }

    /// Returns `true` if the socket was recovered after its connection was lost.
    pub(crate) fn is_recovered(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.recovered)
    }

    // Values.

    /// Returns the auth payload of CONNECT as JSON. `None` if the socket has left.
    pub(crate) fn auth(&self) -> Option<Box<[u8]>> {
        self.auth.lock().clone().map(|auth| if auth.is_empty() { EMPTY_AUTH.into() } else { auth })
    }

    /// Drops the auth payload, so that a `SocketRef` that outlives the socket does not keep it in memory.
    pub(crate) fn forget_auth(&self) {
        let auth = self.auth.lock().take();
        drop(auth);
    }

    /// Returns the data that handlers have stored, as JSON.
    pub(crate) fn data_bytes(&self) -> Option<Bytes> {
        self.data.lock().as_deref().cloned()
    }

    pub(crate) fn set_data(self: &Arc<Self>, json: Option<Bytes>) {
        *self.data.lock() = json.map(Box::new);
        if self.client.server.is_observed() {
            self.client.server.tell(&Change::DataChanged(self));
        }
    }

    /// Shows outgoing events to listeners from now on.
    pub(crate) fn watch(&self) {
        self.is_watched.store(true, Ordering::Release);
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
        // Values set after the last handler are not stored.
        if self.is_closed() && self.auth.lock().is_none() {
            self.drop_extensions();
        }
        result
    }

    /// Drops the extensions of a socket that has left and whose last handler has ended. One of them may hold the socket.
    pub(crate) fn drop_extensions(&self) {
        if self.is_closed() && self.running_events() == 0 {
            let own = self.extensions.lock().take();
            self.client.server.catch_panic(|| drop(own));
        }
    }

    pub(crate) fn all_extensions(&self) -> Extensions {
        self.extensions.lock().clone().unwrap_or_else(|| self.client.connection.request.to_extensions())
    }

    /// Stores a value of a layer until the socket is closed. If it is closed already, the value is dropped immediately.
    pub(crate) fn attach(&self, value: impl Any + Send) {
        self.layer_data.add(value, || self.is_closed());
    }

    /// Calls `change` with the value of a layer, which is created if missing. A value created for a closed socket is not stored.
    ///
    /// `change` must not run user code, because a lock is held.
    pub(crate) fn with_layer_data<T: Any + Send, R>(
        &self,
        layer: LayerId,
        make: impl FnOnce() -> T,
        change: impl FnOnce(&mut T) -> R,
    ) -> R {
        self.layer_data.with(layer, || self.is_closed(), make, change)
    }

    // Admission.

    /// Joins the namespace after the layers have called the inner service. Packets for the socket are buffered until it is
    /// accepted.
    ///
    /// `extensions` are those that the layers set on the request. They are stored on the socket.
    ///
    /// Returns `false` if the namespace has been removed, or if the session of a returning client cannot be continued. In the latter
    /// case the connection is closed, so that the client reconnects and gets a new session.
    pub(crate) fn enter_namespace(self: &Arc<Self>, extensions: Option<Extensions>) -> bool {
        if let Some(extensions) = extensions {
            self.merge_extensions(extensions);
        }
        let joined = match self.recovery() {
            Some((memory, session)) => self.enter_recoverable(memory, session),
            None if self.journaled().is_some() => self.enter_journaled(),
            None => {
                let mut buffer = self.buffer();
                if self.phase() == ADMITTING {
                    let rooms = buffer.as_mut().map(|buffer| take(&mut buffer.rooms)).unwrap_or_default();
                    if self.enter_rooms(&[], &rooms).is_none() {
                        drop(buffer);
                        self.close(DisconnectReason::ServerNamespaceDisconnect);
                        return false;
                    }
                    self.phase.store(ACCEPTING, Ordering::Release);
                }
                true
            }
        };
        if joined && self.namespace.reports_rooms() {
            self.report_rooms(&self.rooms());
        }
        self.tell_room_changes();
        joined
    }

    /// Like [`enter_namespace`](Self::enter_namespace). Begins a session, or continues one in its rooms.
    fn enter_recoverable(self: &Arc<Self>, memory: &Memory, session: &RecoverySession) -> bool {
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
                .abort(CloseCause::Forced("events that the client missed were evicted before it was admitted"));
            self.close(DisconnectReason::TransportClose);
            return false;
        };
        let changes = buffer.as_mut().map(|buffer| (take(&mut buffer.rooms), take(&mut buffer.left)));
        let (rooms, left) = changes.unwrap_or_default();
        let was_in = restored.iter().flat_map(|restored| restored.rooms());
        let stayed_in: Vec<Room> = was_in.filter(|room| !left.contains(room)).cloned().collect();
        let Some(joined) = self.enter_rooms(&stayed_in, &rooms) else {
            drop(buffer);
            drop(state);
            self.close(DisconnectReason::ServerNamespaceDisconnect);
            return false;
        };
        left.iter().for_each(|room| state.exit(session, room));
        joined.into_iter().for_each(|room| state.enter(session, room));
        // Events that layers emitted to the socket before it joined follow those that its client missed.
        for buffered in
            buffer.iter_mut().flat_map(|buffer| &mut buffer.packets).filter(|buffered| buffered.is_unstamped)
        {
            *buffered =
                BufferedPacket { packet: state.stamp_buffered(self, session, &buffered.packet), is_unstamped: false };
        }
        self.phase.store(ACCEPTING, Ordering::Release);
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

    /// Enters the namespace, the rooms of the session, and new rooms. Returns the rooms that the socket was not in, or `None` if the
    /// namespace has been removed.
    pub(super) fn enter_rooms(self: &Arc<Self>, was_in: &[Room], rooms: &[Room]) -> Option<Vec<Room>> {
        self.change_registry(|registry| {
            if self.namespace.is_removed() {
                return None;
            }
            let id = registry.insert(self.clone());
            for room in was_in {
                registry.join(id, room);
            }
            Some(rooms.iter().filter_map(|room| registry.join(id, room).cloned()).collect())
        })
    }

    /// Merges the extensions of the session, those that layers set on the socket, and those of the request. Later ones replace
    /// earlier ones.
    fn merge_extensions(&self, request: Extensions) {
        // Values are the user's: they are cloned and dropped without a lock.
        let mut merged = self.session.as_ref().map(|session| session.restored_extensions()).unwrap_or_default();
        let own = self.extensions.lock().take();
        merged.extend(own.unwrap_or_default());
        merged.extend(request);
        let before = self.extensions.lock().replace(merged);
        drop(before);
    }

    /// Accepts the socket: sends CONNECT, then the events that the client missed, then the buffered packets.
    ///
    /// Node sends the missed events first. But the JavaScript client buffers events that precede CONNECT, and neither clears that
    /// buffer when the connection is lost nor counts its events in the offset: a second loss would lead to duplicates.
    ///
    /// Returns `false` if the socket was closed in the meantime.
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
        // Before the client can send an event, or disconnect.
        let is_told = self.client.server.is_observed() && self.phase() == ACCEPTING;
        if is_told {
            self.client.server.tell(&Change::SocketConnected(self));
        }
        let mut buffer = self.buffer();
        if self.phase() != ACCEPTING {
            drop(buffer);
            if is_told {
                let cause = self.client.connection.inspect(Session::closed);
                let reason = cause.map_or(DisconnectReason::ServerNamespaceDisconnect, Into::into);
                self.client.server.tell(&Change::SocketDisconnected(self, reason));
            }
            return false;
        }
        self.client.connection.establish();
        let Buffer { packets, missed, .. } = buffer.take().map(|buffer| *buffer).unwrap_or_default();
        let buffered = packets.iter().map(|buffered| &buffered.packet);
        let settled = self.session.as_ref().map(|session| session.settle());
        let accept = || self.phase.store(CONNECTED, Ordering::Release);
        let waker = self.client.release([&connect].into_iter().chain(&missed).chain(buffered), accept);
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
