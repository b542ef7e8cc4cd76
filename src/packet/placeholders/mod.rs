//! Finds the placeholders of attachments in JSON.
//!
//! Socket.IO protocol 5, section "Binary": a binary value is represented in JSON by `{"_placeholder":true,"num":N}`.

mod found;
mod plain;
mod scan;

use super::DecodeError;

use self::found::Collector;
pub(super) use self::found::{LAST_ARGUMENT, keys};
pub(crate) use self::found::{PLACEHOLDER, Placeholders};

impl Placeholders {
    /// Finds the placeholders in JSON. Each attachment must be named exactly once, which is the case with all known encoders.
    /// Otherwise a client could have an attachment copied many times.
    ///
    /// As in JavaScript, other keys of a placeholder are ignored, and of duplicate keys the last one counts. Keys with escapes are
    /// not those of a placeholder, so that encoders can escape objects that look like one; see
    /// [`AttachmentWriter`](super::attachment_writer::AttachmentWriter). The result is unspecified for invalid JSON.
    ///
    /// Allocates only in proportion to the depth of the JSON and the number of attachments.
    pub(crate) fn find(json: &str, attachments: usize) -> Result<Self, DecodeError> {
        if attachments == 0 {
            return Ok(Self::None);
        }
        let mut found = Collector { attachments, one: None, many: Vec::new() };
        if !plain::find(json.as_bytes(), &mut found)? {
            (found.one, found.many) = (None, Vec::new());
            scan::find(json.as_bytes(), &mut found)?;
        }
        found.finish()
    }
}

#[cfg(test)]
mod tests;
