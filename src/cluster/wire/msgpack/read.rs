use std::borrow::Cow;

use bytes::Bytes;
use rmp::Marker;

use crate::{packet::value::Value, parser::msgpack::reader::Reader, util::iso_string};

use super::super::{Result, WireError};

const MALFORMED: WireError = WireError::Message("not msgpack");
const UNKNOWN_EXTENSION: WireError = WireError::Message("an unknown extension of msgpack");

/// The beginning of a value.
pub(in super::super) enum Begin<'a> {
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
pub(in super::super) fn begin<'a>(input: &mut Reader<'a>) -> Result<Begin<'a>> {
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
pub(in super::super) fn skip(input: &mut Reader<'_>) -> Result<()> {
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

/// Whether `undefined` comes next.
pub(in super::super) fn is_undefined(input: &Reader<'_>) -> bool {
    input.message.get(input.at..).is_some_and(|rest| rest.starts_with(b"\xd4\x00"))
}
