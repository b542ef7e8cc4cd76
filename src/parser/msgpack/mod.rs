//! The form of `socket.io-msgpack-parser`: each packet is one binary message, a map of `type`, `data`, `nsp` and `id`, with
//! what notepack makes of JavaScript's values.

pub(crate) mod date;
mod decode;
mod encode;
pub(crate) mod reader;

use crate::engine::Packet;

use super::{Decoder, Limits, Parser, ParserError, SocketPacket};

/// The parser for clients with `socket.io-msgpack-parser`. With the feature `msgpack`.
///
/// ```
/// use tower_socketio::{SocketIoConfig, parser::MsgpackParser};
///
/// let config = SocketIoConfig::new().parser(MsgpackParser);
/// # let _ = config;
/// ```
///
/// Binary travels among the other values, without a message of its own: [`max_payload`] bounds it, [`max_attachments`] and
/// [`max_attachment_bytes`] do not. Dates arrive as strings, as they do in JSON. A text
/// message, or anything else that is no packet, closes the connection.
///
/// [`max_attachments`]: crate::SocketIoConfig::max_attachments
/// [`max_attachment_bytes`]: crate::SocketIoConfig::max_attachment_bytes
/// [`max_payload`]: crate::SocketIoConfig::max_payload
#[derive(Debug, Clone, Copy, Default)]
pub struct MsgpackParser;

impl Parser for MsgpackParser {
    fn encode(&self, packet: &SocketPacket) -> Result<Vec<Packet>, ParserError> {
        Ok(vec![Packet::binary(encode::encode(packet)?)])
    }

    fn decoder(&self, limits: Limits) -> Box<dyn Decoder> {
        Box::new(MsgpackDecoder(limits))
    }
}

/// Each message is a packet: there is nothing to remember.
struct MsgpackDecoder(Limits);

impl Decoder for MsgpackDecoder {
    fn decode(&mut self, message: &Packet) -> Result<Option<SocketPacket>, ParserError> {
        if !message.is_binary() {
            return Err(ParserError::new("a text message where msgpack is spoken"));
        }
        decode::decode(&message.data_bytes(), self.0).map(Some)
    }
}
