//! Messages as trees in the form of the fixtures, where they are the same whatever carried them.

use serde_json::{Map, Value, json};

use crate::cluster::{
    message::{BroadcastOptions, ClusterCommand, ClusterMessage, RequestId, SocketDescription},
    payload::Payload,
    wire::family,
};

/// A message as one of the family.
pub(super) fn readable(message: &ClusterMessage) -> Value {
    let mut readable = Map::new();
    readable.insert("type".into(), kind(&message.command));
    if let Some(data) = data(&message.command) {
        readable.insert("data".into(), data);
    }
    if let Some(sender) = &message.sender {
        readable.insert("uid".into(), json!(&**sender));
    }
    readable.insert("nsp".into(), json!(&*message.namespace));
    readable.into()
}

fn kind(command: &ClusterCommand) -> Value {
    match command {
        ClusterCommand::ListSockets { .. } => json!("list sockets"),
        ClusterCommand::SocketsListed { .. } => json!("sockets listed"),
        ClusterCommand::ListRooms { .. } => json!("list rooms"),
        ClusterCommand::RoomsListed { .. } => json!("rooms listed"),
        command => json!(family::kind(command).unwrap()),
    }
}

fn data(command: &ClusterCommand) -> Option<Value> {
    let id = |request: &RequestId| json!(request.as_str());
    Some(match command {
        ClusterCommand::Emit { options, event, request } => {
            let packet = json!({"type": 2, "data": payload(event.json(), event.attachments())});
            with_id(json!({"packet": packet, "opts": opts(options)}), request.as_ref())
        }
        ClusterCommand::Join { options, rooms } | ClusterCommand::Leave { options, rooms } => {
            json!({"opts": opts(options), "rooms": names(rooms)})
        }
        ClusterCommand::Disconnect { options, close } => json!({"opts": opts(options), "close": close}),
        ClusterCommand::FetchSockets { options, request } => json!({"opts": opts(options), "requestId": id(request)}),
        ClusterCommand::SocketsFetched { request, sockets } => {
            json!({"requestId": id(request), "sockets": sockets.iter().map(socket).collect::<Vec<_>>()})
        }
        ClusterCommand::ServerSideEmit { event, request } => {
            with_id(json!({"packet": payload(event.json(), event.attachments())}), request.as_ref())
        }
        ClusterCommand::ServerSideAck { request, answer } | ClusterCommand::Ack { request, answer } => {
            let mut data = json!({"requestId": id(request)});
            if let Some(answer) = answer {
                data["packet"] = value(answer);
            }
            data
        }
        ClusterCommand::Recipients { request, count } => json!({"requestId": id(request), "clientCount": count}),
        ClusterCommand::ListSockets { rooms, request } | ClusterCommand::RoomsListed { rooms, request } => {
            json!({"requestId": id(request), "rooms": names(rooms)})
        }
        ClusterCommand::SocketsListed { ids, request } => {
            json!({"requestId": id(request), "sockets": ids.iter().map(|id| &**id).collect::<Vec<_>>()})
        }
        ClusterCommand::ListRooms { request } => json!({"requestId": id(request)}),
        ClusterCommand::Hello | ClusterCommand::Heartbeat | ClusterCommand::Goodbye => return None,
    })
}

fn with_id(mut data: Value, request: Option<&RequestId>) -> Value {
    if let Some(request) = request {
        data["requestId"] = json!(request.as_str());
    }
    data
}

fn names(rooms: &[crate::room::Room]) -> Vec<&str> {
    rooms.iter().map(|room| room.as_str()).collect()
}

fn opts(options: &BroadcastOptions) -> Value {
    let mut flags = json!({});
    if options.flags.volatile {
        flags["volatile"] = json!(true);
    }
    if let Some(compress) = options.flags.compress {
        flags["compress"] = json!(compress);
    }
    if let Some(timeout) = options.flags.timeout {
        flags["timeout"] = json!(timeout.as_millis() as u64);
    }
    if options.flags.expect_single_response {
        flags["expectSingleResponse"] = json!(true);
    }
    json!({"rooms": names(&options.rooms), "except": names(&options.except), "flags": flags})
}

fn socket(socket: &SocketDescription) -> Value {
    json!({
        "id": &*socket.id,
        "handshake": value(socket.handshake.payload()),
        "rooms": names(&socket.rooms),
        "data": value(&socket.data),
    })
}

pub(super) fn value(value: &Payload) -> Value {
    payload(value.json(), value.attachments())
}

fn payload(json: &str, attachments: &[bytes::Bytes]) -> Value {
    let tree: Value = serde_json::from_str(json).unwrap();
    let mut used = 0;
    let value = with_binary(tree, attachments, &mut used);
    assert_eq!(used, attachments.len());
    normal(value)
}

fn with_binary(value: Value, attachments: &[bytes::Bytes], used: &mut usize) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(|value| with_binary(value, attachments, used)).collect(),
        Value::Object(map) if !attachments.is_empty() && map.get("_placeholder") == Some(&json!(true)) => {
            *used += 1;
            json!({"$bin": hex(&attachments[map["num"].as_u64().unwrap() as usize])})
        }
        Value::Object(map) => {
            map.into_iter().map(|(key, value)| (key, with_binary(value, attachments, used))).collect()
        }
        other => other,
    }
}

/// What a client is shown of a value: a date is its text, what is not finite null, and 1.0 is 1.
pub(super) fn normal(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(normal).collect(),
        Value::Object(map) if map.contains_key("$date") => map["$date"].clone(),
        Value::Object(map) if map.contains_key("$num") => Value::Null,
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, normal(value))).collect(),
        Value::Number(number) => match number.as_f64().unwrap() {
            whole if whole.fract() == 0.0 && whole.abs() < (1u64 << 53) as f64 => json!(whole as i64),
            double => json!(double),
        },
        other => other,
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn unhex(digits: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    digits.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
