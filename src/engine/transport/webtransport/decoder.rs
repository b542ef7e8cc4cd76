//! Decodes frames from the client, as `engine.io-parser` does.
//!
//! The first byte of a header is a flag for binary and a length of 7 bits. 126 means that two bytes with the length follow, 127 that
//! eight do. The payload of text is an Engine.IO packet, that of binary a message.

use bytes::{Buf, Bytes, BytesMut};
use bytestring::ByteString;

use crate::engine::Packet;

use super::TransportError;

/// Decodes the frames of one client.
#[derive(Debug)]
pub(super) struct Decoder {
    /// Bytes that have not been decoded. Not allocated while empty.
    unread: BytesMut,
    /// Frames have been taken out of the allocation of `unread`.
    is_used: bool,
    max_payload: usize,
}

struct Header {
    is_binary: bool,
    /// The size of the header.
    size: usize,
    length: u64,
}

impl Header {
    /// Decodes a header. Returns `None` if it is incomplete.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (first, rest) = bytes.split_first()?;
        let (size, length) = match first & 0x7f {
            126 => (3, u16::from_be_bytes(*rest.first_chunk()?).into()),
            127 => (9, u64::from_be_bytes(*rest.first_chunk()?)),
            length => (1, length.into()),
        };
        Some(Self { is_binary: first & 0x80 != 0, size, length })
    }
}

impl Decoder {
    pub(super) fn new(max_payload: usize) -> Self {
        Self { unread: BytesMut::new(), is_used: false, max_payload }
    }

    pub(super) fn set_max_payload(&mut self, max_payload: usize) {
        self.max_payload = max_payload;
    }

    /// Returns the number of buffered bytes.
    pub(super) fn unread_bytes(&self) -> usize {
        self.unread.len()
    }

    /// Returns the capacity of the buffer.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.unread.capacity()
    }

    /// Adds bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// Returns the next packet, or `None` if it is incomplete. After an error the decoder must not be used.
    pub(super) fn next(&mut self) -> Result<Option<Packet>, TransportError> {
        let Some(header) = Header::read(&self.unread) else {
            self.shrink();
            return Ok(None);
        };
        let length = usize::try_from(header.length).ok().filter(|length| *length <= self.max_payload);
        let length = length.ok_or(TransportError::parse("max payload size exceeded"))?;
        if self.unread.len() - header.size < length {
            self.shrink();
            return Ok(None);
        }
        let payload = self.take_payload(header.size, length);
        if header.is_binary {
            return Ok(Some(Packet::binary(payload)));
        }
        let text = ByteString::try_from(payload);
        let text = text.map_err(|_| TransportError::parse("a text is not valid UTF-8"))?;
        Packet::from_utf8(text).map(Some).map_err(|error| TransportError::parse(error.message()))
    }

    /// Removes a frame from the buffer. Its payload is copied unless it fills the buffer.
    fn take_payload(&mut self, header: usize, length: usize) -> Bytes {
        let is_last = self.unread.len() == header + length;
        if is_last && !self.is_used && length >= self.unread.capacity() / 2 {
            let mut frame = std::mem::take(&mut self.unread);
            frame.advance(header);
            return frame.freeze();
        }
        let payload = Bytes::copy_from_slice(&self.unread[header..header + length]);
        if is_last {
            self.unread = BytesMut::new();
        } else {
            self.unread.advance(header + length);
        }
        self.is_used = !is_last;
        payload
    }

    /// Moves the beginning of a frame into a buffer of its size. It must not keep that of the frames before.
    fn shrink(&mut self) {
        if std::mem::take(&mut self.is_used) {
            self.unread = BytesMut::from(&self.unread[..]);
        }
    }
}
