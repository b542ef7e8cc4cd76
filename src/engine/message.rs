use std::fmt;

use bytes::Bytes;

use super::Packet;

/// An Engine.IO message: text or binary. Cloning is cheap.
///
/// ```
/// use tower_socketio::engine::Message;
///
/// let message = Message::from("hello");
/// assert_eq!(message.as_text(), Some("hello"));
/// assert!(Message::from(vec![1, 2]).is_binary());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Message(pub(super) Packet);

impl Message {
    /// A text message.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self(Packet::message(text))
    }

    /// A binary message.
    #[must_use]
    pub fn binary(data: impl Into<Bytes>) -> Self {
        Self(Packet::binary(data))
    }

    /// Returns `true` if this is a binary message.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        self.0.is_binary()
    }

    /// Returns the text, or `None` if this is a binary message.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if self.is_binary() { None } else { std::str::from_utf8(self.0.data()).ok() }
    }

    /// Returns the bytes of the text, or the data of a binary message.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.data()
    }

    pub(super) fn into_packet(self) -> Packet {
        self.0
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::text(&text)
    }
}

impl From<Bytes> for Message {
    fn from(data: Bytes) -> Self {
        Self::binary(data)
    }
}

impl From<Vec<u8>> for Message {
    fn from(data: Vec<u8>) -> Self {
        Self::binary(data)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("is_binary", &self.is_binary()).field("len", &self.as_bytes().len()).finish()
    }
}
