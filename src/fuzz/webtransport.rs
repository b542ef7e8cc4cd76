//! Checks the codec of WebTransport against a model, and that packets are what they were once they have been encoded.

use bytes::Bytes;

use crate::engine::{
    Packet,
    fuzz::{decode_webtransport as decode, encode_webtransport as encode},
};

/// The maximum size of a packet.
const LIMIT: usize = 300;

/// Decodes bytes of a client that arrive in pieces. The first byte selects the size of the pieces.
pub fn webtransport(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else {
        return;
    };
    let (packets, error) = decode(LIMIT, bytes.chunks(usize::from(*piece).max(1)));
    assert_eq!((packets.clone(), error.is_some()), model(bytes));
    let encoded = encode(packets.clone());
    assert_eq!(decode(usize::MAX, [&encoded[..]]), (packets, None));
}

/// Returns the packets up to the first malformed one, and whether there is one.
fn model(mut bytes: &[u8]) -> (Vec<Packet>, bool) {
    let mut packets = Vec::new();
    while let Some((first, rest)) = bytes.split_first() {
        let digits = match first & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some((digits, rest)) = rest.split_at_checked(digits) else { break };
        let number = |value: u128, digit: &u8| value << 8 | u128::from(*digit);
        let length = if digits.is_empty() { u128::from(first & 0x7f) } else { digits.iter().fold(0, number) };
        if length > LIMIT as u128 {
            return (packets, true);
        }
        let Some((payload, rest)) = rest.split_at_checked(length as usize) else { break };
        let payload = Bytes::copy_from_slice(payload);
        match if first & 0x80 == 0 { Packet::from_text(payload) } else { Ok(Packet::binary(payload)) } {
            Ok(packet) => packets.push(packet),
            Err(_) => return (packets, true),
        }
        bytes = rest;
    }
    (packets, false)
}
