use bytes::Bytes;
use rmp::encode::{
    write_array_len, write_bin, write_bool, write_f64, write_map_len, write_nil, write_sint, write_str, write_uint,
};

use crate::packet::Placeholders;

use super::super::{
    super::payload::{Payload, unescape},
    json::{Places, skip_space, value_end},
    number::Number,
};

const INFALLIBLE: &str = "writing to a vector cannot fail";

/// Writes a payload as msgpack: one walk over the JSON, without a tree.
pub(in super::super) fn from_json(payload: &Payload, out: &mut Vec<u8>) {
    let attachments = payload.attachments();
    let placeholders = Placeholders::find(payload.json(), attachments.len()).unwrap_or(Placeholders::None);
    let mut walk =
        Walk { json: payload.json(), attachments, placeholders, at: 0, out, open: Vec::new(), long: Vec::new() };
    loop {
        if walk.next() {
            walk.value();
        }
        if walk.open.is_empty() {
            break;
        }
    }
    let long = walk.long;
    widen(out, long);
}

struct Walk<'a> {
    json: &'a str,
    attachments: &'a [Bytes],
    placeholders: Placeholders,
    at: usize,
    out: &'a mut Vec<u8>,
    open: Vec<Open>,
    /// Where headers stand that take more than a byte, and the lengths that they announce.
    long: Vec<(usize, u32)>,
}

/// An array or an object that has not ended.
struct Open {
    /// Where its header stands in the msgpack: a byte, for now.
    header: usize,
    is_map: bool,
    length: usize,
}

impl<'a> Walk<'a> {
    /// Goes to the next value, behind its key if it has one. Returns `false` if the innermost array or object ends instead.
    fn next(&mut self) -> bool {
        let Some(innermost) = self.open.last_mut() else { return true };
        let places = Places { json: self.json.as_bytes(), at: self.at };
        let Some(start) = places.next() else {
            self.at = skip_space(self.json.as_bytes(), self.at) + 1;
            self.end();
            return false;
        };
        innermost.length += 1;
        self.at = start;
        if innermost.is_map {
            let (end, value) = places.key(start);
            write_str(self.out, &unescape(&self.json[start..end])).expect(INFALLIBLE);
            self.at = value;
        }
        true
    }

    fn value(&mut self) {
        let bracket = self.json.as_bytes().get(self.at).copied().filter(|byte| matches!(byte, b'{' | b'['));
        let end = || value_end(self.json.as_bytes(), self.at);
        if let Some(data) = bracket.and_then(|_| self.binary()) {
            write_bin(self.out, data).expect(INFALLIBLE);
            self.at = end();
        } else if let Some(bracket) = bracket {
            self.open.push(Open { header: self.out.len(), is_map: bracket == b'{', length: 0 });
            self.out.push(0);
            self.at += 1;
        } else {
            let end = end();
            write_leaf(self.out, &self.json[self.at..end]);
            self.at = end;
        }
    }

    /// The attachment for which the object stands that begins here.
    fn binary(&self) -> Option<&'a Bytes> {
        let key = skip_space(self.json.as_bytes(), self.at + 1) + 1;
        self.attachments.get(self.placeholders.number(key)?)
    }

    /// Writes the header of the innermost array or object. If that takes more than a byte, it is done later, for all of them at once.
    fn end(&mut self) {
        let Some(Open { header, is_map, length }) = self.open.pop() else { return };
        match u8::try_from(length) {
            Ok(length @ 0..16) => self.out[header] = if is_map { 0x80 } else { 0x90 } | length,
            _ => {
                self.out[header] = is_map.into();
                self.long.push((header, u32::try_from(length).unwrap_or(u32::MAX)));
            }
        }
    }
}

fn write_leaf(out: &mut Vec<u8>, literal: &str) {
    match literal.as_bytes().first() {
        Some(b'"') => write_str(out, &unescape(literal)).expect(INFALLIBLE),
        Some(b't') => write_bool(out, true).expect(INFALLIBLE),
        Some(b'f') => write_bool(out, false).expect(INFALLIBLE),
        Some(b'-' | b'0'..=b'9') => write_json_number(out, literal),
        _ => write_nil(out).expect(INFALLIBLE),
    }
}

/// Writes a number as both libraries do, but for whole numbers from 2^64 on, which notepack writes as wrong integers.
fn write_json_number(out: &mut Vec<u8>, literal: &str) {
    match Number::parse(literal).unwrap_or(Number::Double(f64::NAN)) {
        Number::Natural(number) => write_uint(out, number).map(drop),
        Number::Negative(number) => write_sint(out, number).map(drop),
        Number::Double(number) => return write_f64(out, number).expect(INFALLIBLE),
    }
    .expect(INFALLIBLE);
}

/// Replaces the bytes that were left for headers by headers, from the last to the first.
fn widen(out: &mut Vec<u8>, mut long: Vec<(usize, u32)>) {
    if long.is_empty() {
        return;
    }
    long.sort_unstable();
    let header = |is_map: u8, length: u32| {
        let mut header = Vec::with_capacity(5);
        let written =
            if is_map == 1 { write_map_len(&mut header, length) } else { write_array_len(&mut header, length) };
        written.expect(INFALLIBLE);
        header
    };
    let mut end = out.len();
    let more: usize = long.iter().map(|(_, length)| if u16::try_from(*length).is_ok() { 2 } else { 4 }).sum();
    out.resize(end + more, 0);
    let mut to = out.len();
    for (at, length) in long.into_iter().rev() {
        let header = header(out[at], length);
        out.copy_within(at + 1..end, to - (end - at - 1));
        to -= end - at - 1 + header.len();
        out[to..to + header.len()].copy_from_slice(&header);
        end = at;
    }
}
