use std::sync::Arc;

use bytes::Bytes;
use serde::de::{DeserializeOwned, Error as _};

use crate::{
    engine::{Packet, PacketType},
    packet::{ArgsError, EncodedArgs, EventPayload, Kind, Limits, MAX_JSON_DEPTH, decode, is_valid_json, read_args},
    room::{Room, Selection},
};

/// A command for sockets on other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterMessage {
    /// The name of the namespace.
    pub namespace: Arc<str>,
    /// The rooms whose members are selected. Empty means all sockets of the namespace.
    pub rooms: Vec<Room>,
    /// Rooms whose members are excluded.
    pub except: Vec<Room>,
    /// The command.
    pub command: ClusterCommand,
}

/// The command of a [`ClusterMessage`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClusterCommand {
    /// Emits an event.
    Emit {
        /// The packet's text and attachments in the default encoding, whichever [parser](crate::SocketIoConfig::parser) the nodes
        /// use.
        packets: Vec<Packet>,
        /// Whether the event is dropped for sockets to which it cannot be sent immediately.
        volatile: bool,
    },
    /// Adds the sockets to rooms.
    Join(Vec<Room>),
    /// Removes the sockets from rooms.
    Leave(Vec<Room>),
    /// Disconnects the sockets from the namespace.
    Disconnect {
        /// Whether to close the connections with all of their namespaces.
        close: bool,
    },
    /// Emits an event to the servers. It does not concern sockets. See
    /// [`SocketIo::server_side_emit`](crate::SocketIo::server_side_emit).
    ServerSideEmit {
        /// The name of the event.
        event: String,
        /// The arguments.
        args: EventBody,
        /// The id of the node that emits the event.
        from: Arc<str>,
        /// The id of the request, if that node requested acks.
        ack: Option<u64>,
    },
    /// Acknowledges a server-side event.
    ServerSideAck {
        /// The id of the node that emitted the event.
        to: Arc<str>,
        /// The id of the request.
        id: u64,
        /// The arguments of the ack.
        args: EventBody,
    },
}

impl ClusterMessage {
    /// Creates a message for all sockets of a namespace; `rooms` and `except` can be set afterwards.
    ///
    /// ```
    /// use tower_socketio::cluster::{ClusterCommand, ClusterMessage};
    ///
    /// let mut message = ClusterMessage::new("/chat", ClusterCommand::Disconnect { close: false });
    /// message.rooms.push("banned".into());
    /// ```
    #[must_use]
    pub fn new(namespace: impl Into<Arc<str>>, command: ClusterCommand) -> Self {
        Self { namespace: namespace.into(), rooms: Vec::new(), except: Vec::new(), command }
    }

    pub(crate) fn to_selection(namespace: Arc<str>, selection: &Selection, command: ClusterCommand) -> Self {
        Self { namespace, rooms: selection.rooms.clone(), except: selection.except.clone(), command }
    }
}

/// Encoded arguments of a server-side event or its ack: a JSON array and binary attachments.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct EventBody {
    /// A JSON array. Each attachment is represented by `{"_placeholder":true,"num":N}`.
    pub json: Bytes,
    /// The attachments.
    pub attachments: Vec<Bytes>,
}

impl EventBody {
    /// Creates arguments received from another node.
    #[must_use]
    pub fn new(json: Bytes, attachments: Vec<Bytes>) -> Self {
        Self { json, attachments }
    }

    pub(crate) fn read<T: DeserializeOwned + Send + 'static>(&self) -> serde_json::Result<T> {
        let json = std::str::from_utf8(&self.json).map_err(serde_json::Error::custom)?;
        read_args(json, &self.attachments, false).map_err(ArgsError::into_error)
    }
}

impl From<EncodedArgs> for EventBody {
    fn from(args: EncodedArgs) -> Self {
        let (json, attachments) = args.into_parts();
        Self { json, attachments }
    }
}

/// Returns `true` if the packets are an event without an ack, and its attachments. Others could corrupt a client's stream.
pub(crate) fn is_event(packets: &[Packet]) -> bool {
    const ANY: Limits = Limits { attachments: usize::MAX, depth: MAX_JSON_DEPTH };
    let Some((text, attachments)) = packets.split_first() else {
        return false;
    };
    if text.packet_type() != PacketType::Message || text.is_binary() || !attachments.iter().all(Packet::is_binary) {
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
