//! Writes messages, as JSON or msgpack.

use std::ops::Deref;

use rmp::encode::{write_array_len, write_bool, write_map_len, write_nil, write_str, write_uint};

use crate::packet::{Placeholders, string_length};

use super::{
    super::payload::Payload,
    Form,
    json::{separate, skip_space, value_end, write_text},
    msgpack::from_json,
};

const INFALLIBLE: &str = "writing to a vector cannot fail";

/// A message that is being written behind what is in a buffer. Its values must be as many as was said.
pub(super) struct Output<'a> {
    form: Form,
    out: &'a mut Vec<u8>,
}

impl<'a> Output<'a> {
    /// The buffer must be empty.
    pub(super) fn new(form: Form, out: &'a mut Vec<u8>) -> Self {
        debug_assert!(out.is_empty());
        Self { form, out }
    }

    pub(super) fn is_json(&self) -> bool {
        self.form == Form::Json
    }

    pub(super) fn map(&mut self, entries: usize, write: impl FnOnce(&mut Self)) {
        self.nested(b"{}", entries, |out, length| write_map_len(out, length).map(drop).expect(INFALLIBLE), write);
    }

    pub(super) fn list(&mut self, length: usize, write: impl FnOnce(&mut Self)) {
        self.nested(b"[]", length, |out, length| write_array_len(out, length).map(drop).expect(INFALLIBLE), write);
    }

    fn nested(
        &mut self,
        brackets: &[u8; 2],
        length: usize,
        header: impl FnOnce(&mut Vec<u8>, u32),
        write: impl FnOnce(&mut Self),
    ) {
        match self.form {
            Form::Json => {
                separate(self.out);
                self.out.push(brackets[0]);
                write(self);
                self.out.push(brackets[1]);
            }
            Form::Msgpack => {
                header(self.out, u32::try_from(length).expect("memory does not hold four billion names"));
                write(self);
            }
        }
    }

    /// Writes a key of a map. Its value comes next.
    pub(super) fn key(&mut self, key: &'static str) -> &mut Self {
        self.text(key);
        if self.is_json() {
            self.out.push(b':');
        }
        self
    }

    pub(super) fn text(&mut self, text: &str) {
        match self.form {
            Form::Json => {
                separate(self.out);
                write_text(self.out, text);
            }
            Form::Msgpack => write_str(self.out, text).expect(INFALLIBLE),
        }
    }

    pub(super) fn texts<T: Deref<Target = str>>(&mut self, texts: &[T]) {
        self.list(texts.len(), |out| texts.iter().for_each(|text| out.text(text)));
    }

    pub(super) fn natural(&mut self, number: u64) {
        match self.form {
            Form::Json => self.literal(itoa::Buffer::new().format(number)),
            Form::Msgpack => write_uint(self.out, number).map(drop).expect(INFALLIBLE),
        }
    }

    pub(super) fn bool(&mut self, value: bool) {
        match self.form {
            Form::Json => self.literal(if value { "true" } else { "false" }),
            Form::Msgpack => write_bool(self.out, value).expect(INFALLIBLE),
        }
    }

    pub(super) fn null(&mut self) {
        match self.form {
            Form::Json => self.literal("null"),
            Form::Msgpack => write_nil(self.out).expect(INFALLIBLE),
        }
    }

    pub(super) fn payload(&mut self, payload: &Payload) {
        match self.form {
            Form::Json if payload.attachments().is_empty() => self.literal(payload.json()),
            Form::Json => {
                separate(self.out);
                write_buffers(payload, self.out);
            }
            Form::Msgpack => from_json(payload, self.out),
        }
    }

    fn literal(&mut self, json: &str) {
        separate(self.out);
        self.out.extend_from_slice(json.as_bytes());
    }
}

/// Writes JSON in which each attachment is what `JSON.stringify` makes of a `Buffer`.
fn write_buffers(payload: &Payload, out: &mut Vec<u8>) {
    let json = payload.json().as_bytes();
    let placeholders = Placeholders::find(payload.json(), payload.attachments().len()).unwrap_or(Placeholders::None);
    let (mut at, mut copied) = (0, 0);
    while let Some(found) = memchr::memchr2(b'{', b'"', &json[at..]) {
        let start = at + found;
        at = start + 1;
        if json[start] == b'"' {
            at += string_length(&json[at..]);
            continue;
        }
        let key = skip_space(json, at) + 1;
        let Some(data) = placeholders.number(key).and_then(|number| payload.attachments().get(number)) else {
            continue;
        };
        out.extend_from_slice(&json[copied..start]);
        out.extend_from_slice(br#"{"type":"Buffer","data":["#);
        for byte in data {
            separate(out);
            out.extend_from_slice(itoa::Buffer::new().format(*byte).as_bytes());
        }
        out.extend_from_slice(b"]}");
        at = value_end(json, start);
        copied = at;
    }
    out.extend_from_slice(&json[copied..]);
}
