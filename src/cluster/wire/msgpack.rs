//! Between msgpack, and JSON with attachments: one walk, without a tree in between.
//!
//! What is read is what notepack and `@msgpack/msgpack` write; what is written is what both write for the same value.

use std::borrow::Cow;

use bytes::Bytes;
use rmp::{
    Marker,
    encode::{
        write_array_len, write_bin, write_bool, write_f64, write_map_len, write_nil, write_sint, write_str, write_uint,
    },
};

use crate::{
    packet::{ESCAPED, MAX_JSON_DEPTH, PLACEHOLDER, Placeholders, value::Value, write_placeholder},
    parser::msgpack::{date::iso_string, reader::Reader},
};

use super::{
    super::payload::{Payload, unescape},
    Result, WireError,
    json::{Places, skip_space, value_end},
    number::{Number, write_double},
};

const MALFORMED: WireError = WireError::Message("not msgpack");
const TOO_DEEP: WireError = WireError::Message("the msgpack is nested too deeply");
const UNKNOWN_EXTENSION: WireError = WireError::Message("an unknown extension of msgpack");
const INFALLIBLE: &str = "writing to a vector cannot fail";

/// The beginning of a value.
pub(super) enum Begin<'a> {
    Undefined,
    Null,
    Bool(bool),
    /// `Null` if it is not finite.
    Number(Value),
    Text(Cow<'a, str>),
    Binary(Bytes),
    Date(Option<String>),
    List(usize),
    Map(usize),
}

/// Reads a value, or the beginning of an array or a map.
pub(super) fn begin<'a>(input: &mut Reader<'a>) -> Result<Begin<'a>> {
    let marker = input.marker()?;
    if let Some(number) = input.number(marker)? {
        return Ok(Begin::Number(number));
    }
    if let Some(length) = input.str_length(marker)? {
        return Ok(Begin::Text(input.string(length)?));
    }
    if let Some(length) = input.bin_length(marker)? {
        return Ok(Begin::Binary(input.bytes(length)?));
    }
    if let Some(length) = input.array_length(marker)? {
        input.announce(length)?;
        return Ok(Begin::List(length));
    }
    if let Some(length) = input.map_length(marker)? {
        input.announce(length.saturating_mul(2))?;
        return Ok(Begin::Map(length));
    }
    if let Some(length) = input.ext_length(marker)? {
        return extension(input, marker, length);
    }
    match marker {
        Marker::Null => Ok(Begin::Null),
        Marker::False => Ok(Begin::Bool(false)),
        Marker::True => Ok(Begin::Bool(true)),
        _ => Err(MALFORMED),
    }
}

/// Type -1 is msgpack's timestamp. Type 0 is notepack's own: `undefined`, dates and an `ArrayBuffer`.
fn extension<'a>(input: &mut Reader<'a>, marker: Marker, length: usize) -> Result<Begin<'a>> {
    let [kind] = input.array()?;
    Ok(match (kind as i8, marker) {
        (0, Marker::FixExt1) => {
            input.take(1)?;
            Begin::Undefined
        }
        (0, Marker::FixExt8) => Begin::Date(iso_string(i64::from_be_bytes(input.array()?))),
        (0, Marker::Ext8 | Marker::Ext16 | Marker::Ext32) => Begin::Binary(input.bytes(length)?),
        (-1, _) => Begin::Date(timestamp(input, length)?),
        _ => return Err(UNKNOWN_EXTENSION),
    })
}

fn timestamp(input: &mut Reader<'_>, length: usize) -> Result<Option<String>> {
    let (seconds, nanos) = match length {
        4 => (u32::from_be_bytes(input.array()?).into(), 0),
        8 => {
            let both = u64::from_be_bytes(input.array()?);
            ((both & 0x3_ffff_ffff) as i64, (both >> 34) as u32)
        }
        12 => {
            let nanos = u32::from_be_bytes(input.array()?);
            (i64::from_be_bytes(input.array()?), nanos)
        }
        _ => return Err(UNKNOWN_EXTENSION),
    };
    let millis = seconds.checked_mul(1000).and_then(|millis| millis.checked_add(i64::from(nanos / 1_000_000)));
    Ok(millis.and_then(iso_string))
}

/// Passes over a value.
pub(super) fn skip(input: &mut Reader<'_>) -> Result<()> {
    let mut missing = 1usize;
    while missing > 0 {
        missing -= 1;
        match begin(input)? {
            Begin::List(length) => missing += length,
            Begin::Map(entries) => missing += 2 * entries,
            _ => {}
        }
    }
    Ok(())
}

/// An array or a map of which so many values are missing.
struct Open {
    missing: usize,
    is_map: bool,
}

/// Reads a value as JSON. `None` if it is `undefined`.
pub(super) fn to_json(input: &mut Reader<'_>) -> Result<Option<Payload>> {
    let (mut json, mut attachments) = (Vec::new(), Vec::new());
    let mut open: Vec<Open> = Vec::new();
    loop {
        if let Some(Open { is_map: true, .. }) = open.last() {
            let key = input.key()?;
            // As in JSON, `undefined` has no entry.
            if is_undefined(input) {
                skip(input)?;
                if close(&mut json, &mut open) {
                    break;
                }
                continue;
            }
            separate(&mut json);
            write_key(&mut json, &key);
        } else {
            separate(&mut json);
        }
        let nested = match begin(input)? {
            Begin::Undefined if open.is_empty() => return Ok(None),
            Begin::List(0) => leaf(&mut json, b"[]"),
            Begin::Map(0) => leaf(&mut json, b"{}"),
            Begin::List(missing) => Some(Open { missing, is_map: false }),
            Begin::Map(missing) => Some(Open { missing, is_map: true }),
            Begin::Undefined | Begin::Null => leaf(&mut json, b"null"),
            Begin::Bool(value) => leaf(&mut json, if value { b"true" } else { b"false" }),
            Begin::Number(number) => {
                write_number(&mut json, &number);
                None
            }
            Begin::Text(text) => {
                write_text(&mut json, &text);
                None
            }
            Begin::Date(Some(date)) => {
                write_text(&mut json, &date);
                None
            }
            Begin::Date(None) => leaf(&mut json, b"null"),
            Begin::Binary(data) => {
                write_placeholder(&mut json, attachments.len()).expect(INFALLIBLE);
                attachments.push(data);
                None
            }
        };
        if let Some(nested) = nested {
            if open.len() > MAX_JSON_DEPTH {
                return Err(TOO_DEEP);
            }
            json.push(if nested.is_map { b'{' } else { b'[' });
            open.push(nested);
        } else if close(&mut json, &mut open) {
            break;
        }
    }
    let json = Bytes::from(json).try_into().expect("it is made of strings");
    Ok(Some(Payload::trusted(json, attachments)?))
}

fn leaf(json: &mut Vec<u8>, text: &[u8]) -> Option<Open> {
    json.extend_from_slice(text);
    None
}

/// One value less is missing: ends the arrays and maps that are complete. Returns `true` if all are.
fn close(json: &mut Vec<u8>, open: &mut Vec<Open>) -> bool {
    while let Some(innermost) = open.last_mut() {
        innermost.missing -= 1;
        if innermost.missing > 0 {
            return false;
        }
        json.push(if innermost.is_map { b'}' } else { b']' });
        open.pop();
    }
    true
}

pub(super) fn is_undefined(input: &Reader<'_>) -> bool {
    input.message.get(input.at..).is_some_and(|rest| rest.starts_with(b"\xd4\x00"))
}

/// Writes a comma, unless this is the first value.
pub(super) fn separate(json: &mut Vec<u8>) {
    if !matches!(json.last(), Some(b'[' | b'{' | b':') | None) {
        json.push(b',');
    }
}

/// Writes a key. One that looks like that of a placeholder is escaped, so that it is not.
fn write_key(json: &mut Vec<u8>, key: &str) {
    if key == PLACEHOLDER {
        json.extend_from_slice(format!("\"{ESCAPED}\"").as_bytes());
    } else {
        write_text(json, key);
    }
    json.push(b':');
}

pub(super) fn write_text(json: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(json, text).expect(INFALLIBLE);
}

fn write_number(json: &mut Vec<u8>, number: &Value) {
    let Value::Number(number) = number else { return json.extend_from_slice(b"null") };
    match (number.as_u64(), number.as_i64()) {
        (Some(number), _) => json.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
        (_, Some(number)) => json.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
        _ => write_double(json, number.as_f64().unwrap_or(f64::NAN)),
    }
}

/// An array or an object of JSON that has not ended.
struct Unfinished {
    /// Where its header stands in the msgpack.
    header: usize,
    is_map: bool,
    length: usize,
}

/// Writes a payload as msgpack.
pub(super) fn from_json(payload: &Payload, out: &mut Vec<u8>) {
    let json = payload.json();
    let bytes = json.as_bytes();
    let placeholders = Placeholders::find(json, payload.attachments().len()).unwrap_or(Placeholders::None);
    let mut long: Vec<(usize, u32)> = Vec::new();
    let mut open: Vec<Unfinished> = Vec::new();
    let mut at = 0;
    loop {
        if let Some(innermost) = open.last_mut() {
            let mut places = Places { json: bytes, at };
            let Some(next) = places.next() else {
                at = skip_space(bytes, at) + 1;
                finish(out, &mut long, open.pop().expect("there is one"));
                if open.is_empty() {
                    break;
                }
                continue;
            };
            innermost.length += 1;
            at = next;
            if innermost.is_map {
                let (end, value) = places.key(next);
                write_str(out, &unescape(&json[next..end])).expect(INFALLIBLE);
                at = value;
            }
        }
        if let Some(data) = binary(payload, &placeholders, at) {
            write_bin(out, data).expect(INFALLIBLE);
            at = value_end(bytes, at);
        } else if let Some(bracket @ (b'{' | b'[')) = bytes.get(at) {
            open.push(Unfinished { header: out.len(), is_map: *bracket == b'{', length: 0 });
            out.push(0);
            at += 1;
            continue;
        } else {
            let end = value_end(bytes, at);
            write_leaf(out, &json[at..end]);
            at = end;
        }
        if open.is_empty() {
            break;
        }
    }
    widen(out, long);
}

/// The attachment for which the object at this place stands.
fn binary<'a>(payload: &'a Payload, placeholders: &Placeholders, at: usize) -> Option<&'a Bytes> {
    if payload.attachments().is_empty() || payload.json().as_bytes().get(at) != Some(&b'{') {
        return None;
    }
    let key = skip_space(payload.json().as_bytes(), at + 1) + 1;
    payload.attachments().get(placeholders.number(key)?)
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

/// Writes the header of an array or a map. If it takes more than the byte that was left for it, that is done later, for all of them
/// at once.
fn finish(out: &mut [u8], long: &mut Vec<(usize, u32)>, Unfinished { header, is_map, length }: Unfinished) {
    match u8::try_from(length) {
        Ok(length @ 0..16) => out[header] = if is_map { 0x80 } else { 0x90 } | length,
        _ => {
            out[header] = is_map.into();
            long.push((header, u32::try_from(length).unwrap_or(u32::MAX)));
        }
    }
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
