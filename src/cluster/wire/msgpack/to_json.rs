use bytes::Bytes;

use crate::{
    packet::{ESCAPED, MAX_JSON_DEPTH, PLACEHOLDER, value::Value, write_placeholder},
    parser::msgpack::reader::Reader,
};

use super::{
    super::{
        super::payload::Payload,
        Result, WireError,
        json::{separate, write_text},
        number::write_double,
    },
    Begin, begin, is_undefined, skip,
};

const TOO_DEEP: WireError = WireError::Message("the msgpack is nested too deeply");
const INFALLIBLE: &str = "writing to a vector cannot fail";

/// Reads a value as JSON, and the binary in it: one walk, without a tree. `None` if it is `undefined`.
pub(in super::super) fn to_json(input: &mut Reader<'_>) -> Result<Option<Payload>> {
    if is_undefined(input) {
        skip(input)?;
        return Ok(None);
    }
    let mut writer = Writer::default();
    loop {
        if writer.key(input)? {
            writer.value(begin(input)?)?;
        }
        if writer.is_complete() {
            break;
        }
    }
    let json = Bytes::from(writer.json).try_into().expect("it is made of strings");
    Ok(Some(Payload::trusted(json, writer.attachments)?))
}

#[derive(Default)]
struct Writer {
    json: Vec<u8>,
    attachments: Vec<Bytes>,
    open: Vec<Open>,
}

/// An array or a map of which so many values are missing.
struct Open {
    missing: usize,
    is_map: bool,
}

impl Writer {
    /// Writes the comma and the key before the next value. Returns `false` if the value is `undefined` in a map, which has no entry.
    fn key(&mut self, input: &mut Reader<'_>) -> Result<bool> {
        let Some(innermost) = self.open.last_mut() else { return Ok(true) };
        innermost.missing -= 1;
        if !innermost.is_map {
            separate(&mut self.json);
            return Ok(true);
        }
        let key = input.key()?;
        if is_undefined(input) {
            skip(input)?;
            return Ok(false);
        }
        separate(&mut self.json);
        if key == PLACEHOLDER {
            // Otherwise it would look like a placeholder.
            self.json.extend_from_slice(format!("\"{ESCAPED}\"").as_bytes());
        } else {
            write_text(&mut self.json, &key);
        }
        self.json.push(b':');
        Ok(true)
    }

    fn value(&mut self, value: Begin<'_>) -> Result<()> {
        match value {
            Begin::List(missing) => return self.nest(Open { missing, is_map: false }),
            Begin::Map(missing) => return self.nest(Open { missing, is_map: true }),
            Begin::Bool(true) => self.json.extend_from_slice(b"true"),
            Begin::Bool(false) => self.json.extend_from_slice(b"false"),
            Begin::Number(number) => write_number(&mut self.json, &number),
            Begin::Text(text) => write_text(&mut self.json, &text),
            Begin::Date(Some(date)) => write_text(&mut self.json, &date),
            Begin::Undefined | Begin::Null | Begin::Date(None) => self.json.extend_from_slice(b"null"),
            Begin::Binary(data) => {
                write_placeholder(&mut self.json, self.attachments.len()).expect(INFALLIBLE);
                self.attachments.push(data);
            }
        }
        Ok(())
    }

    fn nest(&mut self, nested: Open) -> Result<()> {
        if self.open.len() > MAX_JSON_DEPTH {
            return Err(TOO_DEEP);
        }
        self.json.push(if nested.is_map { b'{' } else { b'[' });
        self.open.push(nested);
        Ok(())
    }

    /// Ends the arrays and maps of which nothing is missing. Returns `true` if that was the value.
    fn is_complete(&mut self) -> bool {
        while let Some(innermost) = self.open.pop_if(|innermost| innermost.missing == 0) {
            self.json.push(if innermost.is_map { b'}' } else { b']' });
        }
        self.open.is_empty()
    }
}

fn write_number(json: &mut Vec<u8>, number: &Value) {
    let Value::Number(number) = number else { return json.extend_from_slice(b"null") };
    match (number.as_u64(), number.as_i64()) {
        (Some(number), _) => json.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
        (_, Some(number)) => json.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
        _ => write_double(json, number.as_f64().unwrap_or(f64::NAN)),
    }
}
