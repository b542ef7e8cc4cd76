//! The interface of the decoder for its fuzz target.

#[cfg(feature = "permessage-deflate")]
use http::{HeaderMap, HeaderValue, header};

#[cfg(feature = "permessage-deflate")]
use super::{
    Deflate,
    decoder::{BINARY, COMPRESSED},
};
use super::{
    decoder::{Decoder, Message},
    with_scratch,
};
#[cfg(feature = "permessage-deflate")]
use crate::engine::{EngineIoConfig, Frame, Packet, PerMessageDeflate, ProtocolVersion, WireFormat};

/// A message or a control frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Close(Option<u16>),
}

impl Decoded {
    /// Returns `None` for a pong, which has no effect.
    fn new(message: Message) -> Option<Self> {
        match message {
            Message::Text(text) => Some(Self::Text(text.to_string())),
            Message::Binary(data) => Some(Self::Binary(data.to_vec())),
            Message::Ping(data) => Some(Self::Ping(data.into_vec())),
            Message::Pong => None,
            Message::Close(code) => Some(Self::Close(code.map(u16::from))),
        }
    }
}

/// Decodes bytes that arrive in pieces. Returns the messages up to a close frame, and whether the protocol was violated. `inflates` is
/// `true` if messages may be compressed.
pub(crate) fn decode<'a>(
    limit: usize,
    inflates: bool,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Decoded>, bool) {
    let mut decoder = Decoder::new(limit, inflates);
    let mut messages = Vec::new();
    for piece in pieces {
        with_scratch(|scratch| {
            scratch.extend_from_slice(piece);
            decoder.push_chunk(scratch);
        });
        loop {
            match decoder.next() {
                Ok(Some(message)) => messages.extend(Decoded::new(message)),
                Ok(None) if decoder.is_paused() => {}
                Ok(None) => break,
                Err(_) => return (messages, true),
            }
            if matches!(messages.last(), Some(Decoded::Close(_))) {
                return (messages, false);
            }
        }
    }
    (messages, false)
}

/// Compresses a message for a client with any offer, and returns it as a frame of a client. Returns `None` if it is not compressed.
#[cfg(feature = "permessage-deflate")]
pub(crate) fn compressed_frame(offer: &[u8], data: &[u8]) -> Option<Vec<u8>> {
    let config = EngineIoConfig::new().per_message_deflate(PerMessageDeflate::new().threshold(0));
    let offer = HeaderValue::from_bytes(offer).ok()?;
    let headers = HeaderMap::from_iter([(header::SEC_WEBSOCKET_EXTENSIONS, offer)]);
    let (mut deflate, response) = Deflate::negotiate(&config, &headers);
    assert_eq!(deflate.is_agreed(), response.is_some());
    let packet = Packet::binary(data.to_vec());
    let Some(Frame::Binary(compressed)) = deflate.compress(&packet, &WireFormat::default_for(ProtocolVersion::V4))
    else {
        return None;
    };
    assert!(compressed.len() < data.len());
    let length = u16::try_from(compressed.len()).ok()?.to_be_bytes();
    // The mask is zero.
    Some([&[0x80 | COMPRESSED | BINARY, 0xfe], &length[..], &[0; 4], &compressed].concat())
}
