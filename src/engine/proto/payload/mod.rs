//! Payloads: the packets in the body of a long-polling request or response.

mod jsonp;
mod part;
mod v3;
mod v4;

use bytes::Bytes;

use super::{packet::Packet, packet_error::PacketError, query::ProtocolVersion, wire_format::WireFormat};

/// The body of the response to a poll.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) body: Bytes,
    pub(crate) content_type: &'static str,
    /// Whether one of the packets may be compressed.
    #[cfg(feature = "compression")]
    pub(crate) compress: bool,
}

/// Encodes packets into the response to a poll.
pub(crate) fn encode_payload(wire_format: &WireFormat, packets: Vec<Packet>) -> Payload {
    const TEXT: &str = "text/plain; charset=UTF-8";
    #[cfg(feature = "compression")]
    let compress = packets.iter().any(Packet::may_be_compressed);
    let (mut body, mut content_type) = match wire_format.protocol {
        ProtocolVersion::V4 => (v4::encode(packets), TEXT),
        ProtocolVersion::V3 if wire_format.responds_in_binary(&packets) => {
            (v3::encode_binary(&packets), "application/octet-stream")
        }
        ProtocolVersion::V3 => (v3::encode_text(&packets, wire_format.double_encoding().is_likely()), TEXT),
    };
    if let Some(index) = wire_format.jsonp() {
        // Node sends text/plain, which a browser does not run with `nosniff`.
        (body, content_type) = (jsonp::encode(index, &body), "text/javascript; charset=UTF-8");
    }
    Payload {
        body,
        content_type,
        #[cfg(feature = "compression")]
        compress,
    }
}

/// Decodes the packets of a POST's body, one by one.
///
/// Packets before a malformed one are yielded, as in Node.
#[derive(Debug)]
pub(crate) struct PayloadDecoder(Decoder);

#[derive(Debug)]
enum Decoder {
    Nothing,
    V4(v4::Decoder),
    V3Text(v3::TextDecoder),
    V3Binary(v3::BinaryDecoder),
}

impl PayloadDecoder {
    /// Creates a decoder. `octet_stream` is `true` if that is the content type of the request.
    ///
    /// # Errors
    ///
    /// Returns an error if a textual payload is not UTF-8, or if a payload of revision 4 is binary.
    pub(crate) fn new(wire_format: &WireFormat, octet_stream: bool, body: Bytes) -> Result<Self, PacketError> {
        if octet_stream {
            return match wire_format.protocol {
                ProtocolVersion::V3 => Ok(Self(Decoder::V3Binary(v3::BinaryDecoder::new(body)))),
                ProtocolVersion::V4 => Err(PacketError::new("binary payloads belong to revision 3")),
            };
        }
        let body = match wire_format.jsonp() {
            None => body,
            Some(_) => match jsonp::decode(&body) {
                Some(payload) => payload,
                None => return Ok(Self(Decoder::Nothing)),
            },
        };
        Ok(Self(match wire_format.protocol {
            ProtocolVersion::V4 => Decoder::V4(v4::Decoder::new(body)?),
            ProtocolVersion::V3 => Decoder::V3Text(v3::TextDecoder::new(body, wire_format.double_encoding().clone())?),
        }))
    }
}

impl Iterator for PayloadDecoder {
    type Item = Result<Packet, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Decoder::Nothing => None,
            Decoder::V4(packets) => packets.next(),
            Decoder::V3Text(packets) => packets.next(),
            Decoder::V3Binary(packets) => packets.next(),
        }
    }
}
