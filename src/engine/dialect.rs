use bytes::{Buf, Bytes};
use bytestring::ByteString;

use super::{
    packet::{EncodedTwice, MESSAGE_BYTE, Packet, PacketError, PacketPayload},
    query::{HandshakeQuery, Protocol},
};

/// How a session's packets look on the wire, whatever they say. The first request decides.
#[derive(Debug, Clone)]
pub(crate) struct Dialect {
    pub(crate) protocol: Protocol,
    /// The client asked for binary as base64.
    pub(crate) base64: bool,
    /// The client polls by script elements: the index of the function that its answers call.
    pub(crate) jsonp: Option<Box<str>>,
    /// The client refuses an answer to a poll that has more than [`FEW_PACKETS`].
    pub(crate) takes_few_packets: bool,
    pub(crate) twice: EncodedTwice,
}

/// The most packets that python-engineio takes in the answer to one poll.
const FEW_PACKETS: u32 = 16;

/// The longest index of a JSONP function that is believed.
const MAX_JSONP_DIGITS: usize = 20;

impl Dialect {
    /// The usual form of a revision.
    pub(crate) fn plain(protocol: Protocol) -> Self {
        let twice = match protocol {
            Protocol::V3 => EncodedTwice::unknown(),
            Protocol::V4 => EncodedTwice::default(),
        };
        Self { protocol, base64: false, jsonp: None, takes_few_packets: false, twice }
    }

    /// What the query of the first request asks for.
    pub(crate) fn asked_for(query: &HandshakeQuery<'_>, protocol: Protocol) -> Self {
        let digits = |j: &str| j.chars().filter(char::is_ascii_digit).take(MAX_JSONP_DIGITS).collect();
        Self { base64: query.base64, jsonp: query.jsonp.as_deref().map(digits), ..Self::plain(protocol) }
    }

    /// The most packets in the answer to a poll, where the server's limit is `limit`.
    pub(crate) fn max_poll_packets(&self, limit: u32) -> u32 {
        if self.takes_few_packets { limit.min(FEW_PACKETS) } else { limit }
    }

    /// Whether the client cannot take a binary answer to a poll.
    pub(super) fn is_text_only(&self) -> bool {
        self.base64 || self.jsonp.is_some()
    }

    /// Reads a text frame of a WebSocket.
    pub(crate) fn read_text(&self, frame: ByteString) -> Result<Packet, PacketError> {
        match self.protocol {
            Protocol::V3 => Packet::from_utf8_v3(frame, &self.twice),
            Protocol::V4 => Packet::from_utf8(frame),
        }
    }

    /// Reads a binary frame of a WebSocket. `None`: it means nothing, and is ignored.
    pub(crate) fn read_binary(&self, mut frame: Bytes) -> Option<Packet> {
        if self.protocol == Protocol::V3 {
            frame.first().filter(|kind| **kind == MESSAGE_BYTE)?;
            frame.advance(1);
        }
        Some(Packet::binary(frame))
    }

    /// The frame of a WebSocket for a binary message.
    pub(crate) fn write_binary(&self, packet: Packet) -> PacketPayload {
        if self.base64 {
            let prefix: &[u8] = if self.protocol == Protocol::V3 { b"b4" } else { b"b" };
            let mut text = prefix.to_vec();
            super::base64::encode(&mut text, packet.data());
            return PacketPayload::Text(text.into());
        }
        match self.protocol {
            Protocol::V3 => packet.into_payload_v3(),
            Protocol::V4 => packet.into_payload(),
        }
    }
}
