//! Finds the values in JSON that is known to be valid, and writes the parts of JSON.

use crate::packet::string_length;

pub(super) fn skip_space(json: &[u8], at: usize) -> usize {
    let rest = json.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count()
}

/// The end of the value that starts here.
pub(super) fn value_end(json: &[u8], start: usize) -> usize {
    match json.get(start) {
        Some(b'"') => string_end(json, start),
        Some(b'[' | b'{') => container_end(json, start),
        Some(_) => {
            let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
            json[start..].iter().position(ends).map_or(json.len(), |length| start + length)
        }
        None => json.len(),
    }
}

fn string_end(json: &[u8], start: usize) -> usize {
    start + 1 + string_length(&json[start + 1..])
}

fn container_end(json: &[u8], start: usize) -> usize {
    let mut depth = 0usize;
    let mut at = start;
    while let Some(&byte) = json.get(at) {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            b'"' => {
                at = string_end(json, at);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    json.len()
}

/// The places in an array or an object, whose bracket stands at `at`: one for each of its elements or keys.
pub(super) struct Places<'a> {
    pub(super) json: &'a [u8],
    /// Behind the bracket, or behind the last value.
    pub(super) at: usize,
}

impl Places<'_> {
    /// The start of the next element or key. `None` at the end.
    pub(super) fn next(&self) -> Option<usize> {
        let mut at = skip_space(self.json, self.at);
        if self.json.get(at) == Some(&b',') {
            at = skip_space(self.json, at + 1);
        }
        let more = !matches!(self.json.get(at), Some(b']' | b'}') | None);
        more.then_some(at)
    }

    /// The end of a key that starts here, and the start of its value.
    pub(super) fn key(&self, start: usize) -> (usize, usize) {
        let end = value_end(self.json, start);
        let colon = skip_space(self.json, end);
        (end, skip_space(self.json, colon + 1))
    }
}

/// Writes a comma, unless this is the first value.
pub(super) fn separate(json: &mut Vec<u8>) {
    if !matches!(json.last(), Some(b'[' | b'{' | b':') | None) {
        json.push(b',');
    }
}

pub(super) fn write_text(json: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(json, text).expect("writing to a vector cannot fail");
}
