//! Writes a [`Value`] as JSON. Without recursion, because clients of custom parsers choose the depth.

use std::{io::Write, vec};

use bytes::Bytes;

use super::{
    super::{
        attachment_writer::{ESCAPED, write_placeholder},
        placeholders::PLACEHOLDER,
    },
    IntoIter, Value,
};

/// How binary is written to JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Binary {
    /// As arrays of numbers, like `serde_json`.
    Numbers,
    /// As attachments. If there are any, objects that look like placeholders are escaped.
    Attachments { any: bool },
}

impl Value {
    /// Appends the value as JSON, and binary to the attachments. Drops the value while writing.
    pub(crate) fn write_json(self, text: &mut Vec<u8>, binary: Binary, attachments: &mut Vec<Bytes>) {
        let mut writer = Writer { text, binary, attachments };
        let mut open: Vec<Children> = Vec::new();
        let mut value = self;
        loop {
            match value {
                Self::Array(values) => {
                    writer.text.push(b'[');
                    open.push(Children::Array(values.into_iter()));
                }
                Self::Object(entries) => {
                    writer.text.push(b'{');
                    open.push(Children::Object(entries.into_iter()));
                }
                leaf => writer.leaf(leaf),
            }
            value = loop {
                let Some(innermost) = open.last_mut() else { return };
                if let Some((key, child)) = innermost.next() {
                    writer.before(key.as_deref());
                    break child;
                }
                writer.text.push(innermost.end());
                open.pop();
            }
        }
    }
}

/// The remaining children of an array or an object.
enum Children {
    Array(vec::IntoIter<Value>),
    Object(IntoIter),
}

impl Children {
    fn next(&mut self) -> Option<(Option<Box<str>>, Value)> {
        match self {
            Self::Array(values) => values.next().map(|value| (None, value)),
            Self::Object(entries) => entries.next().map(|(key, value)| (Some(key), value)),
        }
    }

    fn end(&self) -> u8 {
        match self {
            Self::Array(_) => b']',
            Self::Object(_) => b'}',
        }
    }
}

struct Writer<'a> {
    text: &'a mut Vec<u8>,
    binary: Binary,
    attachments: &'a mut Vec<Bytes>,
}

const INFALLIBLE: &str = "writing to a vector cannot fail";

impl Writer<'_> {
    /// Writes the comma and the key before a value.
    fn before(&mut self, key: Option<&str>) {
        if !matches!(self.text.last(), Some(b'[' | b'{')) {
            self.text.push(b',');
        }
        match (key, self.binary) {
            (Some(PLACEHOLDER), Binary::Attachments { any: true }) => {
                write!(self.text, "\"{ESCAPED}\":").expect(INFALLIBLE);
            }
            (Some(key), _) => {
                self.string(key);
                self.text.push(b':');
            }
            (None, _) => {}
        }
    }

    fn string(&mut self, text: &str) {
        serde_json::to_writer(&mut *self.text, text).expect(INFALLIBLE);
    }

    fn leaf(&mut self, value: Value) {
        match value {
            Value::Bool(value) => write!(self.text, "{value}").expect(INFALLIBLE),
            Value::Number(number) => write!(self.text, "{number}").expect(INFALLIBLE),
            Value::String(text) => self.string(&text),
            Value::Binary(data) => self.binary(*data),
            Value::Null | Value::Array(_) | Value::Object(_) => self.text.extend_from_slice(b"null"),
        }
    }

    fn binary(&mut self, data: Bytes) {
        match self.binary {
            Binary::Numbers => serde_json::to_writer(&mut *self.text, &*data).expect(INFALLIBLE),
            Binary::Attachments { .. } => {
                write_placeholder(&mut *self.text, self.attachments.len()).expect(INFALLIBLE);
                self.attachments.push(data);
            }
        }
    }
}
