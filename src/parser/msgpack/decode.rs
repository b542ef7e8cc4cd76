//! What notepack 2.2 writes, and msgpack in general as far as JavaScript has values for it.

use std::collections::BTreeMap;

use bytes::Bytes;
use rmp::Marker;
use serde_json::Number;

use crate::packet::Value;

use super::{
    super::{Limits, ParserError, SocketPacket, SocketPacketKind},
    date::iso_string,
};

type Result<T> = std::result::Result<T, ParserError>;

const TRUNCATED: ParserError = ParserError::new("the msgpack is truncated");

/// Reads a packet: a map, by the rules of `socket.io-msgpack-parser`. Keys that mean nothing are passed over.
pub(super) fn decode(message: &Bytes, limits: Limits) -> Result<SocketPacket> {
    let mut input = Reader { message, at: 0, binaries: limits.attachments };
    let marker = input.marker()?;
    let Some(entries) = input.map_length(marker)? else {
        return Err(ParserError::new("a msgpack message is no map"));
    };
    let (mut kind, mut namespace, mut id, mut data) = (None, None, None, None);
    for _ in 0..entries {
        let key = input.key()?;
        let value = input.value(limits.depth)?;
        match &*key {
            "type" => kind = value,
            "nsp" => namespace = value,
            "id" => id = value,
            "data" => data = value,
            _ => {}
        }
    }
    if input.at < message.len() {
        return Err(ParserError::new("trailing bytes behind the msgpack"));
    }
    let kind = kind.as_ref().and_then(integer).and_then(SocketPacketKind::from_number);
    let kind = kind.ok_or(ParserError::new("invalid packet type"))?;
    let Some(Value::String(namespace)) = namespace else {
        return Err(ParserError::new("invalid namespace"));
    };
    let id = match id {
        None => None,
        Some(id) => Some(integer(&id).ok_or(ParserError::new("invalid packet id"))?),
    };
    Ok(SocketPacket { kind, namespace, id, data })
}

/// A natural number, however it was written.
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
    /// How many binary values may still come.
    binaries: usize,
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

    /// The length that a marker announces, if it is that of a string.
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

    /// As Node's decoder, this takes a string that is not UTF-8 for one with replacement characters.
    fn string(&mut self, length: usize) -> Result<String> {
        self.take(length).map(|text| String::from_utf8_lossy(text).into_owned())
    }

    /// The key of a map. One that is a number is its digits, as in JavaScript.
    fn key(&mut self) -> Result<String> {
        let marker = self.marker()?;
        if let Some(length) = self.str_length(marker)? {
            return self.string(length);
        }
        match self.number(marker)? {
            Some(Value::Number(number)) => Ok(number.to_string()),
            _ => Err(ParserError::new("a key of a map is no string")),
        }
    }

    fn number(&mut self, marker: Marker) -> Result<Option<Value>> {
        let float = |float| Number::from_f64(float).map_or(Value::Null, Value::Number);
        Ok(Some(match marker {
            Marker::FixPos(number) => Value::Number(number.into()),
            Marker::FixNeg(number) => Value::Number(number.into()),
            Marker::U8 => Value::Number(u8::from_be_bytes(self.array()?).into()),
            Marker::U16 => Value::Number(u16::from_be_bytes(self.array()?).into()),
            Marker::U32 => Value::Number(u32::from_be_bytes(self.array()?).into()),
            Marker::U64 => Value::Number(u64::from_be_bytes(self.array()?).into()),
            Marker::I8 => Value::Number(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => Value::Number(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => Value::Number(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => Value::Number(i64::from_be_bytes(self.array()?).into()),
            Marker::F32 => float(f32::from_be_bytes(self.array()?).into()),
            Marker::F64 => float(f64::from_be_bytes(self.array()?)),
            _ => return Ok(None),
        }))
    }

    /// A value that may nest so many levels deep; `None` is undefined.
    fn value(&mut self, levels: usize) -> Result<Option<Value>> {
        let marker = self.marker()?;
        if let Some(number) = self.number(marker)? {
            return Ok(Some(number));
        }
        if let Some(length) = self.str_length(marker)? {
            return self.string(length).map(|text| Some(Value::String(text)));
        }
        if let Some(length) = self.bin_length(marker)? {
            return self.binary(length).map(Some);
        }
        if let Some(length) = self.ext_length(marker)? {
            return self.extension(marker, length, levels);
        }
        if let Some(length) = self.array_length(marker)? {
            return self.values(length, inner(levels)?).map(Some);
        }
        if let Some(length) = self.map_length(marker)? {
            return self.entries(length, inner(levels)?).map(Some);
        }
        match marker {
            Marker::Null => Ok(Some(Value::Null)),
            Marker::False => Ok(Some(Value::Bool(false))),
            Marker::True => Ok(Some(Value::Bool(true))),
            _ => Err(ParserError::new("not msgpack")),
        }
    }

    fn values(&mut self, length: usize, levels: usize) -> Result<Value> {
        // Nothing is allocated for what is only announced.
        if length > self.rest() {
            return Err(TRUNCATED);
        }
        let mut values = Vec::new();
        for _ in 0..length {
            values.push(self.value(levels)?.unwrap_or_default());
        }
        Ok(Value::Array(values))
    }

    /// As in JSON, what is undefined has no entry.
    fn entries(&mut self, length: usize, levels: usize) -> Result<Value> {
        let mut entries = BTreeMap::new();
        for _ in 0..length {
            let key = self.key()?;
            match self.value(levels)? {
                Some(value) => entries.insert(key, value),
                None => entries.remove(&key),
            };
        }
        Ok(Value::Object(entries))
    }

    fn binary(&mut self, length: usize) -> Result<Value> {
        let data = self.take(length)?;
        self.binaries =
            self.binaries.checked_sub(1).ok_or(ParserError::new("more attachments than max_attachments"))?;
        Ok(Value::Binary(self.message.slice_ref(data)))
    }

    /// notepack's own extensions have type 0: undefined, dates, and typed arrays. Any other is its type and its data.
    fn extension(&mut self, marker: Marker, length: usize, levels: usize) -> Result<Option<Value>> {
        let kind = i8::from_be_bytes(self.array()?);
        match (marker, kind) {
            (Marker::FixExt1, 0) => self.take(1).map(|_| None),
            (Marker::FixExt8, 0) => {
                let millis = i64::from_be_bytes(self.array()?);
                Ok(Some(iso_string(millis).map_or(Value::Null, Value::String)))
            }
            (Marker::Ext8 | Marker::Ext16 | Marker::Ext32, 0) => self.binary(length).map(Some),
            _ => {
                inner(levels)?;
                let data = self.binary(length)?;
                Ok(Some(Value::Array(vec![Value::Number(kind.into()), data])))
            }
        }
    }
}

/// The levels that are left inside of an array or a map.
fn inner(levels: usize) -> Result<usize> {
    levels.checked_sub(1).ok_or(ParserError::new("the data is nested deeper than max_json_depth"))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
