use bytes::{Buf, Bytes};
use bytestring::ByteString;

use super::{
    packet::{EncodedTwice, MESSAGE_BYTE, Packet, PacketPayload},
    packet_error::PacketError,
    query::{HandshakeQuery, Protocol},
};

/// How a session's packets look on the wire, whatever they say. The first request decides.
#[derive(Debug, Clone)]
pub(crate) struct WireFormat {
    pub(crate) protocol: Protocol,
    /// The client asked for binary as base64.
    pub(crate) base64: bool,
    /// The client polls by script elements: the index of the function that its answers call.
    pub(crate) jsonp: Option<Box<str>>,
    /// The client refuses an answer to a poll that has more than [`FEW_PACKETS`].
    pub(crate) takes_few_packets: bool,
    /// The client takes bytes as the answer to a poll, and nothing else.
    pub(crate) bytes_only: bool,
    /// The handshake looks like that of 1.0, whose clients decode the UTF-8 of a WebSocket's text twice.
    pub(crate) may_decode_twice: bool,
    pub(crate) twice: EncodedTwice,
}

/// The most packets that python-engineio takes in the answer to one poll.
const FEW_PACKETS: u32 = 16;

/// The longest index of a JSONP function that is believed.
const MAX_JSONP_DIGITS: usize = 20;

/// The longest textual answer to a poll of revision 3, in bytes. Browsers' clients of 1.4 to 1.7 make each byte an argument
/// of one call, which fails at some 65,000 in some browsers, and at 120,000 in most.
const MAX_TEXT_V3: usize = 50_000;

impl WireFormat {
    /// The usual form of a revision.
    pub(crate) fn plain(protocol: Protocol) -> Self {
        let twice = match protocol {
            Protocol::V3 => EncodedTwice::unknown(),
            Protocol::V4 => EncodedTwice::default(),
        };
        let (base64, jsonp) = (false, None);
        let (takes_few_packets, bytes_only, may_decode_twice) = (false, false, false);
        Self { protocol, base64, jsonp, takes_few_packets, bytes_only, may_decode_twice, twice }
    }

    /// What the query of the first request asks for.
    pub(crate) fn from_query(query: &HandshakeQuery<'_>, protocol: Protocol) -> Self {
        let digits = |j: &str| j.chars().filter(char::is_ascii_digit).take(MAX_JSONP_DIGITS).collect();
        // The browsers' build of 1.0 says 2 where it means 3.
        let bytes_only = query.stamp_of_1_0 || query.eio.as_deref() == Some("2");
        let jsonp = query.jsonp.as_deref().map(digits);
        Self { base64: query.base64, jsonp, bytes_only, may_decode_twice: bytes_only, ..Self::plain(protocol) }
    }

    /// The most packets in the answer to a poll, where the server's limit is `limit`.
    pub(crate) fn max_poll_packets(&self, limit: u32) -> u32 {
        if self.takes_few_packets { limit.min(FEW_PACKETS) } else { limit }
    }

    /// Whether the answer to a poll of revision 3 is framed as bytes.
    ///
    /// It is for clients of 1.0 to 1.3 that can take bytes, as they take nothing else then, and for binary. Text that is
    /// not ASCII goes as bytes too, because clients of 1.4 to 1.7 decode the UTF-8 of a textual payload twice; and so does
    /// long text, which they cannot read in browsers.
    pub(super) fn answers_in_bytes(&self, packets: &[Packet]) -> bool {
        let needs_bytes = |packet: &Packet| packet.is_binary() || !packet.data().is_ascii();
        let is_long = || packets.iter().map(Packet::len).sum::<usize>() > MAX_TEXT_V3;
        !self.base64 && self.jsonp.is_none() && (self.bytes_only || packets.iter().any(needs_bytes) || is_long())
    }

    /// Whether text for the client must be ASCII: in revision 3, over long-polling, and for clients of 1.0 over a WebSocket.
    #[inline]
    pub(crate) fn wants_ascii(&self, over_websocket: bool) -> bool {
        let may_decode_twice = || !self.twice.is_never() && (self.may_decode_twice || self.twice.is_likely());
        self.protocol == Protocol::V3 && (!over_websocket || may_decode_twice())
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
