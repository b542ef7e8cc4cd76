//! Parsers: how Socket.IO packets look in Engine.IO's messages, where that is not the protocol's own JSON.
//!
//! A server has one parser, for all its clients, and nothing in the protocol says which: the clients must be made with
//! the same one. Without [`SocketIoConfig::parser`](crate::SocketIoConfig::parser) packets are JSON, and nothing here
//! costs anything. `MsgpackParser`, with the feature `msgpack`, speaks to clients with `socket.io-msgpack-parser`; a
//! [`Parser`] of your own may do anything else. The [guide](crate::guide::parsers) shows one.
//!
//! Handlers do not notice: a parser hands over [`Value`]s, and what they hold is deserialised as ever.

mod convert;
#[cfg(feature = "msgpack")]
pub(crate) mod msgpack;

use crate::{engine::Packet, packet::Value};

pub(crate) use self::convert::{Reading, prepare, translated};
#[cfg(feature = "msgpack")]
pub use self::msgpack::MsgpackParser;
pub use crate::packet::Limits;

/// Turns Socket.IO packets into messages, and back by its [`Decoder`]s.
///
/// # Contract
///
/// A parser works on the bytes alone: it must not emit, nor wait. On a server with
/// [`recovery`](crate::SocketIoConfig::recovery), [`encode`](Self::encode) may run while a namespace is locked.
///
/// A packet is encoded once, for all its recipients. A panic in a parser is contained: that of an encoder fails the emit,
/// that of a decoder closes the connection.
pub trait Parser: Send + Sync + 'static {
    /// The messages that a packet becomes: each is a [`Packet::message`] or a [`Packet::binary`], and they follow one
    /// another on the wire without anything between them but Engine.IO's own packets.
    ///
    /// # Errors
    ///
    /// If the packet cannot be said in this form. Whoever emits it is told, by
    /// [`EmitError::is_encode`](crate::EmitError::is_encode); an ack becomes that of an internal error; any other packet
    /// is dropped, and that is logged with the feature `tracing`.
    fn encode(&self, packet: &SocketPacket) -> Result<Vec<Packet>, ParserError>;

    /// A decoder for one connection, made when its first message arrives.
    fn decoder(&self, limits: Limits) -> Box<dyn Decoder>;
}

/// Reads the messages of one connection.
pub trait Decoder: Send + 'static {
    /// Takes the next message, text or binary; answers a packet if that completes one. Its data are
    /// [`message.data()`](Packet::data), which is UTF-8 unless [`message.is_binary()`](Packet::is_binary).
    ///
    /// Nothing is known of the bytes, except that there are no more of them than
    /// [`max_payload`](crate::SocketIoConfig::max_payload). A decoder that puts several messages together must bound what
    /// it keeps, and one that recurses must bound how deep: [`Limits`] says what is allowed, and what it yields is checked
    /// against it again.
    ///
    /// # Errors
    ///
    /// If the message is no packet, or no part of one: the connection is closed.
    fn decode(&mut self, message: &Packet) -> Result<Option<SocketPacket>, ParserError>;
}

/// A packet of Socket.IO's, whatever it looks like on the wire.
///
/// What a decoder yields must obey these rules; a packet that does not closes its connection:
///
/// | kind | `id` | `data` |
/// |---|---|---|
/// | [`Connect`](SocketPacketKind::Connect) | none | none, or an object; binary in it becomes arrays of numbers |
/// | [`Disconnect`](SocketPacketKind::Disconnect) | none | none |
/// | [`Event`](SocketPacketKind::Event) | if an ack is asked for | an array that begins with the name |
/// | [`Ack`](SocketPacketKind::Ack) | that of the event | an array |
/// | [`ConnectError`](SocketPacketKind::ConnectError) | none | a string or an object; from the server only |
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketPacket {
    /// The type.
    pub kind: SocketPacketKind,
    /// The name of the namespace. It begins with a slash and holds no comma.
    pub namespace: String,
    /// The ack that an event asks for, or that an ack answers.
    pub id: Option<u64>,
    /// What it carries; `None` is JavaScript's undefined.
    pub data: Option<Value>,
}

impl SocketPacket {
    /// A packet without an id and without data.
    #[must_use]
    pub fn new(kind: SocketPacketKind, namespace: impl Into<String>) -> Self {
        Self { kind, namespace: namespace.into(), id: None, data: None }
    }
}

/// The type of a [`SocketPacket`]. Its number is that of the protocol, as `kind as u8`.
///
/// The protocol's types 5 and 6 are events and acks with attachments; to a parser they are events and acks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SocketPacketKind {
    /// A client asks to join a namespace, or the server admits it.
    Connect = 0,
    /// A socket leaves a namespace.
    Disconnect = 1,
    /// An event.
    Event = 2,
    /// The answer to an event.
    Ack = 3,
    /// The server refuses to admit a client.
    ConnectError = 4,
}

impl SocketPacketKind {
    /// The kind of a number.
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

/// What a parser cannot write or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParserError(&'static str);

impl ParserError {
    /// An error with this message: short, lower case. As the reason of a closed connection it reaches
    /// [`DisconnectReason`](crate::DisconnectReason) and the log, never the client.
    #[must_use]
    pub const fn new(message: &'static str) -> Self {
        Self(message)
    }
}
