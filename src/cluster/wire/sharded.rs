//! The sharded Redis adapter; the channels of the streams adapter are the same.

use bytes::Bytes;

use super::{
    super::message::{ClusterCommand, ClusterMessage},
    Form, Result,
    family::{self, ACK, EMIT, Expected, SERVER_SIDE_ACK, SERVER_SIDE_EMIT, SOCKETS_FETCHED},
    input::Message,
    output::Output,
};

/// Which rooms have a channel, so that a message to one of them is received only by the nodes that have it. All nodes of a cluster
/// must have the same mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
#[cfg_attr(not(feature = "redis"), allow(unreachable_pub, reason = "exported by the Redis adapters"))]
pub enum SubscriptionMode {
    /// No room: there are two subscriptions for each namespace. Node's mode `static`.
    Static,
    /// All rooms except those of single sockets, that is, with a name of 20 characters. Node's mode `dynamic`, the default.
    #[default]
    Dynamic,
    /// All rooms: there is a subscription for each socket. Node's mode `dynamic-private`.
    DynamicPrivate,
}

impl SubscriptionMode {
    /// Returns whether messages to a room are published to the room's channel. Node.js considers a name of 20 UTF-16 units a socket's
    /// id.
    pub(crate) fn has_channel(self, room: &str) -> bool {
        const ID_LENGTH: usize = 20;
        match self {
            Self::Static => false,
            Self::Dynamic => room.encode_utf16().count() != ID_LENGTH,
            Self::DynamicPrivate => true,
        }
    }
}

/// The names of a namespace's channels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Channels<'a> {
    prefix: &'a str,
    namespace: &'a str,
}

impl<'a> Channels<'a> {
    pub(crate) fn new(prefix: &'a str, namespace: &'a str) -> Self {
        Self { prefix, namespace }
    }

    /// The channel to which each node of the namespace subscribes, by which they are counted.
    pub(crate) fn main(self) -> String {
        [self.prefix, "#", self.namespace, "#"].concat()
    }

    /// The channel for the answers to one node.
    pub(crate) fn node(self, node: &str) -> String {
        [self.prefix, "#", self.namespace, "#", node, "#"].concat()
    }

    /// The channel of a room.
    pub(crate) fn room(self, room: &str) -> String {
        self.node(room)
    }

    /// Returns the channel to which a message is published.
    pub(crate) fn of(self, message: &ClusterMessage, mode: SubscriptionMode) -> String {
        match (&message.command, &message.recipient) {
            (ClusterCommand::Emit { options, request: None, .. }, _) => match options.rooms.as_slice() {
                [room] if mode.has_channel(room) => self.room(room),
                _ => self.main(),
            },
            (command, Some(node)) if command.is_answer() => self.node(node),
            _ => self.main(),
        }
    }
}

/// Encodes a message into an empty buffer. It is msgpack only if it has binary.
pub(crate) fn encode(message: &ClusterMessage, out: &mut Vec<u8>) -> Result<()> {
    let kind = family::kind(&message.command)?;
    let may_have_binary = matches!(kind, EMIT | SOCKETS_FETCHED | SERVER_SIDE_EMIT | SERVER_SIDE_ACK | ACK);
    let form = if may_have_binary && message.command.has_binary() { Form::Msgpack } else { Form::Json };
    family::encode(message, &mut Output::new(form, out))
}

/// Returns `true` if a message is one that a node has encoded for a namespace as JSON. A node receives its own messages, and need not
/// decode them.
pub(crate) fn is_own(message: &[u8], node: &str, namespace: &str) -> bool {
    let rest = message.strip_suffix(b"\"}").and_then(|rest| rest.strip_suffix(namespace.as_bytes()));
    let rest = rest.and_then(|rest| rest.strip_suffix(b"\",\"nsp\":\"")?.strip_suffix(node.as_bytes()));
    rest.is_some_and(|rest| rest.ends_with(b",\"uid\":\""))
}

/// Decodes a message from a channel of the namespace.
pub(crate) fn decode(namespace: &str, message: Bytes) -> Result<ClusterMessage> {
    family::decode(&Message::either(message)?, Expected::Only(namespace))
}
