//! The messages between the nodes of a cluster, independent of what carries them.

use std::{fmt, sync::Arc, time::Duration};

use crate::room::Room;

use super::payload::{EventBody, InvalidPayload, Payload};

/// A message from a node to the others, about one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterMessage {
    /// The id of the node that sends it. `None` if it is unknown: the answers of Node.js's classic Redis adapter do not name
    /// their sender.
    pub sender: Option<Arc<str>>,
    /// The id of the node that it is for: the one that asked. `None` if it is for all of them, or if that is unknown: a node that
    /// receives an answer knows its own requests.
    pub recipient: Option<Arc<str>>,
    /// The name of the namespace, with its slash.
    pub namespace: Arc<str>,
    /// What to do.
    pub command: ClusterCommand,
}

impl ClusterMessage {
    /// Creates a message to all other nodes.
    #[must_use]
    pub fn new(sender: impl Into<Arc<str>>, namespace: impl Into<Arc<str>>, command: ClusterCommand) -> Self {
        Self { sender: Some(sender.into()), recipient: None, namespace: namespace.into(), command }
    }

    /// Sets the node that the message is for.
    #[must_use]
    pub fn to(mut self, recipient: impl Into<Arc<str>>) -> Self {
        self.recipient = Some(recipient.into());
        self
    }
}

/// The id of a request, which its answers repeat. It is unique among the requests of one node.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The id as a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Arc<str>>> From<T> for RequestId {
    fn from(id: T) -> Self {
        Self(id.into())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a [`ClusterMessage`] asks for, or answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClusterCommand {
    /// Emit an event to the selected sockets.
    Emit {
        /// Which sockets, and how.
        options: BroadcastOptions,
        /// The event.
        event: EventBody,
        /// Set if the clients are to acknowledge the event. Each node answers once with [`Recipients`](Self::Recipients), and with
        /// an [`Ack`](Self::Ack) for each client that acknowledges.
        request: Option<RequestId>,
    },
    /// Let the selected sockets join rooms.
    Join {
        /// Which sockets.
        options: BroadcastOptions,
        /// The rooms.
        rooms: Vec<Room>,
    },
    /// Let the selected sockets leave rooms.
    Leave {
        /// Which sockets.
        options: BroadcastOptions,
        /// The rooms.
        rooms: Vec<Room>,
    },
    /// Disconnect the selected sockets from the namespace.
    Disconnect {
        /// Which sockets.
        options: BroadcastOptions,
        /// Whether to close their connections as well.
        close: bool,
    },
    /// Describe the selected sockets, in one [`SocketsFetched`](Self::SocketsFetched).
    FetchSockets {
        /// Which sockets. The flag `timeout` says how long the sender waits.
        options: BroadcastOptions,
        /// The request.
        request: RequestId,
    },
    /// The answer to [`FetchSockets`](Self::FetchSockets).
    SocketsFetched {
        /// The request.
        request: RequestId,
        /// The sockets of the answering node.
        sockets: Vec<SocketDescription>,
    },
    /// An event for the servers, not for clients.
    ServerSideEmit {
        /// The event.
        event: EventBody,
        /// Set if each node is to answer with one [`ServerSideAck`](Self::ServerSideAck).
        request: Option<RequestId>,
    },
    /// The answer to [`ServerSideEmit`](Self::ServerSideEmit).
    ServerSideAck {
        /// The request.
        request: RequestId,
        /// What was answered. `None` is JavaScript's `undefined`.
        answer: Option<Payload>,
    },
    /// The number of clients to which an event with a request was sent.
    Recipients {
        /// The request.
        request: RequestId,
        /// The clients of the answering node.
        count: u64,
    },
    /// A client's acknowledgement of an event with a request.
    Ack {
        /// The request.
        request: RequestId,
        /// The first argument of the ack. `None` is JavaScript's `undefined`.
        answer: Option<Payload>,
    },
    /// List the ids of the sockets that are in one of these rooms, or all if there are none. Old versions of Node.js's classic
    /// Redis adapter ask it.
    ListSockets {
        /// The rooms.
        rooms: Vec<Room>,
        /// The request.
        request: RequestId,
    },
    /// The answer to [`ListSockets`](Self::ListSockets).
    SocketsListed {
        /// The request.
        request: RequestId,
        /// The ids of the answering node's sockets.
        ids: Vec<Arc<str>>,
    },
    /// List all rooms, those of single sockets included. Node.js's classic Redis adapter asks it.
    ListRooms {
        /// The request.
        request: RequestId,
    },
    /// The answer to [`ListRooms`](Self::ListRooms).
    RoomsListed {
        /// The request.
        request: RequestId,
        /// The rooms of the answering node.
        rooms: Vec<Room>,
    },
    /// The sender has joined the cluster. The others answer with a [`Heartbeat`](Self::Heartbeat) at once.
    Hello,
    /// The sender is alive.
    Heartbeat,
    /// The sender leaves the cluster.
    Goodbye,
}

impl ClusterCommand {
    /// Whether this answers a request, which makes it a matter of the node that asked.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        matches!(
            self,
            Self::SocketsFetched { .. }
                | Self::ServerSideAck { .. }
                | Self::Recipients { .. }
                | Self::Ack { .. }
                | Self::SocketsListed { .. }
                | Self::RoomsListed { .. }
        )
    }

    /// The request that this makes or answers.
    #[must_use]
    pub fn request(&self) -> Option<&RequestId> {
        match self {
            Self::Emit { request, .. } | Self::ServerSideEmit { request, .. } => request.as_ref(),
            Self::FetchSockets { request, .. }
            | Self::SocketsFetched { request, .. }
            | Self::ServerSideAck { request, .. }
            | Self::Recipients { request, .. }
            | Self::Ack { request, .. }
            | Self::ListSockets { request, .. }
            | Self::SocketsListed { request, .. }
            | Self::ListRooms { request }
            | Self::RoomsListed { request, .. } => Some(request),
            Self::Join { .. }
            | Self::Leave { .. }
            | Self::Disconnect { .. }
            | Self::Hello
            | Self::Heartbeat
            | Self::Goodbye => None,
        }
    }

    /// Whether there are attachments in it.
    #[must_use]
    pub fn has_binary(&self) -> bool {
        match self {
            Self::Emit { event, .. } | Self::ServerSideEmit { event, .. } => !event.attachments().is_empty(),
            Self::ServerSideAck { answer, .. } | Self::Ack { answer, .. } => {
                answer.as_ref().is_some_and(|answer| !answer.attachments().is_empty())
            }
            Self::SocketsFetched { sockets, .. } => sockets.iter().any(SocketDescription::has_binary),
            _ => false,
        }
    }
}

/// Which sockets a command is for, and how an event is sent to them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BroadcastOptions {
    /// The sockets in at least one of these rooms. Empty: all sockets of the namespace.
    pub rooms: Vec<Room>,
    /// Except those in one of these rooms.
    pub except: Vec<Room>,
    /// How to send.
    pub flags: BroadcastFlags,
}

impl BroadcastOptions {
    /// Selects the sockets in one of `rooms`, or all if it is empty, except those in one of `except`.
    #[must_use]
    pub fn new(rooms: Vec<Room>, except: Vec<Room>) -> Self {
        Self { rooms, except, flags: BroadcastFlags::default() }
    }

    /// Sets the flags.
    #[must_use]
    pub fn flags(mut self, flags: BroadcastFlags) -> Self {
        self.flags = flags;
        self
    }
}

/// How an event is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BroadcastFlags {
    /// Drop the event for each client that cannot take it at once.
    pub volatile: bool,
    /// Whether to compress it. `None`: as configured.
    pub compress: Option<bool>,
    /// How long the sender waits for answers. Whole milliseconds are kept.
    pub timeout: Option<Duration>,
    /// The sender waits for the answer of one socket.
    pub expect_single_response: bool,
}

/// A socket of another node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketDescription {
    /// The id of the socket.
    pub id: Arc<str>,
    /// The request that opened its connection.
    pub handshake: HandshakeDescription,
    /// The rooms that it is in, the one of its id included.
    pub rooms: Vec<Room>,
    /// The data that the application attached to it.
    pub data: Payload,
}

impl SocketDescription {
    /// Describes a socket with a default handshake.
    #[must_use]
    pub fn new(id: impl Into<Arc<str>>, rooms: Vec<Room>, data: Payload) -> Self {
        Self { id: id.into(), handshake: HandshakeDescription::default(), rooms, data }
    }

    fn has_binary(&self) -> bool {
        [&self.data, self.handshake.payload()].iter().any(|payload| !payload.attachments().is_empty())
    }
}

/// The handshake of a socket of another node, as Node.js describes it: a JSON object, which is read only if the handshake is.
///
/// | key | value |
/// |---|---|
/// | `headers` | the headers of the request: an object whose keys are lower case, of strings and arrays of strings |
/// | `time` | when the connection was opened, as JavaScript's `Date` prints it |
/// | `address` | the address of the peer |
/// | `xdomain` | whether the request had an `Origin` |
/// | `secure` | whether the connection is encrypted |
/// | `issued` | when the connection was opened, in milliseconds since the Unix epoch |
/// | `url` | the target of the request |
/// | `query` | the parameters of the query: an object of strings and arrays of strings |
/// | `auth` | what the client sent as `auth` |
///
/// Keys may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandshakeDescription(Payload);

impl HandshakeDescription {
    /// Creates a description.
    ///
    /// # Errors
    ///
    /// Returns an error if the payload is not an object.
    pub fn new(object: Payload) -> Result<Self, InvalidPayload> {
        if !object.json().starts_with('{') {
            return Err(InvalidPayload("the description of a handshake is not an object"));
        }
        Ok(Self(object))
    }

    /// Returns the object.
    #[must_use]
    pub fn payload(&self) -> &Payload {
        &self.0
    }
}

impl Default for HandshakeDescription {
    /// Returns an empty object.
    fn default() -> Self {
        Self(Payload::empty())
    }
}
