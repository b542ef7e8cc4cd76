//! Finding the placeholders of attachments in JSON.
//!
//! Socket.IO protocol 5, section "Binary": a binary value stands in the JSON as `{"_placeholder":true,"num":N}`.

mod found;
mod plain;
mod scan;

use super::DecodeError;

use self::found::Found;
pub(super) use self::found::{LAST_ARGUMENT, PLACEHOLDER, Placeholders, keys};

impl Placeholders {
    /// Finds the placeholders in JSON. Each attachment must be named exactly once, as every known encoder does it: a client
    /// that named one many times would have it copied as often.
    ///
    /// As in JavaScript, other keys in a placeholder do not matter, and of a key that is repeated the last value counts.
    /// Keys that are written with escapes are not those of a placeholder: that tells an object that only looks like one, see
    /// [`Extractor`](super::extractor::Extractor). In malformed JSON anything may be found.
    ///
    /// Allocates in proportion to the depth of the JSON and the number of attachments alone.
    pub(super) fn find(json: &str, attachments: usize) -> Result<Self, DecodeError> {
        if attachments == 0 {
            return Ok(Self::None);
        }
        let mut found = Found { attachments, one: None, many: Vec::new() };
        if !plain::find(json.as_bytes(), &mut found)? {
            (found.one, found.many) = (None, Vec::new());
            scan::find(json.as_bytes(), &mut found)?;
        }
        found.finish()
    }
}

#[cfg(test)]
mod tests;
