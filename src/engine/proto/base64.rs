//! Base64, for binary packets on transports that carry only text.

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;

use super::packet_error::PacketError;

/// The standard alphabet with padding, as Engine.IO uses it. Decoding accepts missing padding and non-zero trailing bits,
/// because some clients send them.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Decodes everything that Node decodes without loss: white space, the URL-safe alphabet, and any padding at the end.
///
/// Node also skips characters that are not base64, ignores data after the padding, and drops an incomplete last byte. These
/// are errors here, because the result would differ from what was sent.
pub(super) fn decode(data: &[u8]) -> Result<Bytes, PacketError> {
    let decoded = BASE64.decode(data).ok().or_else(|| BASE64.decode(normalize(data)?).ok());
    decoded.map(Bytes::from).ok_or(PacketError::new("a binary packet is not valid base64"))
}

/// Converts to the standard alphabet, without white space and padding. Returns `None` if data follows the padding.
fn normalize(data: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(data.len());
    let mut is_padded = false;
    for byte in data {
        match byte {
            b' ' | b'\t'..=b'\r' => {}
            b'=' => is_padded = true,
            _ if is_padded => return None,
            b'-' => plain.push(b'+'),
            b'_' => plain.push(b'/'),
            byte => plain.push(*byte),
        }
    }
    Some(plain)
}

/// Appends data as base64.
pub(super) fn encode(text: &mut Vec<u8>, data: &[u8]) {
    let start = text.len();
    text.resize(start + encoded_len(data.len()), 0);
    let written = BASE64.encode_slice(data, &mut text[start..]);
    debug_assert_eq!(written, Ok(text.len() - start));
}

pub(super) fn encoded_len(length: usize) -> usize {
    base64::encoded_len(length, true).expect("a packet is far smaller than the address space")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The expected values are those of `Buffer.from(text, "base64")` in Node 20.
    #[test]
    fn everything_that_node_decodes_is_decoded() {
        for (text, data) in [
            ("", &b""[..]),
            ("AQIDBA==", &[1, 2, 3, 4]),
            ("AQIDBA", &[1, 2, 3, 4]),
            ("AQIDBA=", &[1, 2, 3, 4]),
            ("AQIDBA===", &[1, 2, 3, 4]),
            ("AQID====", &[1, 2, 3]),
            ("====", &[]),
            ("AQID BA==", &[1, 2, 3, 4]),
            (" AQI\r\nDBA==\r\n", &[1, 2, 3, 4]),
            ("A\tQ\x0bI\x0cD", &[1, 2, 3]),
            ("AQIDBA = =", &[1, 2, 3, 4]),
            ("_-8=", &[0xff, 0xef]),
            ("_-8", &[0xff, 0xef]),
            ("/+8", &[0xff, 0xef]),
            ("_+8", &[0xff, 0xef]),
            ("AQIDBB==", &[1, 2, 3, 4]),
            ("AR", &[1]),
        ] {
            assert_eq!(decode(text.as_bytes()).as_deref(), Ok(data), "{text:?}");
        }
    }

    #[test]
    fn text_that_node_decodes_with_loss_is_rejected() {
        for text in ["A", "AQIDB", "AQIDB===", "AQ!ID", "AQID*", "**", "AQéID", "AQ\0ID", "=AQID", "AQ=ID", "AQ==AQ=="]
        {
            assert!(decode(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_variant_of_base64_is_decoded(
            data in prop::collection::vec(any::<u8>(), 0..60), url: bool, pad: bool, space in "[ \r\n\t]{0,3}", every in 1usize..20
        ) {
            let mut text = Vec::new();
            encode(&mut text, &data);
            prop_assert_eq!(decode(&text).unwrap(), data.clone());
            let mut written = String::new();
            for (index, byte) in text.into_iter().enumerate() {
                match (byte, url, pad) {
                    (b'+', true, _) => written.push('-'),
                    (b'/', true, _) => written.push('_'),
                    (b'=', _, false) => {}
                    _ => written.push(byte.into()),
                }
                if index % every == 0 {
                    written.push_str(&space);
                }
            }
            prop_assert_eq!(decode(written.as_bytes()).unwrap(), data);
        }
    }
}
