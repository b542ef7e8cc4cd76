use proptest::prelude::*;

use super::{
    fuzz::{decode, encode},
    *,
};

const LIMIT: usize = 70_000;

fn text(text: &str) -> Packet {
    Packet::from_text(text.to_owned()).unwrap()
}

fn binary(length: usize) -> Packet {
    Packet::binary(vec![7; length])
}

/// Returns the error of some bytes, after these packets.
fn error(packets: &[Packet], bytes: &[u8]) -> String {
    let (decoded, error) = decode(LIMIT, [bytes]);
    assert_eq!(decoded, packets);
    error.expect("an error")
}

#[test]
fn each_packet_has_the_bytes_of_the_reference() {
    let sid = r#"0{"sid":"lv_VI97HAXpY6yYWAAAC"}"#;
    for (packet, bytes) in [
        (text("0"), &b"\x010"[..]),
        (text(sid), &[b"\x1f", sid.as_bytes()].concat()),
        (text("1"), b"\x011"),
        (text("2"), b"\x012"),
        (text("3"), b"\x013"),
        (text("5"), b"\x015"),
        (text("6"), b"\x016"),
        (text("2probe"), b"\x062probe"),
        (text("3probe"), b"\x063probe"),
        (text("4hello"), b"\x064hello"),
        (text("4"), b"\x014"),
        (text("4€"), b"\x044\xe2\x82\xac"),
        (Packet::binary(&[1u8, 2, 3, 4][..]), b"\x84\x01\x02\x03\x04"),
        // The JavaScript client rejects `80`.
        (binary(0), b"\x01b"),
    ] {
        assert_eq!(encode([packet.clone()]), bytes, "{packet:?}");
        assert_eq!(decode(LIMIT, [bytes]), (vec![packet], None));
    }
}

#[test]
fn each_length_has_its_header() {
    for (length, header) in [
        (125, &[0x7d][..]),
        (126, &[0x7e, 0, 0x7e]),
        (65_535, &[0x7e, 0xff, 0xff]),
        (65_536, &[0x7f, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let message = text(&format!("4{}", "x".repeat(length - 1)));
        let bytes = encode([message.clone()]);
        assert_eq!((&bytes[..header.len()], bytes.len()), (header, header.len() + length));
        assert_eq!(decode(LIMIT, [&bytes[..]]), (vec![message], None));
        let bytes = encode([binary(length)]);
        assert_eq!((bytes[0], &bytes[1..header.len()]), (header[0] | 0x80, &header[1..]));
        assert_eq!(decode(LIMIT, [&bytes[..]]), (vec![binary(length)], None));
    }
}

#[test]
fn what_the_reference_accepts_is_accepted() {
    // A longer form of the length than needed.
    for bytes in [&b"\x7e\x00\x022h"[..], b"\x7f\0\0\0\0\0\0\0\x022h"] {
        assert_eq!(decode(LIMIT, [bytes]), (vec![text("2h")], None));
    }
    // Base64 in text.
    assert_eq!(decode(LIMIT, [&b"\x05bAQID"[..]]), (vec![Packet::binary(&[1u8, 2, 3][..])], None));
    // The limit is that of the payload.
    let whole = encode([binary(LIMIT)]);
    assert_eq!(decode(LIMIT, [&whole[..]]), (vec![binary(LIMIT)], None));
    // The reference rejects an empty binary frame, although its client sends one.
    for bytes in [&b"\x80"[..], b"\xfe\0\0", b"\xff\0\0\0\0\0\0\0\0"] {
        assert_eq!(decode(LIMIT, [bytes]), (vec![binary(0)], None));
    }
}

#[test]
fn the_first_malformed_frame_ends_the_stream() {
    let after = |frame: &[u8]| error(&[text("2")], &[b"\x012", frame, b"\x012"].concat());
    for empty in [&b"\0"[..], b"\x7e\0\0", b"\x7f\0\0\0\0\0\0\0\0"] {
        assert_eq!(after(empty), "an Engine.IO packet is empty");
    }
    assert_eq!(after(b"\x01x"), "unknown Engine.IO packet type");
    assert_eq!(after(b"\x024\xff"), "a text is not valid UTF-8");
    assert_eq!(after(b"\x02b!"), text_error("b!"));
    // Known from the header, before the payload has arrived.
    for header in
        [&b"\x7f\0\0\0\0\0\x01\x11\x71"[..], b"\x7f\xff\xff\xff\xff\xff\xff\xff\xff", b"\xff\0\x20\0\0\0\0\0\0"]
    {
        assert_eq!(error(&[], header), "max payload size exceeded");
    }
}

fn text_error(packet: &str) -> String {
    Packet::from_text(packet.to_owned()).unwrap_err().to_string()
}

#[test]
fn a_frame_takes_no_more_memory_than_has_arrived() {
    let mut decoder = Decoder::new(1 << 30);
    decoder.push(b"\xff\0\0\0\0\x3f\xff\xff\xff");
    assert_eq!(decoder.next(), Ok(None));
    decoder.push(&[1; 100]);
    assert_eq!(decoder.next(), Ok(None));
    assert!(decoder.capacity() < 1000, "{}", decoder.capacity());
}

#[test]
fn the_beginning_of_a_frame_does_not_keep_those_before() {
    let mut decoder = Decoder::new(LIMIT);
    let mut bytes = encode([binary(60_000), binary(1000)]);
    bytes.extend_from_slice(b"\x064hel");
    decoder.push(&bytes);
    assert_eq!(decoder.next(), Ok(Some(binary(60_000))));
    assert_eq!(decoder.next(), Ok(Some(binary(1000))));
    assert_eq!(decoder.next(), Ok(None));
    assert!(decoder.capacity() < 100, "{}", decoder.capacity());
    decoder.push(b"lo");
    assert_eq!(decoder.next(), Ok(Some(text("4hello"))));
    assert_eq!((decoder.capacity(), decoder.unread_bytes()), (0, 0));
}

proptest! {
    #[test]
    fn packets_are_what_they_were(
        packets in proptest::collection::vec(
            prop_oneof![
                ".{0,300}".prop_map(|text| Packet::message(&text)),
                proptest::collection::vec(any::<u8>(), 0..70_000).prop_map(Packet::binary),
            ],
            0..5,
        ),
        piece in 1..70_000_usize,
    ) {
        let bytes = encode(packets.clone());
        prop_assert_eq!(decode(LIMIT, bytes.chunks(piece)), (packets, None));
    }

    #[test]
    fn any_bytes_are_decoded_alike_however_they_are_cut(bytes: Vec<u8>, piece in 1..10_usize) {
        prop_assert_eq!(decode(100, bytes.chunks(piece)), decode(100, [&bytes[..]]));
    }
}
