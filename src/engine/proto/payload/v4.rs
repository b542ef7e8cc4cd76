//! Payloads of revision 4. Engine.IO protocol 4, section "HTTP long-polling".
//!
//! Packets are joined with the record separator. A binary packet is the letter `b` and base64.

use bytes::Bytes;
use bytestring::ByteString;

use super::{
    super::{
        base64,
        packet::{Frame, Packet},
        packet_error::PacketError,
    },
    part::part_of,
};

/// The record separator, between two packets.
const SEPARATOR: u8 = 0x1e;

/// Encodes packets into the body of the response to a poll.
pub(super) fn encode(mut packets: Vec<Packet>) -> Bytes {
    if let [packet] = &*packets
        && !packet.is_binary()
        && let Some(Frame::Text(text)) = packets.pop().map(Packet::into_frame)
    {
        return text;
    }
    let mut body = Vec::with_capacity(packets.iter().map(|p| p.len() * 4 / 3 + 6).sum());
    for (index, packet) in packets.iter().enumerate() {
        if index > 0 {
            body.push(SEPARATOR);
        }
        match packet.text() {
            Some(text) => body.extend_from_slice(text),
            None => {
                body.push(b'b');
                base64::encode(&mut body, packet.data());
            }
        }
    }
    body.into()
}

/// Decodes the packets of a request's body, one by one. Packets before a malformed one are yielded.
#[derive(Debug)]
pub(super) struct Decoder {
    body: ByteString,
    /// The offset of the next packet, or `None` after the last one.
    at: Option<usize>,
}

impl Decoder {
    /// # Errors
    ///
    /// Returns an error if the body is not UTF-8.
    pub(super) fn new(body: Bytes) -> Result<Self, PacketError> {
        match body.try_into() {
            Ok(body) => Ok(Self { body, at: Some(0) }),
            Err(_) => Err(PacketError::new("a payload is not valid UTF-8")),
        }
    }
}

impl Iterator for Decoder {
    type Item = Result<Packet, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        let begin = self.at.take()?;
        let rest = &self.body[begin..];
        let text = match memchr::memchr(SEPARATOR, rest.as_bytes()) {
            Some(end) => {
                self.at = Some(begin + end + 1);
                part_of(&self.body, &rest[..end])
            }
            // Most payloads are a single packet.
            None if begin == 0 => std::mem::take(&mut self.body),
            None => part_of(&self.body, rest),
        };
        let packet = Packet::from_utf8(text);
        if packet.is_err() {
            self.at = None;
        }
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(body: &[u8]) -> Vec<Result<Packet, PacketError>> {
        Decoder::new(Bytes::copy_from_slice(body)).unwrap().collect()
    }

    #[test]
    fn text_and_binary_packets_are_joined_with_the_record_separator() {
        let packets = [Packet::message("hello"), Packet::binary(&[1u8, 2, 3, 4][..])];
        assert_eq!(&encode(packets.to_vec())[..], b"4hello\x1ebAQIDBA==");
    }

    #[test]
    fn a_single_text_packet_is_not_copied() {
        let packet = Packet::message("hello");
        let place = packet.text().unwrap().as_ptr();
        assert_eq!(encode(vec![packet]).as_ptr(), place);
    }

    #[test]
    fn a_small_packet_does_not_keep_the_payload() {
        let body = Bytes::from([&b"4small\x1e4"[..], &[b'x'; 1000]].concat());
        let packets: Vec<_> = Decoder::new(body.clone()).unwrap().map(|packet| packet.unwrap()).collect();
        let is_inside = |packet: &Packet| body.as_ptr_range().contains(&packet.data().as_ptr());
        assert_eq!(packets.iter().map(is_inside).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn packets_before_a_malformed_one_are_yielded_and_none_after_it() {
        let packets = decode(b"4a\x1eabc\x1e4b");
        assert_eq!(packets.len(), 2);
        assert_eq!(packets[0], Ok(Packet::message("a")));
        assert!(packets[1].is_err());
    }

    #[test]
    fn an_empty_body_is_malformed() {
        assert!(decode(b"")[0].is_err());
        assert!(decode(b"4a\x1e")[1].is_err());
    }

    #[test]
    fn base64_without_padding_is_decoded() {
        assert_eq!(decode(b"bAQIDBA")[0], Ok(Packet::binary(&[1u8, 2, 3, 4][..])));
        assert!(decode(b"b*")[0].is_err());
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(parts in prop::collection::vec(
            prop_oneof![
                "[^\u{1e}]*".prop_map(|text| Packet::message(&text)),
                prop::collection::vec(any::<u8>(), 0..40).prop_map(Packet::binary),
            ],
            1..8,
        )) {
            let decoded: Result<Vec<_>, _> = Decoder::new(encode(parts.clone())).unwrap().collect();
            prop_assert_eq!(decoded, Ok(parts));
        }

        #[test]
        fn decoding_never_panics(body in ".*") {
            let _ = decode(body.as_bytes());
        }
    }
}
