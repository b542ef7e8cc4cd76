//! What is written is read, and nothing panics.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::cluster::{
    SessionRecord,
    message::{
        BroadcastFlags, BroadcastOptions, ClusterCommand, ClusterMessage, HandshakeDescription, RequestId,
        SocketDescription,
    },
    payload::{EventBody, Payload},
    wire::*,
};
use crate::room::Room;

use super::readable::readable;

/// A tree in which `{"$bin":..}` stands for bytes.
fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-(1i64 << 53) + 1..1 << 53).prop_map(Value::from),
        (-200i64..70_000).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|data| json!({"$bin": data})),
    ];
    leaf.prop_recursive(4, 40, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::Array),
            prop::collection::vec((key(), inner), 0..20).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just("num".to_owned()), ".*"]
}

/// Makes attachments of the bytes in a tree.
fn extract(value: Value, attachments: &mut Vec<Bytes>) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(|value| extract(value, attachments)).collect(),
        Value::Object(map) if map.contains_key("$bin") => {
            let data: Vec<u8> = serde_json::from_value(map["$bin"].clone()).unwrap();
            attachments.push(data.into());
            json!({"_placeholder": true, "num": attachments.len() - 1})
        }
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, extract(value, attachments))).collect(),
        other => other,
    }
}

fn parts(value: Value) -> (String, Vec<Bytes>) {
    let mut attachments = Vec::new();
    (extract(value, &mut attachments).to_string(), attachments)
}

fn payload() -> impl Strategy<Value = Payload> {
    tree().prop_map(|tree| {
        let (json, attachments) = parts(tree);
        Payload::new(json, attachments).unwrap()
    })
}

fn event() -> impl Strategy<Value = EventBody> {
    ("[a-zé\"\\\\]{0,20}", prop::collection::vec(tree(), 0..20)).prop_map(|(name, mut args)| {
        args.insert(0, name.into());
        let (json, attachments) = parts(args.into());
        EventBody::new(json, attachments).unwrap()
    })
}

fn rooms() -> impl Strategy<Value = Vec<Room>> {
    prop::collection::vec(".{0,40}".prop_map(Room::from), 0..20)
}

fn options() -> impl Strategy<Value = BroadcastOptions> {
    let flags = (any::<bool>(), any::<Option<bool>>(), any::<Option<u32>>(), any::<bool>());
    (rooms(), rooms(), flags).prop_map(|(rooms, except, (volatile, compress, timeout, expect_single_response))| {
        let timeout = timeout.map(|millis| Duration::from_millis(millis.into()));
        BroadcastOptions::new(rooms, except).flags(BroadcastFlags {
            volatile,
            compress,
            timeout,
            expect_single_response,
        })
    })
}

fn request() -> impl Strategy<Value = RequestId> {
    "[A-Za-z0-9_-]{6}".prop_map(RequestId::from)
}

fn socket() -> impl Strategy<Value = SocketDescription> {
    let handshake = (".{0,20}", any::<bool>(), 0..1u64 << 53, payload());
    (".{0,20}", handshake, rooms(), payload()).prop_map(|(id, (text, flag, issued, auth), rooms, data)| {
        let mut socket = SocketDescription::new(id, rooms, data);
        let (text, secure) = (json!(text), !flag);
        let (auth, attachments) = auth.into_parts();
        let auth = std::str::from_utf8(&auth).unwrap();
        let head = format!(r#""headers":{{"a":{text}}},"time":{text},"address":"","xdomain":{flag},"secure":{secure}"#);
        let object = format!(r#"{{{head},"issued":{issued},"url":{text},"query":{{}},"auth":{auth}}}"#);
        socket.handshake = HandshakeDescription::new(Payload::new(object, attachments).unwrap()).unwrap();
        socket
    })
}

fn command() -> impl Strategy<Value = ClusterCommand> {
    let maybe = || prop::option::of(request());
    prop_oneof![
        4 => (options(), event(), maybe()).prop_map(|(options, event, request)| ClusterCommand::Emit { options, event, request }),
        1 => (options(), rooms()).prop_map(|(options, rooms)| ClusterCommand::Join { options, rooms }),
        1 => (options(), rooms()).prop_map(|(options, rooms)| ClusterCommand::Leave { options, rooms }),
        1 => (options(), any::<bool>()).prop_map(|(options, close)| ClusterCommand::Disconnect { options, close }),
        1 => (options(), request()).prop_map(|(options, request)| ClusterCommand::FetchSockets { options, request }),
        2 => (request(), prop::collection::vec(socket(), 0..3))
            .prop_map(|(request, sockets)| ClusterCommand::SocketsFetched { request, sockets }),
        1 => (event(), maybe()).prop_map(|(event, request)| ClusterCommand::ServerSideEmit { event, request }),
        1 => (request(), payload()).prop_map(|(request, answer)| ClusterCommand::ServerSideAck { request, answer: Some(answer) }),
        1 => (request(), payload()).prop_map(|(request, answer)| ClusterCommand::Ack { request, answer: Some(answer) }),
        1 => (request(), 0..1u64 << 53).prop_map(|(request, count)| ClusterCommand::Recipients { request, count }),
        1 => prop_oneof![Just(ClusterCommand::Hello), Just(ClusterCommand::Heartbeat), Just(ClusterCommand::Goodbye)],
    ]
}

fn message() -> impl Strategy<Value = ClusterMessage> {
    ("[0-9a-f]{16}", "/.{0,20}", command())
        .prop_map(|(sender, namespace, command)| ClusterMessage::new(sender, namespace, command))
}

fn has_handshake_with_bytes(command: &ClusterCommand) -> bool {
    matches!(command, ClusterCommand::SocketsFetched { .. }) && command.has_binary()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn sharded_messages_survive(message in message()) {
        let mut out = Vec::new();
        sharded::encode(&message, &mut out).unwrap();
        prop_assert_eq!(readable(&sharded::decode(&message.namespace, out.into()).unwrap()), readable(&message));
    }

    #[test]
    fn a_node_recognizes_its_own_messages(message in message()) {
        let is_escaped = serde_json::to_string(&*message.namespace).unwrap().len() > message.namespace.len() + 2;
        prop_assume!(!message.command.has_binary() && !is_escaped);
        let mut out = Vec::new();
        sharded::encode(&message, &mut out).unwrap();
        prop_assert!(sharded::is_own(&out, message.sender.as_deref().unwrap(), &message.namespace));
        prop_assert!(!sharded::is_own(&out, "another node", &message.namespace));
    }

    #[test]
    fn messages_on_the_channels_of_streams_survive(message in message()) {
        let mut out = Vec::new();
        streams::encode(&message, &mut out).unwrap();
        prop_assert_eq!(readable(&streams::decode(&message.namespace, out.into()).unwrap()), readable(&message));
    }

    #[test]
    fn entries_survive(message in message()) {
        prop_assume!(streams::goes_to_stream(&message));
        let entry = streams::encode_entry(&message, false).unwrap();
        let fields = entry.fields().map(|(name, value)| (name, bytes::Bytes::from(value)));
        let read = streams::decode_entry(fields.iter().map(|(name, value)| (name.as_bytes(), value))).unwrap();
        prop_assert_eq!(readable(&read), readable(&message));
    }

    #[test]
    fn messages_over_postgres_survive(message in message()) {
        prop_assume!(!has_handshake_with_bytes(&message.command));
        let read = match postgres::encode(&message, postgres::PAYLOAD_THRESHOLD).unwrap() {
            postgres::Outgoing::Notification(text) => match postgres::decode(&message.namespace, text.into()).unwrap() {
                postgres::Incoming::Message(message) => message,
                other @ postgres::Incoming::Attachment { .. } => panic!("{other:?}"),
            },
            postgres::Outgoing::Attachment(attachment) => {
                let header = postgres::header(&message).unwrap().join("7");
                let sender = message.sender.clone().unwrap();
                let expected = postgres::Incoming::Attachment { sender, id: 7 };
                prop_assert_eq!(postgres::decode(&message.namespace, header.into()).unwrap(), expected);
                postgres::decode_attachment(&message.namespace, attachment.into()).unwrap()
            }
        };
        prop_assert_eq!(readable(&read), readable(&message));
    }

    #[test]
    fn classic_messages_survive(message in message()) {
        use ClusterCommand::{Ack, Emit, Goodbye, Heartbeat, Hello};
        prop_assume!(!matches!(message.command, Hello | Heartbeat | Goodbye));
        // All else is JSON.
        prop_assume!(matches!(message.command, Emit { .. } | Ack { .. }) || !message.command.has_binary());
        let mut out = Vec::new();
        classic::encode(&message, &mut out).unwrap();
        let out = Bytes::from(out);
        let mut expected = readable(&message);
        let read = match &message.command {
            Emit { request: None, .. } => classic::decode_broadcast(&message.namespace, out).unwrap(),
            command if command.is_answer() => {
                expected.as_object_mut().unwrap().remove("uid");
                classic::decode_response(&message.namespace, out).unwrap()
            }
            command => {
                let flags = expected.pointer_mut("/data/opts/flags");
                if let Some(flags) = flags.filter(|_| !matches!(command, Emit { .. })) {
                    *flags = json!({});
                }
                classic::decode_request(&message.namespace, out).unwrap().message
            }
        };
        prop_assert_eq!(readable(&read), expected);
    }

    #[test]
    fn sessions_survive(id in ".{0,20}", rooms in rooms(), data in payload()) {
        let session = SessionRecord::new(id, "p", rooms, data);
        let read = streams::decode_session(streams::encode_session(&session).as_bytes()).unwrap();
        prop_assert_eq!(super::readable::value(&read.data), super::readable::value(&session.data));
        prop_assert_eq!((read.id, read.private_id, read.rooms), (session.id, session.private_id, session.rooms));
    }

    #[test]
    fn a_byte_more_or_less_never_panics(message in message(), cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut out = Vec::new();
        streams::encode(&message, &mut out).unwrap();
        let place = cut.index(out.len());
        crate::fuzz::cluster(&[&[5], &out[..place]].concat());
        out[place] = byte;
        crate::fuzz::cluster(&[&[5], &out[..]].concat());
        out.clear();
        sharded::encode(&message, &mut out).unwrap();
        let place = cut.index(out.len());
        out[place] = byte;
        crate::fuzz::cluster(&[&[4], &out[..]].concat());
    }
}
