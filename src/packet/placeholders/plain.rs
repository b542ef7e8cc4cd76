//! Fast path: finds placeholders of the form that encoders write, an object of exactly the two keys. Reads nothing else.

use super::{
    super::DecodeError,
    found::{self, Collector, NUMBER, PLACEHOLDER, keys},
};

/// Finds the placeholders of valid JSON. Returns `false` if the slow path is needed.
pub(super) fn find(json: &[u8], found: &mut Collector) -> Result<bool, DecodeError> {
    for at in keys(json) {
        let (before, key) = (&json[..at], &json[at + PLACEHOLDER.len()..]);
        // A whole string, not a part of one.
        let (Some(before), Some(after)) = (before.strip_suffix(b"\""), key.strip_prefix(b"\"")) else { continue };
        if before.ends_with(b"\\") {
            continue;
        }
        let Some(after) = strip(after, b":") else { continue };
        let Some((first_key, number)) = read(at, before, after).filter(|(_, number)| *number < found.attachments)
        else {
            return Ok(false);
        };
        found.add(first_key, number)?;
    }
    Ok(true)
}

/// Returns the offset of the first key of an object and its number, given the offset of [`PLACEHOLDER`] and the JSON before and
/// after that key.
fn read(at: usize, before: &[u8], after: &[u8]) -> Option<(usize, usize)> {
    let after = strip(after, b"true")?;
    if let Some(after) = strip(after, b",") {
        let number = strip(strip(strip(strip(after, b"\"")?, NUMBER.as_bytes())?, b"\"")?, b":")?;
        let (number, after) = digits(number)?;
        return (before.trim_ascii_end().ends_with(b"{") && strip(after, b"}").is_some()).then_some((at, number));
    }
    strip(after, b"}")?;
    let before = before.trim_ascii_end().strip_suffix(b",")?.trim_ascii_end();
    let length = before.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (before, number) = before.split_at(before.len() - length);
    let (number, _) = digits(number)?;
    let before = before.trim_ascii_end().strip_suffix(b":")?.trim_ascii_end().strip_suffix(b"num\"")?;
    let first_key = before.len();
    before.strip_suffix(b"\"")?.trim_ascii_end().ends_with(b"{").then_some((first_key, number))
}

/// Strips white space and a prefix.
fn strip<'a>(json: &'a [u8], bytes: &[u8]) -> Option<&'a [u8]> {
    json.strip_prefix(bytes).or_else(|| json.trim_ascii_start().strip_prefix(bytes))
}

/// Parses a number without leading zeros. Also returns the rest.
fn digits(json: &[u8]) -> Option<(usize, &[u8])> {
    let json = json.trim_ascii_start();
    let (digits, after) = json.split_at(json.iter().take_while(|byte| byte.is_ascii_digit()).count());
    found::number(digits).map(|number| (number, after))
}
