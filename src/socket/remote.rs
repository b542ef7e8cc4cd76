use std::{collections::HashSet, error::Error, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    cluster::{BroadcastFlags, BroadcastOptions, ClusterCommand, ClusterError, EventBody, Payload, SocketDescription},
    packet::{Target, read_json},
    room::{IntoRooms, Room, SocketId},
    server::{EmitError, Missing, NamespaceState, Request},
};

use super::{
    acks::AckFuture, error::AckError, flags::Flags, handshake::Handshake, remote_handshake::RemoteHandshake,
    socket_ref::SocketRef,
};

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
    place: Place,
    rooms: HashSet<Room>,
    flags: Flags,
}

#[derive(Debug, Clone)]
enum Place {
    Here { socket: SocketRef, data: Option<Bytes> },
    OtherNode { namespace: Arc<NamespaceState>, id: SocketId, data: Payload, handshake: Arc<RemoteHandshake> },
}

impl RemoteSocket {
    pub(super) fn new(socket: SocketRef) -> Self {
        let rooms = socket.rooms().into_iter().collect();
        let data = socket.inner().data_bytes();
        Self { place: Place::Here { socket, data }, rooms, flags: Flags::default() }
    }

    pub(super) fn on_other_node(namespace: &Arc<NamespaceState>, socket: SocketDescription) -> Self {
        let place = Place::OtherNode {
            namespace: namespace.clone(),
            id: SocketId::of_other_node(socket.id),
            data: socket.data,
            handshake: Arc::new(RemoteHandshake::new(socket.handshake)),
        };
        Self { place, rooms: socket.rooms.into_iter().collect(), flags: Flags::default() }
    }

    /// Returns the public id.
    #[must_use]
    pub fn id(&self) -> &SocketId {
        match &self.place {
            Place::Here { socket, .. } => socket.id(),
            Place::OtherNode { id, .. } => id,
        }
    }

    /// Returns the rooms that the socket was in, including the room of its id, as in Node.
    #[must_use]
    pub fn rooms(&self) -> &HashSet<Room> {
        &self.rooms
    }

    /// Returns the socket if it is on this node, or `None` if it is on another one.
    #[must_use]
    pub fn local(&self) -> Option<&SocketRef> {
        match &self.place {
            Place::Here { socket, .. } => Some(socket),
            Place::OtherNode { .. } => None,
        }
    }

    /// Deserializes the data stored by [`set_data`](SocketRef::set_data). `None` if there was none.
    ///
    /// Node's servers send an empty object for sockets without data, which is treated as none.
    ///
    /// # Errors
    ///
    /// Returns an error if the data does not match the type.
    pub fn data<T: DeserializeOwned + Send + 'static>(&self) -> serde_json::Result<Option<T>> {
        match &self.place {
            Place::Here { data, .. } => data.as_ref().map(|json| read_json(json)).transpose(),
            Place::OtherNode { data, .. } if data.is_unset() => Ok(None),
            Place::OtherNode { data, .. } => data.read().map(Some),
        }
    }

    /// Returns the request that opened the connection, and the auth payload.
    ///
    /// For a socket of another node, the port of [`remote_addr`](Handshake::remote_addr) is unknown, and is 0.
    #[must_use]
    pub fn handshake(&self) -> Handshake<'_> {
        match &self.place {
            Place::Here { socket, .. } => socket.handshake(),
            Place::OtherNode { handshake, .. } => Handshake::of_other_node(handshake),
        }
    }

    /// Sets how long to wait for acks. Default: [`ack_timeout`](crate::SocketIoConfig::ack_timeout).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.flags.timeout = Some(timeout);
        self
    }

    /// Emits an event to the socket.
    ///
    /// # Errors
    ///
    /// Same as [`SocketRef::emit`]. Whether a socket of another node is still connected is not known.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        match &self.place {
            Place::Here { socket, .. } => socket.emit(event, args),
            Place::OtherNode { namespace, .. } => {
                let event = self.encode(namespace, event, args)?;
                self.publish(namespace, |options| ClusterCommand::Emit { options, event, request: None });
                Ok(())
            }
        }
    }

    /// Emits an event to the socket, and requests an ack. See [`SocketRef::emit_with_ack`].
    ///
    /// The ack of a socket of another node consists of its first argument.
    pub fn emit_with_ack<R>(&self, event: &str, args: &(impl Serialize + ?Sized)) -> AckFuture<R> {
        let namespace = match &self.place {
            Place::Here { socket, .. } => {
                return match self.flags.timeout {
                    Some(timeout) => socket.timeout(timeout).emit_with_ack(event, args),
                    None => socket.emit_with_ack(event, args),
                };
            }
            Place::OtherNode { namespace, .. } => namespace,
        };
        let event = match self.encode(namespace, event, args) {
            Ok(event) => event,
            Err(error) => return AckFuture::failed(AckError::emit(error)),
        };
        let timeout = self.flags.timeout.unwrap_or(namespace.settings.ack_timeout);
        let Some(request) = Request::new(namespace, Some(timeout)) else {
            return AckFuture::failed(AckError::disconnected());
        };
        let options = self.options();
        request.publish(|request| ClusterCommand::Emit { options, event, request: Some(request) });
        AckFuture::remote(request, timeout)
    }

    /// Adds the socket to rooms.
    pub fn join(&self, rooms: impl IntoRooms) {
        match &self.place {
            Place::Here { socket, .. } => socket.join(rooms),
            Place::OtherNode { namespace, .. } => {
                let rooms = rooms.into_rooms().collect();
                self.publish(namespace, |options| ClusterCommand::Join { options, rooms });
            }
        }
    }

    /// Removes the socket from rooms.
    pub fn leave(&self, rooms: impl IntoRooms) {
        match &self.place {
            Place::Here { socket, .. } => socket.leave(rooms),
            Place::OtherNode { namespace, .. } => {
                let rooms = rooms.into_rooms().collect();
                self.publish(namespace, |options| ClusterCommand::Leave { options, rooms });
            }
        }
    }

    /// Disconnects the socket from the namespace.
    pub fn disconnect(&self) {
        match &self.place {
            Place::Here { socket, .. } => socket.disconnect(),
            Place::OtherNode { namespace, .. } => {
                self.publish(namespace, |options| ClusterCommand::Disconnect { options, close: false });
            }
        }
    }

    /// Disconnects the client from all namespaces, and closes the connection.
    pub fn disconnect_all(&self) {
        match &self.place {
            Place::Here { socket, .. } => socket.disconnect_all(),
            Place::OtherNode { namespace, .. } => {
                self.publish(namespace, |options| ClusterCommand::Disconnect { options, close: true });
            }
        }
    }

    fn encode<T: Serialize + ?Sized>(
        &self,
        namespace: &NamespaceState,
        event: &str,
        args: &T,
    ) -> Result<EventBody, EmitError> {
        let packet = self.flags.encode(namespace, None, None, event, args)?;
        Ok(EventBody::from_packet(&packet, Target { namespace: namespace.name(), id: None }))
    }

    fn options(&self) -> BroadcastOptions {
        let flags =
            BroadcastFlags { timeout: self.flags.timeout, expect_single_response: true, ..BroadcastFlags::default() };
        BroadcastOptions::new(vec![self.id().room()], Vec::new()).flags(flags)
    }

    fn publish(&self, namespace: &NamespaceState, command: impl FnOnce(BroadcastOptions) -> ClusterCommand) {
        namespace.publish(command(self.options()), None);
    }
}

/// Error returned by [`BroadcastOperator::fetch_sockets`](super::BroadcastOperator::fetch_sockets) if other nodes of the cluster
/// do not respond.
///
/// ```
/// use tower_socketio::{SocketIo, client::RemoteSocket};
///
/// /// Returns the sockets of the nodes that respond.
/// async fn known_sockets(io: &SocketIo) -> Vec<RemoteSocket> {
///     io.fetch_sockets().await.unwrap_or_else(|error| error.into_sockets())
/// }
/// # let _ = known_sockets;
/// ```
#[derive(Debug)]
pub struct FetchSocketsError {
    cause: ClusterError,
    sockets: Vec<RemoteSocket>,
    missing: Missing,
}

impl FetchSocketsError {
    pub(super) fn new(cause: ClusterError, sockets: Vec<RemoteSocket>, missing: Missing) -> Self {
        Self { cause, sockets, missing }
    }

    /// Adds sockets that were found before.
    pub(crate) fn after(mut self, mut sockets: Vec<RemoteSocket>) -> Self {
        sockets.append(&mut self.sockets);
        Self { sockets, ..self }
    }

    /// Returns the sockets that were found, including those of this node.
    #[must_use]
    pub fn sockets(&self) -> &[RemoteSocket] {
        &self.sockets
    }

    /// Returns the sockets that were found, by value.
    #[must_use]
    pub fn into_sockets(self) -> Vec<RemoteSocket> {
        self.sockets
    }

    /// Returns the number of nodes that have not responded. It is 0 if their number is unknown, because the broker could not be
    /// asked.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.missing.count()
    }

    /// Returns the ids of the nodes that have not responded, if the adapter knows them.
    pub fn missing_nodes(&self) -> impl Iterator<Item = &str> {
        let nodes = match &self.missing {
            Missing::Nodes(nodes) => nodes.as_slice(),
            Missing::Unknown | Missing::Count(_) => &[],
        };
        nodes.iter().map(|node| &**node)
    }
}

impl fmt::Display for FetchSocketsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sockets of other nodes of the cluster could not be fetched")
    }
}

impl Error for FetchSocketsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}
