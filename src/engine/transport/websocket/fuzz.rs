//! The interface of the decoder for its fuzz target.

use super::{
    decoder::{Decoder, Message},
    with_scratch,
};

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

/// Decodes bytes that arrive in pieces. Returns the messages up to a close frame, and whether the protocol was violated.
pub(crate) fn decode<'a>(limit: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Decoded>, bool) {
    let mut decoder = Decoder::new(limit);
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
