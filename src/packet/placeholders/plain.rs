//! Placeholders as encoders write them: an object of the two keys, in either order. These are found without a look at
//! anything else.

use super::{
    super::DecodeError,
    found::{self, Found, NUMBER, PLACEHOLDER, keys},
};

/// Finds the placeholders of valid JSON. Returns `false` if some cannot be found in this way.
pub(super) fn find(json: &[u8], found: &mut Found) -> Result<bool, DecodeError> {
    for at in keys(json) {
        let (before, key) = (&json[..at], &json[at + PLACEHOLDER.len()..]);
        // A string of its own, and not a part of one.
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

/// The first key and the number of an object, given where [`PLACEHOLDER`] is, and what stands before and after that key.
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

/// What follows some bytes, which may have white space in front.
fn strip<'a>(json: &'a [u8], bytes: &[u8]) -> Option<&'a [u8]> {
    json.strip_prefix(bytes).or_else(|| json.trim_ascii_start().strip_prefix(bytes))
}

/// A number without a leading zero, and what follows it.
fn digits(json: &[u8]) -> Option<(usize, &[u8])> {
    let json = json.trim_ascii_start();
    let (digits, after) = json.split_at(json.iter().take_while(|byte| byte.is_ascii_digit()).count());
    found::number(digits).map(|number| (number, after))
}
