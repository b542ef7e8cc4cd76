//! The key that identifies an event: a string or an integer among its arguments.

use crate::{Args, Value, event::EventRequest};

/// Returns the argument at an index.
pub(super) fn argument(request: &mut EventRequest, index: usize) -> Option<String> {
    let argument = match index {
        0 => request.args().ok()?,
        _ => request.args::<Args>().ok()?.0.into_iter().nth(index)?,
    };
    scalar(argument)
}

/// Returns a field of the first argument.
pub(super) fn field(request: &mut EventRequest, name: &str) -> Option<String> {
    match request.args().ok()? {
        Value::Object(mut fields) => scalar(fields.remove(name)?),
        _ => None,
    }
}

fn scalar(value: Value) -> Option<String> {
    match value {
        Value::String(key) => Some(key.into()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}
