use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use bytes::{Buf, Bytes};
use bytestring::ByteString;

#[cfg(feature = "permessage-deflate")]
use super::maybe_shared::Deflated;
use super::{maybe_shared::MaybeShared, packet_error::PacketError};

/// The type of an Engine.IO packet.
///
/// Engine.IO protocol 4, section "Packet types".
///
/// ```
/// use tower_socketio::engine::{Packet, PacketType};
///
/// assert_eq!(Packet::message("hello").packet_type(), PacketType::Message);
/// assert_eq!(PacketType::from_char(b'4'), Some(PacketType::Message));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PacketType {
    /// `0`: the handshake, sent by the server.
    Open,
    /// `1`: the sender closes the session.
    Close,
    /// `2`: a heartbeat, or the probe of an upgrade.
    Ping,
    /// `3`: the response to a ping.
    Pong,
    /// `4`: a message of the protocol above Engine.IO: with Socket.IO, a packet or an attachment.
    Message,
    /// `5`: the client completes an upgrade.
    Upgrade,
    /// `6`: releases a pending poll.
    Noop,
}

impl PacketType {
    /// Returns the type that a type character denotes, or `None` if it is unknown.
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

/// An Engine.IO packet, in the form in which a transport carries it.
///
/// A text packet stores its type character before its data, so that one buffer serves every transport and every recipient. A
/// binary packet is always a message. Cloning is cheap: clones share the buffer.
///
/// ```
/// use tower_socketio::engine::{Frame, Packet};
///
/// let packet = Packet::from_text("4hello")?;
/// assert_eq!(packet.data(), b"hello");
/// assert_eq!(packet.into_frame(), Frame::Text("4hello".into()));
/// # Ok::<(), tower_socketio::engine::PacketError>(())
/// ```
#[derive(Clone)]
pub struct Packet {
    content: MaybeShared<Content>,
    uncompressed: bool,
}

#[derive(Clone)]
// Without padding, as `packet::Kind`.
#[repr(usize)]
enum Content {
    /// Text from a peer, validated: the type character and the data.
    Text(ByteString),
    /// Text that this crate encoded. Known to be UTF-8, so it is not validated again.
    Encoded(Bytes),
    /// The data of a binary message.
    Binary(Bytes),
    /// A binary message with the revision 3 type byte in front. Revision 4 skips the byte, so both share one buffer.
    BinaryV3(Bytes),
}

/// The type byte of a binary message in revision 3.
pub(crate) const V3_MESSAGE_TYPE: u8 = 4;

/// A [`Packet`] as a transport of frames, such as a WebSocket, carries it.
///
/// Returned by [`Packet::into_frame`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A text frame: the type character and the data, which is UTF-8.
    Text(Bytes),
    /// A binary frame.
    Binary(Bytes),
}

impl Packet {
    /// Creates a text message (type `4`).
    #[must_use]
    pub fn message(text: &str) -> Self {
        Self::text_of(b'4', text)
    }

    /// Creates a binary message.
    #[must_use]
    pub fn binary(data: impl Into<Bytes>) -> Self {
        Self::new(Content::Binary(data.into()))
    }

    const fn new(content: Content) -> Self {
        Self { content: MaybeShared::Own(content), uncompressed: false }
    }

    /// Creates a text packet from a constant.
    const fn fixed(text: &'static str) -> Self {
        Self::new(Content::Text(ByteString::from_static(text)))
    }

    /// Creates a binary message from bytes that begin with [`V3_MESSAGE_TYPE`].
    pub(crate) fn binary_v3(bytes: Bytes) -> Self {
        debug_assert_eq!(bytes.first(), Some(&V3_MESSAGE_TYPE));
        Self::new(Content::BinaryV3(bytes))
    }

    /// Decodes the packet of a text frame.
    ///
    /// If the first character is `b`, the rest is base64, as over long-polling, and the packet is a binary message.
    ///
    /// # Errors
    ///
    /// Returns an error if the frame is empty, is not UTF-8, begins with an unknown type, or contains malformed base64.
    pub fn from_text(frame: impl Into<Bytes>) -> Result<Self, PacketError> {
        Self::from_utf8(frame.into().try_into().map_err(|_| PacketError::new("a text packet is not valid UTF-8"))?)
    }

    /// Like [`from_text`](Self::from_text), for a frame that is known to be UTF-8.
    pub(crate) fn from_utf8(frame: ByteString) -> Result<Self, PacketError> {
        match frame.as_bytes().first() {
            Some(b'b') => super::base64::decode(&frame.as_bytes()[1..]).map(Self::binary),
            Some(&byte) if PacketType::from_char(byte).is_some() => Ok(Self::new(Content::Text(frame))),
            Some(_) => Err(PacketError::new("unknown Engine.IO packet type")),
            None => Err(PacketError::new("an Engine.IO packet is empty")),
        }
    }

    /// Like [`from_utf8`](Self::from_utf8), in revision 3: `b` is followed by the type before the base64, and text may have been
    /// encoded twice.
    pub(crate) fn from_utf8_v3(frame: ByteString, double_encoding: &DoubleEncoding) -> Result<Self, PacketError> {
        match &frame.as_bytes()[..] {
            [b'b', b'4', data @ ..] => super::base64::decode(data).map(Self::binary),
            [b'b', ..] => Err(PacketError::new("unknown Engine.IO packet type")),
            _ => Self::from_utf8(double_encoding.decode(&frame).map_or(frame, ByteString::from)),
        }
    }

    /// Creates a text packet from bytes that are known to be a type character and UTF-8.
    pub(crate) fn encoded(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        debug_assert!(text.first().is_some_and(|b| PacketType::from_char(*b).is_some()));
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

    /// Returns the type of the packet.
    #[must_use]
    pub fn packet_type(&self) -> PacketType {
        match self.text() {
            Some(text) => {
                text.first().and_then(|byte| PacketType::from_char(*byte)).expect("a text packet begins with its type")
            }
            None => PacketType::Message,
        }
    }

    /// Returns `true` if this is a binary message.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        matches!(self.content.get(), Content::Binary(_) | Content::BinaryV3(_))
    }

    /// Returns the data, without the type.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        let bytes = self.bytes();
        if matches!(self.content.get(), Content::Binary(_)) { bytes } else { &bytes[1..] }
    }

    /// Returns `true` if no other packet shares the buffer.
    pub(crate) fn is_unique(&self) -> bool {
        self.bytes().is_unique()
    }

    fn bytes(&self) -> &Bytes {
        match self.content.get() {
            Content::Text(text) => text.as_bytes(),
            Content::Encoded(bytes) | Content::Binary(bytes) | Content::BinaryV3(bytes) => bytes,
        }
    }

    /// Returns the length of the packet in bytes, as a WebSocket frame of revision 4 without its header.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes().len() - usize::from(matches!(self.content.get(), Content::BinaryV3(_)))
    }

    /// Returns `true` if [`len`](Self::len) is zero, which is so for an empty binary message only.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets whether a transport may compress this packet. Default: `true`.
    ///
    /// The response to a poll is compressed unless this is `false` for all of its packets, and a WebSocket message unless it is
    /// `false` for its packet. See
    /// [`SocketRef::compress`](crate::SocketRef::compress).
    #[must_use]
    pub fn compress(mut self, compress: bool) -> Self {
        self.uncompressed = !compress;
        self
    }

    /// Returns `true` if a transport may compress this packet.
    #[must_use]
    pub fn may_be_compressed(&self) -> bool {
        !self.uncompressed
    }

    /// Treats compression as another packet of the same event does.
    pub(crate) fn compress_like(self, other: &Self) -> Self {
        let packet = self.compress(other.may_be_compressed());
        #[cfg(feature = "permessage-deflate")]
        if other.deflated().is_some() {
            return packet.share();
        }
        packet
    }

    /// Lets the recipients of this packet share its compressed form.
    #[cfg(feature = "permessage-deflate")]
    pub(crate) fn share(self) -> Self {
        Self { content: self.content.share(), ..self }
    }

    /// Returns the place of the compressed form, if the recipients share it. It is that of the [frame](Self::into_frame) of revision 4.
    #[cfg(feature = "permessage-deflate")]
    pub(crate) fn deflated(&self) -> Option<&Deflated> {
        self.content.deflated()
    }

    /// Converts to the frame that revision 4 sends.
    #[must_use]
    pub fn into_frame(self) -> Frame {
        match self.content.into_inner() {
            Content::Text(text) => Frame::Text(text.into_bytes()),
            Content::Encoded(text) => Frame::Text(text),
            Content::Binary(data) => Frame::Binary(data),
            Content::BinaryV3(mut data) => {
                data.advance(1);
                Frame::Binary(data)
            }
        }
    }

    /// Converts to the frame that revision 3 sends: a binary message begins with its type.
    pub(crate) fn into_frame_v3(self) -> Frame {
        match self.content.into_inner() {
            Content::Binary(data) => Frame::Binary([&[V3_MESSAGE_TYPE], &data[..]].concat().into()),
            Content::BinaryV3(data) => Frame::Binary(data),
            Content::Text(text) => Frame::Text(text.into_bytes()),
            Content::Encoded(text) => Frame::Text(text),
        }
    }

    /// Returns the text of a text packet, type character included.
    pub(crate) fn text(&self) -> Option<&Bytes> {
        (!self.is_binary()).then(|| self.bytes())
    }

    /// Like [`text`](Self::text), by value.
    pub(crate) fn into_text(self) -> Option<ByteString> {
        match self.content.into_inner() {
            Content::Text(text) => Some(text),
            Content::Encoded(text) => text.try_into().ok(),
            Content::Binary(_) | Content::BinaryV3(_) => None,
        }
    }

    /// Like [`data`](Self::data), sharing the buffer.
    pub(crate) fn data_bytes(&self) -> Bytes {
        self.clone().into_data()
    }

    /// Like [`data`](Self::data), by value.
    pub(crate) fn into_data(self) -> Bytes {
        let mut bytes = match self.content.into_inner() {
            Content::Binary(data) => return data,
            Content::Text(text) => text.into_bytes(),
            Content::Encoded(bytes) | Content::BinaryV3(bytes) => bytes,
        };
        bytes.advance(1);
        bytes
    }

    fn text_of(type_char: u8, data: &str) -> Self {
        let mut text = Vec::with_capacity(1 + data.len());
        text.push(type_char);
        text.extend_from_slice(data.as_bytes());
        Self::new(Content::Encoded(text.into()))
    }
}

/// Whether a client of revision 3 encodes text as UTF-8 twice.
///
/// Clients of 1.x do so where they cannot send binary, and those of 1.0 over WebSocket too. Their requests do not say so. A
/// client that sends text which cannot be decoded twice is known to encode once.
#[derive(Debug, Clone)]
pub(crate) struct DoubleEncoding {
    /// One of the constants below. `None` in revision 4.
    learned: Option<Arc<AtomicU8>>,
}

// Values of `DoubleEncoding::learned`.
const UNKNOWN: u8 = 0;
const NEVER: u8 = 1;
const LIKELY: u8 = 2;

impl DoubleEncoding {
    /// The state for a client of revision 4.
    pub(crate) const fn never() -> Self {
        Self { learned: None }
    }

    /// The state for a client that has not sent text yet.
    pub(crate) fn unknown() -> Self {
        Self { learned: Some(Arc::new(AtomicU8::new(UNKNOWN))) }
    }

    fn learned(&self) -> u8 {
        self.learned.as_ref().map_or(NEVER, |learned| learned.load(Ordering::Relaxed))
    }

    /// Returns `true` if the client is known to encode once.
    pub(super) fn is_never(&self) -> bool {
        self.learned() == NEVER
    }

    /// Returns `true` if the client has sent text that can be decoded twice.
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

/// Decodes UTF-8 in which unpaired surrogates may be encoded, as some clients do. They become U+FFFD.
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

/// Compares type and data, not the representation.
impl PartialEq for Packet {
    fn eq(&self, other: &Self) -> bool {
        (self.packet_type(), self.is_binary(), self.data()) == (other.packet_type(), other.is_binary(), other.data())
    }
}

impl Eq for Packet {}

impl fmt::Debug for Packet {
    /// Shows the type and the length, not the data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("type", &self.packet_type())
            .field("binary", &self.is_binary())
            .field("len", &self.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_frame_that_begins_with_a_multi_byte_character_is_rejected() {
        let error = Packet::from_text("é1234").unwrap_err();
        assert_eq!(error.to_string(), "unknown Engine.IO packet type");
    }

    #[test]
    fn a_lone_b_is_an_empty_binary_message() {
        let packet = Packet::from_text("b").unwrap();
        assert!(packet.is_binary() && packet.is_empty());
    }

    #[test]
    fn a_binary_message_begins_with_its_type_in_revision_3_only() {
        for packet in [Packet::binary_v3(Bytes::from_static(&[4, 1, 2])), Packet::binary(&[1u8, 2][..])] {
            assert_eq!((packet.data(), packet.len(), &packet.data_bytes()[..]), (&[1u8, 2][..], 2, &[1u8, 2][..]));
            assert_eq!(packet.clone().into_frame(), Frame::Binary(Bytes::from_static(&[1, 2])));
            assert_eq!(packet.into_frame_v3(), Frame::Binary(Bytes::from_static(&[4, 1, 2])));
        }
        assert_eq!(Packet::binary_v3(Bytes::from_static(&[4])), Packet::binary(Bytes::new()));
    }

    #[test]
    fn the_compression_flag_does_not_enlarge_a_packet() {
        assert_eq!(size_of::<Packet>(), size_of::<Bytes>() + 2 * size_of::<usize>());
    }

    #[test]
    fn an_unpaired_surrogate_that_was_encoded_twice_becomes_a_replacement_character() {
        let twice = |bytes: &[u8]| bytes.iter().copied().map(char::from).collect::<String>();
        let client = DoubleEncoding::unknown();
        assert_eq!(client.decode(&twice(b"4\xed\xa0\xbdx\xed\xb8\x80")).as_deref(), Some("4\u{fffd}x\u{fffd}"));
        assert_eq!(client.decode(&twice("4😀é".as_bytes())).as_deref(), Some("4😀é"));
        // Other invalid UTF-8 was not encoded twice.
        assert_eq!(client.decode(&twice(b"4\xed\xa0")), None);
        assert_eq!(client.decode(&twice("4é".as_bytes())), None);
    }

    #[test]
    fn an_empty_frame_and_an_unknown_type_are_rejected() {
        assert!(Packet::from_text("").is_err());
        assert!(Packet::from_text("7").is_err());
        assert!(Packet::from_text(&b"4\xff"[..]).is_err());
    }

    #[test]
    fn every_type_character_is_decoded() {
        for (text, kind) in [
            ("0{}", PacketType::Open),
            ("1", PacketType::Close),
            ("2probe", PacketType::Ping),
            ("3", PacketType::Pong),
            ("4", PacketType::Message),
            ("5", PacketType::Upgrade),
            ("6", PacketType::Noop),
        ] {
            let packet = Packet::from_text(text).unwrap();
            assert_eq!(packet.packet_type(), kind);
            assert_eq!(packet.data(), &text.as_bytes()[1..]);
        }
    }
}
