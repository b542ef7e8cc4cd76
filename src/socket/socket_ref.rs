use std::{future::poll_fn, hash, sync::Arc, time::Duration};

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    engine::{ConnectionRequest, ProtocolVersion, Transport},
    io::SocketIo,
    packet::read_json,
    room::{IntoRooms, Room},
};

use super::{
    AckFuture, BroadcastOperator, Client, Conn, EmitError, EmitOperator, Handshake, Socket, SocketExtensions, SocketId,
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

    /// The name of the namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.0.namespace.name()
    }

    /// Whether the socket has been accepted and has not been disconnected.
    ///
    /// A socket that has lost its connection is not connected any more, even if [recovery](crate::SocketIoConfig::recovery)
    /// keeps what is [emitted](Self::emit) to it. The client that comes back has a new socket with the same
    /// [`id`](Self::id).
    #[must_use]
    pub fn connected(&self) -> bool {
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

    /// The client whose socket this is, with its sockets in other namespaces.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.0.client)
    }

    /// The connection that carries this socket and those of the client's other namespaces.
    #[must_use]
    pub fn conn(&self) -> Conn {
        self.client().conn()
    }

    /// The HTTP request that opened the connection.
    #[must_use]
    pub fn request(&self) -> &ConnectionRequest {
        &self.0.client.connection.request
    }

    /// The request and the auth payload with which the client connected.
    #[must_use]
    pub fn handshake(&self) -> Handshake<'_> {
        Handshake { socket: &self.0 }
    }

    /// Values that belong to the socket.
    #[must_use]
    pub fn extensions(&self) -> SocketExtensions<'_> {
        SocketExtensions { socket: &self.0 }
    }

    /// Whether the client lost its connection and came back as the socket that it was: with its id, its rooms and its data,
    /// and with everything that it missed. See [`recovery`](crate::SocketIoConfig::recovery).
    #[must_use]
    pub fn recovered(&self) -> bool {
        self.0.recovered()
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

    /// The server.
    #[must_use]
    pub fn io(&self) -> SocketIo {
        SocketIo::new(self.0.client.server.clone())
    }

    /// Emits an event to this socket. A tuple is several arguments, anything else one; bytes (`bytes::Bytes`,
    /// `serde_bytes`) leave as attachments, wherever they stand.
    ///
    /// It never waits: the event is queued, within
    /// [`max_buffered_bytes`](crate::SocketIoConfig::max_buffered_bytes).
    ///
    /// ```
    /// # fn doc(socket: tower_socketio::SocketRef) -> Result<(), tower_socketio::EmitError> {
    /// socket.emit("greeting", "hello")?;              // one argument
    /// socket.emit("moved", &(10, 20))?;               // two
    /// socket.emit("path", &[(0, 0), (10, 20)])?;      // one, a list
    /// socket.emit("done", &())?;                      // none
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// With [recovery](crate::SocketIoConfig::recovery) an event is kept, as one that is emitted to the room of the id, if the
    /// socket has lost its connection and its client may come back, or if the client is let go because it is too slow. Then
    /// this returns `Ok`. If the client has come back already, its new socket gets the event.
    ///
    /// # Errors
    ///
    /// If the arguments cannot be encoded, the name is reserved, the socket is disconnected, or the client is too slow.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        EmitOperator::new(self).emit(event, args)
    }

    /// Emits an event to this socket and asks for an ack.
    ///
    /// The answer is read as `R`: one argument, or several if it is a tuple. It is waited for
    /// [`ack_timeout`](crate::SocketIoConfig::ack_timeout), or as long as [`timeout`](Self::timeout) says.
    ///
    /// ```no_run
    /// # async fn doc(socket: tower_socketio::SocketRef) -> Result<(), tower_socketio::AckError> {
    /// let name: String = socket.emit_with_ack("who are you?", &()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// In `on_connect` the socket is not accepted yet: the event is held back until then, so spawn a task that waits for the
    /// ack. Whoever waits inside of `on_connect` waits in vain, and is told so when the time is up.
    pub fn emit_with_ack<R>(&self, event: &str, args: &(impl Serialize + ?Sized)) -> AckFuture<R> {
        EmitOperator::new(self).emit_with_ack(event, args)
    }

    /// Drops what is emitted next unless it can leave at once: for what is soon outdated.
    ///
    /// It can if nothing waits before it, and a poll is pending or everything has been written to the WebSocket.
    pub fn volatile(&self) -> EmitOperator {
        EmitOperator::new(self).volatile()
    }

    /// Whether what is emitted next may be compressed. Default: true.
    ///
    /// `false` is for what is compressed already, images for example, and for secrets beside which stands what others
    /// have chosen. It matters on long-polling alone, and there with the feature `compression`: the answer to a poll is
    /// left as it is if all its packets ask for that. WebSocket messages are never compressed.
    pub fn compress(&self, compress: bool) -> EmitOperator {
        EmitOperator::new(self).compress(compress)
    }

    /// Waits no longer than this for acks of what is emitted next.
    pub fn timeout(&self, timeout: Duration) -> EmitOperator {
        EmitOperator::new(self).timeout(timeout)
    }

    /// Everyone in these rooms except this socket.
    pub fn to(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        EmitOperator::new(self).to(rooms)
    }

    /// Everyone in these rooms, this socket included if it is in one of them: not Node's `socket.in`, which is
    /// [`to`](Self::to).
    pub fn within(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        EmitOperator::new(self).within(rooms)
    }

    /// Everyone in the namespace except this socket and whoever is in these rooms.
    pub fn except(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        EmitOperator::new(self).except(rooms)
    }

    /// Everyone in the namespace, this socket included.
    pub fn all(&self) -> BroadcastOperator {
        EmitOperator::new(self).all()
    }

    /// Everyone in the namespace except this socket.
    pub fn broadcast(&self) -> BroadcastOperator {
        EmitOperator::new(self).broadcast()
    }

    /// Everyone in the namespace except this socket, on this node only.
    pub fn local(&self) -> BroadcastOperator {
        EmitOperator::new(self).local()
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
    pub fn writable(&self) -> bool {
        self.connected() && self.0.client.connection.inspect(|session| session.is_writable())
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
    type Rejection = crate::extract::NotAConnect;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get::<Self>().cloned().ok_or(crate::extract::NotAConnect)
    }
}
