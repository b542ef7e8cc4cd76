use std::{
    future::{Future, poll_fn},
    hash,
    pin::pin,
    sync::{Arc, LazyLock},
};

use axum::{
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use futures_util::future::select;
use http::{StatusCode, request::Parts};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    engine::{ConnectionRequest, ProtocolVersion, Transport},
    packet::read_json,
    room::{IntoRooms, Room, SocketId},
    server::{LayerId, Socket},
};

/// The id of the sender that is dropped when a socket is closed.
static END: LazyLock<LayerId> = LazyLock::new(LayerId::new);

/// A handle to a socket: a client in a namespace. Cloning is cheap.
///
/// ```
/// use tower_socketio::{Namespace, SocketRef, extract::Data};
///
/// async fn joined(socket: SocketRef) {
///     socket.join("lobby");
///     socket.emit("welcome", &socket.id()).ok();
/// }
///
/// async fn message(socket: SocketRef, Data(text): Data<String>) {
///     socket.to("lobby").emit("message", &text).ok();
/// }
///
/// let chat: Namespace = Namespace::new().on_connect(joined).on("message", message);
/// # let _ = chat;
/// ```
///
/// It is an extractor in event handlers, in [`on_connect`](crate::Namespace::on_connect) and in its layers. A clone can be
/// stored. After the socket has been disconnected, `emit` fails (unless [recovery](crate::SocketIoConfig::recovery) records the
/// event), and `join` has no effect.
///
/// # Before the socket is accepted
///
/// In `on_connect` and its layers, the client has not been accepted yet. Events for the socket are buffered, and follow the
/// CONNECT packet when the socket is accepted. From `on_connect` on, the socket is a member of its rooms. If it is rejected, all
/// of this is undone.
#[derive(Debug, Clone)]
pub struct SocketRef(Arc<Socket>);

impl SocketRef {
    pub(crate) fn inner(&self) -> &Arc<Socket> {
        &self.0
    }

    /// Returns the public id. It is random, and different in each namespace.
    #[must_use]
    pub fn id(&self) -> &SocketId {
        &self.0.id
    }

    /// Returns `true` if the socket has been accepted and has not been disconnected.
    ///
    /// A socket that has lost its connection is not connected, even if [recovery](crate::SocketIoConfig::recovery) records the
    /// events that are [emitted](Self::emit) to it. A client that returns gets a new socket with the same [`id`](Self::id).
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.0.is_connected()
    }

    /// Returns the current transport. An upgrade changes it.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.0.client.connection.transport()
    }

    /// Returns the revision of the Engine.IO protocol that the client uses.
    #[must_use]
    pub fn protocol(&self) -> ProtocolVersion {
        self.0.client.connection.wire_format.protocol
    }

    /// Returns the HTTP request that opened the connection.
    #[must_use]
    pub fn request(&self) -> &ConnectionRequest {
        &self.0.client.connection.request
    }

    /// Returns `true` if the client has been recovered: it lost its connection and returned with its id, rooms and data, and gets
    /// all events that it missed. See [`recovery`](crate::SocketIoConfig::recovery).
    #[must_use]
    pub fn is_recovered(&self) -> bool {
        self.0.is_recovered()
    }

    /// Deserializes the data stored by [`set_data`](Self::set_data). `None` if there is none.
    ///
    /// # Errors
    ///
    /// Returns an error if the data does not match the type.
    pub fn data<T: DeserializeOwned + Send>(&self) -> serde_json::Result<Option<T>> {
        self.0.data_bytes().map(|json| read_json(&json)).transpose()
    }

    /// Stores data on the socket as JSON. It survives a recovery, and [`fetch_sockets`](crate::SocketIo::fetch_sockets) returns
    /// it. Use [`extensions`](Self::extensions) for values that cannot be serialized.
    ///
    /// # Errors
    ///
    /// Returns an error if the data cannot be encoded as JSON.
    pub fn set_data<T: Serialize + ?Sized>(&self, data: &T) -> serde_json::Result<()> {
        self.0.set_data(Some(serde_json::to_vec(data)?.into()));
        Ok(())
    }

    /// Joins rooms. Has no effect for rooms that the socket is already in.
    ///
    /// # Complexity
    ///
    /// Constant for each room. If a broadcast to the room is in progress, linear in its members, once.
    pub fn join(&self, rooms: impl IntoRooms) {
        self.0.join(rooms.into_rooms());
    }

    /// Leaves rooms. A socket cannot leave the room of its own id.
    pub fn leave(&self, rooms: impl IntoRooms) {
        rooms.into_rooms().for_each(|room| self.0.leave(&room));
    }

    /// Leaves all rooms except that of its own id.
    pub fn leave_all(&self) {
        self.0.leave_all();
    }

    /// Returns the rooms that the socket is in, including the room of its id, as in Node. Empty after the disconnection.
    #[must_use]
    pub fn rooms(&self) -> Vec<Room> {
        self.0.rooms()
    }

    /// Returns the rooms that the socket has joined: [`rooms`](Self::rooms) without the room of its id.
    #[must_use]
    pub fn joined_rooms(&self) -> Vec<Room> {
        let mut rooms = self.rooms();
        rooms.retain(|room| room.as_str() != self.id().as_str());
        rooms
    }

    /// Returns `true` if the socket is in a room. It is always in the room of its id, until it is disconnected.
    ///
    /// ```
    /// use tower_socketio::{SocketRef, extract::Data};
    ///
    /// async fn say(socket: SocketRef, Data((room, text)): Data<(String, String)>) -> Result<(), &'static str> {
    ///     if !socket.is_in(&room) {
    ///         return Err("you are not in this room");
    ///     }
    ///     socket.to(room).emit("said", &text).ok();
    ///     Ok(())
    /// }
    /// # let _ = tower_socketio::Namespace::<()>::new().on("say", say);
    /// ```
    #[must_use]
    pub fn is_in(&self, room: &str) -> bool {
        self.0.is_in(room)
    }

    /// Disconnects the socket from its namespace. The connection stays open, and the client may join again.
    ///
    /// The client gets what was emitted before. Its `disconnect` event has the reason "io server disconnect", after which the JavaScript
    /// client does not reconnect by itself, but may call `connect()`.
    ///
    /// If the socket has not been accepted yet, it is rejected, whatever `on_connect` returns.
    pub fn disconnect(&self) {
        self.0.disconnect();
    }

    /// Disconnects all sockets of the connection, and closes it. The client gets what was emitted before, and does not reconnect by
    /// itself: see [`disconnect`](Self::disconnect).
    pub fn disconnect_all(&self) {
        self.0.client.disconnect_all();
    }

    /// Waits until everything that was emitted to this client has been written to the network, or until it is disconnected.
    ///
    /// A producer that awaits this regularly does not fill the send buffer of a slow client.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn drained(&self) {
        poll_fn(|cx| self.0.client.connection.poll_drained(cx.waker())).await;
    }

    /// Waits until the socket has been disconnected and has left its rooms. Returns immediately if it has. Handlers of
    /// `on_disconnect` may be running.
    ///
    /// The future keeps no reference to the socket.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut end = self.0.with_layer_data(*END, || watch::Sender::new(()), |sender| sender.subscribe());
        async move {
            // The sender is dropped with the socket's layer data and sends nothing.
            let _ = end.changed().await;
        }
    }

    /// Spawns a task that ends with the socket: `future` is dropped when the socket has been [`closed`](Self::closed), at the
    /// `.await` where it is.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_socketio::SocketRef;
    ///
    /// async fn joined(socket: SocketRef) {
    ///     let clock = socket.clone();
    ///     socket.spawn(async move {
    ///         let mut interval = tokio::time::interval(Duration::from_secs(1));
    ///         loop {
    ///             interval.tick().await;
    ///             clock.volatile().emit("tick", &()).ok();
    ///         }
    ///     });
    /// }
    /// # let _: tower_socketio::Namespace = tower_socketio::Namespace::new().on_connect(joined);
    /// ```
    ///
    /// In `on_connect` the task starts before the client is accepted, and ends if it is rejected.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let closed = self.closed();
        self.0.client.connection.runtime.spawn(async move {
            select(pin!(closed), pin!(future)).await;
        })
    }

    /// Returns `true` if an event could be sent immediately. See [`volatile`](Self::volatile).
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.is_connected() && self.0.client.connection.inspect(|session| session.is_writable())
    }

    /// Returns how many bytes are queued for this client.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.0.client.connection.inspect(|session| session.buffered_bytes())
    }

    /// Returns how many events of this socket are being handled. Limited by
    /// [`max_concurrent_events`](crate::SocketIoConfig::max_concurrent_events).
    #[must_use]
    pub fn running_events(&self) -> usize {
        self.0.running_events()
    }

    /// Returns how many acks the client has not sent yet.
    #[must_use]
    pub fn pending_acks(&self) -> usize {
        self.0.acks.len()
    }
}

impl From<Arc<Socket>> for SocketRef {
    fn from(socket: Arc<Socket>) -> Self {
        Self(socket)
    }
}

impl PartialEq for SocketRef {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SocketRef {}

impl hash::Hash for SocketRef {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

/// In `on_connect` and the layers around it.
impl<S: Send + Sync> FromRequestParts<S> for SocketRef {
    type Rejection = MissingSocket;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get::<Self>().cloned().ok_or(MissingSocket)
    }
}

/// In `on_connect` and the layers around it.
impl<S: Send + Sync> FromRequestParts<S> for Transport {
    type Rejection = MissingSocket;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        SocketRef::from_request_parts(parts, state).await.map(|socket| socket.transport())
    }
}

/// In `on_connect` and the layers around it.
impl<S: Send + Sync> FromRequestParts<S> for ProtocolVersion {
    type Rejection = MissingSocket;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        SocketRef::from_request_parts(parts, state).await.map(|socket| socket.protocol())
    }
}

/// The rejection of [A property of the socket] outside of a CONNECT request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a `SocketRef` exists only on the CONNECT request of a namespace")]
pub struct MissingSocket;

impl IntoResponse for MissingSocket {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}
