//! Decodes msgpack: the output of notepack 2.2, and other msgpack whose values exist in JavaScript.

use bytes::Bytes;
use rmp::Marker;

use crate::packet::value::{Map, Value};

use super::{
    super::{Limits, ParserError, SocketIoPacket, SocketIoPacketType},
    date::iso_string,
};

type Result<T> = std::result::Result<T, ParserError>;

const TOO_DEEP: ParserError = ParserError::new("the data is nested deeper than max_json_depth");
const TRUNCATED: ParserError = ParserError::new("the msgpack is truncated");

/// Decodes a packet according to the rules of `socket.io-msgpack-parser`. Unknown keys are ignored.
pub(super) fn decode(message: &Bytes, limits: Limits) -> Result<SocketIoPacket> {
    let mut input = Reader { message, at: 0, announced: 0 };
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
    if input.at < message.len() {
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

struct Reader<'a> {
    message: &'a Bytes,
    at: usize,
    /// The announced elements of all arrays and maps so far. Each takes at least one byte, so they cannot exceed the message's
    /// length.
    announced: usize,
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

impl<'a> Reader<'a> {
    fn rest(&self) -> usize {
        self.message.len() - self.at
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(length).ok_or(TRUNCATED)?;
        let taken = self.message.get(self.at..end).ok_or(TRUNCATED)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| TRUNCATED)
    }

    fn marker(&mut self) -> Result<Marker> {
        let [byte] = self.array()?;
        Ok(Marker::from_u8(byte))
    }

    fn u8(&mut self) -> Result<usize> {
        self.array().map(|[byte]| byte.into())
    }

    fn u16(&mut self) -> Result<usize> {
        self.array().map(|bytes| u16::from_be_bytes(bytes).into())
    }

    fn u32(&mut self) -> Result<usize> {
        usize::try_from(u32::from_be_bytes(self.array()?)).map_err(|_| TRUNCATED)
    }

    /// Reads the length if the marker is that of a string.
    fn str_length(&mut self, marker: Marker) -> Result<Option<usize>> {
        Ok(Some(match marker {
            Marker::FixStr(length) => length.into(),
            Marker::Str8 => self.u8()?,
            Marker::Str16 => self.u16()?,
            Marker::Str32 => self.u32()?,
            _ => return Ok(None),
        }))
    }

    fn bin_length(&mut self, marker: Marker) -> Result<Option<usize>> {
        Ok(Some(match marker {
            Marker::Bin8 => self.u8()?,
            Marker::Bin16 => self.u16()?,
            Marker::Bin32 => self.u32()?,
            _ => return Ok(None),
        }))
    }

    fn array_length(&mut self, marker: Marker) -> Result<Option<usize>> {
        Ok(Some(match marker {
            Marker::FixArray(length) => length.into(),
            Marker::Array16 => self.u16()?,
            Marker::Array32 => self.u32()?,
            _ => return Ok(None),
        }))
    }

    fn map_length(&mut self, marker: Marker) -> Result<Option<usize>> {
        Ok(Some(match marker {
            Marker::FixMap(length) => length.into(),
            Marker::Map16 => self.u16()?,
            Marker::Map32 => self.u32()?,
            _ => return Ok(None),
        }))
    }

    fn ext_length(&mut self, marker: Marker) -> Result<Option<usize>> {
        Ok(Some(match marker {
            Marker::FixExt1 => 1,
            Marker::FixExt2 => 2,
            Marker::FixExt4 => 4,
            Marker::FixExt8 => 8,
            Marker::FixExt16 => 16,
            Marker::Ext8 => self.u8()?,
            Marker::Ext16 => self.u16()?,
            Marker::Ext32 => self.u32()?,
            _ => return Ok(None),
        }))
    }

    /// Reads a string. Invalid UTF-8 is replaced, as in Node.
    fn string(&mut self, length: usize) -> Result<Box<str>> {
        self.take(length).map(|text| String::from_utf8_lossy(text).into())
    }

    /// Reads the key of a map. Numbers become strings, as in JavaScript.
    fn key(&mut self) -> Result<Box<str>> {
        let marker = self.marker()?;
        if let Some(length) = self.str_length(marker)? {
            return self.string(length);
        }
        match self.number(marker)? {
            Some(Value::Number(number)) => Ok(number.to_string().into()),
            _ => Err(ParserError::new("a key of a map is not a string")),
        }
    }

    fn number(&mut self, marker: Marker) -> Result<Option<Value>> {
        Ok(Some(match marker {
            Marker::FixPos(number) => number.into(),
            Marker::FixNeg(number) => number.into(),
            Marker::U8 => u8::from_be_bytes(self.array()?).into(),
            Marker::U16 => u16::from_be_bytes(self.array()?).into(),
            Marker::U32 => u32::from_be_bytes(self.array()?).into(),
            Marker::U64 => u64::from_be_bytes(self.array()?).into(),
            Marker::I8 => i8::from_be_bytes(self.array()?).into(),
            Marker::I16 => i16::from_be_bytes(self.array()?).into(),
            Marker::I32 => i32::from_be_bytes(self.array()?).into(),
            Marker::I64 => i64::from_be_bytes(self.array()?).into(),
            Marker::F32 => f32::from_be_bytes(self.array()?).into(),
            Marker::F64 => f64::from_be_bytes(self.array()?).into(),
            _ => return Ok(None),
        }))
    }

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
                    let key = self.key()?;
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
                        *key = self.key()?;
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
            return self.string(length).map(|text| Begin::Whole(Some(Value::String(text))));
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
    ///
    /// The elements that nested arrays and maps announce are limited together, so that a message cannot reserve more than a valid
    /// message of its size needs.
    fn begin_nested(&mut self, levels: usize, length: usize, elements: usize) -> Result<usize> {
        if levels == 0 {
            return Err(TOO_DEEP);
        }
        self.announced = self.announced.saturating_add(elements);
        if elements > self.rest() || self.announced > self.message.len() { Err(TRUNCATED) } else { Ok(length) }
    }

    fn binary(&mut self, length: usize) -> Result<Value> {
        let data = self.take(length)?;
        Ok(self.message.slice_ref(data).into())
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
