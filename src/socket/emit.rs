use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{room::IntoRooms, server::EmitError};

use super::{acks::AckFuture, broadcast::BroadcastOperator, error::AckError, flags::Flags, socket_ref::SocketRef};

/// Emits to one socket with options. Created by [`SocketRef::volatile`], [`SocketRef::timeout`] and [`SocketRef::compress`].
///
/// ```
/// use tower_socketio::SocketRef;
///
/// /// Emits a position, unless the client is still receiving earlier ones.
/// fn update(socket: &SocketRef, position: (f64, f64)) {
///     socket.volatile().emit("position", &position).ok();
/// }
/// # let _ = update;
/// ```
#[derive(Clone)]
#[must_use = "an operator does nothing until something is emitted"]
pub struct EmitOperator {
    socket: SocketRef,
    flags: Flags,
}

impl EmitOperator {
    pub(super) fn new(socket: &SocketRef) -> Self {
        Self { socket: socket.clone(), flags: Flags::default() }
    }

    /// Drops the event if it cannot be sent immediately.
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Sets whether the event may be compressed. Default: `true`. See [`SocketRef::compress`].
    pub fn compress(mut self, compress: bool) -> Self {
        self.flags.uncompressed = !compress;
        self
    }

    /// Sets how long to wait for the ack. Default: [`ack_timeout`](crate::SocketIoConfig::ack_timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.flags.timeout = Some(timeout);
        self
    }

    /// Emits an event to the socket. See [`SocketRef::emit`].
    ///
    /// # Errors
    ///
    /// Same as [`SocketRef::emit`]. Dropping a volatile event is not an error.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        let socket = self.socket.inner();
        let packet = self.flags.encode(&socket.namespace, Some(socket.client.form), None, event, args)?;
        Ok(socket.emit(packet, self.flags.volatile)?)
    }

    /// Emits an event to the socket and requests an ack. See [`SocketRef::emit_with_ack`].
    pub fn emit_with_ack<R>(&self, event: &str, args: &(impl Serialize + ?Sized)) -> AckFuture<R> {
        let socket = self.socket.inner();
        let id = socket.namespace.next_ack_id();
        let timeout = self.flags.timeout.unwrap_or(socket.client.server.settings.ack_timeout);
        match self.flags.encode(&socket.namespace, Some(socket.client.form), Some(id), event, args) {
            Ok(packet) => AckFuture::emit(socket, id, packet, self.flags.volatile, timeout),
            Err(error) => AckFuture::failed(AckError::emit(error)),
        }
    }

    /// Selects the sockets in these rooms, except this one.
    pub fn to(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.broadcast().to(rooms)
    }

    /// Selects the sockets in these rooms, including this one.
    pub fn within(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.all().to(rooms)
    }

    /// Selects the sockets of the namespace, except this one and those in these rooms.
    pub fn except(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.broadcast().except(rooms)
    }

    /// Selects all sockets of the namespace, including this one.
    pub fn all(&self) -> BroadcastOperator {
        BroadcastOperator::new(self.socket.inner().namespace.clone(), None, self.flags)
    }

    /// Selects all sockets of the namespace, except this one.
    pub fn broadcast(&self) -> BroadcastOperator {
        let socket = self.socket.inner();
        BroadcastOperator::new(socket.namespace.clone(), Some(socket.clone()), self.flags)
    }

    /// Selects the sockets of the namespace on this node, except this one.
    pub fn local(&self) -> BroadcastOperator {
        self.broadcast().local()
    }
}

impl SocketRef {
    /// Emits an event to this socket. A tuple is sent as several arguments, other types as one. Bytes (`bytes::Bytes`,
    /// `serde_bytes`) are sent as attachments, at any depth.
    ///
    /// It does not wait: the event is queued, within [`max_buffered_bytes`](crate::SocketIoConfig::max_buffered_bytes).
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
    /// With [recovery](crate::SocketIoConfig::recovery), `emit` also succeeds if the socket has lost its connection and its
    /// client may return, or if the client is disconnected because it is too slow: the event is recorded, like one that is
    /// emitted to the room of the socket's id. If the client has already returned, its new socket gets the event.
    ///
    /// # Errors
    ///
    /// Returns an error if the arguments cannot be encoded, the name is reserved, the socket is disconnected, or the client's
    /// send buffer is full.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        EmitOperator::new(self).emit(event, args)
    }

    /// Emits an event to this socket and requests an ack.
    ///
    /// The ack is deserialized as `R`: several arguments as a tuple, otherwise one. The future fails after
    /// [`ack_timeout`](crate::SocketIoConfig::ack_timeout), or the time set by [`timeout`](Self::timeout).
    ///
    /// ```no_run
    /// # async fn doc(socket: tower_socketio::SocketRef) -> Result<(), tower_socketio::AckError> {
    /// let name: String = socket.emit_with_ack("who are you?", &()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// In `on_connect` the event is buffered until the socket is accepted. Wait for the ack in a spawned task: if `on_connect`
    /// waits for it, the future fails after the timeout.
    pub fn emit_with_ack<R>(&self, event: &str, args: &(impl Serialize + ?Sized)) -> AckFuture<R> {
        EmitOperator::new(self).emit_with_ack(event, args)
    }

    /// Drops the next event unless it can be sent immediately. For data that is soon outdated.
    ///
    /// An event can be sent immediately if no packet is queued, and a poll is pending or everything has been written to the
    /// WebSocket.
    pub fn volatile(&self) -> EmitOperator {
        EmitOperator::new(self).volatile()
    }

    /// Sets whether the next event may be compressed. Default: `true`.
    ///
    /// Use `false` for data that is already compressed, such as images, and for secrets in the same packet as data that others
    /// control. It has an effect on long-polling with the feature `compression`, where a response is not compressed if all of its
    /// packets are excluded, and on WebSockets with the feature `permessage-deflate`. See [the guide](crate::guide::compression).
    pub fn compress(&self, compress: bool) -> EmitOperator {
        EmitOperator::new(self).compress(compress)
    }

    /// Sets how long to wait for the ack of the next event.
    pub fn timeout(&self, timeout: Duration) -> EmitOperator {
        EmitOperator::new(self).timeout(timeout)
    }

    /// Selects the sockets in these rooms, except this one.
    pub fn to(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        EmitOperator::new(self).to(rooms)
    }

    /// Selects the sockets in these rooms, including this one if it is in one of them. Unlike Node's `socket.in`, which
    /// corresponds to [`to`](Self::to).
    pub fn within(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        EmitOperator::new(self).within(rooms)
    }

    /// Selects the sockets of the namespace, except this one and those in these rooms.
    pub fn except(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        EmitOperator::new(self).except(rooms)
    }

    /// Selects all sockets of the namespace, including this one.
    pub fn all(&self) -> BroadcastOperator {
        EmitOperator::new(self).all()
    }

    /// Selects all sockets of the namespace, except this one.
    pub fn broadcast(&self) -> BroadcastOperator {
        EmitOperator::new(self).broadcast()
    }

    /// Selects the sockets of the namespace on this node, except this one.
    pub fn local(&self) -> BroadcastOperator {
        EmitOperator::new(self).local()
    }
}

impl fmt::Debug for EmitOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmitOperator").field("socket", self.socket.id()).field("flags", &self.flags).finish()
    }
}
