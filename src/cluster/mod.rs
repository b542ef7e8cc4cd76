//! What a server that is one node of a cluster tells the others.
//!
//! Rooms are local: each node knows its own sockets, and a broadcast reaches the others as a message that says what to do
//! to whom. What carries these messages, Redis for example, implements [`ClusterAdapter`].

// Not in use until there are backends.
#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
#[allow(dead_code, unreachable_pub)]
mod message;
#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
#[allow(dead_code, unreachable_pub)]
mod payload;
mod server_side;
#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
#[allow(dead_code, unreachable_pub)]
pub(crate) mod wire;

use std::{
    fmt,
    sync::{Arc, Weak},
};

use crate::{
    engine::{Packet, PacketKind},
    packet::{Encoded, EventPayload, Kind, Limits, MAX_JSON_DEPTH, decode, is_valid_json},
    room::{Room, Selection},
    server::Server,
    socket::BroadcastOperator,
};

pub(crate) use self::server_side::{Handler, ServerSide, handler};
pub use self::server_side::{ServerSideAcks, ServerSideArgs, ServerSideEvent, ServerSideResponses};

/// Carries messages between the nodes of a cluster: what Node calls an adapter.
///
/// Given to [`SocketIoConfig::adapter`](crate::SocketIoConfig::adapter). Without one a server stands alone: everything is
/// in memory, and nothing is published.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use tower_socketio::{ClusterAdapter, ClusterMessage, ClusterNode};
///
/// /// Servers of one process: each knows the others.
/// #[derive(Clone, Default)]
/// struct Bus(Arc<Mutex<Vec<ClusterNode>>>);
///
/// struct Member { bus: Bus, place: usize }
///
/// impl ClusterAdapter for Member {
///     fn join(&self, node: ClusterNode) {
///         self.bus.0.lock().unwrap().push(node);
///     }
///     fn publish(&self, message: ClusterMessage) {
///         let nodes = self.bus.0.lock().unwrap().clone();
///         let others = nodes.iter().enumerate().filter(|(place, _)| *place != self.place);
///         others.for_each(|(_, node)| node.deliver(&message));
///     }
///     fn node_count(&self) -> usize {
///         self.bus.0.lock().unwrap().len()
///     }
/// }
/// ```
pub trait ClusterAdapter: Send + Sync + 'static {
    /// Is called once, when the server is made. Messages of other nodes are to be given to `node`.
    fn join(&self, node: ClusterNode);

    /// Sends a message to all other nodes.
    ///
    /// It is called where something is emitted, with no lock held, and must not block: what waits for a network belongs
    /// into a queue. Messages of one caller are to arrive in order, at most once.
    fn publish(&self, message: ClusterMessage);

    /// How many nodes the cluster has now, this one included: as many less one are waited for where all are asked.
    fn node_count(&self) -> usize;
}

/// Something to be done to sockets of other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterMessage {
    /// The name of the namespace.
    pub namespace: Arc<str>,
    /// Whoever is in one of these rooms is meant; everyone, if there are none.
    pub rooms: Vec<Room>,
    /// But not whoever is in one of these.
    pub except: Vec<Room>,
    /// What is to be done.
    pub command: ClusterCommand,
}

/// What a [`ClusterMessage`] asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClusterCommand {
    /// Send an event.
    Emit {
        /// The text of the packet and its attachments: as they go to a client, whichever
        /// [parser](crate::SocketIoConfig::parser) this or another node has.
        packets: Vec<Packet>,
        /// Drop it for each socket to which it cannot leave at once.
        volatile: bool,
    },
    /// Join rooms.
    Join(Vec<Room>),
    /// Leave rooms.
    Leave(Vec<Room>),
    /// Disconnect from the namespace.
    Disconnect {
        /// Close the connection, with all its other namespaces.
        close: bool,
    },
    /// Not for sockets: an event for the servers themselves. See [`SocketIo::server_side_emit`](crate::SocketIo::server_side_emit).
    ServerSideEmit {
        /// The name of the event.
        event: String,
        /// Its arguments.
        args: ServerSideArgs,
        /// The node that emits it.
        from: Arc<str>,
        /// What it calls the answers, if it waits for them.
        ack: Option<u64>,
    },
    /// An answer to that.
    ServerSideAck {
        /// The node that waits for it.
        to: Arc<str>,
        /// What that node calls it.
        id: u64,
        /// What was answered.
        args: ServerSideArgs,
    },
}

impl ClusterMessage {
    pub(crate) fn new(namespace: Arc<str>, selection: &Selection, command: ClusterCommand) -> Self {
        Self { namespace, rooms: selection.rooms.clone(), except: selection.except.clone(), command }
    }
}

/// A server, as its cluster sees it. Cloning is cheap; it does not keep the server alive.
#[derive(Clone)]
pub struct ClusterNode(Weak<Server>);

impl ClusterNode {
    pub(crate) fn new(server: &Arc<Server>) -> Self {
        Self(Arc::downgrade(server))
    }

    /// Does what another node asks for, to the sockets of this one. What cannot be understood is ignored.
    pub fn deliver(&self, message: &ClusterMessage) {
        let Some(server) = self.0.upgrade() else { return };
        let Some(namespace) = server.namespaces.get(&message.namespace) else {
            return;
        };
        let everyone = BroadcastOperator::everyone(namespace).local().except(message.except.clone());
        let selected = if message.rooms.is_empty() { everyone } else { everyone.to(message.rooms.clone()) };
        match &message.command {
            ClusterCommand::Emit { packets, volatile } => {
                if is_event(packets) {
                    let _ = selected.send(&Encoded::from_packets(packets), *volatile);
                }
            }
            ClusterCommand::Join(rooms) => selected.sockets_join(rooms.clone()),
            ClusterCommand::Leave(rooms) => selected.sockets_leave(rooms.clone()),
            ClusterCommand::Disconnect { close } => selected.disconnect_sockets(*close),
            command @ (ClusterCommand::ServerSideEmit { .. } | ClusterCommand::ServerSideAck { .. }) => {
                server_side::deliver(&server, command);
            }
        }
    }
}

/// Whether packets are what they must be, so that no client's stream is broken: an event that asks for no ack, and its
/// attachments.
fn is_event(packets: &[Packet]) -> bool {
    const ANY: Limits = Limits { attachments: usize::MAX, depth: MAX_JSON_DEPTH };
    let Some((text, attachments)) = packets.split_first() else {
        return false;
    };
    if text.kind() != PacketKind::Message || text.is_binary() || !attachments.iter().all(Packet::is_binary) {
        return false;
    }
    let Ok(header) = decode(text.clone(), ANY) else {
        return false;
    };
    matches!(header.kind, Kind::Event | Kind::BinaryEvent)
        && header.id.is_none()
        && header.attachments == attachments.len()
        && header.payload.ends_with(']')
        && is_valid_json(&header.payload)
        && EventPayload::new(header.payload, Vec::new()).is_ok()
}

impl fmt::Debug for ClusterNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterNode").finish_non_exhaustive()
    }
}
