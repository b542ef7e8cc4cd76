use std::{future::poll_fn, hash, sync::Arc};

use axum::{
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    engine::{ConnectionRequest, ProtocolVersion, Transport},
    packet::read_json,
    room::{IntoRooms, Room, SocketId},
    server::Socket,
};

/// A client in a namespace. Cloning is cheap.
///
/// It is an extractor in event handlers, in [`on_connect`](crate::Namespace::on_connect) and in the layers around that. A
/// clone may be kept: after the disconnection emitting fails (unless [recovery](crate::SocketIoConfig::recovery) keeps the event),
/// joining does nothing, and nothing leaks.
///
/// # Before the socket is accepted
///
/// In `on_connect`, and in the layers before it, the client has not been told yet. What is emitted to the socket is held
/// until the answer accepts it, and then follows the CONNECT packet; joins count from `on_connect` on. If the answer
/// refuses the socket, all of that is undone.
#[derive(Debug, Clone)]
pub struct SocketRef(Arc<Socket>);

impl SocketRef {
    pub(crate) fn inner(&self) -> &Arc<Socket> {
        &self.0
    }

    /// The public id: random, and another one in each namespace.
    #[must_use]
    pub fn id(&self) -> &SocketId {
        &self.0.id
    }

    /// Whether the socket has been accepted and has not been disconnected.
    ///
    /// A socket that has lost its connection is not connected any more, even if [recovery](crate::SocketIoConfig::recovery)
    /// keeps what is [emitted](Self::emit) to it. The client that comes back has a new socket with the same
    /// [`id`](Self::id).
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.0.is_connected()
    }

    /// The transport that carries the connection now: an upgrade changes it.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.0.client.connection.transport()
    }

    /// The revision of the Engine.IO protocol that the client speaks.
    #[must_use]
    pub fn protocol(&self) -> ProtocolVersion {
        self.0.client.connection.wire_format.protocol
    }

    /// The HTTP request that opened the connection.
    #[must_use]
    pub fn request(&self) -> &ConnectionRequest {
        &self.0.client.connection.request
    }

    /// Whether the client lost its connection and came back as the socket that it was: with its id, its rooms and its data,
    /// and with everything that it missed. See [`recovery`](crate::SocketIoConfig::recovery).
    #[must_use]
    pub fn is_recovered(&self) -> bool {
        self.0.is_recovered()
    }

    /// What [`set_data`](Self::set_data) has kept. `None` if nothing has been.
    ///
    /// # Errors
    ///
    /// If it does not fit the type.
    pub fn data<T: DeserializeOwned + Send>(&self) -> serde_json::Result<Option<T>> {
        self.0.data_bytes().map(|json| read_json(&json)).transpose()
    }

    /// Keeps something about the socket that can be serialised: it survives a recovery, and
    /// [`fetch_sockets`](crate::SocketIo::fetch_sockets) shows it. What cannot be serialised belongs into the
    /// [`extensions`](Self::extensions).
    ///
    /// # Errors
    ///
    /// If it cannot be encoded as JSON.
    pub fn set_data<T: Serialize + ?Sized>(&self, data: &T) -> serde_json::Result<()> {
        self.0.set_data(Some(serde_json::to_vec(data)?.into()));
        Ok(())
    }

    /// Joins rooms. Those that the socket is in already are left as they are.
    ///
    /// # Complexity
    ///
    /// Constant for each room, unless a broadcast to it is under way: then linear in its members, once.
    pub fn join(&self, rooms: impl IntoRooms) {
        self.0.join(rooms.into_rooms());
    }

    /// Leaves rooms. The room of its own id a socket never leaves.
    pub fn leave(&self, rooms: impl IntoRooms) {
        rooms.into_rooms().for_each(|room| self.0.leave(&room));
    }

    /// Leaves all rooms except that of its own id.
    pub fn leave_all(&self) {
        self.0.leave_all();
    }

    /// The rooms that the socket is in, that of its own id among them. Empty after the disconnection.
    #[must_use]
    pub fn rooms(&self) -> Vec<Room> {
        self.0.rooms()
    }

    /// Whether the socket is in a room. It is in that of its own id, and after the disconnection in none.
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

    /// Disconnects the socket from its namespace. The connection stays, and the client may join again.
    ///
    /// A socket that is not accepted yet is refused, whatever `on_connect` answers.
    pub fn disconnect(&self) {
        self.0.kick();
    }

    /// Disconnects all sockets of the connection, then closes it.
    pub fn disconnect_all(&self) {
        self.0.client.disconnect_all();
    }

    /// Waits until everything that was emitted to this client has been written to the network, or it is gone.
    ///
    /// A producer that awaits this now and then cannot outrun its client.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn drained(&self) {
        poll_fn(|cx| self.0.client.connection.poll_drained(cx.waker())).await;
    }

    /// Whether what is emitted now would leave at once: the question that [`volatile`](Self::volatile) asks.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.is_connected() && self.0.client.connection.inspect(|session| session.is_writable())
    }

    /// How many bytes wait to be sent to this client.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.0.client.connection.inspect(|session| session.buffered_bytes())
    }

    /// How many of the client's events are being handled, up to
    /// [`max_concurrent_events`](crate::SocketIoConfig::max_concurrent_events).
    #[must_use]
    pub fn running_events(&self) -> usize {
        self.0.running_events()
    }

    /// How many acks the client owes.
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

/// A property of the socket was asked for outside of a CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a `SocketRef` exists only on the CONNECT request of a namespace")]
pub struct MissingSocket;

impl IntoResponse for MissingSocket {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}
