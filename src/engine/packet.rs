use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::{Buf, Bytes};

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
    bytes: Bytes,
    form: Form,
    uncompressed: bool,
}

/// What the bytes of a packet are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The type character and UTF-8 data.
    Text,
    /// The data of a binary message.
    Binary,
    /// A binary message behind the type byte that revision 3 wants and revision 4 leaves out: one buffer for both.
    Typed,
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

/// A frame that is no Engine.IO packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PacketError(&'static str);

impl PacketError {
    pub(crate) const fn new(message: &'static str) -> Self {
        Self(message)
    }

    pub(crate) fn message(self) -> &'static str {
        self.0
    }
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
        Self::new(Form::Binary, data.into())
    }

    const fn new(form: Form, bytes: Bytes) -> Self {
        Self { bytes, form, uncompressed: false }
    }

    /// A binary message that has [`MESSAGE_BYTE`] in front of its data.
    pub(crate) fn typed(bytes: Bytes) -> Self {
        debug_assert_eq!(bytes.first(), Some(&MESSAGE_BYTE));
        Self::new(Form::Typed, bytes)
    }

    /// Reads the packet of a text frame.
    ///
    /// A first character `b` announces base64 and is decoded to a binary message, as over long-polling.
    ///
    /// # Errors
    ///
    /// If the frame is empty, its first character is no packet type, its base64 is malformed, or it is not UTF-8.
    pub fn from_text(frame: impl Into<Bytes>) -> Result<Self, PacketError> {
        let frame = frame.into();
        if std::str::from_utf8(&frame).is_err() {
            return Err(PacketError("a text packet is not valid UTF-8"));
        }
        Self::from_utf8(frame)
    }

    /// As [`from_text`](Self::from_text), for a frame whose encoding the transport has checked.
    pub(crate) fn from_utf8(frame: Bytes) -> Result<Self, PacketError> {
        match frame.first() {
            Some(b'b') => super::base64::decode(&frame[1..]).map(Self::binary),
            Some(&byte) if PacketKind::from_char(byte).is_some() => Ok(Self::new(Form::Text, frame)),
            Some(_) => Err(PacketError("unknown Engine.IO packet type")),
            None => Err(PacketError("an Engine.IO packet is empty")),
        }
    }

    /// As [`from_utf8`](Self::from_utf8), in revision 3: the type follows the `b` of base64, and text may have been encoded
    /// twice.
    pub(crate) fn from_utf8_v3(frame: Bytes, twice: &EncodedTwice) -> Result<Self, PacketError> {
        match &frame[..] {
            [b'b', b'4', data @ ..] => super::base64::decode(data).map(Self::binary),
            [b'b', ..] => Err(PacketError("unknown Engine.IO packet type")),
            _ => Self::from_utf8(twice.decode(&frame).map_or(frame, Bytes::from)),
        }
    }

    /// A text packet whose bytes are known to be well formed: a type character and UTF-8.
    pub(crate) fn encoded(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        debug_assert!(text.first().is_some_and(|b| PacketKind::from_char(*b).is_some()));
        Self::new(Form::Text, text)
    }

    pub(crate) const fn close() -> Self {
        Self::new(Form::Text, Bytes::from_static(b"1"))
    }

    pub(crate) const fn ping() -> Self {
        Self::new(Form::Text, Bytes::from_static(b"2"))
    }

    pub(crate) const fn pong() -> Self {
        Self::new(Form::Text, Bytes::from_static(b"3"))
    }

    pub(crate) const fn noop() -> Self {
        Self::new(Form::Text, Bytes::from_static(b"6"))
    }

    pub(crate) const fn pong_probe() -> Self {
        Self::new(Form::Text, Bytes::from_static(b"3probe"))
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
        self.form != Form::Text
    }

    /// The data without the type.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        match self.form {
            Form::Text | Form::Typed => &self.bytes[1..],
            Form::Binary => &self.bytes,
        }
    }

    /// The bytes that this packet takes on a WebSocket of revision 4, frame header aside.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.form {
            Form::Text | Form::Binary => self.bytes.len(),
            Form::Typed => self.bytes.len() - 1,
        }
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
        let mut bytes = self.bytes;
        match self.form {
            Form::Text => PacketPayload::Text(bytes),
            Form::Binary => PacketPayload::Binary(bytes),
            Form::Typed => {
                bytes.advance(1);
                PacketPayload::Binary(bytes)
            }
        }
    }

    /// The frame to put on the wire, as revision 3 has it: a binary message begins with its type.
    pub(crate) fn into_payload_v3(self) -> PacketPayload {
        match self.form {
            Form::Text => PacketPayload::Text(self.bytes),
            Form::Typed => PacketPayload::Binary(self.bytes),
            Form::Binary => PacketPayload::Binary([&[MESSAGE_BYTE], &self.bytes[..]].concat().into()),
        }
    }

    /// The whole text of a text packet, type character included.
    pub(crate) fn text(&self) -> Option<&Bytes> {
        (self.form == Form::Text).then_some(&self.bytes)
    }

    /// As [`data`](Self::data), sharing the buffer.
    pub(crate) fn data_bytes(&self) -> Bytes {
        match self.form {
            Form::Text | Form::Typed => self.bytes.slice(1..),
            Form::Binary => self.bytes.clone(),
        }
    }

    fn text_of(kind: u8, data: &str) -> Self {
        let mut text = Vec::with_capacity(1 + data.len());
        text.push(kind);
        text.extend_from_slice(data.as_bytes());
        Self::new(Form::Text, text.into())
    }
}

/// Whether the text of a client of revision 3 may have been encoded twice, so that its characters are the bytes of UTF-8.
///
/// Clients of 1.x do that where they cannot send binary, those of 1.0 over WebSocket too; nothing in their requests says
/// so. Text that cannot have been encoded twice shows that this client never does.
#[derive(Debug, Clone, Default)]
pub(crate) struct EncodedTwice {
    /// What has been learned: that it never does. `None` if the question does not arise.
    never: Option<Arc<AtomicBool>>,
}

impl EncodedTwice {
    /// For a client of which it is not known yet.
    pub(crate) fn unknown() -> Self {
        Self { never: Some(Arc::default()) }
    }

    fn decode(&self, text: &[u8]) -> Option<Vec<u8>> {
        let never = self.never.as_ref()?;
        if text.is_ascii() || never.load(Ordering::Relaxed) {
            return None;
        }
        let characters = std::str::from_utf8(text).ok()?.chars();
        let bytes: Option<Vec<u8>> = characters.map(|character| u8::try_from(character).ok()).collect();
        let decoded = bytes.filter(|bytes| std::str::from_utf8(bytes).is_ok());
        if decoded.is_none() {
            never.store(true, Ordering::Relaxed);
        }
        decoded
    }
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
        assert_eq!(size_of::<Packet>(), size_of::<Bytes>() + size_of::<usize>());
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
