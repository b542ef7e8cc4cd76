//! Binary where only text can go: standard alphabet, as Engine.IO has it.

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;

use super::packet::PacketError;

/// Padding is written; on the way in it may be missing, as clients differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) fn decode(data: &[u8]) -> Result<Bytes, PacketError> {
    BASE64.decode(data).map(Bytes::from).map_err(|_| PacketError::new("a binary packet is not valid base64"))
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
