//! Reads the parts of msgpack: markers, lengths, strings and numbers.

use std::borrow::Cow;

use bytes::Bytes;
use rmp::Marker;

use crate::packet::value::Value;

use super::super::ParserError;

type Result<T> = std::result::Result<T, ParserError>;

pub(crate) const TRUNCATED: ParserError = ParserError::new("the msgpack is truncated");

/// A position in a message.
pub(crate) struct Reader<'a> {
    pub(crate) message: &'a Bytes,
    pub(crate) at: usize,
    /// The elements of all arrays and maps so far.
    announced: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'a Bytes) -> Self {
        Self { message, at: 0, announced: 0 }
    }

    pub(crate) fn rest(&self) -> usize {
        self.message.len() - self.at
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(length).ok_or(TRUNCATED)?;
        let taken = self.message.get(self.at..end).ok_or(TRUNCATED)?;
        self.at = end;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| TRUNCATED)
    }

    /// Takes bytes without copying them.
    pub(crate) fn bytes(&mut self, length: usize) -> Result<Bytes> {
        let taken = self.take(length)?;
        Ok(self.message.slice_ref(taken))
    }

    /// Checks the number of elements of an array or a map, of which a map has two per entry.
    ///
    /// Each element takes at least one byte. So no more is announced in a message than it has bytes, also if what is announced is
    /// nested.
    pub(crate) fn announce(&mut self, elements: usize) -> Result<()> {
        self.announced = self.announced.saturating_add(elements);
        if elements > self.rest() || self.announced > self.message.len() { Err(TRUNCATED) } else { Ok(()) }
    }

    pub(crate) fn marker(&mut self) -> Result<Marker> {
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
    pub(crate) fn str_length(&mut self, marker: Marker) -> Result<Option<usize>> {
        Ok(Some(match marker {
            Marker::FixStr(length) => length.into(),
            Marker::Str8 => self.u8()?,
            Marker::Str16 => self.u16()?,
            Marker::Str32 => self.u32()?,
            _ => return Ok(None),
        }))
    }

    pub(crate) fn bin_length(&mut self, marker: Marker) -> Result<Option<usize>> {
        Ok(Some(match marker {
            Marker::Bin8 => self.u8()?,
            Marker::Bin16 => self.u16()?,
            Marker::Bin32 => self.u32()?,
            _ => return Ok(None),
        }))
    }

    pub(crate) fn array_length(&mut self, marker: Marker) -> Result<Option<usize>> {
        Ok(Some(match marker {
            Marker::FixArray(length) => length.into(),
            Marker::Array16 => self.u16()?,
            Marker::Array32 => self.u32()?,
            _ => return Ok(None),
        }))
    }

    pub(crate) fn map_length(&mut self, marker: Marker) -> Result<Option<usize>> {
        Ok(Some(match marker {
            Marker::FixMap(length) => length.into(),
            Marker::Map16 => self.u16()?,
            Marker::Map32 => self.u32()?,
            _ => return Ok(None),
        }))
    }

    pub(crate) fn ext_length(&mut self, marker: Marker) -> Result<Option<usize>> {
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
    pub(crate) fn string(&mut self, length: usize) -> Result<Cow<'a, str>> {
        self.take(length).map(String::from_utf8_lossy)
    }

    /// Reads the key of a map. Numbers become strings, as in JavaScript.
    pub(crate) fn key(&mut self) -> Result<Cow<'a, str>> {
        let marker = self.marker()?;
        if let Some(length) = self.str_length(marker)? {
            return self.string(length);
        }
        match self.number(marker)? {
            Some(Value::Number(number)) => Ok(number.to_string().into()),
            _ => Err(ParserError::new("a key of a map is not a string")),
        }
    }

    pub(crate) fn number(&mut self, marker: Marker) -> Result<Option<Value>> {
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
}
