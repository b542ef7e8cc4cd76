use std::collections::HashSet;

use serde::Serialize;

use crate::room::{IntoRooms, Room};

use super::{EmitError, SocketId, SocketRef};

/// A socket that may live on another node of a cluster, as it was when it was fetched.
///
/// Made by [`BroadcastOperator::fetch_sockets`](super::BroadcastOperator::fetch_sockets).
#[derive(Debug, Clone)]
pub struct RemoteSocket {
    socket: SocketRef,
    rooms: HashSet<Room>,
}

impl RemoteSocket {
    pub(super) fn new(socket: SocketRef) -> Self {
        Self { rooms: socket.rooms().into_iter().collect(), socket }
    }

    /// The public id.
    #[must_use]
    pub fn id(&self) -> &SocketId {
        self.socket.id()
    }

    /// The rooms that it was in.
    #[must_use]
    pub fn rooms(&self) -> &HashSet<Room> {
        &self.rooms
    }

    /// Emits an event to it.
    ///
    /// # Errors
    ///
    /// As [`SocketRef::emit`].
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        self.socket.emit(event, args)
    }

    /// Makes it join rooms.
    pub fn join(&self, rooms: impl IntoRooms) {
        self.socket.join(rooms);
    }

    /// Makes it leave rooms.
    pub fn leave(&self, rooms: impl IntoRooms) {
        self.socket.leave(rooms);
    }

    /// Disconnects it from the namespace.
    pub fn disconnect(&self) {
        self.socket.disconnect();
    }
}
