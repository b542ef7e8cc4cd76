use std::{cell::OnceCell, fmt};

use serde::de::DeserializeOwned;

use crate::{
    engine::Packet,
    event::OutgoingEvent,
    io::NamespaceRef,
    packet::{ArgsError, Encoded},
    room::{Room, RoomChangeKind},
    server::{Change, DisconnectReason, Event},
    socket::{Conn, SocketRef},
};

/// Observes what happens on a server: connections, sockets, rooms, events and packets. Added by [`SocketIoConfig::observer`](crate::SocketIoConfig::observer).
///
/// All methods do nothing by default. A server without an observer pays nothing for it.
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
/// use tower_socketio::{DisconnectReason, Room, SocketIoConfig, SocketRef, observer::Observer};
///
/// #[derive(Clone, Default)]
/// struct Lobby(Arc<AtomicUsize>);
///
/// impl Observer for Lobby {
///     fn room_joined(&self, socket: &SocketRef, room: &Room) {
///         if room == "lobby" {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
///
///     fn socket_disconnected(&self, socket: &SocketRef, reason: DisconnectReason) {
///         println!("{} left: {reason}", socket.id());
///     }
/// }
///
/// let lobby = Lobby::default();
/// let config = SocketIoConfig::new().observer(lobby.clone());
/// # let _ = config;
/// ```
///
/// # Calls
///
/// Methods are called by the task that causes the change, often one that drives a connection, so they **must not block**. No lock of
/// this crate is held: all handles can be used, for example to emit. Events that an observer emits during a call are not told to
/// observers of the same node, except with a [journal](crate::cluster::Journal), which delivers them later. A panic is caught and counted in [`Stats::panics`](crate::Stats::panics). Several observers are called in the order in
/// which they were added.
///
/// The calls for one socket begin with `room_joined` for its id, and those that `on_connect` causes. `socket_connected` precedes all
/// events from the client, and `socket_disconnected` is followed by `room_left` for each room. Different tasks may call at the same time: for example, the changes of a room by two sockets.
///
/// Observers see this node of a cluster only.
pub trait Observer: Send + Sync + 'static {
    /// A session has been opened, and its handshake has been queued.
    fn connection_opened(&self, connection: &Conn) {
        let _ = connection;
    }

    /// A session has moved from long-polling to [another transport](Conn::transport).
    fn connection_upgraded(&self, connection: &Conn) {
        let _ = connection;
    }

    /// A session has ended. Its sockets have been disconnected.
    fn connection_closed(&self, connection: &Conn, reason: DisconnectReason) {
        let _ = (connection, reason);
    }

    /// A message of a client has arrived: a Socket.IO packet or one of its attachments. It has not been decoded yet.
    ///
    /// Heartbeats and other packets of Engine.IO are not told.
    fn packet_received(&self, connection: &Conn, packet: &Packet) {
        let _ = (connection, packet);
    }

    /// A transport has taken a message from the queue of a client, to send it.
    fn packet_sent(&self, connection: &Conn, packet: &Packet) {
        let _ = (connection, packet);
    }

    /// A socket is being accepted: `on_connect` has returned. Events for the socket follow its CONNECT packet.
    fn socket_connected(&self, socket: &SocketRef) {
        let _ = socket;
    }

    /// [`SocketRef::set_data`] has been called.
    fn data_changed(&self, socket: &SocketRef) {
        let _ = socket;
    }

    /// A socket that was accepted has been disconnected. It is still in its rooms.
    fn socket_disconnected(&self, socket: &SocketRef, reason: DisconnectReason) {
        let _ = (socket, reason);
    }

    /// A room has got its first socket. `room_joined` follows.
    fn room_created(&self, namespace: &NamespaceRef, room: &Room) {
        let _ = (namespace, room);
    }

    /// A socket has joined a room. The id of a socket is a room too.
    ///
    /// Sockets join rooms before they are accepted. A socket that is rejected leaves them again, without `socket_connected`.
    fn room_joined(&self, socket: &SocketRef, room: &Room) {
        let _ = (socket, room);
    }

    /// A socket has left a room, or has been disconnected.
    fn room_left(&self, socket: &SocketRef, room: &Room) {
        let _ = (socket, room);
    }

    /// The last socket of a room has left.
    fn room_deleted(&self, namespace: &NamespaceRef, room: &Room) {
        let _ = (namespace, room);
    }

    /// An event of a client is about to be handled. Its arguments may be malformed.
    fn event_received(&self, socket: &SocketRef, event: &ObservedEvent<'_>) {
        let _ = (socket, event);
    }

    /// An event has been emitted to a socket. Called once for each recipient of a broadcast.
    fn event_sent(&self, socket: &SocketRef, event: &ObservedEvent<'_>) {
        let _ = (socket, event);
    }
}

/// An event from or to a client, as an [`Observer`] sees it. Nothing is parsed until a method is called.
///
/// ```
/// use tower_socketio::{Args, SocketRef, observer::{ObservedEvent, Observer}};
///
/// struct Log;
///
/// impl Observer for Log {
///     fn event_received(&self, socket: &SocketRef, event: &ObservedEvent<'_>) {
///         if let Ok(args) = event.args::<Args>() {
///             println!("{}: {} with {} arguments", socket.id(), event.name(), args.len());
///         }
///     }
/// }
/// ```
pub struct ObservedEvent<'a>(Source<'a>);

enum Source<'a> {
    Received(&'a Event),
    Sent { packet: &'a Encoded, event: OnceCell<Option<OutgoingEvent>> },
}

impl<'a> ObservedEvent<'a> {
    fn received(event: &'a Event) -> Self {
        Self(Source::Received(event))
    }

    fn sent(packet: &'a Encoded) -> Self {
        Self(Source::Sent { packet, event: OnceCell::new() })
    }

    /// Returns the name of the event.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.0 {
            Source::Received(event) => event.payload.name(),
            Source::Sent { packet, event } => read(packet, event).map_or("", OutgoingEvent::name),
        }
    }

    /// Deserializes the arguments. A tuple takes several arguments, [`Args`](crate::Args) all of them, other types take one.
    ///
    /// # Errors
    ///
    /// Returns an error if the arguments do not match the type, or are malformed.
    pub fn args<T: DeserializeOwned + Send + 'static>(&self) -> Result<T, serde_json::Error> {
        match &self.0 {
            Source::Received(event) => event.payload.args().map_err(ArgsError::into_error),
            Source::Sent { packet, event } => match read(packet, event) {
                Some(event) => event.args(),
                None => Err(serde::de::Error::custom("the packet is not an event")),
            },
        }
    }

    /// Returns the size in bytes: of the JSON with the name and the arguments, and of the attachments. That of an outgoing event includes
    /// the header of its packet.
    #[must_use]
    pub fn size(&self) -> usize {
        match &self.0 {
            Source::Received(event) => event.size,
            Source::Sent { packet, .. } => packet.packets().iter().map(Packet::len).sum(),
        }
    }
}

fn read<'b>(packet: &Encoded, event: &'b OnceCell<Option<OutgoingEvent>>) -> Option<&'b OutgoingEvent> {
    event.get_or_init(|| OutgoingEvent::new(packet)).as_ref()
}

impl fmt::Debug for ObservedEvent<'_> {
    /// Omits the arguments.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedEvent").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// Calls the method for a change.
pub(crate) fn tell(observer: &dyn Observer, change: &Change<'_>) {
    match *change {
        Change::ConnectionOpened(client) => observer.connection_opened(&Conn::new(client)),
        Change::ConnectionUpgraded(client) => observer.connection_upgraded(&Conn::new(client)),
        Change::ConnectionClosed(client, reason) => observer.connection_closed(&Conn::new(client), reason),
        Change::PacketReceived(client, packet) => observer.packet_received(&Conn::new(client), packet),
        Change::PacketSent(client, packet) => observer.packet_sent(&Conn::new(client), packet),
        Change::SocketConnected(socket) => observer.socket_connected(&socket.clone().into()),
        Change::DataChanged(socket) => observer.data_changed(&socket.clone().into()),
        Change::SocketDisconnected(socket, reason) => observer.socket_disconnected(&socket.clone().into(), reason),
        Change::Room(change) => {
            let (socket, room): (SocketRef, _) = (change.member.clone().into(), &change.room);
            match change.kind {
                RoomChangeKind::Created => observer.room_created(&socket.namespace(), room),
                RoomChangeKind::Joined => observer.room_joined(&socket, room),
                RoomChangeKind::Left => observer.room_left(&socket, room),
                RoomChangeKind::Deleted => observer.room_deleted(&socket.namespace(), room),
            }
        }
        Change::EventReceived(socket, event) => {
            observer.event_received(&socket.clone().into(), &ObservedEvent::received(event));
        }
        Change::EventSent(socket, packet) => {
            observer.event_sent(&socket.clone().into(), &ObservedEvent::sent(packet));
        }
    }
}
