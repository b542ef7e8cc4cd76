//! A value as JSON, written without recursion: it is what clients send with a parser.

use std::{io::Write, vec};

use bytes::Bytes;

use super::{
    super::{
        extractor::{ESCAPED, write_placeholder},
        placeholders::PLACEHOLDER,
    },
    IntoIter, Value,
};

/// What becomes of binary in JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Binary {
    /// Each is an array of numbers, as `serde_json` has it.
    Numbers,
    /// Attachments. If there are any, an object that looks like a placeholder is written so that it is not one.
    Attachments { any: bool },
}

impl Value {
    /// Appends the value as JSON, and its binary to the attachments. What has been written is dropped.
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

/// What has not been written of an array or an object.
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
    /// Writes what stands in front of a value in an array, or in an object with a key.
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
