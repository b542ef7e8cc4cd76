use std::sync::Arc;

use bytes::Bytes;
use serde::de::{DeserializeOwned, Error as _};

use crate::{
    engine::{Packet, PacketType},
    packet::{ArgsError, EncodedArgs, EventPayload, Kind, Limits, MAX_JSON_DEPTH, decode, is_valid_json, read_args},
    room::{Room, Selection},
};

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
        args: EventBody,
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

/// Arguments on their way between servers: a JSON array, and the binary in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct EventBody {
    /// A JSON array; binary stands in it as `{"_placeholder":true,"num":N}`.
    pub json: Bytes,
    /// The binary.
    pub attachments: Vec<Bytes>,
}

impl EventBody {
    /// Arguments as they were published by another node.
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

/// Whether packets are what they must be, so that no client's stream is broken: an event that asks for no ack, and its
/// attachments.
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
