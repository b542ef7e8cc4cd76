use std::collections::HashSet;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    packet::read_json,
    room::{IntoRooms, Room, SocketId},
    server::EmitError,
};

use super::{handshake::Handshake, socket_ref::SocketRef};

/// A snapshot of a socket, which may be on another node of a cluster.
///
/// Returned by [`BroadcastOperator::fetch_sockets`](super::BroadcastOperator::fetch_sockets).
///
/// ```
/// use tower_socketio::client::RemoteSocket;
///
/// /// Disconnects the sockets that are in none of the teams.
/// fn clean_up(sockets: &[RemoteSocket]) {
///     for socket in sockets {
///         if !socket.rooms().iter().any(|room| room.as_str().starts_with("team ")) {
///             socket.disconnect();
///         }
///     }
/// }
/// # let _ = clean_up;
/// ```
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

    /// Returns the public id.
    #[must_use]
    pub fn id(&self) -> &SocketId {
        self.socket.id()
    }

    /// Returns the rooms that the socket was in.
    #[must_use]
    pub fn rooms(&self) -> &HashSet<Room> {
        &self.rooms
    }

    /// Deserializes the data stored by [`set_data`](SocketRef::set_data). `None` if there was none.
    ///
    /// # Errors
    ///
    /// Returns an error if the data does not match the type.
    pub fn data<T: DeserializeOwned + Send>(&self) -> serde_json::Result<Option<T>> {
        self.data.as_ref().map(|json| read_json(json)).transpose()
    }

    /// Returns the request that opened the connection, and the auth payload.
    #[must_use]
    pub fn handshake(&self) -> Handshake<'_> {
        self.socket.handshake()
    }

    /// Emits an event to the socket.
    ///
    /// # Errors
    ///
    /// Same as [`SocketRef::emit`].
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        self.socket.emit(event, args)
    }

    /// Adds the socket to rooms.
    pub fn join(&self, rooms: impl IntoRooms) {
        self.socket.join(rooms);
    }

    /// Removes the socket from rooms.
    pub fn leave(&self, rooms: impl IntoRooms) {
        self.socket.leave(rooms);
    }

    /// Disconnects the socket from the namespace.
    pub fn disconnect(&self) {
        self.socket.disconnect();
    }
}
