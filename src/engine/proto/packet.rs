use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use bytes::{Buf, Bytes};
use bytestring::ByteString;

use super::packet_error::PacketError;

/// The type of an Engine.IO packet.
///
/// Engine.IO protocol 4, section "Packet types".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PacketKind {
    /// `0`: the handshake, from the server.
    Open,
    /// `1`: the sender closes the session.
    Close,
    /// `2`: heartbeat, or the probe of an upgrade.
    Ping,
    /// `3`: answer to a ping.
    Pong,
    /// `4`: payload of the layer above, here a Socket.IO packet or an attachment.
    Message,
    /// `5`: the client completes an upgrade.
    Upgrade,
    /// `6`: releases a pending poll.
    Noop,
}

impl PacketKind {
    /// The kind that a type character stands for.
    #[must_use]
    pub fn from_char(byte: u8) -> Option<Self> {
        Some(match byte {
            b'0' => Self::Open,
            b'1' => Self::Close,
            b'2' => Self::Ping,
            b'3' => Self::Pong,
            b'4' => Self::Message,
            b'5' => Self::Upgrade,
            b'6' => Self::Noop,
            _ => return None,
        })
    }
}

/// One Engine.IO packet, in the form in which a transport carries it.
///
/// A text packet keeps its type character in front of its data, so that one buffer can go to every transport and to
/// every recipient without a copy; a binary packet is always a message. Cloning is cheap: the bytes are shared.
#[derive(Clone)]
pub struct Packet {
    content: Content,
    uncompressed: bool,
}

#[derive(Clone)]
// As wide as its neighbours: see `Kind`.
#[repr(usize)]
enum Content {
    /// The type character and the data of a text packet.
    Text(ByteString),
    /// The same, as it was encoded here: it is UTF-8 although nobody has checked it.
    Encoded(Bytes),
    /// The data of a binary message.
    Binary(Bytes),
    /// A binary message behind the type byte that revision 3 wants and revision 4 leaves out: one buffer for both.
    Typed(Bytes),
}

/// The type byte of a binary message in revision 3.
pub(crate) const MESSAGE_BYTE: u8 = 4;

/// What a transport puts on the wire for a [`Packet`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PacketPayload {
    /// A text frame: the type character and UTF-8 data.
    Text(Bytes),
    /// A binary frame.
    Binary(Bytes),
}

impl Packet {
    /// A text message (type `4`).
    #[must_use]
    pub fn message(text: &str) -> Self {
        Self::text_of(b'4', text)
    }

    /// A binary message.
    #[must_use]
    pub fn binary(data: impl Into<Bytes>) -> Self {
        Self::new(Content::Binary(data.into()))
    }

    const fn new(content: Content) -> Self {
        Self { content, uncompressed: false }
    }

    /// A text packet that never changes.
    const fn fixed(text: &'static str) -> Self {
        Self::new(Content::Text(ByteString::from_static(text)))
    }

    /// A binary message that has [`MESSAGE_BYTE`] in front of its data.
    pub(crate) fn typed(bytes: Bytes) -> Self {
        debug_assert_eq!(bytes.first(), Some(&MESSAGE_BYTE));
        Self::new(Content::Typed(bytes))
    }

    /// Reads the packet of a text frame.
    ///
    /// A first character `b` announces base64 and is decoded to a binary message, as over long-polling.
    ///
    /// # Errors
    ///
    /// If the frame is empty, its first character is no packet type, its base64 is malformed, or it is not UTF-8.
    pub fn from_text(frame: impl Into<Bytes>) -> Result<Self, PacketError> {
        Self::from_utf8(frame.into().try_into().map_err(|_| PacketError::new("a text packet is not valid UTF-8"))?)
    }

    /// As [`from_text`](Self::from_text), for a frame whose encoding has been checked.
    pub(crate) fn from_utf8(frame: ByteString) -> Result<Self, PacketError> {
        match frame.as_bytes().first() {
            Some(b'b') => super::base64::decode(&frame.as_bytes()[1..]).map(Self::binary),
            Some(&byte) if PacketKind::from_char(byte).is_some() => Ok(Self::new(Content::Text(frame))),
            Some(_) => Err(PacketError::new("unknown Engine.IO packet type")),
            None => Err(PacketError::new("an Engine.IO packet is empty")),
        }
    }

    /// As [`from_utf8`](Self::from_utf8), in revision 3: the type follows the `b` of base64, and text may have been encoded
    /// twice.
    pub(crate) fn from_utf8_v3(frame: ByteString, twice: &EncodedTwice) -> Result<Self, PacketError> {
        match &frame.as_bytes()[..] {
            [b'b', b'4', data @ ..] => super::base64::decode(data).map(Self::binary),
            [b'b', ..] => Err(PacketError::new("unknown Engine.IO packet type")),
            _ => Self::from_utf8(twice.decode(&frame).map_or(frame, ByteString::from)),
        }
    }

    /// A text packet whose bytes are known to be well formed: a type character and UTF-8.
    pub(crate) fn encoded(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        debug_assert!(text.first().is_some_and(|b| PacketKind::from_char(*b).is_some()));
        Self::new(Content::Encoded(text))
    }

    pub(crate) const fn close() -> Self {
        Self::fixed("1")
    }

    pub(crate) const fn ping() -> Self {
        Self::fixed("2")
    }

    pub(crate) const fn pong() -> Self {
        Self::fixed("3")
    }

    pub(crate) const fn noop() -> Self {
        Self::fixed("6")
    }

    pub(crate) const fn pong_probe() -> Self {
        Self::fixed("3probe")
    }

    /// The type of the packet.
    #[must_use]
    pub fn kind(&self) -> PacketKind {
        match self.text() {
            Some(text) => {
                text.first().and_then(|byte| PacketKind::from_char(*byte)).expect("a text packet begins with its type")
            }
            None => PacketKind::Message,
        }
    }

    /// Whether this is a binary message.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        matches!(self.content, Content::Binary(_) | Content::Typed(_))
    }

    /// The data without the type.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        let bytes = self.bytes();
        if matches!(self.content, Content::Binary(_)) { bytes } else { &bytes[1..] }
    }

    /// Whether nothing else refers to the data.
    pub(crate) fn is_unique(&self) -> bool {
        self.bytes().is_unique()
    }

    fn bytes(&self) -> &Bytes {
        match &self.content {
            Content::Text(text) => text.as_bytes(),
            Content::Encoded(bytes) | Content::Binary(bytes) | Content::Typed(bytes) => bytes,
        }
    }

    /// The bytes that this packet takes on a WebSocket of revision 4, frame header aside.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes().len() - usize::from(matches!(self.content, Content::Typed(_)))
    }

    /// Whether [`len`](Self::len) is zero: an empty binary message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Says whether a transport may compress this packet. Default: true.
    ///
    /// The answer to a poll is compressed, if it is at all, unless all its packets forbid it. See
    /// [`SocketRef::compress`](crate::SocketRef::compress).
    #[must_use]
    pub fn compress(mut self, compress: bool) -> Self {
        self.uncompressed = !compress;
        self
    }

    /// Whether a transport may compress this packet.
    #[must_use]
    pub fn may_be_compressed(&self) -> bool {
        !self.uncompressed
    }

    /// The frame to put on the wire, as revision 4 has it.
    #[must_use]
    pub fn into_payload(self) -> PacketPayload {
        match self.content {
            Content::Text(text) => PacketPayload::Text(text.into_bytes()),
            Content::Encoded(text) => PacketPayload::Text(text),
            Content::Binary(data) => PacketPayload::Binary(data),
            Content::Typed(mut data) => {
                data.advance(1);
                PacketPayload::Binary(data)
            }
        }
    }

    /// The frame to put on the wire, as revision 3 has it: a binary message begins with its type.
    pub(crate) fn into_payload_v3(self) -> PacketPayload {
        match self.content {
            Content::Binary(data) => PacketPayload::Binary([&[MESSAGE_BYTE], &data[..]].concat().into()),
            Content::Typed(data) => PacketPayload::Binary(data),
            Content::Text(_) | Content::Encoded(_) => self.into_payload(),
        }
    }

    /// The whole text of a text packet, type character included.
    pub(crate) fn text(&self) -> Option<&Bytes> {
        (!self.is_binary()).then(|| self.bytes())
    }

    /// As [`text`](Self::text), by value.
    pub(crate) fn into_text(self) -> Option<ByteString> {
        match self.content {
            Content::Text(text) => Some(text),
            Content::Encoded(text) => text.try_into().ok(),
            Content::Binary(_) | Content::Typed(_) => None,
        }
    }

    /// As [`data`](Self::data), sharing the buffer.
    pub(crate) fn data_bytes(&self) -> Bytes {
        self.clone().into_data()
    }

    /// As [`data`](Self::data), by value.
    pub(crate) fn into_data(self) -> Bytes {
        let mut bytes = match self.content {
            Content::Binary(data) => return data,
            Content::Text(text) => text.into_bytes(),
            Content::Encoded(bytes) | Content::Typed(bytes) => bytes,
        };
        bytes.advance(1);
        bytes
    }

    fn text_of(kind: u8, data: &str) -> Self {
        let mut text = Vec::with_capacity(1 + data.len());
        text.push(kind);
        text.extend_from_slice(data.as_bytes());
        Self::new(Content::Encoded(text.into()))
    }
}

/// Whether the text of a client of revision 3 may have been encoded twice, so that its characters are the bytes of UTF-8.
///
/// Clients of 1.x do that where they cannot send binary, those of 1.0 over WebSocket too; nothing in their requests says
/// so. Text that cannot have been encoded twice shows that this client never does.
#[derive(Debug, Clone, Default)]
pub(crate) struct EncodedTwice {
    /// What has been learned. `None` if the question does not arise.
    learned: Option<Arc<AtomicU8>>,
}

// Values of `EncodedTwice::learned`.
const UNKNOWN: u8 = 0;
const NEVER: u8 = 1;
const LIKELY: u8 = 2;

impl EncodedTwice {
    /// For a client of which it is not known yet.
    pub(crate) fn unknown() -> Self {
        Self { learned: Some(Arc::new(AtomicU8::new(UNKNOWN))) }
    }

    fn learned(&self) -> u8 {
        self.learned.as_ref().map_or(NEVER, |learned| learned.load(Ordering::Relaxed))
    }

    /// Whether the client is known never to do that.
    pub(super) fn is_never(&self) -> bool {
        self.learned() == NEVER
    }

    /// Whether the client has sent text that looks as if it were encoded twice.
    pub(super) fn is_likely(&self) -> bool {
        self.learned() == LIKELY
    }

    fn decode(&self, text: &str) -> Option<String> {
        let learned = self.learned.as_ref()?;
        if text.is_ascii() || self.is_never() {
            return None;
        }
        let bytes: Option<Vec<u8>> = text.chars().map(|character| u8::try_from(character).ok()).collect();
        let decoded = bytes.and_then(from_wtf8);
        learned.store(if decoded.is_some() { LIKELY } else { NEVER }, Ordering::Relaxed);
        decoded
    }
}

/// Text of JavaScript's. Some clients encode half of a surrogate pair like any other character: it becomes U+FFFD.
fn from_wtf8(bytes: Vec<u8>) -> Option<String> {
    let mut bytes = match String::from_utf8(bytes) {
        Ok(text) => return Some(text),
        Err(error) => error.into_bytes(),
    };
    for at in 0..bytes.len().saturating_sub(2) {
        if let [0xed, 0xa0..=0xbf, 0x80..=0xbf] = bytes[at..at + 3] {
            bytes[at..at + 3].copy_from_slice("\u{fffd}".as_bytes());
        }
    }
    String::from_utf8(bytes).ok()
}

/// What a packet says, not how it is kept.
impl PartialEq for Packet {
    fn eq(&self, other: &Self) -> bool {
        (self.kind(), self.is_binary(), self.data()) == (other.kind(), other.is_binary(), other.data())
    }
}

impl Eq for Packet {}

impl fmt::Debug for Packet {
    /// Shows the kind and the length, never the data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("kind", &self.kind())
            .field("binary", &self.is_binary())
            .field("len", &self.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_frame_that_begins_with_a_multi_byte_character_is_refused() {
        let error = Packet::from_text("é1234").unwrap_err();
        assert_eq!(error.to_string(), "unknown Engine.IO packet type");
    }

    #[test]
    fn a_lone_b_is_an_empty_binary_message() {
        let packet = Packet::from_text("b").unwrap();
        assert!(packet.is_binary() && packet.is_empty());
    }

    #[test]
    fn a_binary_message_has_its_type_in_front_in_revision_3_alone() {
        for packet in [Packet::typed(Bytes::from_static(&[4, 1, 2])), Packet::binary(&[1u8, 2][..])] {
            assert_eq!((packet.data(), packet.len(), &packet.data_bytes()[..]), (&[1u8, 2][..], 2, &[1u8, 2][..]));
            assert_eq!(packet.clone().into_payload(), PacketPayload::Binary(Bytes::from_static(&[1, 2])));
            assert_eq!(packet.into_payload_v3(), PacketPayload::Binary(Bytes::from_static(&[4, 1, 2])));
        }
        assert_eq!(Packet::typed(Bytes::from_static(&[4])), Packet::binary(Bytes::new()));
    }

    #[test]
    fn a_packet_is_no_larger_for_its_flag() {
        assert_eq!(size_of::<Packet>(), size_of::<Bytes>() + 2 * size_of::<usize>());
    }

    #[test]
    fn half_an_emoji_that_was_encoded_twice_is_a_replacement_character() {
        let twice = |bytes: &[u8]| bytes.iter().copied().map(char::from).collect::<String>();
        let client = EncodedTwice::unknown();
        assert_eq!(client.decode(&twice(b"4\xed\xa0\xbdx\xed\xb8\x80")).as_deref(), Some("4\u{fffd}x\u{fffd}"));
        assert_eq!(client.decode(&twice("4😀é".as_bytes())).as_deref(), Some("4😀é"));
        // What is garbled in any other way was not encoded twice.
        assert_eq!(client.decode(&twice(b"4\xed\xa0")), None);
        assert_eq!(client.decode(&twice("4é".as_bytes())), None);
    }

    #[test]
    fn an_empty_frame_and_an_unknown_type_are_refused() {
        assert!(Packet::from_text("").is_err());
        assert!(Packet::from_text("7").is_err());
        assert!(Packet::from_text(&b"4\xff"[..]).is_err());
    }

    #[test]
    fn every_type_character_is_read() {
        for (text, kind) in [
            ("0{}", PacketKind::Open),
            ("1", PacketKind::Close),
            ("2probe", PacketKind::Ping),
            ("3", PacketKind::Pong),
            ("4", PacketKind::Message),
            ("5", PacketKind::Upgrade),
            ("6", PacketKind::Noop),
        ] {
            let packet = Packet::from_text(text).unwrap();
            assert_eq!(packet.kind(), kind);
            assert_eq!(packet.data(), &text.as_bytes()[1..]);
        }
    }
}
