//! Attachments on their way out.

use std::io;

use crate::engine::{MESSAGE_BYTE, Packet};

use super::placeholders::{PLACEHOLDER, keys};

/// The formatter that moves bytes out of the JSON into attachments.
#[derive(Debug)]
pub(super) struct Extractor<'a> {
    attachments: &'a mut Vec<Packet>,
    /// Each placeholder is marked, for [`disambiguate`].
    marking: bool,
}

/// Stands in front of each placeholder. No JSON contains it.
const MARK: &[u8] = b"\x01";

/// The key of a placeholder, in a way in which it is not one's. To JSON it is the same key, but not to
/// [`Placeholders`](super::placeholders::Placeholders).
pub(crate) const ESCAPED: &str = r"\u005fplaceholder";

impl<'a> Extractor<'a> {
    pub(super) fn new(attachments: &'a mut Vec<Packet>, marking: bool) -> Self {
        Self { attachments, marking }
    }
}

impl serde_json::ser::Formatter for Extractor<'_> {
    fn write_byte_array<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: &[u8]) -> io::Result<()> {
        if self.marking {
            writer.write_all(MARK)?;
        }
        write_placeholder(writer, self.attachments.len())?;
        let mut message = Vec::with_capacity(1 + value.len());
        message.push(MESSAGE_BYTE);
        message.extend_from_slice(value);
        self.attachments.push(Packet::typed(message.into()));
        Ok(())
    }
}

pub(crate) fn write_placeholder<W: ?Sized + io::Write>(writer: &mut W, number: usize) -> io::Result<()> {
    writer.write_all(br#"{"_placeholder":true,"num":"#)?;
    writer.write_all(itoa::Buffer::new().format(number).as_bytes())?;
    writer.write_all(b"}")
}

/// Whether something else than the placeholders of so many attachments may look like one.
pub(super) fn is_ambiguous(json: &[u8], attachments: usize) -> bool {
    /// The length of `{"_placeholder":true,"num":0}`.
    const LENGTH: usize = 29;
    json.len() >= attachments * LENGTH + PLACEHOLDER.len() && keys(json).nth(attachments).is_some()
}

/// Escapes what only looks like the key of a placeholder, from this place on. The placeholders are marked, and lose their marks.
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
