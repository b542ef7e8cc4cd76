//! Finds the placeholders of attachments in JSON.
//!
//! Socket.IO protocol 5, section "Binary": a binary value is represented in JSON by `{"_placeholder":true,"num":N}`.

mod plain;
mod scan;

use super::DecodeError;

/// The key of a placeholder. Its value must be `true`.
pub(super) const PLACEHOLDER: &str = "_placeholder";

const NUMBER: &str = "num";

/// The JSON after the name of an event whose only argument is binary.
pub(super) const LAST_ARGUMENT: &str = r#",{"_placeholder":true,"num":0}]"#;

/// Returns the offsets of [`PLACEHOLDER`] in a text, as a key or anything else.
pub(super) fn keys(json: &[u8]) -> impl Iterator<Item = usize> {
    let underscores = memchr::memchr_iter(b'_', json);
    underscores.filter(|at| json[*at..].starts_with(PLACEHOLDER.as_bytes()))
}

/// The placeholders of a text, one for each attachment.
#[derive(Debug)]
pub(super) enum Placeholders {
    None,
    /// The offset of the first key of the only placeholder.
    One(usize),
    /// The offset of the first key of each placeholder, and the number of its attachment. Ordered by offset.
    Many(Vec<(usize, usize)>),
}

impl Placeholders {
    /// Finds the placeholders in JSON. Each attachment must be named exactly once, as by all known encoders: otherwise a client could
    /// have an attachment copied many times.
    ///
    /// As in JavaScript, other keys of a placeholder are ignored, and of duplicate keys the last one counts. Keys with escapes are
    /// not those of a placeholder, so that encoders can escape objects that look like one; see
    /// [`AttachmentWriter`](super::attachment_writer::AttachmentWriter). The result is unspecified for invalid JSON.
    ///
    /// Allocates only in proportion to the depth of the JSON and the number of attachments.
    pub(super) fn find(json: &str, attachments: usize) -> Result<Self, DecodeError> {
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

    /// Returns the number of the attachment for the object whose first key is at an offset.
    pub(super) fn number(&self, first_key: usize) -> Option<usize> {
        match self {
            Self::None => None,
            Self::One(key) => (*key == first_key).then_some(0),
            Self::Many(found) => {
                let place = found.binary_search_by_key(&first_key, |(key, _)| *key).ok()?;
                Some(found[place].1)
            }
        }
    }
}

const TWICE: DecodeError = DecodeError("illegal attachments: one is named twice");
const UNNAMED: DecodeError = DecodeError("illegal attachments: one is not named");
const UNKNOWN: DecodeError = DecodeError("illegal attachments: a placeholder has no valid number");

/// Collects placeholders, at most as many as there are attachments.
struct Collector {
    attachments: usize,
    /// The offset of the first key, if there is only one attachment.
    one: Option<usize>,
    many: Vec<(usize, usize)>,
}

impl Collector {
    /// Adds a placeholder. Its number must be valid.
    fn add(&mut self, first_key: usize, number: usize) -> Result<(), DecodeError> {
        if self.attachments == 1 {
            return if self.one.replace(first_key).is_none() { Ok(()) } else { Err(TWICE) };
        }
        if self.many.len() == self.attachments {
            return Err(TWICE);
        }
        self.many.push((first_key, number));
        Ok(())
    }

    fn finish(mut self) -> Result<Placeholders, DecodeError> {
        if self.attachments == 1 {
            return self.one.map(Placeholders::One).ok_or(UNNAMED);
        }
        if self.many.len() < self.attachments {
            return Err(UNNAMED);
        }
        let mut named = vec![false; self.attachments];
        if self.many.iter().any(|(_, number)| std::mem::replace(&mut named[*number], true)) {
            return Err(TWICE);
        }
        self.many.sort_unstable();
        Ok(Placeholders::Many(self.many))
    }
}

/// Parses the number of an attachment.
fn number(literal: &[u8]) -> Option<usize> {
    let digits = literal.iter().all(u8::is_ascii_digit) && (literal.len() == 1 || !literal.starts_with(b"0"));
    digits.then(|| std::str::from_utf8(literal).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
