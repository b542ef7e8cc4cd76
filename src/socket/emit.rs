use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    namespace::NamespaceState,
    packet::{Encoded, Target, encode_event, is_reserved},
    parser::try_encode_by,
    room::IntoRooms,
};

use super::{AckError, AckFuture, BroadcastOperator, EmitError, SocketRef};

/// How something is emitted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) volatile: bool,
    pub(super) local: bool,
    pub(super) uncompressed: bool,
    pub(super) timeout: Option<Duration>,
}

impl Flags {
    /// Encodes an event for a namespace, unless its name is reserved.
    pub(super) fn encode<T: Serialize + ?Sized>(
        self,
        namespace: &NamespaceState,
        id: Option<u64>,
        event: &str,
        args: &T,
    ) -> Result<Encoded, EmitError> {
        if is_reserved(event.as_bytes()) {
            return Err(EmitError::reserved());
        }
        let target = Target { namespace: namespace.name(), id };
        let packet = encode_event(target, event, args).map_err(EmitError::encode)?;
        let packet = if self.uncompressed { packet.uncompressed() } else { packet };
        if let Some(parser) = namespace.parser() {
            try_encode_by(&packet, parser, || namespace.count_panic()).map_err(EmitError::parser)?;
        }
        Ok(packet)
    }
}

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

impl fmt::Debug for EmitOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmitOperator").field("socket", self.socket.id()).field("flags", &self.flags).finish()
    }
}
