//! The encoding of `socket.io-msgpack-parser`: each packet is one binary message, a map of `type`, `data`, `nsp` and `id`, with
//! JavaScript values as encoded by notepack.

mod decode;
mod encode;
pub(crate) mod reader;

use crate::engine::Packet;

use super::{Decoder, Limits, Parser, ParserError, SocketIoPacket};

/// A parser for clients with `socket.io-msgpack-parser`. Requires the feature `msgpack`.
///
/// ```
/// use tower_socketio::{SocketIoConfig, parser::MsgpackParser};
///
/// let config = SocketIoConfig::new().parser(MsgpackParser);
/// # let _ = config;
/// ```
///
/// Binary is part of the message: [`max_payload`] limits it, [`max_attachments`] and [`max_attachment_bytes`] do not apply. Dates
/// arrive as strings, as in JSON. A text message, or a binary one that is not a packet, closes the connection.
///
/// [`max_attachments`]: crate::SocketIoConfig::max_attachments
/// [`max_attachment_bytes`]: crate::SocketIoConfig::max_attachment_bytes
/// [`max_payload`]: crate::SocketIoConfig::max_payload
#[derive(Debug, Clone, Copy, Default)]
pub struct MsgpackParser;

impl Parser for MsgpackParser {
    fn encode(&self, packet: &SocketIoPacket) -> Result<Vec<Packet>, ParserError> {
        Ok(vec![Packet::binary(encode::encode(packet)?)])
    }

    fn decoder(&self, limits: Limits) -> Box<dyn Decoder> {
        Box::new(MsgpackDecoder(limits))
    }
}

/// Stateless, because each message is a packet.
struct MsgpackDecoder(Limits);

impl Decoder for MsgpackDecoder {
    fn decode(&mut self, message: &Packet) -> Result<Option<SocketIoPacket>, ParserError> {
        if !message.is_binary() {
            return Err(ParserError::new("expected a binary message with msgpack, got text"));
        }
        decode::decode(&message.data_bytes(), self.0).map(Some)
    }
}
