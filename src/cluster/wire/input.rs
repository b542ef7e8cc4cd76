//! Reads messages that are JSON or msgpack, value by value, without copying what they carry.

use std::borrow::Cow;

use bytes::Bytes;
use bytestring::ByteString;

use crate::{
    packet::{is_valid_json, value::Value},
    parser::msgpack::reader::Reader,
};

use super::{
    super::payload::{EventBody, Payload, unescape},
    INCOMPLETE, NOT_A_LIST, NOT_A_MAP, Result, WireError,
    ends::Ends,
    json::{Places, skip_space, value_end},
    msgpack::{Begin, begin, is_undefined, skip, to_json},
    number::{Number, write_double},
};

/// A message that is known to be one value, and nothing behind it.
#[derive(Debug)]
pub(super) struct Message {
    content: Content,
    ends: Ends,
}

#[derive(Debug)]
enum Content {
    Json(ByteString),
    Msgpack(Bytes),
}

impl Message {
    pub(super) fn json(message: Bytes) -> Result<Self> {
        let json = ByteString::try_from(message).map_err(|_| WireError::Message("the message is not UTF-8"))?;
        if !is_valid_json(&json) {
            return Err(WireError::Message("invalid JSON"));
        }
        Ok(Self { ends: Ends::of_json(json.as_bytes()), content: Content::Json(json) })
    }

    pub(super) fn msgpack(message: Bytes) -> Result<Self> {
        let mut input = Reader::new(&message);
        let ends = Ends::of_msgpack(&mut input)?;
        match input.rest() {
            0 => Ok(Self { content: Content::Msgpack(message), ends }),
            _ => Err(WireError::Message("trailing bytes after the msgpack")),
        }
    }

    /// As Node.js does: JSON if it begins with a brace.
    pub(super) fn either(message: Bytes) -> Result<Self> {
        if message.starts_with(b"{") { Self::json(message) } else { Self::msgpack(message) }
    }

    pub(super) fn root(&self) -> Input<'_> {
        match &self.content {
            Content::Json(json) => {
                Input { message: self, at: skip_space(json.as_bytes(), 0), end: json.trim_end().len() }
            }
            Content::Msgpack(message) => Input { message: self, at: 0, end: message.len() },
        }
    }
}

/// A value in a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a> {
    message: &'a Message,
    /// Where it starts.
    at: usize,
    /// Where it ends, if it is JSON.
    end: usize,
}

enum Scalar<'a> {
    Text(Cow<'a, str>),
    Bool(bool),
    Number(Number),
    Other,
}

impl<'a> Input<'a> {
    /// The values of these keys in a map. Of a key that is repeated the last one counts; null is like no key.
    pub(super) fn fields<const N: usize>(self, keys: [&str; N]) -> Result<[Option<Self>; N]> {
        let fields = self.nullable_fields(keys)?;
        Ok(fields.map(Self::not_null))
    }

    /// As [`fields`](Self::fields), with null. `undefined` is like no key.
    pub(super) fn nullable_fields<const N: usize>(self, keys: [&str; N]) -> Result<[Option<Self>; N]> {
        let mut fields = [None; N];
        self.entries(|key, value| {
            if let Some(place) = keys.iter().position(|known| *known == key) {
                fields[place] = Some(value).filter(|value| !value.is_undefined());
            }
        })?;
        Ok(fields)
    }

    fn entries(self, mut each: impl FnMut(&str, Self)) -> Result<()> {
        match &self.message.content {
            Content::Json(json) => {
                let bytes = json.as_bytes();
                if bytes.get(self.at) != Some(&b'{') {
                    return Err(NOT_A_MAP);
                }
                let mut places = Places { json: bytes, at: self.at + 1 };
                while let Some(start) = places.next() {
                    let (end, value) = places.key(start);
                    places.at = self.end_of(bytes, value);
                    each(&unescape(&json[start..end]), Self { at: value, end: places.at, ..self });
                }
            }
            Content::Msgpack(message) => {
                let mut input = self.reader(message);
                let Begin::Map(entries) = begin(&mut input)? else { return Err(NOT_A_MAP) };
                for _ in 0..entries {
                    let key = input.key()?;
                    each(&key, Self { at: input.at, ..self });
                    self.pass(&mut input)?;
                }
            }
        }
        Ok(())
    }

    /// The elements of an array.
    pub(super) fn each(self, mut each: impl FnMut(Self) -> Result<()>) -> Result<()> {
        match &self.message.content {
            Content::Json(json) => {
                let bytes = json.as_bytes();
                if bytes.get(self.at) != Some(&b'[') {
                    return Err(NOT_A_LIST);
                }
                let mut places = Places { json: bytes, at: self.at + 1 };
                while let Some(start) = places.next() {
                    places.at = self.end_of(bytes, start);
                    each(Self { at: start, end: places.at, ..self })?;
                }
            }
            Content::Msgpack(message) => {
                let mut input = self.reader(message);
                let Begin::List(length) = begin(&mut input)? else { return Err(NOT_A_LIST) };
                for _ in 0..length {
                    each(Self { at: input.at, ..self })?;
                    self.pass(&mut input)?;
                }
            }
        }
        Ok(())
    }

    /// The elements of an array, each of which is a string, or a number, which becomes its text.
    pub(super) fn texts<T: for<'t> From<&'t str>>(self) -> Result<Vec<T>> {
        self.collect(|value| Ok(T::from(&*value.text()?)))
    }

    /// What is read of each of the elements of an array.
    pub(super) fn collect<T>(self, mut read: impl FnMut(Self) -> Result<T>) -> Result<Vec<T>> {
        let mut values = Vec::new();
        self.each(|value| {
            values.push(read(value)?);
            Ok(())
        })?;
        Ok(values)
    }

    /// The value, if it is a string, or the text of a number.
    pub(super) fn text(self) -> Result<Cow<'a, str>> {
        match self.scalar()? {
            Scalar::Text(text) => Ok(text),
            Scalar::Number(number) => Ok(number_text(&number).into()),
            Scalar::Bool(_) | Scalar::Other => Err(INCOMPLETE),
        }
    }

    pub(super) fn natural(self) -> Result<u64> {
        match self.scalar()? {
            Scalar::Number(Number::Natural(number)) => Ok(number),
            _ => Err(INCOMPLETE),
        }
    }

    pub(super) fn number(self) -> Option<f64> {
        match self.scalar().ok()? {
            Scalar::Number(Number::Natural(number)) => Some(number as f64),
            Scalar::Number(Number::Negative(number)) => Some(number as f64),
            Scalar::Number(Number::Double(number)) => Some(number),
            _ => None,
        }
    }

    pub(super) fn bool(self) -> Option<bool> {
        match self.scalar().ok()? {
            Scalar::Bool(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn is_map(self) -> bool {
        match &self.message.content {
            Content::Json(json) => json.as_bytes().get(self.at) == Some(&b'{'),
            Content::Msgpack(message) => matches!(begin(&mut self.reader(message)), Ok(Begin::Map(_))),
        }
    }

    pub(super) fn is_list(self) -> bool {
        match &self.message.content {
            Content::Json(json) => json.as_bytes().get(self.at) == Some(&b'['),
            Content::Msgpack(message) => matches!(begin(&mut self.reader(message)), Ok(Begin::List(_))),
        }
    }

    pub(super) fn not_null(value: Option<Self>) -> Option<Self> {
        value.filter(|value| !value.is_null())
    }

    fn is_null(self) -> bool {
        match &self.message.content {
            Content::Json(json) => json.as_bytes().get(self.at) == Some(&b'n'),
            Content::Msgpack(message) => message.get(self.at) == Some(&0xc0),
        }
    }

    fn is_undefined(self) -> bool {
        match &self.message.content {
            Content::Json(_) => false,
            Content::Msgpack(message) => is_undefined(&self.reader(message)),
        }
    }

    /// The value as JSON, and the binary in it. `null` if it is `undefined`.
    pub(super) fn payload(self) -> Result<Payload> {
        match &self.message.content {
            Content::Json(json) => Ok(Payload::trusted(json.slice_ref(&json[self.at..self.end]), Vec::new())?),
            Content::Msgpack(message) => Ok(to_json(&mut self.reader(message))?.unwrap_or_default()),
        }
    }

    pub(super) fn event(self) -> Result<EventBody> {
        Ok(EventBody::from_payload(self.payload()?)?)
    }

    fn scalar(self) -> Result<Scalar<'a>> {
        match &self.message.content {
            Content::Json(json) => Ok(json_scalar(&json[self.at..self.end])),
            Content::Msgpack(message) => Ok(match begin(&mut self.reader(message))? {
                Begin::Bool(value) => Scalar::Bool(value),
                Begin::Text(text) => Scalar::Text(text),
                Begin::Number(number) => Scalar::Number(javascript(&number)),
                _ => Scalar::Other,
            }),
        }
    }

    /// The end of the value that starts here, which is JSON.
    fn end_of(self, json: &[u8], start: usize) -> usize {
        let is_nested = matches!(json.get(start), Some(b'[' | b'{'));
        let known = is_nested.then(|| self.message.ends.get(start)).flatten();
        known.unwrap_or_else(|| value_end(json, start))
    }

    /// Passes over the value that comes next, which is msgpack.
    fn pass(self, input: &mut Reader<'_>) -> Result<()> {
        match self.message.ends.get(input.at) {
            Some(end) => input.at = end,
            None => skip(input)?,
        }
        Ok(())
    }

    fn reader(self, message: &'a Bytes) -> Reader<'a> {
        let mut reader = Reader::new(message);
        reader.at = self.at;
        reader
    }
}

fn json_scalar(literal: &str) -> Scalar<'_> {
    match literal.as_bytes().first() {
        Some(b'"') => Scalar::Text(unescape(literal)),
        Some(b't') => Scalar::Bool(true),
        Some(b'f') => Scalar::Bool(false),
        Some(b'-' | b'0'..=b'9') => Number::parse(literal).map_or(Scalar::Other, Scalar::Number),
        _ => Scalar::Other,
    }
}

fn javascript(number: &Value) -> Number {
    let Value::Number(number) = number else { return Number::Double(f64::NAN) };
    number.as_f64().unwrap_or(f64::NAN).into()
}

/// What `String(number)` is in JavaScript.
fn number_text(number: &Number) -> String {
    let mut text = Vec::new();
    match number {
        Number::Natural(number) => return number.to_string(),
        Number::Negative(number) => return number.to_string(),
        Number::Double(number) if number.is_nan() => return "NaN".to_owned(),
        Number::Double(number) if number.is_infinite() => {
            return if *number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
        }
        Number::Double(number) => write_double(&mut text, *number),
    }
    String::from_utf8(text).expect("digits are ASCII")
}
