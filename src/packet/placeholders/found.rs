use super::super::DecodeError;

/// The key of a placeholder. Its value must be `true`.
pub(crate) const PLACEHOLDER: &str = "_placeholder";

pub(super) const NUMBER: &str = "num";

/// The JSON after the name of an event whose only argument is binary.
pub(in crate::packet) const LAST_ARGUMENT: &str = r#",{"_placeholder":true,"num":0}]"#;

/// Returns the offsets of [`PLACEHOLDER`] in a text, as a key or anything else.
pub(in crate::packet) fn keys(json: &[u8]) -> impl Iterator<Item = usize> {
    let underscores = memchr::memchr_iter(b'_', json);
    underscores.filter(|at| json[*at..].starts_with(PLACEHOLDER.as_bytes()))
}

/// The placeholders of a text, one for each attachment.
#[derive(Debug)]
pub(crate) enum Placeholders {
    None,
    /// The offset of the first key of the only placeholder.
    One(usize),
    /// The offset of the first key of each placeholder, and the number of its attachment. Ordered by offset.
    Many(Vec<(usize, usize)>),
}

impl Placeholders {
    /// Returns the number of the attachment for the object whose first key is at an offset.
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
pub(super) const UNKNOWN: DecodeError = DecodeError("illegal attachments: a placeholder has no valid number");

/// The placeholders that have been found so far: no more than there are attachments.
pub(super) struct Collector {
    pub(super) attachments: usize,
    /// The offset of the first key, if there is only one attachment.
    pub(super) one: Option<usize>,
    pub(super) many: Vec<(usize, usize)>,
}

impl Collector {
    /// Adds a placeholder, whose number is below that of the attachments.
    pub(super) fn add(&mut self, first_key: usize, number: usize) -> Result<(), DecodeError> {
        if self.attachments == 1 {
            return if self.one.replace(first_key).is_none() { Ok(()) } else { Err(TWICE) };
        }
        if self.many.len() == self.attachments {
            return Err(TWICE);
        }
        self.many.push((first_key, number));
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Placeholders, DecodeError> {
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
pub(super) fn number(literal: &[u8]) -> Option<usize> {
    let digits = literal.iter().all(u8::is_ascii_digit) && (literal.len() == 1 || !literal.starts_with(b"0"));
    digits.then(|| std::str::from_utf8(literal).ok()?.parse().ok()).flatten()
}
