use super::{super::encode::encode, *};
use proptest::prelude::*;

const LIMITS: Limits = Limits { attachments: 3, depth: 3 };

fn read(message: &[u8]) -> Result<SocketPacket> {
    decode(&Bytes::copy_from_slice(message), LIMITS)
}

/// An event whose only argument is written like this.
fn event(argument: &[u8]) -> Result<SocketPacket> {
    let message = [b"\x83\xa4type\x02\xa4data\x92\xa1e", argument, b"\xa3nsp\xa1/"].concat();
    read(&message)
}

fn argument(argument: &[u8]) -> Value {
    match event(argument).unwrap().data {
        Some(Value::Array(mut values)) => values.pop().unwrap(),
        other => panic!("no arguments: {other:?}"),
    }
}

fn error(message: &[u8]) -> String {
    read(message).unwrap_err().to_string()
}

fn number(number: impl Into<Number>) -> Value {
    Value::Number(number.into())
}

#[test]
fn what_the_client_sends_is_read() {
    let connect = read(b"\x83\xa4type\x00\xa4data\x81\xa1a\x01\xa3nsp\xa1/").unwrap();
    let auth = Value::Object([("a".to_owned(), number(1))].into());
    let kind = SocketPacketKind::Connect;
    assert_eq!(connect, SocketPacket { kind, namespace: "/".to_owned(), id: None, data: Some(auth) });
    let bare = read(b"\x83\xa4type\x00\xa4data\xd4\x00\x00\xa3nsp\xa6/admin").unwrap();
    assert_eq!(bare, SocketPacket { kind, namespace: "/admin".to_owned(), id: None, data: None });
    let with_options =
        b"\x85\xa4type\x02\xa4data\x91\xa1e\xa7options\x81\xa8compress\xc3\xa2id\xcd\x01\x00\xa3nsp\xa1/";
    assert_eq!(read(with_options).unwrap().id, Some(256));
}

#[test]
fn every_kind_of_value_is_read() {
    for (bytes, value) in [
        (&b"\xc0"[..], Value::Null),
        (b"\xc2", Value::Bool(false)),
        (b"\xc3", Value::Bool(true)),
        (b"\x7f", number(127)),
        (b"\xff", number(-1)),
        (b"\xcc\xff", number(255)),
        (b"\xcd\x01\x00", number(256)),
        (b"\xce\xff\xff\xff\xff", number(u32::MAX)),
        (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", number(u64::MAX)),
        (b"\xd0\x80", number(-128)),
        (b"\xd1\x80\x00", number(i16::MIN)),
        (b"\xd2\x80\x00\x00\x00", number(i32::MIN)),
        (b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", number(i64::MIN)),
        (b"\xca\x3f\x00\x00\x00", Value::Number(Number::from_f64(0.5).unwrap())),
        (b"\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00", Value::Number(Number::from_f64(0.5).unwrap())),
        (b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", Value::Null),
        (b"\xa2\xc3\xa9", Value::String("é".to_owned())),
        (b"\xa1\xff", Value::String("\u{fffd}".to_owned())),
        (b"\xd9\x01a", Value::String("a".to_owned())),
        (b"\xda\x00\x01a", Value::String("a".to_owned())),
        (b"\xdb\x00\x00\x00\x01a", Value::String("a".to_owned())),
        (b"\xc4\x01\x07", Value::Binary(Bytes::from_static(&[7]))),
        (b"\xc5\x00\x01\x07", Value::Binary(Bytes::from_static(&[7]))),
        (b"\xc6\x00\x00\x00\x01\x07", Value::Binary(Bytes::from_static(&[7]))),
        (b"\xc7\x01\x00\x07", Value::Binary(Bytes::from_static(&[7]))),
        (b"\xc8\x00\x01\x00\x07", Value::Binary(Bytes::from_static(&[7]))),
        (b"\xd4\x00\x00", Value::Null),
        (b"\xd4\x05\x07", Value::Array(vec![number(5), Value::Binary(Bytes::from_static(&[7]))])),
        (b"\xd7\x00\x00\x00\x01\x8d\xf4\xdc\x54\x95", Value::String("2024-02-29T12:34:56.789Z".to_owned())),
        (b"\xdc\x00\x01\x01", Value::Array(vec![number(1)])),
        (b"\xdd\x00\x00\x00\x01\x01", Value::Array(vec![number(1)])),
        (b"\xde\x00\x01\xa1a\x01", Value::Object([("a".to_owned(), number(1))].into())),
        (b"\xdf\x00\x00\x00\x01\x05\x01", Value::Object([("5".to_owned(), number(1))].into())),
        (b"\x81\xa1a\xd4\x00\x00", Value::Object(BTreeMap::new())),
    ] {
        assert_eq!(argument(bytes), value, "{bytes:x?}");
    }
}

#[test]
fn what_is_no_packet_is_refused() {
    assert_eq!(error(b""), "the msgpack is truncated");
    assert_eq!(error(b"\x01"), "a msgpack message is no map");
    assert_eq!(error(b"\x81\xa3nsp\xa1/"), "invalid packet type");
    for kind in [&b"\x05"[..], b"\xff", b"\xa1\x32", b"\xc0", b"\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00"] {
        assert_eq!(error(&[b"\x82\xa4type", kind, b"\xa3nsp\xa1/"].concat()), "invalid packet type");
    }
    assert_eq!(error(b"\x81\xa4type\x01"), "invalid namespace");
    assert_eq!(error(b"\x82\xa4type\x01\xa3nsp\x01"), "invalid namespace");
    for id in [&b"\xff"[..], b"\xa1\x32", b"\xc0", b"\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00"] {
        assert_eq!(error(&[b"\x83\xa4type\x02\xa3nsp\xa1/\xa2id", id].concat()), "invalid packet id");
    }
    assert_eq!(error(b"\x82\xa4type\x01\xa3nsp\xa1/\xc0"), "trailing bytes behind the msgpack");
    assert_eq!(error(b"\x81\xc3\x01"), "a key of a map is no string");
    assert_eq!(event(b"\xc1").unwrap_err().to_string(), "not msgpack");
}

#[test]
fn an_integer_may_be_written_as_a_float() {
    let packet =
        read(b"\x83\xa4type\xcb\x40\x00\x00\x00\x00\x00\x00\x00\xa3nsp\xa1/\xa2id\xca\x40\x40\x00\x00").unwrap();
    assert_eq!((packet.kind, packet.id), (SocketPacketKind::Event, Some(3)));
}

#[test]
fn depth_and_binary_are_bounded() {
    event(b"\x91\x91\x01").unwrap();
    event(b"\x91\x81\xa1a\x01").unwrap();
    for nested in [&b"\x91\x91\x91\x01"[..], b"\x91\x91\x80", b"\x91\x91\xd4\x05\x07"] {
        let error = event(nested).unwrap_err().to_string();
        assert_eq!(error, "the data is nested deeper than max_json_depth", "{nested:x?}");
    }
    // Keys that are passed over are no way around it.
    assert!(read(&[&b"\x81\xa1x"[..], &[0x91; 100_000]].concat()).is_err());
    event(b"\x93\xc4\x00\xc4\x00\xc4\x00").unwrap();
    let error = event(b"\x94\xc4\x00\xc4\x00\xc4\x00\xc7\x00\x00").unwrap_err().to_string();
    assert_eq!(error, "more attachments than max_attachments");
}

/// Four billion of anything are announced, and are not there.
#[test]
fn nothing_is_allocated_for_what_is_announced() {
    for marker in [0xdd, 0xdf, 0xdb, 0xc6, 0xc9] {
        let announced = [marker, 0xff, 0xff, 0xff, 0xff, 0];
        let info = allocation_counter::measure(|| assert_eq!(event(&announced).unwrap_err(), TRUNCATED));
        assert!(info.bytes_max < 10_000, "{marker:x}: {info:?}");
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(number),
        any::<u64>().prop_map(number),
        (-200i64..70_000).prop_map(number),
        any::<f64>().prop_map(|float| Number::from_f64(float).map_or(Value::Null, Value::Number)),
        ".*".prop_map(Value::String),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|data| Value::Binary(data.into())),
    ];
    leaf.prop_recursive(3, 10, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::Array),
            prop::collection::btree_map(".*", inner, 0..20).prop_map(Value::Object),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(namespace in "/[a-zé]{0,40}", id in any::<Option<u64>>(), data in prop::option::of(value())) {
        let packet = SocketPacket { kind: SocketPacketKind::Event, namespace, id, data };
        let limits = Limits { attachments: usize::MAX, depth: 10 };
        prop_assert_eq!(decode(&encode(&packet).unwrap().into(), limits), Ok(packet));
    }

    #[test]
    fn reading_never_panics(message in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = read(&message);
        let _ = event(&message);
    }
}
