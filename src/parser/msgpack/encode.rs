use rmp::encode::{
    write_array_len, write_bin_len, write_bool, write_f64, write_map_len, write_nil, write_sint, write_str_len,
    write_uint,
};

use crate::packet::value::{Number, Value};

use super::super::{ParserError, SocketIoPacket};

/// Encodes a packet as a map. Undefined fields are omitted.
pub(super) fn encode(packet: &SocketIoPacket) -> Result<Vec<u8>, ParserError> {
    let mut out = Writer(Vec::new());
    out.map(2 + usize::from(packet.data.is_some()) + usize::from(packet.id.is_some()))?;
    out.str("type")?;
    out.uint(packet.packet_type as u64);
    if let Some(data) = &packet.data {
        out.str("data")?;
        out.value(data)?;
    }
    out.str("nsp")?;
    out.str(&packet.namespace)?;
    if let Some(id) = packet.id {
        out.str("id")?;
        out.uint(id);
    }
    Ok(out.0)
}

struct Writer(Vec<u8>);

const INFALLIBLE: &str = "writing to a vector cannot fail";

fn length(length: usize) -> Result<u32, ParserError> {
    u32::try_from(length).map_err(|_| ParserError::new("a value is too large for msgpack"))
}

impl Writer {
    fn map(&mut self, entries: usize) -> Result<(), ParserError> {
        write_map_len(&mut self.0, length(entries)?).expect(INFALLIBLE);
        Ok(())
    }

    fn str(&mut self, text: &str) -> Result<(), ParserError> {
        write_str_len(&mut self.0, length(text.len())?).expect(INFALLIBLE);
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn uint(&mut self, number: u64) {
        write_uint(&mut self.0, number).expect(INFALLIBLE);
    }

    fn number(&mut self, number: Number) {
        if let Some(number) = number.as_u64() {
            self.uint(number);
        } else if let Some(number) = number.as_i64() {
            write_sint(&mut self.0, number).expect(INFALLIBLE);
        } else {
            write_f64(&mut self.0, number.as_f64().unwrap_or(f64::NAN)).expect(INFALLIBLE);
        }
    }

    fn value(&mut self, value: &Value) -> Result<(), ParserError> {
        match value {
            Value::Null => write_nil(&mut self.0).expect(INFALLIBLE),
            Value::Bool(value) => write_bool(&mut self.0, *value).expect(INFALLIBLE),
            Value::Number(number) => self.number(*number),
            Value::String(text) => self.str(text)?,
            Value::Array(values) => {
                write_array_len(&mut self.0, length(values.len())?).expect(INFALLIBLE);
                values.iter().try_for_each(|value| self.value(value))?;
            }
            Value::Object(entries) => {
                self.map(entries.len())?;
                for (key, value) in entries {
                    self.str(key)?;
                    self.value(value)?;
                }
            }
            Value::Binary(data) => {
                write_bin_len(&mut self.0, length(data.len())?).expect(INFALLIBLE);
                self.0.extend_from_slice(data);
            }
        }
        Ok(())
    }
}
