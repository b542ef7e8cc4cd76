//! The payload of a long-polling request or response: several packets in one body.

mod jsonp;
mod part;
mod v3;
mod v4;

use bytes::Bytes;

use super::{packet::Packet, packet_error::PacketError, query::Protocol, wire_format::WireFormat};

/// The body of a poll's answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) body: Bytes,
    pub(crate) content_type: &'static str,
    /// Whether a packet allows that it is compressed.
    #[cfg(feature = "compression")]
    pub(crate) compress: bool,
}

/// Encodes packets into the answer to a poll.
pub(crate) fn encode_payload(wire_format: &WireFormat, packets: Vec<Packet>) -> Payload {
    const TEXT: &str = "text/plain; charset=UTF-8";
    #[cfg(feature = "compression")]
    let compress = packets.iter().any(Packet::may_be_compressed);
    let (mut body, mut content_type) = match wire_format.protocol {
        Protocol::V4 => (v4::encode(packets), TEXT),
        Protocol::V3 if wire_format.answers_in_bytes(&packets) => {
            (v3::encode_binary(&packets), "application/octet-stream")
        }
        Protocol::V3 => (v3::encode_text(&packets, wire_format.twice.is_likely()), TEXT),
    };
    if let Some(index) = &wire_format.jsonp {
        // Not text/plain, as Node says: a browser that is told not to sniff would not run it.
        (body, content_type) = (jsonp::encode(index, &body), "text/javascript; charset=UTF-8");
    }
    Payload {
        body,
        content_type,
        #[cfg(feature = "compression")]
        compress,
    }
}

/// Takes the packets out of a POST's body, one by one.
///
/// Packets in front of a malformed one are yielded: Node delivers them too.
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
    /// `octet_stream`: what the request's content type says.
    ///
    /// # Errors
    ///
    /// If the body is not UTF-8 where it must be, or is binary where it must not be.
    pub(crate) fn new(wire_format: &WireFormat, octet_stream: bool, body: Bytes) -> Result<Self, PacketError> {
        if octet_stream {
            return match wire_format.protocol {
                Protocol::V3 => Ok(Self(Decoder::V3Binary(v3::BinaryDecoder::new(body)))),
                Protocol::V4 => Err(PacketError::new("binary payloads belong to revision 3")),
            };
        }
        let body = match &wire_format.jsonp {
            None => body,
            Some(_) => match jsonp::decode(&body) {
                Some(payload) => payload,
                None => return Ok(Self(Decoder::Nothing)),
            },
        };
        Ok(Self(match wire_format.protocol {
            Protocol::V4 => Decoder::V4(v4::Decoder::new(body)?),
            Protocol::V3 => Decoder::V3Text(v3::TextDecoder::new(body, wire_format.twice.clone())?),
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
