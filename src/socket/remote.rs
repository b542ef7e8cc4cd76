use std::collections::HashSet;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    packet::read_json,
    room::{IntoRooms, Room, SocketId},
    server::EmitError,
};

use super::{handshake::Handshake, socket_ref::SocketRef};

/// A socket that may live on another node of a cluster, as it was when it was fetched.
///
/// Made by [`BroadcastOperator::fetch_sockets`](super::BroadcastOperator::fetch_sockets).
#[derive(Debug, Clone)]
pub struct RemoteSocket {
    socket: SocketRef,
    rooms: HashSet<Room>,
    data: Option<Bytes>,
}

impl RemoteSocket {
    pub(super) fn new(socket: SocketRef) -> Self {
        Self { rooms: socket.rooms().into_iter().collect(), data: socket.inner().data_bytes(), socket }
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

    /// What [`set_data`](SocketRef::set_data) had kept about it. `None` if nothing had been.
    ///
    /// # Errors
    ///
    /// Returns an error if the value does not match the type.
    pub fn data<T: DeserializeOwned + Send>(&self) -> serde_json::Result<Option<T>> {
        self.data.as_ref().map(|json| read_json(json)).transpose()
    }

    /// The request and the auth payload with which it connected.
    #[must_use]
    pub fn handshake(&self) -> Handshake<'_> {
        self.socket.handshake()
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
