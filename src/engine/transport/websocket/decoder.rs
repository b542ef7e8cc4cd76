//! Decodes frames from the client. RFC 6455, section 5.

use std::cell::Cell;

use bytes::{Buf, Bytes, BytesMut};
use bytestring::ByteString;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::deflate::{InflateError, inflate};

/// Decodes the frames of one client, and assembles fragmented messages.
#[derive(Debug)]
pub(super) struct Decoder {
    /// Bytes that have not been decoded. Not allocated while empty.
    unread: BytesMut,
    /// Capacity of the allocation that frames split from `unread` share.
    chunk: usize,
    /// The fragments of an incomplete message.
    fragments: Option<Box<Fragments>>,
    max_payload: usize,
    /// `next` has stopped without a message, although there may be one.
    paused: bool,
    /// The peer may compress messages.
    inflates: bool,
    /// Compressed messages are dropped.
    is_closing: bool,
}

#[derive(Debug)]
struct Fragments {
    kind: MessageKind,
    data: BytesMut,
    /// All fragments have arrived. The message is large after decompression, which therefore waits for the next turn.
    is_complete: bool,
}

#[derive(Debug, Clone, Copy)]
struct MessageKind {
    is_text: bool,
    is_compressed: bool,
}

/// A message or a control frame.
#[derive(Debug, PartialEq, Eq)]
// Without padding, as `packet::Kind`.
#[repr(usize)]
pub(super) enum Message {
    Text(ByteString),
    Binary(Bytes),
    Ping(Box<[u8]>),
    Pong,
    /// The peer closes, optionally with a code.
    Close(Option<CloseCode>),
}

/// A violation of the protocol. It ends the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) code: CloseCode,
    pub(super) rule: &'static str,
}

const CONTINUATION: u8 = 0x0;
pub(super) const TEXT: u8 = 0x1;
pub(super) const BINARY: u8 = 0x2;
pub(super) const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
pub(super) const PONG: u8 = 0xa;

/// The bit of a frame's first byte that marks a compressed message. RFC 7692, section 6.
pub(super) const COMPRESSED: u8 = 0x40;

/// Compressed messages that are larger when decompressed are decompressed in a turn of their connection.
pub(super) const INFLATED_AT_ONCE: usize = 16 * 1024;

/// How many fragments and pongs are decoded before other tasks run.
const MAX_FRAMES: usize = 64;

/// The maximum length of a control frame's payload.
const MAX_CONTROL: u64 = 125;

/// The header of a frame.
#[derive(Debug, Clone, Copy)]
struct FrameHeader {
    is_final: bool,
    opcode: u8,
    is_compressed: bool,
    mask: [u8; 4],
    /// The size of the header.
    size: usize,
    length: u64,
}

const TOO_LARGE: Violation = Violation { code: CloseCode::Size, rule: "max payload size exceeded" };

const fn protocol(rule: &'static str) -> Violation {
    Violation { code: CloseCode::Protocol, rule }
}

impl FrameHeader {
    /// Decodes a header. Returns `None` if it is incomplete. `inflates` is `true` if messages may be compressed.
    fn read(bytes: &[u8], inflates: bool) -> Result<Option<Self>, Violation> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        let reserved = first & 0x70;
        if reserved != 0 && !(inflates && reserved == COMPRESSED && matches!(first & 0x0f, TEXT | BINARY)) {
            return Err(protocol("a reserved bit of a WebSocket frame is set"));
        }
        if second & 0x80 == 0 {
            return Err(protocol("a WebSocket frame is not masked"));
        }
        let (length, rest) = match second & 0x7f {
            126 => match rest.split_first_chunk() {
                Some((length, rest)) => (u16::from_be_bytes(*length).into(), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(None),
            },
            length => (length.into(), rest),
        };
        let Some((&mask, rest)) = rest.split_first_chunk() else {
            return Ok(None);
        };
        let (is_final, opcode) = (first & 0x80 != 0, first & 0x0f);
        // Without the feature, the compiler drops the code for compressed messages.
        let is_compressed = cfg!(feature = "permessage-deflate") && reserved != 0;
        let header = Self { is_final, opcode, is_compressed, mask, size: bytes.len() - rest.len(), length };
        match header.opcode {
            CONTINUATION | TEXT | BINARY => Ok(Some(header)),
            CLOSE | PING | PONG if header.is_final && length <= MAX_CONTROL => Ok(Some(header)),
            CLOSE | PING | PONG => Err(protocol("a WebSocket control frame is fragmented or too long")),
            _ => Err(protocol("a WebSocket frame has an unknown opcode")),
        }
    }
}

impl Decoder {
    /// `inflates` is `true` if the peer may compress messages.
    pub(super) fn new(max_payload: usize, inflates: bool) -> Self {
        Self {
            unread: BytesMut::new(),
            chunk: 0,
            fragments: None,
            max_payload,
            paused: false,
            inflates,
            is_closing: false,
        }
    }

    pub(super) fn set_max_payload(&mut self, max_payload: usize) {
        self.max_payload = max_payload;
    }

    /// The session has ended: only a close frame is of interest. Messages are decoded, but not decompressed.
    pub(super) fn close(&mut self) {
        self.is_closing = true;
    }

    /// Returns the number of buffered bytes, including fragments. A message that waits to be decompressed counts as large.
    pub(super) fn unread_bytes(&self) -> usize {
        let pending =
            |fragments: &Fragments| fragments.data.len() + if fragments.is_complete { INFLATED_AT_ONCE + 1 } else { 0 };
        self.unread.len() + self.fragments.as_deref().map_or(0, pending)
    }

    /// Returns the capacity of the buffer.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.unread.capacity()
    }

    /// Adds the contents of the read buffer. Splits them off instead of copying them if they are large.
    pub(super) fn push_chunk(&mut self, read: &mut BytesMut) {
        if self.unread.is_empty() && read.len() > SPARE_SIZE {
            self.chunk = read.capacity();
            self.unread = read.split();
        } else {
            self.push(read);
        }
    }

    /// Adds bytes by copying them.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.unread.is_empty() {
            (self.unread, self.chunk) = buffer(bytes.len());
            self.unread.extend_from_slice(bytes);
        } else {
            self.unread.extend_from_slice(bytes);
            self.chunk = self.chunk.max(self.unread.capacity());
        }
    }

    /// Returns `true` if the last call of `next` stopped early to let other tasks run.
    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Returns the next message, or `None` if it is incomplete.
    pub(super) fn next(&mut self) -> Result<Option<Message>, Violation> {
        if std::mem::take(&mut self.paused)
            && let Some(fragments) = self.fragments.take_if(|fragments| fragments.is_complete)
        {
            return self.inflated(fragments.kind, fragments.data, self.max_payload);
        }
        let mut frames = 0;
        while let Some(header) = FrameHeader::read(&self.unread, self.inflates)? {
            let fragments = self.fragments.as_ref().map_or(0, |fragments| fragments.data.len());
            let Some(length) = usize::try_from(header.length).ok().filter(|length| {
                fragments.checked_add(*length).is_some_and(|whole| whole <= self.max_payload) || header.opcode >= CLOSE
            }) else {
                return Err(TOO_LARGE);
            };
            if self.unread.len() < header.size + length {
                break;
            }
            let payload = self.take_frame(header, length);
            if let Some(message) = self.message(header, payload)? {
                return Ok(Some(message));
            }
            frames += 1;
            self.paused |= frames == MAX_FRAMES;
            if self.paused {
                return Ok(None);
            }
        }
        // A short rest must not keep a large buffer.
        if self.chunk > SPARE_SIZE && self.unread.len() < self.chunk / 2 {
            let rest = std::mem::take(&mut self.unread);
            self.push(&rest);
        }
        Ok(None)
    }

    /// Splits a complete frame off the buffer, and returns its payload.
    fn take_frame(&mut self, header: FrameHeader, length: usize) -> BytesMut {
        let mut frame = self.unread.split_to(header.size + length);
        if self.unread.is_empty() {
            let rest = std::mem::take(&mut self.unread);
            if self.chunk <= SPARE_SIZE {
                SPARE_BUFFER.set(rest);
            }
        }
        frame.advance(header.size);
        unmask(&mut frame, header.mask);
        frame
    }

    /// Copies a payload if it is a small slice of a large buffer.
    ///
    /// Handlers may keep binary for long, and it must not keep much more memory than its own. Text is kept briefly only.
    fn detach(&self, payload: BytesMut, is_text: bool) -> BytesMut {
        let kept = if is_text { SPARE_SIZE } else { 0 };
        match self.chunk > kept && payload.len() < self.chunk / 2 {
            true => BytesMut::from(&payload[..]),
            false => payload,
        }
    }

    /// Handles a frame. Returns `None` if it does not complete a message.
    fn message(&mut self, header: FrameHeader, payload: BytesMut) -> Result<Option<Message>, Violation> {
        let kind = MessageKind { is_text: header.opcode == TEXT, is_compressed: header.is_compressed };
        let (kind, data) = match (header.opcode, self.fragments.take()) {
            (TEXT | BINARY, Some(_)) => return Err(protocol("a WebSocket message begins within another one")),
            (CONTINUATION, None) => return Err(protocol("a WebSocket message has no beginning")),
            (TEXT | BINARY, None) if header.is_final => (kind, self.detach(payload, kind.is_text)),
            (TEXT | BINARY, None) => (kind, BytesMut::from(&payload[..])),
            (CONTINUATION, Some(mut fragments)) => {
                fragments.data.extend_from_slice(&payload);
                (fragments.kind, fragments.data)
            }
            (control, fragments) => {
                self.fragments = fragments;
                return match control {
                    PING => Ok(Some(Message::Ping((*payload).into()))),
                    CLOSE => read_close(&payload).map(Some),
                    _ => Ok(Some(Message::Pong)),
                };
            }
        };
        if !header.is_final {
            self.fragments = Some(Box::new(Fragments { kind, data, is_complete: false }));
            return Ok(None);
        }
        match kind.is_compressed {
            true => self.inflated(kind, data, self.max_payload.min(INFLATED_AT_ONCE)),
            false => whole(kind, data.freeze()).map(Some),
        }
    }

    /// Decompresses a message. One that exceeds `limit`, but may not exceed the maximum size, waits for the next call of `next`.
    #[cold]
    fn inflated(&mut self, kind: MessageKind, data: BytesMut, limit: usize) -> Result<Option<Message>, Violation> {
        if self.is_closing {
            return Ok(Some(Message::Binary(Bytes::new())));
        }
        match inflate(&data, limit) {
            Ok(plain) => whole(kind, plain).map(Some),
            Err(InflateError::TooLarge) if limit < self.max_payload => {
                self.fragments = Some(Box::new(Fragments { kind, data, is_complete: true }));
                self.paused = true;
                Ok(None)
            }
            Err(InflateError::TooLarge) => Err(TOO_LARGE),
            Err(InflateError::Corrupt) => {
                Err(Violation { code: CloseCode::Invalid, rule: "a compressed WebSocket message is corrupt" })
            }
        }
    }
}

/// Returns a message whose data is complete.
fn whole(kind: MessageKind, data: Bytes) -> Result<Message, Violation> {
    if !kind.is_text {
        return Ok(Message::Binary(data));
    }
    match data.try_into() {
        Ok(text) => Ok(Message::Text(text)),
        Err(_) => Err(Violation { code: CloseCode::Invalid, rule: "a WebSocket text is not valid UTF-8" }),
    }
}

/// The size of the buffer that a thread keeps. Slices of such a buffer are not copied.
const SPARE_SIZE: usize = 4 * 1024;

thread_local! {
    /// Tail of a buffer, kept for reuse: once all frames split from it are dropped, `try_reclaim` recovers the whole allocation.
    static SPARE_BUFFER: Cell<BytesMut> = Cell::new(BytesMut::new());
}

/// Returns a buffer for `length` bytes, and the capacity of its allocation.
fn buffer(length: usize) -> (BytesMut, usize) {
    if length > SPARE_SIZE {
        return (BytesMut::with_capacity(length), length);
    }
    let mut spare = SPARE_BUFFER.take();
    if !spare.try_reclaim(length) {
        spare = BytesMut::with_capacity(SPARE_SIZE);
    }
    (spare, SPARE_SIZE)
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let (words, rest) = payload.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

fn read_close(payload: &[u8]) -> Result<Message, Violation> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ok(Message::Close(None)),
            _ => Err(protocol("a WebSocket close frame has half a code")),
        };
    };
    let code = CloseCode::from(u16::from_be_bytes(*code));
    if !code.is_allowed() {
        return Err(protocol("a WebSocket close frame has a code that must not be sent"));
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Ok(Message::Close(Some(code))),
        Err(_) => Err(Violation { code: CloseCode::Invalid, rule: "the reason in a close frame is not valid UTF-8" }),
    }
}
