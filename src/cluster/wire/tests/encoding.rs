//! What is written, where no fixture shows it.

use std::time::Duration;

use bytes::Bytes;

use crate::cluster::{
    message::{BroadcastFlags, BroadcastOptions, ClusterCommand, ClusterMessage, SocketDescription},
    payload::{EventBody, Payload},
    wire::*,
};

fn emit(json: &'static str, attachments: &[&'static [u8]]) -> ClusterMessage {
    let attachments = attachments.iter().map(|data| Bytes::from_static(data)).collect();
    let event = EventBody::new(json, attachments).unwrap();
    ClusterMessage::new("u", "/", ClusterCommand::Emit { options: BroadcastOptions::default(), event, request: None })
}

fn json(message: &ClusterMessage) -> String {
    let mut out = Vec::new();
    sharded::encode(message, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// What an argument is in msgpack.
fn msgpack(argument: &str) -> Vec<u8> {
    let event = EventBody::new(format!("[\"e\",{argument}]"), Vec::new()).unwrap();
    let command = ClusterCommand::Emit { options: BroadcastOptions::default(), event, request: None };
    let mut out = Vec::new();
    classic::encode(&ClusterMessage::new("u", "/", command), &mut out).unwrap();
    let rest = out.strip_prefix(b"\x93\xa1u\x83\xa4type\x02\xa4data\x92\xa1e").unwrap();
    rest.strip_suffix(b"\xa3nsp\xa1/\x83\xa5rooms\x90\xa6except\x90\xa5flags\x80").unwrap().to_vec()
}

#[test]
fn every_kind_of_value_has_its_smallest_form() {
    for (argument, bytes) in [
        ("null", &b"\xc0"[..]),
        ("true", b"\xc3"),
        ("false", b"\xc2"),
        ("0", b"\x00"),
        ("-0", b"\x00"),
        ("-0.0", b"\x00"),
        ("127", b"\x7f"),
        ("128", b"\xcc\x80"),
        ("256", b"\xcd\x01\x00"),
        ("65536", b"\xce\x00\x01\x00\x00"),
        ("4294967296", b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00"),
        ("9007199254740991", b"\xcf\x00\x1f\xff\xff\xff\xff\xff\xff"),
        ("9007199254740992", b"\xcb\x43\x40\x00\x00\x00\x00\x00\x00"),
        ("18446744073709551615", b"\xcb\x43\xf0\x00\x00\x00\x00\x00\x00"),
        ("1e20", b"\xcb\x44\x15\xaf\x1d\x78\xb5\x8c\x40"),
        ("-1", b"\xff"),
        ("-32", b"\xe0"),
        ("-33", b"\xd0\xdf"),
        ("-129", b"\xd1\xff\x7f"),
        ("-32769", b"\xd2\xff\xff\x7f\xff"),
        ("-9007199254740991", b"\xd3\xff\xe0\x00\x00\x00\x00\x00\x01"),
        ("-9007199254740992", b"\xcb\xc3\x40\x00\x00\x00\x00\x00\x00"),
        ("1.5", b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"),
        ("1.0", b"\x01"),
        ("1e2", b"\x64"),
        ("1e400", b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"),
        (r#""\u00e9\n\ud83d""#, b"\xa6\xc3\xa9\n\xef\xbf\xbd"),
        ("[ ]", b"\x90"),
        ("{ }", b"\x80"),
        (r#"[ 1 , { "a" : [ ] } ]"#, b"\x92\x01\x81\xa1a\x90"),
        // Without attachments this is an object like others.
        (r#"{"_placeholder":true,"num":0}"#, b"\x82\xac_placeholder\xc3\xa3num\x00"),
    ] {
        assert_eq!(msgpack(argument), bytes, "{argument}");
    }
}

#[test]
fn long_arrays_and_maps_have_longer_headers() {
    let list = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    assert_eq!(msgpack(&list(15)), [&[0x9f][..], &[1; 15]].concat());
    assert_eq!(msgpack(&list(16)), [&[0xdc, 0, 16][..], &[1; 16]].concat());
    assert_eq!(msgpack(&list(65_535)), [&[0xdc, 0xff, 0xff][..], &[1; 65_535]].concat());
    assert_eq!(msgpack(&list(65_536)), [&[0xdd, 0, 1, 0, 0][..], &[1; 65_536]].concat());
    let inner = [&[0xdc, 0, 16][..], &[1; 16]].concat();
    let nested = format!("[{}]", vec![list(16); 17].join(","));
    assert_eq!(msgpack(&nested), [&[0xdc, 0, 17][..], &inner.repeat(17)].concat());
    let map: Vec<String> = (10..30).map(|key| format!("\"{key}\":{}", list(16))).collect();
    let entries: Vec<u8> =
        (10..30).flat_map(|key| [&[0xa2][..], key.to_string().as_bytes(), &inner].concat()).collect();
    assert_eq!(
        msgpack(&format!("[0,{{{}}},2]", map.join(","))),
        [&[0x93, 0, 0xde, 0, 20][..], &entries, &[2]].concat()
    );
}

#[test]
fn flags_have_an_order() {
    let mut message = emit("[\"e\"]", &[]);
    let ClusterCommand::Emit { options, .. } = &mut message.command else { panic!() };
    let timeout = Some(Duration::from_micros(1_500_900));
    options.flags = BroadcastFlags { volatile: true, compress: Some(true), timeout, expect_single_response: true };
    options.except = vec!["\"\u{1}é".into()];
    assert_eq!(
        json(&message),
        r#"{"type":3,"data":{"packet":{"type":2,"data":["e"]},"opts":{"rooms":[],"except":["\"\u0001é"],"flags":{"volatile":true,"compress":true,"expectSingleResponse":true,"timeout":1500}}},"uid":"u","nsp":"/"}"#
    );
}

#[test]
fn json_has_no_bytes() {
    let event = EventBody::new(
        r#"["a{\"_placeholder\":true,\"num\":0}",{"_placeholder":true,"num":1},[{"num":0, "_placeholder" : true }],{"\u005fplaceholder":true,"num":0}]"#,
        vec![Bytes::from_static(&[0, 10, 255]), Bytes::new()],
    )
    .unwrap();
    let message = ClusterMessage::new("u", "/", ClusterCommand::ServerSideEmit { event, request: None });
    let mut out = Vec::new();
    classic::encode(&message, &mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"{"uid":"u","type":6,"data":["a{\"_placeholder\":true,\"num\":0}",{"type":"Buffer","data":[]},[{"type":"Buffer","data":[0,10,255]}],{"\u005fplaceholder":true,"num":0}]}"#
    );
    let entry = streams::encode_entry(&emit(r#"["e",{"_placeholder":true,"num":0}]"#, &[b"\x07"]), true).unwrap();
    assert!(entry.data.starts_with(br#"{"packet":{"type":2,"data":["e",{"type":"Buffer","data":[7]}]}"#));
}

/// Node.js takes one byte more for a notification, which Postgres refuses.
#[test]
fn a_message_of_8000_bytes_is_an_attachment() {
    let length = |count: usize| {
        let event = EventBody::new(format!("[\"{}\"]", "e".repeat(count)), Vec::new()).unwrap();
        let command = ClusterCommand::ServerSideEmit { event, request: None };
        ClusterMessage::new("u", "/", command)
    };
    let rest = json(&length(0)).len();
    let encode = |count| postgres::encode(&length(count - rest), postgres::PAYLOAD_THRESHOLD).unwrap();
    assert!(matches!(encode(7999), postgres::Outgoing::Notification(text) if text.len() == 7999));
    let postgres::Outgoing::Attachment(attachment) = encode(8000) else { panic!("not an attachment") };
    assert_eq!(postgres::decode_attachment("/", attachment.into()).unwrap(), length(8000 - rest));
    // What an application sets above the limit of Postgres does not help it.
    assert!(matches!(postgres::encode(&length(9000), 10_000).unwrap(), postgres::Outgoing::Attachment(_)));
}

#[test]
fn sockets_with_bytes_are_msgpack_only_where_the_adapter_does_so() {
    let data = Payload::new(r#"{"a":{"_placeholder":true,"num":0}}"#, vec![Bytes::from_static(b"\x07")]).unwrap();
    let sockets = vec![SocketDescription::new("s", vec!["s".into()], data)];
    let message =
        ClusterMessage::new("u", "/", ClusterCommand::SocketsFetched { request: "q".into(), sockets }).to("v");
    let mut out = Vec::new();
    sharded::encode(&message, &mut out).unwrap();
    assert_eq!(out[0], 0x84);
    assert_eq!(sharded::decode("/", out.into()).unwrap().command, message.command);
    let postgres::Outgoing::Notification(text) = postgres::encode(&message, 8000).unwrap() else { panic!() };
    assert!(text.contains(r#""data":{"a":{"type":"Buffer","data":[7]}}"#));
}

#[test]
fn what_an_adapter_does_not_have_is_not_written() {
    let message = |command| ClusterMessage::new("u", "/", command);
    let mut out = Vec::new();
    assert!(classic::encode(&message(ClusterCommand::Hello), &mut out).is_err());
    assert!(sharded::encode(&message(ClusterCommand::ListRooms { request: "q".into() }), &mut out).is_err());
    assert!(streams::encode_entry(&message(ClusterCommand::Heartbeat), false).is_err());
    let mut nameless = emit("[\"e\"]", &[]);
    nameless.sender = None;
    assert!(sharded::encode(&nameless, &mut out).is_err());
    assert!(classic::encode(&nameless, &mut out).is_err());
    assert!(out.is_empty());
}
