//! Compares the WebSocket decoder with that of tungstenite.

use std::io::{self, Cursor, Read, Write};

use tokio_tungstenite::tungstenite::{
    self,
    protocol::{Role, WebSocketConfig, WebSocketContext, frame::coding::CloseCode},
};

use crate::engine::fuzz::{Decoded, decode};

/// The maximum size of a message.
const LIMIT: usize = 300;

/// Decodes bytes of a client that arrive in pieces. The first byte selects the size of the pieces.
///
/// Both decoders must return the same messages. They may detect a violation at different places: tungstenite validates text before
/// it is complete, this crate checks headers.
pub fn websocket(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else {
        return;
    };
    let pieces = bytes.chunks(usize::from(*piece).max(1));
    let (ours, violation) = decode(LIMIT, false, pieces);
    let (mut theirs, is_utf8) = decode_by_tungstenite(bytes);
    // A close frame with an invalid code.
    if violation && theirs.last() == Some(&Decoded::Close(Some(CloseCode::Protocol.into()))) {
        theirs.pop();
    }
    // Invalid UTF-8 is detected before the text is complete, or once it is.
    let common = if is_utf8 { ours.len() } else { theirs.len() };
    assert_eq!(ours.get(..common), Some(&*theirs));
    let (whole, of_whole) = decode(LIMIT, false, [bytes]);
    assert_eq!((ours, violation), (whole, of_whole), "it depends on how the bytes are cut");
}

/// Returns the messages, and whether all text is UTF-8.
fn decode_by_tungstenite(bytes: &[u8]) -> (Vec<Decoded>, bool) {
    let config = WebSocketConfig::default().max_message_size(Some(LIMIT)).max_frame_size(Some(LIMIT));
    let mut context = WebSocketContext::new(Role::Server, Some(config));
    let mut stream = Peer(Cursor::new(bytes));
    let mut messages = Vec::new();
    loop {
        messages.push(match context.read(&mut stream) {
            Ok(tungstenite::Message::Text(text)) => Decoded::Text(text.as_str().to_owned()),
            Ok(tungstenite::Message::Binary(data)) => Decoded::Binary(data.to_vec()),
            Ok(tungstenite::Message::Ping(data)) => Decoded::Ping(data.to_vec()),
            Ok(tungstenite::Message::Pong(_) | tungstenite::Message::Frame(_)) => continue,
            Ok(tungstenite::Message::Close(frame)) => {
                messages.push(Decoded::Close(frame.map(|frame| frame.code.into())));
                return (messages, true);
            }
            Err(error) => return (messages, !matches!(error, tungstenite::Error::Utf8(_))),
        });
    }
}

/// A stream that yields some bytes, and accepts any.
struct Peer<'a>(Cursor<&'a [u8]>);

impl Read for Peer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl Write for Peer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
