//! Parsers: custom encodings of Socket.IO packets, in place of JSON.
//!
//! Without [`SocketIoConfig::parser`](crate::SocketIoConfig::parser), packets are JSON, at no cost for this module. `MsgpackParser`
//! (feature `msgpack`) is for clients with `socket.io-msgpack-parser`. The protocol does not negotiate the encoding. With
//! [`SocketIoConfig::named_parser`](crate::SocketIoConfig::named_parser), a client chooses it by a parameter of its query. The
//! [guide](crate::guide::parsers) shows how to write a [`Parser`].
//!
//! Handlers do not depend on the parser: it yields [`Value`]s, from which arguments are deserialized as usual.

mod convert;
#[cfg(feature = "msgpack")]
pub(crate) mod msgpack;
mod parsers;

use crate::{engine::Packet, packet::Value};

#[cfg(feature = "msgpack")]
pub use self::msgpack::MsgpackParser;
pub(crate) use self::{convert::DecoderState, parsers::Parsers};
pub use crate::packet::Limits;

/// Encodes Socket.IO packets as messages, and creates [`Decoder`]s for the other direction.
///
/// # Contract
///
/// A parser must not block and must not emit. On a server with [`recovery`](crate::SocketIoConfig::recovery),
/// [`encode`](Self::encode) may run while a namespace is locked.
///
/// A packet is encoded once for all of its recipients. A panic is caught: in `encode` it fails the emit, in a decoder it closes
/// the connection.
pub trait Parser: Send + Sync + 'static {
    /// Encodes a packet as one or several messages, each a [`Packet::message`] or a [`Packet::binary`]. They are sent in order, with
    /// only control packets of Engine.IO between them.
    ///
    /// # Errors
    ///
    /// Returns an error if the packet cannot be encoded. The caller of `emit` gets it, see
    /// [`EmitError::is_encode`](crate::EmitError::is_encode), except that of a broadcast for a [named
    /// parser](crate::SocketIoConfig::named_parser). An ack is replaced by that of an internal error. Any other packet is dropped and
    /// logged.
    fn encode(&self, packet: &SocketIoPacket) -> Result<Vec<Packet>, ParserError>;

    /// Creates the decoder of one connection, when its first message arrives.
    fn decoder(&self, limits: Limits) -> Box<dyn Decoder>;
}

/// Decodes the messages of one connection.
pub trait Decoder: Send + 'static {
    /// Decodes the next message, text or binary. Returns a packet if the message completes one. The content of the message is
    /// [`message.data()`](Packet::data), which is UTF-8 unless [`message.is_binary()`](Packet::is_binary).
    ///
    /// The message is untrusted. Only its size is limited, by [`max_payload`](crate::SocketIoConfig::max_payload). A decoder that
    /// combines messages must limit what it stores, and one that recurses must limit its depth, according to [`Limits`]. The
    /// packets that it returns are checked against the limits again.
    ///
    /// # Errors
    ///
    /// Returns an error if the message is not a valid packet or part of one. The connection is closed.
    fn decode(&mut self, message: &Packet) -> Result<Option<SocketIoPacket>, ParserError>;
}

/// A Socket.IO packet, independent of its encoding.
///
/// A packet that a decoder returns must obey the following rules. Otherwise the connection is closed.
///
/// | type | `id` | `data` |
/// |---|---|---|
/// | [`Connect`](SocketIoPacketType::Connect) | none | none or an object; binary in it becomes arrays of numbers |
/// | [`Disconnect`](SocketIoPacketType::Disconnect) | none | none |
/// | [`Event`](SocketIoPacketType::Event) | if an ack is requested | an array that begins with the name |
/// | [`Ack`](SocketIoPacketType::Ack) | that of the event | an array |
/// | [`ConnectError`](SocketIoPacketType::ConnectError) | none | a string or an object; sent by the server only |
///
/// ```
/// use tower_socketio::{Value, parser::{SocketIoPacket, SocketIoPacketType}};
///
/// let mut packet = SocketIoPacket::new(SocketIoPacketType::Event, "/chat");
/// packet.data = Some(Value::from(["message", "hello"]));
/// assert_eq!(packet.packet_type as u8, 2);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketIoPacket {
    /// Returns the type of the packet.
    pub packet_type: SocketIoPacketType,
    /// The namespace. It begins with a slash and does not contain a comma.
    pub namespace: String,
    /// The id of the ack that an event requests, or that an ack has.
    pub id: Option<u64>,
    /// The payload. `None` is `undefined` in JavaScript.
    pub data: Option<Value>,
}

impl SocketIoPacket {
    /// Creates a packet without an id and without data.
    #[must_use]
    pub fn new(packet_type: SocketIoPacketType, namespace: impl Into<String>) -> Self {
        Self { packet_type, namespace: namespace.into(), id: None, data: None }
    }
}

/// The type of a [`SocketIoPacket`]. `as u8` converts it to its number in the protocol.
///
/// Socket.IO protocol 5, section "Packet types". The types 5 and 6, which are events and acks with attachments, do not exist for
/// parsers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SocketIoPacketType {
    /// A client requests to join a namespace, or the server accepts that.
    Connect = 0,
    /// A socket leaves a namespace.
    Disconnect = 1,
    /// An event.
    Event = 2,
    /// The response to an event.
    Ack = 3,
    /// The server rejects a CONNECT.
    ConnectError = 4,
}

impl SocketIoPacketType {
    /// Returns the type with a number, or `None` if it is unknown.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Connect,
            1 => Self::Disconnect,
            2 => Self::Event,
            3 => Self::Ack,
            4 => Self::ConnectError,
            _ => return None,
        })
    }
}

/// Error of a [`Parser`] or [`Decoder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParserError(&'static str);

impl ParserError {
    /// Creates an error with a message, which should be short and lower case. The message of a decoder's error becomes the detail of
    /// the [`DisconnectReason`](crate::DisconnectReason). Clients do not get it.
    #[must_use]
    pub const fn new(message: &'static str) -> Self {
        Self(message)
    }
}
