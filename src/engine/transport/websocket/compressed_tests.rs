//! Compressed messages, in both directions.

use std::{
    io::Cursor,
    task::{Context, Waker},
};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use http::{HeaderMap, HeaderValue, header};
use proptest::prelude::*;

use super::{decoder::INFLATED_AT_ONCE, *};
use crate::engine::{EngineIoConfig, PerMessageDeflate, ProtocolVersion};

impl Duplex for Cursor<Vec<u8>> {}

/// A frame of a client.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ ..126 => bytes.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    let mask = [1, 2, 3, 4];
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// Compresses by another implementation, without the end that a message omits.
fn deflated(plain: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::with_capacity(plain.len() + 1024);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(plain, &mut compressed, FlushCompress::Sync).unwrap();
    assert!(compressed.ends_with(&[0, 0, 0xff, 0xff]));
    compressed.truncate(compressed.len() - 4);
    compressed
}

fn inflated(compressed: &[u8], capacity: usize) -> Vec<u8> {
    let mut plain = Vec::with_capacity(capacity);
    let input = [compressed, &[0, 0, 0xff, 0xff]].concat();
    Decompress::new(false).decompress_vec(&input, &mut plain, FlushDecompress::Sync).unwrap();
    plain
}

/// Decodes the bytes of a peer that has agreed on compression, in pieces.
fn decode(limit: usize, bytes: &[u8], piece: usize) -> Result<Vec<Message>, Violation> {
    let mut decoder = Decoder::new(limit, true);
    let mut messages = Vec::new();
    for piece in bytes.chunks(piece) {
        decoder.push(piece);
        loop {
            match decoder.next()? {
                Some(message) => messages.push(message),
                None if decoder.is_paused() => {}
                None => break,
            }
        }
    }
    assert_eq!(decoder.unread_bytes(), 0);
    Ok(messages)
}

fn decoded(frames: &[Vec<u8>]) -> Vec<Message> {
    let bytes = frames.concat();
    let messages = decode(1000, &bytes, bytes.len()).unwrap();
    assert_eq!(decode(1000, &bytes, 1).unwrap(), messages, "it depends on how the bytes are cut");
    messages
}

fn code(limit: usize, frames: &[Vec<u8>]) -> u16 {
    let bytes = frames.concat();
    decode(limit, &bytes, bytes.len()).unwrap_err().code.into()
}

fn text(text: &str) -> Message {
    Message::Text(text.into())
}

/// `4hello`.
const HELLO: [u8; 8] = [0x32, 0xc9, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

#[test]
fn compressed_and_other_messages_are_decoded() {
    let frames = [
        frame(0xc1, &HELLO),
        frame(0xc1, &[0x32, 0x01, 0x00]),
        frame(0xc2, &[0x62, 0x64, 0x62, 0x06, 0x00]),
        frame(0x81, b"4plain"),
        // A stored block, and no payload at all.
        frame(0xc1, b"\x00\x02\x00\xfd\xff4s\x00"),
        frame(0xc2, b""),
        // A block that ends the stream, and what follows it.
        frame(0xc1, &[0x33, 0x01, 0x00]),
        frame(0xc1, &[0x33, 0x01, 0x00, 0x00, 0x99, 0x99]),
    ];
    let expected = [
        text("4hello"),
        text("4"),
        Message::Binary(Bytes::from_static(&[1, 2, 3])),
        text("4plain"),
        text("4s"),
        Message::Binary(Bytes::new()),
        text("4"),
        text("4"),
    ];
    assert_eq!(decoded(&frames), expected);
}

#[test]
fn the_fragments_of_a_compressed_message_are_assembled() {
    let mut frames: Vec<_> = HELLO.iter().map(|byte| frame(0x00, &[*byte])).collect();
    frames[0][0] = 0x41;
    frames.insert(3, frame(0x89, b"p"));
    // An empty last fragment.
    frames.push(frame(0x80, b""));
    assert_eq!(decoded(&frames), [Message::Ping((*b"p").into()), text("4hello")]);
}

#[test]
fn a_reserved_bit_is_a_violation_where_it_does_not_mark_a_compressed_message() {
    let first = frame(0x41, &HELLO[..4]);
    for frames in [
        vec![first.clone(), frame(0xc0, &HELLO[4..])],
        vec![frame(0xc9, b"")],
        vec![frame(0xc8, b"")],
        vec![frame(0xa1, &HELLO)],
        vec![frame(0xd1, &HELLO)],
        vec![frame(0xf2, &HELLO)],
    ] {
        assert_eq!(code(1000, &frames), 1002, "{frames:x?}");
    }
    let mut decoder = Decoder::new(1000, false);
    decoder.push(&frame(0xc1, &HELLO));
    assert_eq!(u16::from(decoder.next().unwrap_err().code), 1002);
}

#[test]
fn corrupt_data_and_invalid_text_are_violations() {
    for payload in [&[0xff, 0xff][..], &[0x06, 0x00], &deflated(b"4\xff"), &[0x00, 0x05, 0x00, 0x00, 0x00]] {
        assert_eq!(code(1000, &[frame(0xc1, payload)]), 1007, "{payload:x?}");
    }
    // As binary it is valid.
    assert_eq!(decoded(&[frame(0xc2, &deflated(b"\xff"))]), [Message::Binary(Bytes::from_static(b"\xff"))]);
}

#[test]
fn a_message_cannot_refer_to_the_one_before_it() {
    // The second message repeats the first one, if its context was kept.
    let repeated = frame(0xc1, &[0x82, 0x90, 0x00, 0x00]);
    assert_eq!(code(1000, &[frame(0xc1, &HELLO), repeated]), 1007);
}

#[test]
fn the_limit_applies_to_the_size_before_and_after_decompression() {
    for limit in [1000, 100_000] {
        let longest = "4".repeat(limit);
        let bytes = frame(0xc1, &deflated(longest.as_bytes()));
        assert_eq!(decode(limit, &bytes, bytes.len()).unwrap(), [text(&longest)]);
        assert_eq!(code(limit - 1, &[bytes]), 1009);
    }
    // Stored blocks that are larger than their content.
    let stored: Vec<u8> = (0..100).flat_map(|_| *b"\x00\x01\x00\xfe\xff4").collect();
    let bytes = frame(0xc1, &[&stored[..], &[0]].concat());
    assert_eq!(decode(601, &bytes, bytes.len()).unwrap(), [text(&"4".repeat(100))]);
    assert_eq!(code(600, &[bytes]), 1009);
}

#[test]
fn a_bomb_takes_no_memory_beyond_the_limit() {
    let bomb = frame(0xc2, &deflated(&vec![0; 100_000_000]));
    assert!(bomb.len() < 100_000);
    // The thread's decompressor.
    assert_eq!(code(10, &[frame(0xc2, &deflated(&[0; 20]))]), 1009);
    let limit = 1_000_000;
    let memory = allocation_counter::measure(|| {
        let mut decoder = Decoder::new(limit, true);
        decoder.push(&bomb);
        assert!(decoder.next().unwrap().is_none() && decoder.is_paused());
        assert_eq!(decoder.next().unwrap_err().code, CloseCode::Size);
    });
    // The old and the new buffer, while it grows.
    let most = limit + limit / 2 + 3 * bomb.len() + 100_000;
    assert!(memory.bytes_max < most as u64, "{memory:?}");
}

#[test]
fn a_message_that_becomes_large_waits_for_a_turn() {
    let plain = vec![b'4'; INFLATED_AT_ONCE + 1];
    let mut decoder = Decoder::new(1_000_000, true);
    decoder.push(&[frame(0x81, b"4first"), frame(0xc1, &deflated(&plain)), frame(0x81, b"4last")].concat());
    assert_eq!(decoder.next().unwrap(), Some(text("4first")));
    assert_eq!(decoder.next().unwrap(), None);
    // The driver waits for a turn if there is so much.
    assert!(decoder.is_paused() && decoder.unread_bytes() > 16 * 1024);
    let large = decoder.next().unwrap();
    assert!(matches!(large, Some(Message::Text(text)) if text.as_bytes() == &plain[..]));
    assert!(!decoder.is_paused());
    assert_eq!(decoder.next().unwrap(), Some(text("4last")));
}

#[test]
fn messages_are_not_decompressed_after_the_session_has_ended() {
    let mut decoder = Decoder::new(1000, true);
    decoder.close();
    decoder.push(&[frame(0xc1, b"\xff\xff"), frame(0x88, b"")].concat());
    assert_eq!(decoder.next().unwrap(), Some(Message::Binary(Bytes::new())));
    assert_eq!(decoder.next().unwrap(), Some(Message::Close(None)));
}

/// Bytes without a pattern.
fn random() -> impl Iterator<Item = u8> {
    let mut state = 88_172_645_463_325_252_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
}

/// What was negotiated with a client that sends this offer.
fn agreed(config: PerMessageDeflate, offer: &'static str) -> Deflate {
    let config = EngineIoConfig::new().per_message_deflate(config);
    let headers = HeaderMap::from_iter([(header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(offer))]);
    let (deflate, response) = Deflate::negotiate(&config, &headers);
    assert!(response.is_some());
    deflate
}

/// Returns what is written for packets.
fn written(deflate: Deflate, packets: impl IntoIterator<Item = Packet>) -> Vec<u8> {
    written_as(WireFormat::default_for(ProtocolVersion::V4), deflate, packets)
}

fn written_as(wire_format: WireFormat, deflate: Deflate, packets: impl IntoIterator<Item = Packet>) -> Vec<u8> {
    let mut websocket = WebSocket::new(Cursor::new(Vec::new()), Bytes::new(), 1000, wire_format, deflate);
    let cx = &mut Context::from_waker(Waker::noop());
    for packet in packets {
        while Pin::new(&mut websocket).poll_ready(cx).is_pending() {}
        Pin::new(&mut websocket).start_send(packet).unwrap();
    }
    assert!(Pin::new(&mut websocket).poll_flush(cx).is_ready());
    websocket.io.into_inner()
}

const CONFIG: PerMessageDeflate = PerMessageDeflate::new().threshold(100);
const ANY: &str = "permessage-deflate";

#[test]
fn messages_are_compressed_from_the_threshold_on_if_that_makes_them_smaller() {
    let deflate = agreed(CONFIG, ANY);
    let is_compressed = |packet: &Packet| written(deflate, [packet.clone()])[0] & COMPRESSED != 0;
    assert!(!is_compressed(&Packet::message(&"a".repeat(98))));
    let packet = Packet::message(&"a".repeat(99));
    assert!(is_compressed(&packet));
    assert!(!is_compressed(&packet.clone().compress(false)));
    assert_eq!(written(Deflate::default(), [packet.clone()])[..2], [0x81, 100]);
    let random = random().take(300).collect::<Vec<_>>();
    assert!(!is_compressed(&Packet::binary(random)));
    let binary = Packet::binary(vec![7; 200]);
    for (format, opcode, plain) in [
        (WireFormat::default_for(ProtocolVersion::V4), 0xc2, vec![7; 200]),
        (WireFormat::default_for(ProtocolVersion::V3), 0xc2, [&[4][..], &[7; 200]].concat()),
    ] {
        for packet in [binary.clone(), binary.clone().share()] {
            let bytes = written_as(format.clone(), deflate, [packet]);
            assert_eq!(bytes[0], opcode);
            assert_eq!(inflated(&bytes[2..], 1000), plain);
        }
    }
}

#[test]
fn other_tasks_run_after_much_has_been_compressed() {
    let format = WireFormat::default_for(ProtocolVersion::V4);
    let mut websocket = WebSocket::new(Cursor::new(Vec::new()), Bytes::new(), 1000, format, agreed(CONFIG, ANY));
    let cx = &mut Context::from_waker(Waker::noop());
    let packet = Packet::message(&"a".repeat(60_000));
    let mut pauses = Vec::new();
    for sent in 0..7 {
        while Pin::new(&mut websocket).poll_ready(cx).is_pending() {
            pauses.push(sent);
        }
        Pin::new(&mut websocket).start_send(packet.clone()).unwrap();
    }
    assert_eq!(pauses, [3, 6]);
}

#[test]
fn recipients_share_the_compressed_form() {
    let packet = Packet::message(&"shared ".repeat(50)).share();
    let shared = packet.deflated().unwrap();
    assert!(shared.get().is_none());
    let first = written(agreed(CONFIG, ANY), [packet.clone()]);
    let form = shared.get().unwrap().clone().unwrap();
    assert_eq!(first[2..], form);
    assert_eq!(inflated(&form, 1000), packet.text().unwrap()[..]);
    let pointer = form.as_ptr();
    assert_eq!(written(agreed(CONFIG, ANY), [packet.clone()]), first);
    assert_eq!(shared.get().unwrap().as_ref().unwrap().as_ptr(), pointer);
    // A client that has asked for a smaller window gets its own, and the text is the same.
    let bytes = written(agreed(CONFIG, "permessage-deflate; server_max_window_bits=9"), [packet.clone()]);
    assert_eq!(inflated(&bytes[2..], 1000), packet.text().unwrap()[..]);
    // One without compression gets the text.
    assert!(written(Deflate::default(), [packet.clone()]).ends_with(packet.text().unwrap()));
}

#[test]
fn a_small_window_is_kept_to() {
    // The repetition is farther away than 512 bytes, but not farther than 4096.
    let random: String = random().take(2000).map(|byte| char::from(b'!' + byte % 90)).collect();
    let packet = Packet::message(&random.repeat(2));
    let size = |offer| written(agreed(CONFIG.level(9), offer), [packet.clone()]).len();
    let (small, large) = (size("permessage-deflate; server_max_window_bits=9"), size(ANY));
    assert!(large + 1000 < small, "{large} {small}");
    // More than 12 bits are not used.
    assert_eq!(size("permessage-deflate; server_max_window_bits=15"), large);
}

#[test]
fn a_direct_answer_above_the_threshold_takes_the_other_way() {
    let format = WireFormat::default_for(ProtocolVersion::V4);
    let mut websocket = WebSocket::new(Cursor::new(Vec::new()), Bytes::new(), 1000, format, agreed(CONFIG, ANY));
    assert!(Pin::new(&mut websocket).try_send_direct(&[b'4'; 99], &[]));
    assert!(!Pin::new(&mut websocket).try_send_direct(&[b'4'; 100], &[]));
    assert!(!Pin::new(&mut websocket).try_send_direct(b"4", &[Packet::binary(vec![0; 99])]));
}

proptest! {
    // The compressor is not optimized in tests.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_compressed_can_be_decompressed(
        words in prop::collection::vec("[a-z]{1,8}", 1..2000),
        level in 1_u8..=9,
        bits in 9_u8..=15,
        cut in 1_usize..2000,
    ) {
        let plain = format!("4{}", words.join(" "));
        let offer = format!("permessage-deflate; server_max_window_bits={bits}");
        let config = EngineIoConfig::new().per_message_deflate(PerMessageDeflate::new().threshold(0).level(level));
        let offer = HeaderValue::try_from(offer).unwrap();
        let (mut deflate, _) = Deflate::negotiate(&config, &HeaderMap::from_iter([(header::SEC_WEBSOCKET_EXTENSIONS, offer)]));
        let packet = Packet::from_text(plain.clone()).unwrap();
        if let Some(Frame::Text(compressed)) = deflate.compress(&packet, &WireFormat::default_for(ProtocolVersion::V4)) {
            prop_assert!(compressed.len() < plain.len());
            prop_assert_eq!(&inflated(&compressed, 100_000), plain.as_bytes());
            let mut parts: Vec<_> = compressed.chunks(cut).map(|part| frame(0, part)).collect();
            parts[0][0] = 0x41;
            parts.push(frame(0x80, b""));
            let bytes = parts.concat();
            prop_assert_eq!(decode(100_000, &bytes, cut).unwrap(), [text(&plain)]);
        }
    }
}
