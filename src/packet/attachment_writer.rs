//! Moves bytes out of the JSON into attachments, when a packet is encoded.

use std::io;

use crate::engine::{Packet, V3_MESSAGE_TYPE};

use super::placeholders::{PLACEHOLDER, keys};

/// A JSON formatter that writes placeholders for bytes, and collects the bytes as attachments.
#[derive(Debug)]
pub(super) struct AttachmentWriter<'a> {
    attachments: &'a mut Vec<Packet>,
    /// Writes [`MARK`] before each placeholder, for [`disambiguate`].
    marking: bool,
}

/// Precedes each placeholder. It cannot occur in JSON.
const MARK: &[u8] = b"\x01";

/// The escaped key of an object that is not a placeholder. It is the same key in JSON, but
/// [`Placeholders`](super::placeholders::Placeholders) ignores it.
pub(crate) const ESCAPED: &str = r"\u005fplaceholder";

impl<'a> AttachmentWriter<'a> {
    pub(super) fn new(attachments: &'a mut Vec<Packet>, marking: bool) -> Self {
        Self { attachments, marking }
    }
}

impl serde_json::ser::Formatter for AttachmentWriter<'_> {
    fn write_byte_array<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: &[u8]) -> io::Result<()> {
        if self.marking {
            writer.write_all(MARK)?;
        }
        write_placeholder(writer, self.attachments.len())?;
        let mut message = Vec::with_capacity(1 + value.len());
        message.push(V3_MESSAGE_TYPE);
        message.extend_from_slice(value);
        self.attachments.push(Packet::binary_v3(message.into()));
        Ok(())
    }
}

pub(crate) fn write_placeholder<W: ?Sized + io::Write>(writer: &mut W, number: usize) -> io::Result<()> {
    writer.write_all(br#"{"_placeholder":true,"num":"#)?;
    writer.write_all(itoa::Buffer::new().format(number).as_bytes())?;
    writer.write_all(b"}")
}

/// Returns `true` if the JSON may contain objects that look like placeholders, besides those of the attachments.
pub(super) fn is_ambiguous(json: &[u8], attachments: usize) -> bool {
    /// The length of `{"_placeholder":true,"num":0}`.
    const LENGTH: usize = 29;
    json.len() >= attachments * LENGTH + PLACEHOLDER.len() && keys(json).nth(attachments).is_some()
}

/// Escapes keys that look like those of a placeholder, from `start` on. Removes the marks of the actual placeholders.
pub(super) fn disambiguate(json: &mut Vec<u8>, start: usize) {
    let marked = json.split_off(start);
    let mut copied = 0;
    for key in keys(&marked) {
        let before = &marked[copied..key];
        match before.strip_suffix(b"\x01{\"") {
            Some(before) => json.extend([before, b"{\"", PLACEHOLDER.as_bytes()].concat()),
            None => json.extend([before, ESCAPED.as_bytes()].concat()),
        }
        copied = key + PLACEHOLDER.len();
    }
    json.extend_from_slice(&marked[copied..]);
}
