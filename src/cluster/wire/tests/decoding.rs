//! What is taken that Node.js's nodes do not send, and what is refused.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::cluster::{
    message::{BroadcastFlags, BroadcastOptions, ClusterCommand, ClusterMessage},
    wire::*,
};

use super::readable::{readable, value};

/// A message of the family, on the channel of `/`.
fn sharded(message: impl AsRef<[u8]>) -> Result<ClusterMessage> {
    sharded::decode("/", Bytes::copy_from_slice(message.as_ref()))
}

fn command(kind: u64, data: &str) -> Result<ClusterCommand> {
    sharded(format!(r#"{{"type":{kind},"data":{data},"uid":"u","nsp":"/"}}"#)).map(|message| message.command)
}

fn broadcast(packet: &str, options: &str) -> Result<ClusterCommand> {
    command(3, &format!(r#"{{"packet":{packet},"opts":{options}}}"#))
}

fn options(options: &str) -> BroadcastOptions {
    match broadcast(r#"{"type":2,"data":["e"]}"#, options) {
        Ok(ClusterCommand::Emit { options, .. }) => options,
        other => panic!("{other:?}"),
    }
}

/// A broadcast of the classic adapter whose only argument is this.
fn classic(argument: &[u8]) -> Result<Value> {
    let message = [b"\x93\xa1u\x82\xa4type\x02\xa4data\x92\xa1e", argument, b"\x80"].concat();
    let message = classic::decode_broadcast("/", message.into())?;
    Ok(readable(&message)["data"]["packet"]["data"][1].clone())
}

#[test]
fn options_that_are_absent_are_empty() {
    for empty in ["{}", r#"{"rooms":null,"except":null,"flags":null}"#, r#"{"flags":{},"more":{"a":[1]}}"#] {
        assert_eq!(options(empty), BroadcastOptions::default());
    }
    let all = options(
        r#"{"flags":{"timeout":1500,"volatile":true,"compress":false,"expectSingleResponse":true,"binary":true},"rooms":["a",42,-0,1.50,1e21],"except":["\u0062"]}"#,
    );
    let names = |rooms: &[crate::room::Room]| rooms.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&all.rooms), ["a", "42", "0", "1.5", "1e+21"]);
    assert_eq!(names(&all.except), ["b"]);
    let timeout = Some(Duration::from_millis(1500));
    let flags = BroadcastFlags { volatile: true, compress: Some(false), timeout, expect_single_response: true };
    assert_eq!(all.flags, flags);
    // Flags of other types are like none: what they were meant to say is unknown.
    assert_eq!(options(r#"{"flags":{"volatile":"yes","compress":1,"timeout":-1}}"#), BroadcastOptions::default());
    assert_eq!(options(r#"{"flags":{"timeout":1e300}}"#), BroadcastOptions::default());
}

#[test]
fn what_would_break_clients_is_refused() {
    for packet in [
        "{}",
        "null",
        "[]",
        r#"{"type":2}"#,
        r#"{"type":2,"data":null}"#,
        r#"{"type":2,"data":{}}"#,
        r#"{"type":2,"data":"ev"}"#,
        r#"{"type":2,"data":[]}"#,
        r#"{"type":2,"data":[null]}"#,
        r#"{"type":2,"data":["disconnect"]}"#,
        r#"{"type":2,"data":["conn\u0065ct"]}"#,
        r#"{"type":4,"data":["e"]}"#,
        r#"{"type":5,"data":["e"]}"#,
        r#"{"type":"2","data":["e"]}"#,
        r#"{"data":["e"]}"#,
    ] {
        assert!(broadcast(packet, "{}").is_err(), "{packet}");
    }
    let emit = broadcast(r#"{"id":7,"nsp":"/other","type":2.0,"data":[42,"a"]}"#, "{}").unwrap();
    let ClusterCommand::Emit { event, request: None, .. } = emit else { panic!("{emit:?}") };
    assert_eq!((event.json(), &*event.name()), (r#"[42,"a"]"#, "42"));
    for options in
        ["null", "[]", "1", r#"{"rooms":"a"}"#, r#"{"rooms":[{}]}"#, r#"{"except":[true]}"#, r#"{"flags":[]}"#]
    {
        assert!(broadcast(r#"{"type":2,"data":["e"]}"#, options).is_err(), "{options}");
    }
}

#[test]
fn messages_that_lack_something_are_refused() {
    for (kind, data) in [
        (3, r#"{"packet":{"type":2,"data":["e"]}}"#),
        (3, r#"{"opts":{}}"#),
        (4, r#"{"opts":{}}"#),
        (4, r#"{"rooms":["a"]}"#),
        (5, r#"{"opts":{},"rooms":"a"}"#),
        (6, r#"{"close":true}"#),
        (7, r#"{"opts":{}}"#),
        (8, r#"{"requestId":"a"}"#),
        (8, r#"{"requestId":"a","sockets":[{}]}"#),
        (9, r#"{"requestId":"a"}"#),
        (9, r#"{"packet":{}}"#),
        (10, "{}"),
        (11, r#"{"requestId":"a"}"#),
        (11, r#"{"requestId":"a","clientCount":-1}"#),
        (12, r#"{"packet":1}"#),
        (0, "{}"),
        (14, "{}"),
        (99, "{}"),
    ] {
        assert!(command(kind, data).is_err(), "{kind} {data}");
        assert!(command(kind, "null").is_err());
        assert!(command(kind, "[]").is_err());
    }
    for message in [
        "null",
        "[]",
        "1",
        "",
        "{",
        "{}",
        r#"{"type":1,"uid":"u","nsp":"/"}x"#,
        r#"{"type":1,"nsp":"/"}"#,
        r#"{"type":1,"uid":"u"}"#,
        r#"{"type":1,"uid":"u","nsp":"/other"}"#,
        r#"{"type":1,"uid":{},"nsp":"/"}"#,
        r#"{"uid":"u","nsp":"/"}"#,
        "{\"type\":1,\"uid\":\"\u{0}\",\"nsp\":\"/\"}",
    ] {
        assert!(sharded(message).is_err(), "{message}");
    }
    assert!(sharded(b"{\"type\":1,\"uid\":\"\xff\",\"nsp\":\"/\"}").is_err());
}

#[test]
fn of_a_key_that_is_repeated_the_last_one_counts() {
    let message = sharded(r#" { "nsp" : "/x" , "a\"":[{"nsp":1}], "uid":"u", "type": 1 ,"n\u0073p":"/" } "#);
    // JSON with a space in front is not taken for JSON: Node.js looks at the first byte.
    assert!(message.is_err());
    let message = sharded(r#"{ "nsp" : "/x" , "a\"":[{"nsp":1}], "uid":"u", "type": 1 ,"n\u0073p":"/" } "#).unwrap();
    assert_eq!(message, ClusterMessage::new("u", "/", ClusterCommand::Hello));
}

#[test]
fn undefined_and_null_answers_are_told_apart_where_the_wire_does() {
    let answer = |message: Result<ClusterMessage>| match message.unwrap().command {
        ClusterCommand::Ack { answer, .. } | ClusterCommand::ServerSideAck { answer, .. } => answer.map(|a| value(&a)),
        other => panic!("{other:?}"),
    };
    let json = |data: &str| answer(sharded(format!(r#"{{"type":12,"data":{data},"uid":"u","nsp":"/"}}"#)));
    assert_eq!(json(r#"{"requestId":"a"}"#), None);
    assert_eq!(json(r#"{"requestId":"a","packet":null}"#), Some(Value::Null));
    assert_eq!(json(r#"{"requestId":"a","packet":[1]}"#), Some(json!([1])));
    let response = |message: &[u8]| answer(classic::decode_response("/", Bytes::copy_from_slice(message)));
    assert_eq!(response(b"\x82\xa4type\x09\xa9requestId\xa1a"), None);
    assert_eq!(response(b"\x83\xa4type\x09\xa9requestId\xa1a\xa6packet\xd4\x00\x00"), None);
    assert_eq!(response(b"\x83\xa4type\x09\xa9requestId\xa1a\xa6packet\xc0"), Some(Value::Null));
    assert_eq!(response(br#"{"type":6,"requestId":"a"}"#), None);
}

#[test]
fn every_kind_of_msgpack_is_shown_as_json_does() {
    for (bytes, expected) in [
        (&b"\xc0"[..], json!(null)),
        (b"\xc2", json!(false)),
        (b"\xcf\x00\x20\x00\x00\x00\x00\x00\x00", json!(9_007_199_254_740_992.0)),
        (b"\xd3\xff\xff\xff\xff\xff\xff\xff\xff", json!(-1)),
        (b"\xca\x3f\xc0\x00\x00", json!(1.5)),
        (b"\xcb\x40\x00\x00\x00\x00\x00\x00\x00", json!(2)),
        (b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", json!(null)),
        (b"\xd9\x02\xc3\xa9", json!("é")),
        (b"\xa1\xff", json!("\u{fffd}")),
        (b"\xa4\"\\\n\x01", json!("\"\\\n\u{1}")),
        (b"\xc4\x02\x01\x02", json!({"$bin": "0102"})),
        (b"\xc6\x00\x00\x00\x01\x07", json!({"$bin": "07"})),
        (b"\xc7\x01\x00\x07", json!({"$bin": "07"})),
        (b"\x92\xc4\x01\x07\xc4\x00", json!([{"$bin": "07"}, {"$bin": ""}])),
        (b"\xd6\xff\x00\x00\x00\x01", json!("1970-01-01T00:00:01.000Z")),
        (b"\xd7\xff\x77\x35\x94\x00\x00\x00\x00\x01", json!("1970-01-01T00:00:01.500Z")),
        (b"\xc7\x0c\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff", json!("1969-12-31T23:59:59.000Z")),
        (b"\xc7\x0c\xff\x00\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff", json!(null)),
        (b"\xd7\x00\x00\x00\x01\x8d\xf4\xdc\x54\x95", json!("2024-02-29T12:34:56.789Z")),
        (b"\x92\xd4\x00\x00\x01", json!([null, 1])),
        (b"\x82\xa1a\xd4\x00\x00\xa1b\x01", json!({"b": 1})),
        (b"\x82\xa1b\x01\xa1a\xd4\x00\x00", json!({"b": 1})),
        (b"\x91\x81\xa1a\xd4\x00\x00", json!([{}])),
        (b"\xdf\x00\x00\x00\x01\x05\x90", json!({"5": []})),
    ] {
        let shown = classic(bytes).unwrap();
        assert_eq!(shown, expected, "{bytes:x?}");
    }
    for unknown in
        [&b"\xd4\x05\x07"[..], b"\xc1", b"\xd5\xff\x00\x00", b"\xd5\x00\x00\x00", b"\x81\xc3\x01", b"\x92\x01"]
    {
        assert!(classic(unknown).is_err(), "{unknown:x?}");
    }
}

#[test]
fn an_object_that_looks_like_a_placeholder_is_none() {
    let message = b"\x93\xa1u\x82\xa4type\x02\xa4data\x93\xa1e\x82\xac_placeholder\xc3\xa3num\x00\xc4\x01\x07\x80";
    let read = classic::decode_broadcast("/", Bytes::from_static(message)).unwrap();
    let ClusterCommand::Emit { event, .. } = &read.command else { panic!("{read:?}") };
    assert_eq!(event.json(), r#"["e",{"\u005fplaceholder":true,"num":0},{"_placeholder":true,"num":0}]"#);
    let mut out = Vec::new();
    classic::encode(&read, &mut out).unwrap();
    assert!(out.windows(25).any(|part| part == b"\x82\xac_placeholder\xc3\xa3num\x00\xc4\x01\x07\xa3n"));
}

#[test]
fn the_form_of_a_classic_broadcast() {
    let read = |message: &[u8]| classic::decode_broadcast("/", Bytes::copy_from_slice(message));
    assert!(read(b"\x93\xa1u\x82\xa4type\x02\xa4data\x91\xa1e\x80").is_ok());
    assert!(read(b"\x94\xa1u\x82\xa4type\x02\xa4data\x91\xa1e\x80\x01").is_ok());
    for refused in [
        &b"\xc0"[..],
        b"{}",
        b"",
        b"\x92\xa1u\x82\xa4type\x02\xa4data\x91\xa1e",
        b"\x93\xa1u\x82\xa4type\x02\xa4data\x91\xa1e\xc0",
        b"\x93\xa1u\x83\xa4type\x02\xa4data\x91\xa1e\xa3nsp\xa2/x\x80",
        b"\x93\xa1u\x82\xa4type\x02\xa4data\x91\xa1e\x80\xc0",
        b"\x93\xa1u\xc0\x80",
        b"\x93\xa1u\x82\xa4type\x02\xa4data\x91\xa1e\x90",
    ] {
        assert!(read(refused).is_err(), "{refused:x?}");
    }
    // Without a name, it is the namespace `/`.
    let nameless = Bytes::from_static(b"\x93\xa1u\x82\xa4type\x02\xa4data\x91\xa1e\x80");
    assert!(classic::decode_broadcast("/x", nameless).is_err());
}

#[test]
fn requests_and_responses_in_old_and_strange_forms() {
    let request = |text: &'static str| classic::decode_request("/", text.into());
    let join = request(r#"{"requestId":"q","type":2,"sid":"s","room":"r"}"#).unwrap();
    assert_eq!(join.legacy, Some("q".into()));
    let expected = json!({"opts": {"rooms": ["s"], "except": [], "flags": {}}, "rooms": ["r"]});
    assert_eq!((readable(&join.message)["data"].clone(), join.message.sender), (expected, None));
    let disconnect = request(r#"{"requestId":"q","type":4,"sid":"s","close":true}"#).unwrap();
    assert_eq!(readable(&disconnect.message)["data"]["close"], json!(true));
    let mut done = Vec::new();
    classic::encode_done(&"q".into(), &mut done);
    assert_eq!(done, br#"{"requestId":"q"}"#);
    let list = request(r#"{"uid":"u","requestId":"q","type":0,"rooms":["r"]}"#).unwrap().message.command;
    assert_eq!(list, ClusterCommand::ListSockets { rooms: vec!["r".into()], request: "q".into() });
    for refused in [
        r#"{"type":5,"requestId":"a"}"#,
        r#"{"type":6,"uid":"x","requestId":"q"}"#,
        r#"{"type":2,"rooms":["a"]}"#,
        r#"{"type":2,"sid":"s","room":"r"}"#,
        r#"{"type":3,"requestId":"q","sid":"s"}"#,
        r#"{"type":1}"#,
        r#"{"type":7,"requestId":"q","opts":{}}"#,
        r#"{"type":10}"#,
        r#"{"uid":"u"}"#,
        "null",
        "\u{40}",
    ] {
        assert!(request(refused).is_err(), "{refused}");
    }
    assert!(classic::decode_request("/", Bytes::from_static(b"\xc0")).is_err());

    let response = |text: &'static str| classic::decode_response("/", text.into()).map(|message| message.command);
    let empty = ClusterCommand::SocketsFetched { request: "q".into(), sockets: Vec::new() };
    for counted in [r#"{"requestId":"q"}"#, r#"{"requestId":"q","sockets":[]}"#, r#"{"requestId":"q","sockets":5}"#] {
        assert_eq!(response(counted).unwrap(), empty, "{counted}");
    }
    let ids = ClusterCommand::SocketsListed { request: "q".into(), ids: vec!["a".into(), "b".into()] };
    assert_eq!(response(r#"{"requestId":"q","sockets":["a","b"]}"#).unwrap(), ids);
    for refused in ["null", "{}", r#"{"requestId":"q","type":8}"#, r#"{"requestId":"q","sockets":["a",{"id":"b"}]}"#] {
        assert!(response(refused).is_err(), "{refused}");
    }
}

#[test]
fn an_entry_of_a_stream_is_whole_or_refused() {
    let read = |fields: &[(&'static str, &'static str)]| {
        let value = |value: &'static str| Bytes::from_static(value.as_bytes());
        let fields: Vec<_> = fields.iter().map(|(name, text)| (name.as_bytes(), value(text))).collect();
        streams::decode_entry(fields.iter().map(|(name, value)| (*name, value)))
    };
    let data = ("data", r#"{"packet":{"type":2,"data":["e"]},"opts":{}}"#);
    let (uid, nsp, kind) = (("uid", "u"), ("nsp", "/"), ("type", "3"));
    assert!(read(&[data, ("more", "\u{0}"), kind, nsp, uid]).is_ok());
    for fields in [[uid, nsp, kind, kind], [uid, nsp, data, data], [uid, kind, data, data], [nsp, kind, data, data]] {
        assert!(read(&fields).is_err());
    }
    for broken in ["", "{", "[]", "null", "gg=", "gg", "gA", "gA==x", "{\"packet\":1}"] {
        assert!(read(&[uid, nsp, kind, ("data", broken)]).is_err(), "{broken}");
    }
    assert!(read(&[uid, nsp, ("type", "3.0"), data]).is_err());
    assert!(streams::decode("/", Bytes::from_static(br#"{"type":1,"uid":"u","nsp":"/"}"#)).is_err());
}

#[test]
fn a_notification_may_name_no_namespace() {
    let read = |text: &'static str| postgres::decode("/chat", text.into());
    let hello = postgres::Incoming::Message(ClusterMessage::new("emitter", "/chat", ClusterCommand::Hello));
    assert_eq!(read(r#"{"type":1,"uid":"emitter"}"#).unwrap(), hello);
    assert_eq!(read(r#"{"nodeId":"n","type":1,"uid":"emitter","nsp":"/chat"}"#).unwrap(), hello);
    assert!(read(r#"{"type":1,"uid":"emitter","nsp":"/"}"#).is_err());
    for id in ["7", "\"7\""] {
        let text = format!(r#"{{"uid":"u","type":3,"attachmentId":{id}}}"#);
        let attachment = postgres::Incoming::Attachment { sender: "u".into(), id: 7 };
        assert_eq!(postgres::decode("/chat", text.into()).unwrap(), attachment);
    }
    for refused in
        [r#"{"attachmentId":"7"}"#, r#"{"uid":"u","attachmentId":"7 or 1"}"#, r#"{"uid":"u","attachmentId":[]}"#]
    {
        assert!(read(refused).is_err(), "{refused}");
    }
}

#[test]
fn nothing_is_allocated_for_what_is_announced() {
    for marker in [0xdd, 0xdf, 0xdb, 0xc6, 0xc9] {
        let announced = [marker, 0xff, 0xff, 0xff, 0xff, 0];
        let info = allocation_counter::measure(|| assert!(classic(&announced).is_err()));
        assert!(info.bytes_max < 10_000, "{marker:x}: {info:?}");
    }
}

#[test]
fn nesting_is_bounded() {
    let deep = |levels: usize| {
        let argument = [&vec![0x91; levels - 1][..], b"\x90"].concat();
        let message = [b"\x93\xa1u\x82\xa4type\x02\xa4data\x92\xa1e", &argument[..], b"\x80"].concat();
        classic::decode_broadcast("/", message.into())
    };
    assert!(deep(1024).is_ok());
    assert!(deep(1025).is_err());
    assert!(deep(1_000_000).is_err());
    let json = |levels: usize| {
        broadcast(&format!(r#"{{"type":2,"data":["e",{}{}]}}"#, "[".repeat(levels), "]".repeat(levels)), "{}")
    };
    assert!(json(1024).is_ok());
    assert!(json(1025).is_err());
    assert!(json(1_000_000).is_err());
    // What is passed over may be nested as deeply as it likes.
    let unknown = format!(r#"{{"type":1,"uid":"u","nsp":"/","x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(sharded(unknown).is_ok());
}

/// Node.js stored it after `socket.join(undefined)`.
#[test]
fn a_session_may_have_a_room_without_a_name() {
    let stored = "hKNzaWS0TUNOMUlrZWZwQXJvUzcwM3ZTb1OjcGlktGdyYU5KR285MWFpaVFNaXlxc2VLpXJvb21zk7RNQ04xSWtlZnBBcm9TNzAzdlNvU6Ryb29t\
                  wKRkYXRhgA==";
    let session = streams::decode_session(stored.as_bytes()).unwrap();
    assert_eq!(session.rooms, ["MCN1IkefpAroS703vSoS", "room"]);
}

/// The peak of what is allocated for a message, of which each byte is worth as much as it can be.
#[test]
fn a_message_takes_few_bytes_for_each_of_its_own() {
    for (name, element, bound) in [
        ("binary", &b"\xc4\x00"[..], 70.0),
        ("numbers", b"\xcb\x00\x00\x00\x00\x00\x00\x00\x01", 5.0),
        ("nulls", b"\xc0", 20.0),
    ] {
        let count = 900_000 / element.len();
        let mut message = b"\x93\xa1u\x82\xa4type\x02\xa4data\x92\xa1e\xdd".to_vec();
        message.extend((count as u32).to_be_bytes());
        message.extend(element.repeat(count));
        message.push(0x80);
        let (length, message) = (message.len() as f64, Bytes::from(message));
        let info = allocation_counter::measure(|| assert!(classic::decode_broadcast("/", message).is_ok()));
        let each = info.bytes_max as f64 / length;
        println!("{name}: {each:.1} bytes at the peak for each of msgpack");
        assert!(each < bound, "{name}: {each}");
    }
}
