//! JSON text, before it is deserialized.

use std::ops::Deref;

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::IgnoredAny;

use super::mend::mend;

/// The JSON at the end of a packet's text. It may be invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Json {
    text: ByteString,
    start: usize,
}

impl Json {
    /// Returns the JSON that begins at an offset of a text.
    pub(super) fn from_offset(text: ByteString, start: usize) -> Self {
        debug_assert!(text.is_char_boundary(start));
        Self { text, start }
    }

    /// Returns a copy that every JSON parser accepts, if this is valid JSON.
    pub(crate) fn to_readable(&self) -> Bytes {
        mend(self).map_or_else(|| Bytes::copy_from_slice(self.as_bytes()), Bytes::from)
    }

    /// Returns the whole text, including the part before the JSON.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl Deref for Json {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        &self.text[self.start..]
    }
}

impl From<ByteString> for Json {
    fn from(text: ByteString) -> Self {
        Self { text, start: 0 }
    }
}

/// Returns `true` if a text is one JSON value.
pub(crate) fn is_valid_json(json: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(json).is_ok()
}

/// Returns `true` if the depth of JSON is at most `limit`. The text may be invalid.
///
/// Fast path: a text shorter than `2 * limit`, or with at most `limit` opening brackets, cannot exceed the limit. Nearly all
/// messages end here.
#[inline]
pub(crate) fn is_within_depth(json: &[u8], limit: usize) -> bool {
    json.len() / 2 <= limit || is_within_depth_slow(json, limit)
}

fn is_within_depth_slow(json: &[u8], limit: usize) -> bool {
    memchr::memchr2_iter(b'[', b'{', json).nth(limit).is_none() || depth(json) <= limit
}

/// Returns the depth of JSON. The text may be invalid.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        at += 1;
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => at += string_length(&json[at..]),
            _ => {}
        }
    }
    deepest
}

/// Returns the length of a string after its opening quote, closing quote included.
pub(crate) fn string_length(rest: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b'"', b'\\', &rest[at..]) {
        if rest[at + found] == b'"' {
            return at + found + 1;
        }
        at = (at + found + 2).min(rest.len());
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn brackets_in_strings_are_not_counted() {
        assert_eq!(depth(br#"["[[[[", {"a\"[": [1]}]"#), 3);
        assert!(is_within_depth(br#"["a"]"#, 1));
        assert!(!is_within_depth(b"[[[[ ]]]]", 3));
        assert!(is_within_depth(b"[[[[]]]]", 4));
        assert!(is_within_depth(b"[[],[],[],[],[]]", 2));
    }

    #[test]
    fn ten_thousand_levels_are_counted_without_recursion() {
        let json = "[".repeat(10_000) + &"]".repeat(10_000);
        assert!(!is_within_depth(json.as_bytes(), 9_999));
        assert!(is_within_depth(json.as_bytes(), 10_000));
    }

    #[test]
    fn an_incomplete_escape_at_the_end_is_ignored() {
        assert_eq!(depth(br#"["\"#), 1);
        assert_eq!(depth(br#"[""#), 1);
    }

    proptest! {
        #[test]
        fn the_fast_path_agrees_with_the_depth(json in r#"[\[\]{}"\\a,]{0,60}"#, limit in 0usize..10) {
            let expected = depth(json.as_bytes()) <= limit || json.len() / 2 <= limit;
            prop_assert_eq!(is_within_depth(json.as_bytes(), limit), expected);
        }
    }
}
