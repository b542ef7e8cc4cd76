//! Payloads of revision 3. Engine.IO protocol 3, section "Payload".
//!
//! In text, each packet is preceded by its length in UTF-16 code units and a colon. In bytes, each is preceded by a marker for
//! text or binary, the digits of its length in bytes, and `ff`. The latter is for clients that accept binary responses.

use bytes::{Buf, Bytes};
use bytestring::ByteString;

use super::{
    super::{
        base64,
        packet::{DoubleEncoding, Packet, V3_MESSAGE_TYPE},
        packet_error::PacketError,
    },
    part::part_of,
};

const END_OF_LENGTH: u8 = 0xff;
const TEXT: u8 = 0;
const BINARY: u8 = 1;

/// The largest number of digits in a length. No accepted payload is that long.
const MAX_DIGITS: usize = 10;

pub(super) fn encode_binary(packets: &[Packet]) -> Bytes {
    let mut body = Vec::with_capacity(packets.iter().map(|packet| packet.len() + 8).sum());
    for packet in packets {
        let marker = if packet.is_binary() { BINARY } else { TEXT };
        let length = packet.data().len() + 1;
        body.push(marker);
        body.extend(length.to_string().bytes().map(|digit| digit - b'0'));
        body.push(END_OF_LENGTH);
        match packet.text() {
            Some(text) => body.extend_from_slice(text),
            None => {
                body.push(V3_MESSAGE_TYPE);
                body.extend_from_slice(packet.data());
            }
        }
    }
    body.into()
}

/// Encodes packets as text, with binary as base64.
///
/// With `double_encoding`, each byte of UTF-8 becomes a character, for clients that decode text twice.
pub(super) fn encode_text(packets: &[Packet], double_encoding: bool) -> Bytes {
    let mut body = Vec::with_capacity(packets.iter().map(|packet| packet.len() * 4 / 3 + 12).sum());
    for packet in packets {
        match packet.text() {
            Some(text) if double_encoding && !text.is_ascii() => {
                write_length(&mut body, text.len());
                body.extend(text.iter().copied().map(char::from).collect::<String>().into_bytes());
            }
            Some(text) => {
                write_length(&mut body, utf16_len(text));
                body.extend_from_slice(text);
            }
            None => {
                write_length(&mut body, base64::encoded_len(packet.data().len()) + 2);
                body.extend_from_slice(b"b4");
                base64::encode(&mut body, packet.data());
            }
        }
    }
    body.into()
}

fn write_length(body: &mut Vec<u8>, length: usize) {
    body.extend_from_slice(length.to_string().as_bytes());
    body.push(b':');
}

fn utf16_len(text: &[u8]) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    std::str::from_utf8(text).expect("a text packet is UTF-8").encode_utf16().count()
}

/// Decodes the packets of a textual payload.
#[derive(Debug)]
pub(super) struct TextDecoder {
    body: ByteString,
    at: usize,
    begun: bool,
    double_encoding: DoubleEncoding,
}

impl TextDecoder {
    /// # Errors
    ///
    /// Returns an error if the body is not UTF-8.
    pub(super) fn new(body: Bytes, double_encoding: DoubleEncoding) -> Result<Self, PacketError> {
        let body = body.try_into().map_err(|_| PacketError::new("a payload is not valid UTF-8"))?;
        Ok(Self { body, at: 0, begun: false, double_encoding })
    }

    /// Splits the text of the next packet off the payload.
    fn split(&mut self) -> Result<ByteString, PacketError> {
        let digits = &self.body.as_bytes()[self.at..(self.at + MAX_DIGITS + 1).min(self.body.len())];
        let colon = memchr::memchr(b':', digits).ok_or(MALFORMED)?;
        let units = parse_length(digits[..colon].iter().map(|byte| byte.wrapping_sub(b'0')))?;
        let start = self.at + colon + 1;
        let end = start + utf16_prefix(&self.body[start..], units).ok_or(MALFORMED)?;
        self.at = end;
        Ok(part_of(&self.body, &self.body[start..end]))
    }
}

impl Iterator for TextDecoder {
    type Item = Result<Packet, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = !std::mem::replace(&mut self.begun, true);
        while first || self.at < self.body.len() {
            let packet = match self.split() {
                Ok(packet) if packet.is_empty() => {
                    if self.at == self.body.len() {
                        return None;
                    }
                    continue;
                }
                Ok(packet) => Packet::from_utf8_v3(packet, &self.double_encoding),
                Err(error) => Err(error),
            };
            if packet.is_err() {
                self.at = self.body.len();
            }
            return Some(packet);
        }
        None
    }
}

/// Decodes the packets of a binary payload.
#[derive(Debug)]
pub(super) struct BinaryDecoder {
    rest: Bytes,
    /// The length of the whole payload.
    length: usize,
}

impl BinaryDecoder {
    pub(super) fn new(body: Bytes) -> Self {
        Self { length: body.len(), rest: body }
    }

    fn decode(&mut self) -> Result<Packet, PacketError> {
        let end = memchr::memchr(END_OF_LENGTH, &self.rest).filter(|end| *end > 0).ok_or(MALFORMED)?;
        let marker = self.rest[0];
        let length = parse_length(self.rest[1..end].iter().copied())?;
        self.rest.advance(end + 1);
        if length > self.rest.len() {
            return Err(MALFORMED);
        }
        let packet = self.rest.split_to(length);
        match (marker, packet.first()) {
            (TEXT, _) if packet.len() < self.length / 2 => Packet::from_text(Bytes::copy_from_slice(&packet)),
            (TEXT, _) => Packet::from_text(packet),
            // Copied, because a handler may keep it for long, and the whole payload with it.
            (BINARY, Some(&V3_MESSAGE_TYPE)) => Ok(Packet::binary(Bytes::copy_from_slice(&packet[1..]))),
            _ => Err(MALFORMED),
        }
    }
}

impl Iterator for BinaryDecoder {
    type Item = Result<Packet, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let packet = self.decode();
        if packet.is_err() {
            self.rest.clear();
        }
        Some(packet)
    }
}

const MALFORMED: PacketError = PacketError::new("a payload of revision 3 is malformed");

/// Parses a length from its digits, each from 0 to 9.
fn parse_length(digits: impl ExactSizeIterator<Item = u8>) -> Result<usize, PacketError> {
    if !(1..=MAX_DIGITS).contains(&digits.len()) {
        return Err(MALFORMED);
    }
    let mut length = 0u64;
    for digit in digits {
        if digit > 9 {
            return Err(MALFORMED);
        }
        length = length * 10 + u64::from(digit);
    }
    usize::try_from(length).map_err(|_| MALFORMED)
}

/// Returns the length in bytes of the first `units` UTF-16 code units of a text. Returns `None` if the text is shorter, or if
/// they end within a surrogate pair.
fn utf16_prefix(text: &str, mut units: usize) -> Option<usize> {
    if text.len() >= units && text.as_bytes()[..units].is_ascii() {
        return Some(units);
    }
    let mut length = 0;
    let mut characters = text.chars();
    while units > 0 {
        let character = characters.next()?;
        units = units.checked_sub(character.len_utf16())?;
        length += character.len_utf8();
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(body: &str) -> Result<Vec<Packet>, PacketError> {
        TextDecoder::new(Bytes::copy_from_slice(body.as_bytes()), DoubleEncoding::unknown())?.collect()
    }

    fn binary(body: &[u8]) -> Result<Vec<Packet>, PacketError> {
        BinaryDecoder::new(Bytes::copy_from_slice(body)).collect()
    }

    fn message(data: &[u8]) -> Packet {
        Packet::binary(data.to_vec())
    }

    #[test]
    fn lengths_count_utf_16_code_units() {
        assert_eq!(text("2:4€").unwrap(), [Packet::message("€")]);
        assert_eq!(text("3:4😀").unwrap(), [Packet::message("😀")]);
        assert_eq!(text("6:4hello2:4€").unwrap(), [Packet::message("hello"), Packet::message("€")]);
        assert_eq!(text("10:b4AQIDBA==").unwrap(), [message(&[1, 2, 3, 4])]);
    }

    #[test]
    fn a_small_packet_does_not_keep_the_payload() {
        let is_inside = |body: &Bytes, packet: &Packet| body.as_ptr_range().contains(&packet.data().as_ptr());
        let body = Bytes::from_static(b"\x01\x02\xff\x04a\x00\x02\xff4b");
        let packets: Vec<_> = BinaryDecoder::new(body.clone()).collect::<Result<_, _>>().unwrap();
        assert_eq!(packets, [message(b"a"), Packet::message("b")]);
        assert!(!packets.iter().any(|packet| is_inside(&body, packet)));
        let body = Bytes::from_static(b"2:4a10:4large one");
        let packets: Vec<_> =
            TextDecoder::new(body.clone(), DoubleEncoding::unknown()).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(packets, [Packet::message("a"), Packet::message("large one")]);
        assert!(!is_inside(&body, &packets[0]) && is_inside(&body, &packets[1]));
    }

    #[test]
    fn empty_packets_are_skipped() {
        assert_eq!(text("0:2:4a0:").unwrap(), [Packet::message("a")]);
        assert_eq!(text("0:").unwrap(), []);
    }

    #[test]
    fn packets_before_malformed_text_are_yielded() {
        for body in ["", "1", ":", "a:4", "3:4a", "-1:4", "2:4😀", "1:7", "4:b5AA", "2:b*", "99999999999:4", "1:45"] {
            assert!(text(body).is_err(), "{body:?}");
        }
        let mut packets = TextDecoder::new(Bytes::from_static(b"2:4a9:4"), DoubleEncoding::unknown()).unwrap();
        assert_eq!(packets.next(), Some(Ok(Packet::message("a"))));
        assert!(packets.next().unwrap().is_err());
        assert!(packets.next().is_none());
    }

    #[test]
    fn text_that_was_encoded_twice_is_decoded_twice() {
        let twice: String = "4\"é😀\"".bytes().map(char::from).collect();
        let (once, never) = ("4\"é€\"", "4\"Ã©\"");
        let body: String = [&twice, once, never].map(|p| format!("{}:{p}", p.encode_utf16().count())).concat();
        let packets: Result<Vec<_>, _> = TextDecoder::new(body.into(), DoubleEncoding::unknown()).unwrap().collect();
        // A client that encoded text once is known to do so always.
        assert_eq!(packets.unwrap(), ["\"é😀\"", "\"é€\"", "\"Ã©\""].map(Packet::message));
    }

    #[test]
    fn bytes_are_framed_by_markers_and_digits() {
        assert_eq!(&encode_binary(&[message(&[1, 2, 3, 4])])[..], [1, 5, 0xff, 4, 1, 2, 3, 4]);
        let both = [1, 4, 0xff, 4, 9, 8, 7, 0, 6, 0xff, b'4', b'h', b'e', b'l', b'l', b'o'];
        let packets = [message(&[9, 8, 7]), Packet::message("hello")];
        assert_eq!(&encode_binary(&packets)[..], both);
        assert_eq!(binary(&both).unwrap(), packets);
        assert_eq!(&encode_binary(&[message(&[0; 11])])[..4], [1, 1, 2, 0xff]);
    }

    #[test]
    fn malformed_bytes_are_refused() {
        let cases: [&[u8]; 8] = [
            &[0],
            &[0xff],
            &[0, 0xff],
            &[0, 10, 0xff, b'4'],
            &[0, 2, 0xff, b'4'],
            &[1, 1, 0xff, 2],
            &[2, 1, 0xff, b'4'],
            &[0, 2, 0xff, b'4', 0xfe],
        ];
        for body in cases {
            assert!(binary(body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn text_and_base64_follow_their_lengths() {
        let packets = [Packet::message("€"), message(&[1, 2, 3, 4]), Packet::message("hello")];
        assert_eq!(&encode_text(&packets, false)[..], "2:4€10:b4AQIDBA==6:4hello".as_bytes());
        assert_eq!(&encode_text(&packets, true)[..], "4:4\u{e2}\u{82}\u{ac}10:b4AQIDBA==6:4hello".as_bytes());
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(parts in prop::collection::vec(
            prop_oneof![
                "[a-z€😀]*".prop_map(|text| Packet::message(&text)),
                prop::collection::vec(any::<u8>(), 0..40).prop_map(Packet::binary),
            ],
            1..8,
        )) {
            prop_assert_eq!(binary(&encode_binary(&parts)).unwrap(), &parts[..]);
            let read = text(std::str::from_utf8(&encode_text(&parts, false)).unwrap()).unwrap();
            prop_assert_eq!(read, parts);
        }

        #[test]
        fn decoding_never_panics(body in prop::collection::vec(any::<u8>(), 0..100), string in "[0-9]{0,3}:[0-6]?.*") {
            let _ = binary(&body);
            let _ = text(&string);
        }
    }
}
