//! Frames that nodes of Node.js sent: each is read as what it means, and written as it was.

use std::{collections::HashMap, fs, path::Path, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::cluster::{Offset, message::ClusterMessage, wire::*};

use super::readable::{normal, readable, unhex, value};

pub(super) fn frames(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster-fixtures").join(file);
    let file: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    file["frames"].as_array().unwrap().clone()
}

/// Frames that we write in another way, and why.
fn differs(frame: &Value, message: &ClusterMessage) -> bool {
    let name = frame["name"].as_str().unwrap();
    let binary = !frame["hex"].is_null()
        || !frame["attachment_hex"].is_null()
        || frame["fields"][3][1].as_str().is_some_and(|data| !data.starts_with('{'));
    // Node.js lets a number through as a room. Ours are strings.
    name == "room-name-number"
        // Emitters write their keys in another order, and some leave the sender out. Ours writes what a node would.
        || message.sender.as_deref() == Some(EMITTER)
        || message.sender.is_none() && frame["by"] == "emitter"
        // What JSON has no values for is what JSON makes of it: dates are texts, NaN is null.
        || binary && name.starts_with("broadcast-values")
        // `@msgpack/msgpack` loses an `ArrayBuffer`: no bytes are left that would make the message binary.
        || binary && name == "broadcast-arraybuffer" && !message.command.has_binary()
        // notepack writes whole numbers from 2^64 on as wrong integers. Ours stay what they are: doubles.
        || binary && name.starts_with("broadcast-1e20") && frame["statement"].is_null() && frame["fields"].is_null()
}

fn bytes_of(frame: &Value) -> Bytes {
    match frame["hex"].as_str() {
        Some(hex) => unhex(hex).into(),
        None => frame["text"].as_str().unwrap().to_owned().into(),
    }
}

/// The namespace in the name of a channel: the part between the hashes.
pub(super) fn namespace(channel: &str) -> &str {
    channel.split('#').nth(1).unwrap()
}

/// Which node asked what: answers go to it.
#[derive(Default)]
struct Requests(HashMap<String, Arc<str>>);

impl Requests {
    fn address(&mut self, mut message: ClusterMessage) -> ClusterMessage {
        if let Some(request) = message.command.request() {
            if message.command.is_answer() {
                message.recipient = Some(self.0[request.as_str()].clone());
            } else {
                self.0.insert(request.as_str().to_owned(), message.sender.clone().unwrap());
            }
        }
        message
    }
}

/// Checks the bytes of a message that has been read, unless they are of those that differ. Those that do mean the same.
fn check(
    frame: &Value,
    message: &ClusterMessage,
    written: &[u8],
    expected: &[u8],
    read: impl FnOnce() -> ClusterMessage,
) {
    if differs(frame, message) {
        assert_ne!(written, expected, "{frame}");
        let mut again = readable(&read());
        let mut before = readable(message);
        if message.sender.is_none() {
            again["uid"] = Value::Null;
            before["uid"] = Value::Null;
        }
        assert_eq!(again, before, "{frame}");
    } else {
        assert_eq!(String::from_utf8_lossy(written), String::from_utf8_lossy(expected), "{}", frame["name"]);
        assert_eq!(written, expected, "{}", frame["name"]);
    }
}

/// The meaning of a frame of the family, without what is not for receivers.
fn meaning(means: &Value, namespace: &str) -> Value {
    let mut means = normal(means.clone());
    means["nsp"] = json!(namespace);
    if let Some(Value::Object(packet)) = means.pointer_mut("/data/packet").filter(|packet| packet["type"] == 2) {
        packet.remove("nsp");
    }
    for options in means.pointer_mut("/data/opts").into_iter() {
        options["flags"] = options.get("flags").cloned().unwrap_or_else(|| json!({}));
    }
    for rooms in means.pointer_mut("/data/opts/rooms").into_iter() {
        *rooms = rooms
            .as_array()
            .unwrap()
            .iter()
            .map(|room| json!(room.as_str().map_or_else(|| room.to_string(), str::to_owned)))
            .collect();
    }
    means
}

/// The meaning of a frame of the classic adapter, as one of the family.
fn classic_meaning(means: &Value, namespace: &str) -> Value {
    if let Some([sender, packet, options]) = means.as_array().map(Vec::as_slice) {
        let family = json!({"type": 3, "data": {"packet": packet, "opts": options}, "uid": sender});
        return meaning(&family, namespace);
    }
    let mut data = means.clone();
    let take = |data: &mut Value, key: &str| data.as_object_mut().unwrap().remove(key);
    let (sender, kind) = (take(&mut data, "uid"), take(&mut data, "type"));
    let is_answer = sender.is_none() && data.get("requestId").is_some();
    let kind = match (kind.and_then(|kind| kind.as_u64()), is_answer) {
        (Some(1), false) => json!("list rooms"),
        (Some(kind @ 2..=4), false) => json!(kind + 2),
        (Some(5), false) => json!(7),
        (Some(6), is_answer) => {
            if let Some(packet) = take(&mut data, "data") {
                data["packet"] = packet;
            }
            json!(if is_answer { 10 } else { 9 })
        }
        (Some(7), false) => json!(3),
        (Some(8), true) => json!(11),
        (Some(9), true) => json!(12),
        (None, true) if data.get("sockets").is_some() => json!(8),
        (None, true) => json!("rooms listed"),
        other => panic!("{other:?}"),
    };
    let mut family = json!({"type": kind, "data": data});
    if let Some(sender) = sender {
        family["uid"] = sender;
    }
    meaning(&family, namespace)
}

fn classic(file: &str, prefix: &str, specific: bool) -> usize {
    let mut requests = Requests::default();
    let mut read = 0;
    for frame in frames(file).iter().filter(|frame| frame["command"] == "PUBLISH") {
        let channel = frame["channel"].as_str().unwrap();
        let (namespace, bytes) = (namespace(channel), bytes_of(frame));
        let channels = classic::Channels::new(prefix, namespace);
        let message = if channel == channels.request() {
            let request = classic::decode_request(namespace, bytes.clone()).unwrap();
            assert_eq!(request.legacy, None);
            request.message
        } else if channel.starts_with(&*channels.response()) {
            classic::decode_response(namespace, bytes.clone()).unwrap()
        } else {
            let room = channels.room(channel.as_bytes()).unwrap();
            let message = classic::decode_broadcast(namespace, bytes.clone()).unwrap();
            let rooms = readable(&message)["data"]["opts"]["rooms"].as_array().unwrap().clone();
            assert_eq!(rooms.len() == 1 && rooms[0] != "", !room.is_empty());
            message
        };
        assert_eq!(readable(&message), classic_meaning(&frame["means"], namespace), "{frame}");
        let message = requests.address(message);
        assert_eq!(channels.of(&message, specific), channel, "{frame}");
        let mut written = Vec::new();
        let mut sent = message.clone();
        if frame["by"] == "emitter" {
            sent.sender = Some(EMITTER.into());
        }
        classic::encode(&sent, &mut written).unwrap();
        if frame["name"] == "emitter-server-side-emit" {
            // As a node's, but for the sender.
            assert_eq!(written, bytes);
        } else {
            check(frame, &message, &written, &bytes, || {
                let written = Bytes::from(written.clone());
                match channel == channels.request() {
                    true => classic::decode_request(namespace, written).unwrap().message,
                    false => classic::decode_broadcast(namespace, written).unwrap(),
                }
            });
        }
        read += 1;
    }
    read
}

#[test]
fn the_classic_redis_adapter() {
    assert_eq!(classic("redis.json", "socket.io", false), 85);
    assert_eq!(classic("redis-specific-responses.json", "pfx", true), 17);
}

fn sharded(file: &str, mode: sharded::SubscriptionMode) -> usize {
    let mut requests = Requests::default();
    let mut read = 0;
    for frame in frames(file).iter().filter(|frame| frame["command"] == "SPUBLISH") {
        let channel = frame["channel"].as_str().unwrap();
        let (namespace, bytes) = (namespace(channel), bytes_of(frame));
        let message = sharded::decode(namespace, bytes.clone()).unwrap();
        assert_eq!(readable(&message), meaning(&frame["means"], namespace), "{frame}");
        let message = requests.address(message);
        assert_eq!(sharded::Channels::new("socket.io", namespace).of(&message, mode), channel, "{frame}");
        let mut written = Vec::new();
        sharded::encode(&message, &mut written).unwrap();
        check(frame, &message, &written, &bytes, || sharded::decode(namespace, written.clone().into()).unwrap());
        read += 1;
    }
    read
}

#[test]
fn the_sharded_redis_adapter() {
    use sharded::SubscriptionMode::*;
    assert_eq!(sharded("redis-sharded.json", Dynamic), 73);
    assert_eq!(sharded("redis-sharded-static.json", Static), 5);
    assert_eq!(sharded("redis-sharded-dynamic-private.json", DynamicPrivate), 5);
}

fn entry(frame: &Value, names: &streams::StreamNames) {
    let fields = frame["fields"].as_array().unwrap();
    let fields: Vec<(&str, &str)> =
        fields.iter().map(|field| (field[0].as_str().unwrap(), field[1].as_str().unwrap())).collect();
    let read = |fields: Vec<(&str, Vec<u8>)>| {
        let fields: Vec<_> = fields.into_iter().map(|(name, value)| (name, bytes::Bytes::from(value))).collect();
        streams::decode_entry(fields.iter().map(|(name, value)| (name.as_bytes(), value))).unwrap()
    };
    let message = read(fields.iter().map(|(name, value)| (*name, value.as_bytes().to_vec())).collect());
    let kind: u64 = fields[2].1.parse().unwrap();
    let means = json!({"type": kind, "data": frame["data_means"], "uid": fields[0].1});
    assert_eq!(readable(&message), meaning(&means, fields[1].1), "{frame}");
    assert!(streams::goes_to_stream(&message));
    // The emitter knows one stream only.
    let names = if frame["by"] == "emitter" { &streams::StreamNames::new("socket.io", 1) } else { names };
    assert_eq!(names.of(&message.namespace), frame["stream"], "{frame}");
    let written = streams::encode_entry(&message, false).unwrap();
    let again = written.fields();
    let is_same =
        again.iter().zip(&fields).all(|(written, field)| (written.0, &*written.1) == (field.0, field.1.as_bytes()));
    // In these an emitter says what a node says.
    let as_nodes = frame["by"] == "emitter" && kind != 3;
    assert_eq!(is_same, as_nodes || !differs(frame, &message), "{frame}");
    assert_eq!(readable(&read(again.to_vec())), readable(&message));
}

fn streams(file: &str, name: &str, prefix: &str, count: u16) -> usize {
    let mut requests = Requests::default();
    let mut seen = 0;
    let names = streams::StreamNames::new(name, count);
    for frame in &frames(file) {
        match frame["command"].as_str().unwrap() {
            "XADD" => entry(frame, &names),
            "PUBLISH" | "SPUBLISH" => {
                let channel = frame["channel"].as_str().unwrap();
                let (namespace, bytes) = (namespace(channel), bytes_of(frame));
                let message = streams::decode(namespace, bytes.clone()).unwrap();
                assert_eq!(readable(&message), meaning(&frame["means"], namespace), "{frame}");
                assert!(!streams::goes_to_stream(&message));
                let message = requests.address(message);
                let channels = sharded::Channels::new(prefix, namespace);
                assert_eq!(channels.of(&message, sharded::SubscriptionMode::Static), channel, "{frame}");
                let mut written = Vec::new();
                streams::encode(&message, &mut written).unwrap();
                check(frame, &message, &written, &bytes, || unreachable!());
            }
            _ => continue,
        }
        seen += 1;
    }
    seen
}

#[test]
fn the_redis_streams_adapter() {
    assert_eq!(streams("redis-streams.json", "socket.io", "socket.io", 1), 83);
    assert_eq!(streams("redis-streams-four-sharded.json", "st", "pfx", 4), 7);
    assert_eq!(streams("redis-streams-recovery.json", "socket.io", "socket.io", 1), 3);
}

#[test]
fn a_recovery_with_redis_streams() {
    let frames = frames("redis-streams-recovery.json");
    let command = |name| frames.iter().filter(move |frame| frame["command"] == name);
    let set = command("SET").next().unwrap();
    let [key, stored] = [0, 1].map(|place| set["args"][place].as_str().unwrap());
    let session = streams::decode_session(stored.as_bytes()).unwrap();
    assert_eq!(streams::session_key("sio:session:", &session.private_id), key);
    let rooms: Vec<&str> = session.rooms.iter().map(|room| &**room).collect();
    let read = json!({"sid": &*session.id, "pid": &*session.private_id, "rooms": rooms, "data": value(&session.data)});
    assert_eq!(read, set["means"]);
    assert_eq!(streams::encode_session(&session), stored);
    // What a client missed is asked for from behind its offset on.
    let ranges: Vec<&str> = command("XRANGE").map(|range| range["args"][1].as_str().unwrap()).collect();
    let offset = Offset::parse(ranges[0]).unwrap();
    assert_eq!(offset.to_string(), ranges[0]);
    assert_eq!(offset.next().unwrap().to_string(), ranges[1]);
    assert!(Offset::parse(ranges[2]).unwrap() > offset.next().unwrap());
    assert_eq!(STANDARD.decode(stored).unwrap()[0], 0x84);
}

#[test]
fn the_postgres_adapter() {
    let mut seen = 0;
    for frame in &frames("postgres.json") {
        let channel = frame["channel"].as_str().unwrap();
        let namespace = namespace(channel);
        assert_eq!(postgres::channel("socket.io", namespace).unwrap(), channel);
        let payload = frame["payload"].as_str().unwrap();
        let (message, means) = match postgres::decode(namespace, payload.to_owned().into()).unwrap() {
            postgres::Incoming::Message(message) => (message, serde_json::from_str(payload).unwrap()),
            postgres::Incoming::Attachment { sender, id } => {
                let attachment = unhex(frame["attachment_hex"].as_str().unwrap());
                let message = postgres::decode_attachment(namespace, attachment.into()).unwrap();
                assert_eq!(message.sender.as_ref(), Some(&sender));
                assert_eq!(postgres::header(&message).unwrap().join(&id.to_string()), payload);
                (message, frame["attachment_means"].clone())
            }
        };
        assert_eq!(readable(&message), meaning(&means, namespace), "{frame}");
        match postgres::encode(&message, postgres::PAYLOAD_THRESHOLD).unwrap() {
            postgres::Outgoing::Notification(text) => {
                check(frame, &message, text.as_bytes(), payload.as_bytes(), || {
                    match postgres::decode(namespace, text.clone().into()).unwrap() {
                        postgres::Incoming::Message(message) => message,
                        other @ postgres::Incoming::Attachment { .. } => panic!("{other:?}"),
                    }
                })
            }
            postgres::Outgoing::Attachment(written) => {
                let expected = unhex(frame["attachment_hex"].as_str().unwrap());
                check(frame, &message, &written, &expected, || {
                    postgres::decode_attachment(namespace, written.clone().into()).unwrap()
                });
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 98);
}
