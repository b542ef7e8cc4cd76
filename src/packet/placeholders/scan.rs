use super::{
    super::{DecodeError, json::string_length},
    found::{Collector, NUMBER, PLACEHOLDER, UNKNOWN, number},
};

/// Slow path: finds all placeholders of valid JSON.
pub(super) fn find(json: &[u8], found: &mut Collector) -> Result<(), DecodeError> {
    Scan { json, at: 0, open: Vec::new(), found }.run()
}

struct Scan<'a> {
    json: &'a [u8],
    at: usize,
    open: Vec<Open>,
    found: &'a mut Collector,
}

/// An array or an object whose end has not been reached.
#[derive(Default)]
struct Open {
    /// The offset of the first key. `None` in an array, or if the key has escapes.
    first_key: Option<usize>,
    is_object: bool,
    /// The next string is a value.
    after_colon: bool,
    has_keys: bool,
    key: Key,
    is_placeholder: bool,
    number: Option<usize>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Key {
    Placeholder,
    Number,
    #[default]
    Other,
}

impl Scan<'_> {
    fn run(&mut self) -> Result<(), DecodeError> {
        while let Some(&byte) = self.json.get(self.at) {
            let start = self.at;
            self.at += 1;
            match byte {
                b'{' | b'[' => {
                    self.value(b"");
                    self.open.push(Open { is_object: byte == b'{', ..Open::default() });
                }
                b'}' | b']' => self.close()?,
                b'"' => {
                    self.at += string_length(&self.json[self.at..]);
                    self.string(start + 1);
                }
                b':' => self.innermost(|open| open.after_colon = true),
                b',' => self.innermost(|open| open.after_colon = false),
                b' ' | b'\t' | b'\n' | b'\r' => {}
                _ => {
                    let rest = &self.json[self.at..];
                    let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b'{' | b'[' | b'"' | b':' | ..=b' ');
                    self.at += rest.iter().position(ends).unwrap_or(rest.len());
                    self.value(&self.json[start..self.at]);
                }
            }
        }
        Ok(())
    }

    fn innermost(&mut self, change: impl FnOnce(&mut Open)) {
        if let Some(open) = self.open.last_mut() {
            change(open);
        }
    }

    /// Handles a string: a key or a value.
    fn string(&mut self, start: usize) {
        let Some(open) = self.open.last_mut().filter(|open| open.is_object && !open.after_colon) else {
            return self.value(b"");
        };
        let text = self.json.get(start..self.at - 1).unwrap_or_default();
        open.key = match text {
            text if text == PLACEHOLDER.as_bytes() => Key::Placeholder,
            text if text == NUMBER.as_bytes() => Key::Number,
            _ => Key::Other,
        };
        if !open.has_keys {
            open.has_keys = true;
            open.first_key = (!text.contains(&b'\\')).then_some(start);
        }
    }

    /// Handles the value of a key. The literal is empty for a string, an array or an object.
    fn value(&mut self, literal: &[u8]) {
        let attachments = self.found.attachments;
        self.innermost(|open| match std::mem::take(&mut open.key) {
            Key::Placeholder => open.is_placeholder = literal == b"true",
            Key::Number => open.number = number(literal).filter(|number| *number < attachments),
            Key::Other => {}
        });
    }

    fn close(&mut self) -> Result<(), DecodeError> {
        let Some(Open { is_placeholder: true, first_key: Some(key), number, .. }) = self.open.pop() else {
            return Ok(());
        };
        self.found.add(key, number.ok_or(UNKNOWN)?)
    }
}
