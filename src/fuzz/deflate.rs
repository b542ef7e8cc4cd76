//! The WebSocket decoder with compression, the offers of clients, and the compressor.

use crate::engine::fuzz::{Decoded, compressed_frame, decode};

/// The maximum size of a message. Those of more than 16 KiB are decompressed in two attempts.
const LIMIT: usize = 40_000;

/// Decodes bytes of a client that compresses. They arrive in pieces, whose size the first byte selects.
///
/// Then compresses the bytes for a client whose offer they begin with, and decodes them again.
pub fn deflate(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else {
        return;
    };
    let (messages, violation) = decode(LIMIT, true, bytes.chunks(usize::from(*piece).max(1)));
    for message in &messages {
        let length = match message {
            Decoded::Text(text) => text.len(),
            Decoded::Binary(data) | Decoded::Ping(data) => data.len(),
            Decoded::Close(_) => 0,
        };
        assert!(length <= LIMIT);
    }
    assert_eq!((messages, violation), decode(LIMIT, true, [bytes]), "it depends on how the bytes are cut");
    let offer = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if let Some(frame) = compressed_frame(offer, bytes) {
        let expected = match bytes.len() <= LIMIT {
            true => (vec![Decoded::Binary(bytes.to_vec())], false),
            false => (Vec::new(), true),
        };
        assert_eq!(decode(LIMIT, true, [&frame[..]]), expected);
    }
}
