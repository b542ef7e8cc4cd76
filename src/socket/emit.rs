use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{room::IntoRooms, server::EmitError};

use super::{acks::AckFuture, broadcast::BroadcastOperator, error::AckError, flags::Flags, socket_ref::SocketRef};

/// Emits to one socket in another way than the default. Made by [`SocketRef::volatile`], [`SocketRef::timeout`] and
/// [`SocketRef::compress`].
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

    /// Drops the event if it cannot leave at once.
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Whether the event may be compressed. See [`SocketRef::compress`].
    pub fn compress(mut self, compress: bool) -> Self {
        self.flags.uncompressed = !compress;
        self
    }

    /// Waits no longer than this for acks.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.flags.timeout = Some(timeout);
        self
    }

    /// Emits an event to the socket. See [`SocketRef::emit`].
    ///
    /// # Errors
    ///
    /// As [`SocketRef::emit`]. A volatile event that is dropped is no error.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        let socket = self.socket.inner();
        let packet = self.flags.encode(&socket.namespace, None, event, args)?;
        Ok(socket.emit(packet, self.flags.volatile)?)
    }

    /// Emits an event to the socket and asks for an ack. See [`SocketRef::emit_with_ack`].
    pub fn emit_with_ack<R>(&self, event: &str, args: &(impl Serialize + ?Sized)) -> AckFuture<R> {
        let socket = self.socket.inner();
        let id = socket.namespace.next_ack_id();
        let timeout = self.flags.timeout.unwrap_or(socket.client.server.settings.ack_timeout);
        match self.flags.encode(&socket.namespace, Some(id), event, args) {
            Ok(packet) => AckFuture::emit(socket, id, packet, self.flags.volatile, timeout),
            Err(error) => AckFuture::failed(AckError::emit(error)),
        }
    }

    /// Everyone in these rooms except this socket.
    pub fn to(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.broadcast().to(rooms)
    }

    /// Everyone in these rooms, this socket included.
    pub fn within(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.all().to(rooms)
    }

    /// Everyone in the namespace except this socket and these rooms.
    pub fn except(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.broadcast().except(rooms)
    }

    /// Everyone in the namespace, this socket included.
    pub fn all(&self) -> BroadcastOperator {
        BroadcastOperator::new(self.socket.inner().namespace.clone(), None, self.flags)
    }

    /// Everyone in the namespace except this socket.
    pub fn broadcast(&self) -> BroadcastOperator {
        let socket = self.socket.inner();
        BroadcastOperator::new(socket.namespace.clone(), Some(socket.clone()), self.flags)
    }

    /// Everyone in the namespace except this socket, on this node only.
    pub fn local(&self) -> BroadcastOperator {
        self.broadcast().local()
    }
}

impl SocketRef {
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
}

impl fmt::Debug for EmitOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmitOperator").field("socket", self.socket.id()).field("flags", &self.flags).finish()
    }
}
