use std::sync::Arc;

use bytes::{Buf, Bytes};
use bytestring::ByteString;

use super::{
    packet::{DoubleEncoding, Frame, Packet, V3_MESSAGE_TYPE},
    packet_error::PacketError,
    query::{ProtocolVersion, RequestQuery},
};

/// How the packets of a session are encoded. Determined by the first request of the session.
#[derive(Debug, Clone)]
pub(crate) struct WireFormat {
    pub(crate) protocol: ProtocolVersion,
    /// The client accepts binary as base64 only.
    pub(crate) base64: bool,
    /// The client rejects responses to polls with more than [`FEW_PACKETS`].
    pub(crate) takes_few_packets: bool,
    /// The client accepts only binary responses to polls.
    pub(crate) bytes_only: bool,
    /// The client may be of version 1.0, which decodes the UTF-8 of WebSocket text twice.
    pub(crate) may_decode_twice: bool,
    /// `None` for most clients.
    legacy: Option<Arc<Legacy>>,
}

/// What only clients of revision 3 or with JSONP have.
#[derive(Debug)]
struct Legacy {
    jsonp: Option<Box<str>>,
    double_encoding: DoubleEncoding,
}

/// The maximum number of packets that python-engineio accepts in the response to one poll.
const FEW_PACKETS: u32 = 16;

/// The maximum number of digits in the index of a JSONP function. Further digits are ignored.
const MAX_JSONP_DIGITS: usize = 20;

/// The maximum size of a textual response to a poll of revision 3, in bytes. Clients of 1.4 to 1.7 in browsers pass each byte as
/// an argument of one call, which fails at some 65,000 in some browsers and at 120,000 in most.
const MAX_TEXT_V3: usize = 50_000;

impl Legacy {
    fn new(protocol: ProtocolVersion, jsonp: Option<Box<str>>) -> Option<Arc<Self>> {
        let double_encoding = match protocol {
            ProtocolVersion::V3 => DoubleEncoding::unknown(),
            ProtocolVersion::V4 if jsonp.is_none() => return None,
            ProtocolVersion::V4 => DoubleEncoding::never(),
        };
        Some(Arc::new(Self { jsonp, double_encoding }))
    }
}

impl WireFormat {
    /// Returns the default format of a revision.
    pub(crate) fn default_for(protocol: ProtocolVersion) -> Self {
        Self::new(protocol, None)
    }

    fn new(protocol: ProtocolVersion, jsonp: Option<Box<str>>) -> Self {
        let (base64, takes_few_packets, bytes_only, may_decode_twice) = (false, false, false, false);
        let legacy = Legacy::new(protocol, jsonp);
        Self { protocol, base64, takes_few_packets, bytes_only, may_decode_twice, legacy }
    }

    /// Returns the format that the query of the first request asks for.
    pub(crate) fn from_query(query: &RequestQuery<'_>, protocol: ProtocolVersion) -> Self {
        let digits = |j: &str| j.chars().filter(char::is_ascii_digit).take(MAX_JSONP_DIGITS).collect();
        // The browser build of 1.0 sends 2, but speaks 3.
        let bytes_only = query.stamp_of_1_0 || query.eio.as_deref() == Some("2");
        let jsonp = query.jsonp.as_deref().map(digits);
        Self { base64: query.base64, bytes_only, may_decode_twice: bytes_only, ..Self::new(protocol, jsonp) }
    }

    /// Returns the index of the function that JSONP responses call. `None` if the client does not use JSONP.
    pub(crate) fn jsonp(&self) -> Option<&str> {
        self.legacy.as_ref()?.jsonp.as_deref()
    }

    pub(super) fn double_encoding(&self) -> &DoubleEncoding {
        static NEVER: DoubleEncoding = DoubleEncoding::never();
        self.legacy.as_ref().map_or(&NEVER, |legacy| &legacy.double_encoding)
    }

    /// Returns the maximum number of packets in the response to a poll. `limit` is the server's limit.
    pub(crate) fn max_poll_packets(&self, limit: u32) -> u32 {
        if self.takes_few_packets { limit.min(FEW_PACKETS) } else { limit }
    }

    /// Returns `true` if the response to a poll of revision 3 is binary.
    ///
    /// Clients of 1.0 to 1.3 that accept binary responses accept no others. For later clients, a response is binary if it contains
    /// binary packets, text that is not ASCII (clients of 1.4 to 1.7 decode the UTF-8 of a textual payload twice), or long text
    /// (which these clients cannot read in browsers).
    pub(super) fn responds_in_binary(&self, packets: &[Packet]) -> bool {
        let needs_bytes = |packet: &Packet| packet.is_binary() || !packet.data().is_ascii();
        let is_long = || packets.iter().map(Packet::len).sum::<usize>() > MAX_TEXT_V3;
        !self.base64 && self.jsonp().is_none() && (self.bytes_only || packets.iter().any(needs_bytes) || is_long())
    }

    /// Returns `true` if text for the client must be ASCII: in revision 3, over long-polling, and over a WebSocket if the client may
    /// decode text twice.
    #[inline]
    pub(crate) fn wants_ascii(&self, over_websocket: bool) -> bool {
        let may_decode_twice =
            || !self.double_encoding().is_never() && (self.may_decode_twice || self.double_encoding().is_likely());
        self.protocol == ProtocolVersion::V3 && (!over_websocket || may_decode_twice())
    }

    /// Decodes a text frame of a WebSocket.
    pub(crate) fn read_text(&self, frame: ByteString) -> Result<Packet, PacketError> {
        match self.protocol {
            ProtocolVersion::V3 => Packet::from_utf8_v3(frame, self.double_encoding()),
            ProtocolVersion::V4 => Packet::from_utf8(frame),
        }
    }

    /// Decodes a binary frame of a WebSocket. Returns `None` if the frame must be ignored.
    pub(crate) fn read_binary(&self, mut frame: Bytes) -> Option<Packet> {
        if self.protocol == ProtocolVersion::V3 {
            frame.first().filter(|kind| **kind == V3_MESSAGE_TYPE)?;
            frame.advance(1);
        }
        Some(Packet::binary(frame))
    }

    /// Encodes a binary message as a frame of a WebSocket.
    pub(crate) fn write_binary(&self, packet: Packet) -> Frame {
        if self.base64 {
            let prefix: &[u8] = if self.protocol == ProtocolVersion::V3 { b"b4" } else { b"b" };
            let mut text = prefix.to_vec();
            super::base64::encode(&mut text, packet.data());
            return Frame::Text(text.into());
        }
        match self.protocol {
            ProtocolVersion::V3 => packet.into_frame_v3(),
            ProtocolVersion::V4 => packet.into_frame(),
        }
    }
}
