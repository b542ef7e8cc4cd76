use super::{
    super::{encode::encode, reader::TRUNCATED},
    *,
};
use proptest::prelude::*;

const LIMITS: Limits = Limits { attachments: 0, depth: 2 };

fn read(message: &[u8]) -> Result<SocketIoPacket> {
    decode(&Bytes::copy_from_slice(message), LIMITS)
}

/// Decodes an event with one argument.
fn event(argument: &[u8]) -> Result<SocketIoPacket> {
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

fn number(number: impl Into<Value>) -> Value {
    number.into()
}

fn binary(data: &'static [u8]) -> Value {
    Bytes::from_static(data).into()
}

#[test]
fn packets_of_the_javascript_client_are_decoded() {
    let connect = read(b"\x83\xa4type\x00\xa4data\x81\xa1a\x01\xa3nsp\xa1/").unwrap();
    let auth = Value::from_iter([("a", 1)]);
    let packet_type = SocketIoPacketType::Connect;
    assert_eq!(connect, SocketIoPacket { packet_type, namespace: "/".to_owned(), id: None, data: Some(auth) });
    let bare = read(b"\x83\xa4type\x00\xa4data\xd4\x00\x00\xa3nsp\xa6/admin").unwrap();
    assert_eq!(bare, SocketIoPacket { packet_type, namespace: "/admin".to_owned(), id: None, data: None });
    let with_options =
        b"\x85\xa4type\x02\xa4data\x91\xa1e\xa7options\x81\xa8compress\xc3\xa2id\xcd\x01\x00\xa3nsp\xa1/";
    assert_eq!(read(with_options).unwrap().id, Some(256));
}

#[test]
fn every_type_of_value_is_decoded() {
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
        (b"\xca\x3f\x00\x00\x00", number(0.5)),
        (b"\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00", number(0.5)),
        (b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", Value::Null),
        (b"\xa2\xc3\xa9", Value::from("é")),
        (b"\xa1\xff", Value::from("\u{fffd}")),
        (b"\xd9\x01a", Value::from("a")),
        (b"\xda\x00\x01a", Value::from("a")),
        (b"\xdb\x00\x00\x00\x01a", Value::from("a")),
        (b"\xc4\x01\x07", binary(&[7])),
        (b"\xc5\x00\x01\x07", binary(&[7])),
        (b"\xc6\x00\x00\x00\x01\x07", binary(&[7])),
        (b"\xc7\x01\x00\x07", binary(&[7])),
        (b"\xc8\x00\x01\x00\x07", binary(&[7])),
        (b"\xd4\x00\x00", Value::Null),
        (b"\xd4\x05\x07", Value::Array(vec![number(5), binary(&[7])])),
        (b"\xd7\x00\x00\x00\x01\x8d\xf4\xdc\x54\x95", Value::from("2024-02-29T12:34:56.789Z")),
        (b"\xdc\x00\x01\x01", Value::Array(vec![number(1)])),
        (b"\xdd\x00\x00\x00\x01\x01", Value::Array(vec![number(1)])),
        (b"\xde\x00\x01\xa1a\x01", Value::from_iter([("a", 1)])),
        (b"\xdf\x00\x00\x00\x01\x05\x01", Value::from_iter([("5", 1)])),
        (b"\x81\xa1a\xd4\x00\x00", Map::new().into()),
    ] {
        assert_eq!(argument(bytes), value, "{bytes:x?}");
    }
}

#[test]
fn invalid_packets_are_rejected() {
    assert_eq!(error(b""), "the msgpack is truncated");
    assert_eq!(error(b"\x01"), "a msgpack message is not a map");
    assert_eq!(error(b"\x81\xa3nsp\xa1/"), "invalid packet type");
    for kind in [&b"\x05"[..], b"\xff", b"\xa1\x32", b"\xc0", b"\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00"] {
        assert_eq!(error(&[b"\x82\xa4type", kind, b"\xa3nsp\xa1/"].concat()), "invalid packet type");
    }
    assert_eq!(error(b"\x81\xa4type\x01"), "invalid namespace");
    assert_eq!(error(b"\x82\xa4type\x01\xa3nsp\x01"), "invalid namespace");
    for id in [&b"\xff"[..], b"\xa1\x32", b"\xc0", b"\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00"] {
        assert_eq!(error(&[b"\x83\xa4type\x02\xa3nsp\xa1/\xa2id", id].concat()), "invalid packet id");
    }
    assert_eq!(error(b"\x82\xa4type\x01\xa3nsp\xa1/\xc0"), "trailing bytes after the msgpack");
    assert_eq!(error(b"\x81\xc3\x01"), "a key of a map is not a string");
    assert_eq!(event(b"\xc1").unwrap_err().to_string(), "not msgpack");
}

#[test]
fn integers_may_be_encoded_as_floats() {
    let packet =
        read(b"\x83\xa4type\xcb\x40\x00\x00\x00\x00\x00\x00\x00\xa3nsp\xa1/\xa2id\xca\x40\x40\x00\x00").unwrap();
    assert_eq!((packet.packet_type, packet.id), (SocketIoPacketType::Event, Some(3)));
}

#[test]
fn depth_is_limited_and_binary_is_not() {
    event(b"\x91\x91\x01").unwrap();
    event(b"\x91\x81\xa1a\x01").unwrap();
    for nested in [&b"\x91\x91\x91\x01"[..], b"\x91\x91\x80", b"\x91\x91\xd4\x05\x07"] {
        let error = event(nested).unwrap_err().to_string();
        assert_eq!(error, "the data is nested deeper than max_json_depth", "{nested:x?}");
    }
    // Also in ignored keys.
    assert!(read(&[&b"\x81\xa1x"[..], &[0x91; 100_000]].concat()).is_err());
    event(b"\x94\xc4\x00\xc4\x00\xc4\x00\xc7\x00\x00").unwrap();
}

/// Announces four billion elements that are missing.
#[test]
fn announced_elements_are_not_allocated() {
    for marker in [0xdd, 0xdf, 0xdb, 0xc6, 0xc9] {
        let announced = [marker, 0xff, 0xff, 0xff, 0xff, 0];
        let info = allocation_counter::measure(|| assert_eq!(event(&announced).unwrap_err(), TRUNCATED));
        assert!(info.bytes_max < 10_000, "{marker:x}: {info:?}");
    }
}

/// Nests arrays, each of which announces as many elements as there are bytes left.
#[test]
fn nested_announcements_are_limited_together() {
    let mut message = b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data".to_vec();
    for _ in 0..100 {
        message.extend(b"\xdd\x00\x01\x00\x00");
    }
    message.resize(70_000, 0);
    let limits = Limits { attachments: 0, depth: 1000 };
    let info = allocation_counter::measure(|| {
        assert_eq!(decode(&Bytes::from(message.clone()), limits).unwrap_err(), TRUNCATED);
    });
    assert!(info.bytes_max < 30 * message.len() as u64, "{info:?}");
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(number),
        any::<u64>().prop_map(number),
        (-200i64..70_000).prop_map(number),
        any::<f64>().prop_map(number),
        ".*".prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|data| Bytes::from(data).into()),
    ];
    leaf.prop_recursive(3, 10, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::Array),
            prop::collection::vec((".*", inner), 0..20).prop_map(Value::from_iter),
        ]
    })
}

proptest! {
    #[test]
    fn encoded_packets_are_decoded(namespace in "/[a-zé]{0,40}", id in any::<Option<u64>>(), data in prop::option::of(value())) {
        let packet = SocketIoPacket { packet_type: SocketIoPacketType::Event, namespace, id, data };
        let limits = Limits { attachments: usize::MAX, depth: 10 };
        prop_assert_eq!(decode(&encode(&packet).unwrap().into(), limits), Ok(packet));
    }

    #[test]
    fn decoding_never_panics(message in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = read(&message);
        let _ = event(&message);
    }
}

/// Between msgpack and a handler there is one tree at a time. The bound is generous.
#[test]
fn a_packet_takes_few_bytes_per_byte_of_msgpack() {
    use crate::{
        packet::{Args, read_args},
        parser::{DecoderState, MsgpackParser},
    };

    for (name, element, peak_bound, held_bound) in [
        ("maps", &b"\x81\xa0\x00"[..], 60.0, 3.0),
        ("numbers", b"\x00", 80.0, 3.0),
        ("binary", b"\xc4\x00", 120.0, 60.0),
    ] {
        let count = 940_000 / element.len();
        let mut message = b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1e\xdd".to_vec();
        message.extend((count as u32).to_be_bytes());
        message.extend(element.repeat(count));
        let length = message.len() as f64;
        let message = crate::engine::Packet::binary(message);
        let mut assembled = None;
        let mut reading = DecoderState::new(std::sync::Arc::new(MsgpackParser));
        let receive = allocation_counter::measure(|| assembled = reading.receive(&message, LIMITS, || {}).unwrap());
        let assembled = assembled.unwrap();
        let read = allocation_counter::measure(|| {
            let args: Args = read_args(&assembled.header.payload, &assembled.attachments, true).unwrap();
            assert_eq!(args[0].as_array().map(Vec::len), Some(count));
        });
        let peak = receive.bytes_max.max(receive.bytes_current as u64 + read.bytes_max) as f64 / length;
        let held = receive.bytes_current as f64 / length;
        println!("{name}: {held:.1} bytes held and {peak:.1} at the peak for each of msgpack");
        assert!(peak < peak_bound && held < held_bound, "{name}: {held} {peak}");
    }
}
