//! Decodes msgpack: the output of notepack 2.2, and other msgpack whose values exist in JavaScript.

use bytes::Bytes;
use rmp::Marker;

use crate::{
    packet::value::{Map, Value},
    util::iso_string,
};

use super::{
    super::{Limits, ParserError, SocketIoPacket, SocketIoPacketType},
    reader::Reader,
};

type Result<T> = std::result::Result<T, ParserError>;

const TOO_DEEP: ParserError = ParserError::new("the data is nested deeper than max_json_depth");

/// Decodes a packet according to the rules of `socket.io-msgpack-parser`. Unknown keys are ignored.
pub(super) fn decode(message: &Bytes, limits: Limits) -> Result<SocketIoPacket> {
    let mut input = Reader::new(message);
    let marker = input.marker()?;
    let Some(entries) = input.map_length(marker)? else {
        return Err(ParserError::new("a msgpack message is not a map"));
    };
    let (mut kind, mut namespace, mut id, mut data) = (None, None, None, None);
    for _ in 0..entries {
        let key = input.key()?;
        // The array of the arguments does not count.
        let value = input.value(limits.depth.saturating_add(1))?;
        match &*key {
            "type" => kind = value,
            "nsp" => namespace = value,
            "id" => id = value,
            "data" => data = value,
            _ => {}
        }
    }
    if input.rest() > 0 {
        return Err(ParserError::new("trailing bytes after the msgpack"));
    }
    let kind = kind.as_ref().and_then(integer).and_then(SocketIoPacketType::from_number);
    let kind = kind.ok_or(ParserError::new("invalid packet type"))?;
    let Some(Value::String(namespace)) = namespace else {
        return Err(ParserError::new("invalid namespace"));
    };
    let id = match id {
        None => None,
        Some(id) => Some(integer(&id).ok_or(ParserError::new("invalid packet id"))?),
    };
    Ok(SocketIoPacket { packet_type: kind, namespace: namespace.into(), id, data })
}

/// Converts a number to an integer. Accepts floats without a fraction.
fn integer(value: &Value) -> Option<u64> {
    let Value::Number(number) = value else { return None };
    number.as_u64().or_else(|| {
        const FIRST_INEXACT: f64 = 9_007_199_254_740_992.0;
        let float = number.as_f64().filter(|float| float.fract() == 0.0 && (0.0..FIRST_INEXACT).contains(float))?;
        Some(float as u64)
    })
}

/// The beginning of a value.
enum Begin {
    /// A complete value. `None` is `undefined`.
    Whole(Option<Value>),
    Array(usize),
    Map(usize),
}

/// An array or a map that is incomplete.
struct Open {
    /// The number of missing values.
    missing: usize,
    content: Content,
}

enum Content {
    Array(Vec<Value>),
    Map {
        entries: Vec<(Box<str>, Value)>,
        /// The key of the next value.
        key: Box<str>,
    },
}

impl Open {
    fn add(&mut self, value: Option<Value>) {
        self.missing -= 1;
        match &mut self.content {
            Content::Array(values) => values.push(value.unwrap_or_default()),
            // As in JSON, `undefined` has no entry.
            Content::Map { entries, key } => entries.extend(value.map(|value| (std::mem::take(key), value))),
        }
    }

    fn finish(self) -> Value {
        match self.content {
            Content::Array(values) => Value::Array(values),
            Content::Map { entries, .. } => Value::Object(Map::from_entries(entries)),
        }
    }
}

impl Reader<'_> {
    /// Reads a value that is nested at most `levels` deep, without recursion. `None` is `undefined`.
    fn value(&mut self, levels: usize) -> Result<Option<Value>> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            let mut value = match self.begin(levels - open.len())? {
                Begin::Whole(value) => value,
                Begin::Array(0) => Some(Value::Array(Vec::new())),
                Begin::Map(0) => Some(Value::Object(Map::new())),
                Begin::Array(missing) => {
                    open.push(Open { missing, content: Content::Array(Vec::with_capacity(missing)) });
                    continue;
                }
                Begin::Map(missing) => {
                    let key = self.key()?.into();
                    let entries = Vec::with_capacity(missing);
                    open.push(Open { missing, content: Content::Map { entries, key } });
                    continue;
                }
            };
            loop {
                let Some(innermost) = open.last_mut() else { return Ok(value) };
                innermost.add(value);
                if innermost.missing > 0 {
                    if let Content::Map { key, .. } = &mut innermost.content {
                        *key = self.key()?.into();
                    }
                    break;
                }
                value = open.pop().map(Open::finish);
            }
        }
    }

    /// Reads the beginning of a value that is nested at most `levels` deep.
    fn begin(&mut self, levels: usize) -> Result<Begin> {
        let marker = self.marker()?;
        if let Some(number) = self.number(marker)? {
            return Ok(Begin::Whole(Some(number)));
        }
        if let Some(length) = self.str_length(marker)? {
            return self.string(length).map(|text| Begin::Whole(Some(Value::String(text.into()))));
        }
        if let Some(length) = self.bin_length(marker)? {
            return self.binary(length).map(|data| Begin::Whole(Some(data)));
        }
        if let Some(length) = self.ext_length(marker)? {
            return self.extension(marker, length, levels).map(Begin::Whole);
        }
        if let Some(length) = self.array_length(marker)? {
            return self.begin_nested(levels, length, length).map(Begin::Array);
        }
        if let Some(length) = self.map_length(marker)? {
            return self.begin_nested(levels, length, length.saturating_mul(2)).map(Begin::Map);
        }
        match marker {
            Marker::Null => Ok(Begin::Whole(Some(Value::Null))),
            Marker::False => Ok(Begin::Whole(Some(Value::Bool(false)))),
            Marker::True => Ok(Begin::Whole(Some(Value::Bool(true)))),
            _ => Err(ParserError::new("not msgpack")),
        }
    }

    /// Checks the length of an array or a map before memory is reserved for it.
    fn begin_nested(&mut self, levels: usize, length: usize, elements: usize) -> Result<usize> {
        if levels == 0 {
            return Err(TOO_DEEP);
        }
        self.announce(elements)?;
        Ok(length)
    }

    fn binary(&mut self, length: usize) -> Result<Value> {
        Ok(self.bytes(length)?.into())
    }

    /// Reads an extension. Those of notepack have type 0: `undefined`, dates and typed arrays. Others become an array of type and data.
    fn extension(&mut self, marker: Marker, length: usize, levels: usize) -> Result<Option<Value>> {
        let kind = i8::from_be_bytes(self.array()?);
        match (marker, kind) {
            (Marker::FixExt1, 0) => self.take(1).map(|_| None),
            (Marker::FixExt8, 0) => {
                let millis = i64::from_be_bytes(self.array()?);
                Ok(Some(iso_string(millis).into()))
            }
            (Marker::Ext8 | Marker::Ext16 | Marker::Ext32, 0) => self.binary(length).map(Some),
            _ if levels == 0 => Err(TOO_DEEP),
            _ => Ok(Some(vec![kind.into(), self.binary(length)?].into())),
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
