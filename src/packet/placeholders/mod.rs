//! Finding the placeholders of attachments in JSON.
//!
//! Socket.IO protocol 5, section "Binary": a binary value stands in the JSON as `{"_placeholder":true,"num":N}`.

mod plain;
mod scan;

use super::DecodeError;

/// The key that makes an object a placeholder, if its value is `true`.
pub(crate) const PLACEHOLDER: &str = "_placeholder";

const NUMBER: &str = "num";

/// What follows the name of an event whose only argument is binary.
pub(super) const LAST_ARGUMENT: &str = r#",{"_placeholder":true,"num":0}]"#;

/// Where [`PLACEHOLDER`] stands in a text, as a key or whatever else.
pub(super) fn keys(json: &[u8]) -> impl Iterator<Item = usize> {
    let underscores = memchr::memchr_iter(b'_', json);
    underscores.filter(|at| json[*at..].starts_with(PLACEHOLDER.as_bytes()))
}

/// The placeholders of a text, one for each attachment.
#[derive(Debug)]
pub(crate) enum Placeholders {
    None,
    /// Where the first key of the placeholder of the only attachment begins.
    One(usize),
    /// Where the first key of each begins, and the number of its attachment; in the order of the text.
    Many(Vec<(usize, usize)>),
}

impl Placeholders {
    /// Finds the placeholders in JSON. Each attachment must be named exactly once, as every known encoder does it: a client
    /// that named one many times would have it copied as often.
    ///
    /// As in JavaScript, other keys in a placeholder do not matter, and of a key that is repeated the last value counts.
    /// Keys that are written with escapes are not those of a placeholder: that tells an object that only looks like one, see
    /// [`Extractor`](super::extractor::Extractor). In malformed JSON anything may be found.
    ///
    /// Allocates in proportion to the depth of the JSON and the number of attachments alone.
    pub(crate) fn find(json: &str, attachments: usize) -> Result<Self, DecodeError> {
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

    /// The attachment for which an object stands whose first key is at this place of the text.
    pub(crate) fn number(&self, first_key: usize) -> Option<usize> {
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
const UNKNOWN: DecodeError = DecodeError("illegal attachments: a placeholder without the number of one");

/// The placeholders that have been found so far: no more than there are attachments.
struct Found {
    attachments: usize,
    /// The first key of the only one.
    one: Option<usize>,
    many: Vec<(usize, usize)>,
}

impl Found {
    /// Adds a placeholder, whose number is below that of the attachments.
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

/// The number of an attachment, as encoders write it: digits.
fn number(literal: &[u8]) -> Option<usize> {
    let digits = literal.iter().all(u8::is_ascii_digit) && (literal.len() == 1 || !literal.starts_with(b"0"));
    digits.then(|| std::str::from_utf8(literal).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
