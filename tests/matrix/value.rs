use bytes::Bytes;
use serde_json::{Value as Json, json};
use tower_socketio::{Args, Value};

use super::client::hex;

/// The name of an event and its arguments.
pub fn decode_args(args: &Json) -> (String, Args) {
    let [name, args @ ..] = args.as_array().expect("arguments").as_slice() else { panic!("{args} has no event") };
    (name.as_str().expect("a name").to_owned(), Args(args.iter().map(decode).collect()))
}

fn decode(json: &Json) -> Value {
    match json {
        Json::Array(values) => Value::Array(values.iter().map(decode).collect()),
        Json::Object(map) if map.contains_key("$bytes") => {
            let hex = map["$bytes"].as_str().expect("hexadecimal digits");
            let bytes = (0..hex.len()).step_by(2).map(|place| u8::from_str_radix(&hex[place..place + 2], 16));
            Value::Binary(Box::new(Bytes::from_iter(bytes.map(|byte| byte.expect("hexadecimal digits")))))
        }
        Json::Object(map) => map.iter().map(|(key, value)| (key.as_str(), decode(value))).collect(),
        other => other.clone().into(),
    }
}

pub fn encode(value: Value) -> Json {
    match value {
        Value::Array(values) => values.into_iter().map(encode).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key.into_string(), encode(value))).collect(),
        Value::Binary(bytes) => json!({ "$bytes": hex(&bytes) }),
        other => other.try_into().expect("no bytes"),
    }
}
