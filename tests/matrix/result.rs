use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// Whether two values are the same in JavaScript, which has one type of numbers.
pub fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => a == b,
    }
}

/// Sorts values by their text.
pub fn sorted(mut values: Vec<Value>) -> Vec<Value> {
    values.sort_by_key(Value::to_string);
    values
}

/// Checks each field of a handshake against what the client sent.
pub fn check_handshake(handshake: &Value, auth: &Value, client: &str) -> Result<(), String> {
    let expected = json!({
        "address": "127.0.0.1",
        "auth": auth,
        "query": { "EIO": "4", "from": client, "transport": "websocket" },
        "secure": false,
        "url": format!("/socket.io/?EIO=4&transport=websocket&from={client}"),
        "xdomain": false,
    });
    for (field, expected) in expected.as_object().expect("an object") {
        if !equal(&handshake[field], expected) {
            return Err(format!("{field} of the handshake of {client} is {}, not {expected}", handshake[field]));
        }
    }
    if handshake["headers"]["x-from"] != *client || !handshake["headers"]["host"].is_string() {
        return Err(format!("the headers of {client} are {}", handshake["headers"]));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_millis();
    let issued = handshake["issued"].as_u64().ok_or("the handshake has no time")?;
    if now.abs_diff(u128::from(issued)) > 600_000 {
        return Err(format!("{client} was issued at {issued}, and it is {now}"));
    }
    match handshake["time"].as_str() {
        Some(_) => Ok(()),
        None => Err(format!("the time of the handshake of {client} is {}", handshake["time"])),
    }
}
