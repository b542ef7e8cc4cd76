use std::{
    io::Cursor,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
};

use proptest::prelude::*;
use tokio::io::ReadBuf;
use tokio_tungstenite::tungstenite::{
    self,
    protocol::{
        Role, WebSocketConfig, WebSocketContext,
        frame::{
            Frame, FrameHeader,
            coding::{Control, Data, OpCode},
        },
    },
};

use super::*;
use crate::engine::ProtocolVersion;

/// A frame of a client, encoded by tungstenite.
fn frame(is_final: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader { is_final, opcode, mask: Some([1, 2, 3, 4]), ..FrameHeader::default() };
    let mut bytes = Vec::new();
    Frame::from_payload(header, Bytes::copy_from_slice(payload)).format(&mut bytes).unwrap();
    bytes
}

const TEXT_FRAME: OpCode = OpCode::Data(Data::Text);
const BINARY_FRAME: OpCode = OpCode::Data(Data::Binary);
const MORE: OpCode = OpCode::Data(Data::Continue);
const PING_FRAME: OpCode = OpCode::Control(Control::Ping);
const CLOSE_FRAME: OpCode = OpCode::Control(Control::Close);

/// Decodes bytes that arrive in pieces.
fn decode<'a>(limit: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Message>, Violation> {
    let mut decoder = Decoder::new(limit, false);
    let mut messages = Vec::new();
    for piece in pieces {
        with_scratch(|scratch| {
            scratch.extend_from_slice(piece);
            decoder.push_chunk(scratch);
        });
        loop {
            match decoder.next()? {
                Some(message) => messages.push(message),
                None if decoder.is_paused() => {}
                None => break,
            }
        }
    }
    Ok(messages)
}

fn violation(limit: usize, frames: &[Vec<u8>]) -> (u16, &'static str) {
    let Violation { code, rule } = decode(limit, [&frames.concat()[..]]).unwrap_err();
    (code.into(), rule)
}

fn text(text: &'static str) -> Message {
    Message::Text(text.into())
}

#[test]
fn fragments_are_assembled_with_control_frames_between_them() {
    let bytes = [
        frame(false, TEXT_FRAME, "42[\"é".as_bytes()),
        frame(true, PING_FRAME, b"p"),
        frame(false, MORE, b""),
        frame(true, MORE, b"\"]"),
        frame(true, BINARY_FRAME, &[1; 70_000]),
        frame(true, CLOSE_FRAME, &[0x03, 0xe8, b'b', b'y', b'e']),
    ]
    .concat();
    let expected = [
        Message::Ping((*b"p").into()),
        text("42[\"é\"]"),
        Message::Binary(Bytes::from(vec![1; 70_000])),
        Message::Close(Some(CloseCode::Normal)),
    ];
    assert_eq!(decode(100_000, [&bytes[..]]).unwrap(), expected);
    assert_eq!(decode(100_000, bytes.chunks(1)).unwrap(), expected);
}

#[test]
fn the_limit_applies_to_the_whole_message_and_is_checked_by_the_header() {
    let size = (1009, "max payload size exceeded");
    assert!(decode(10, [&frame(true, TEXT_FRAME, &[b'x'; 10])[..]]).is_ok());
    assert_eq!(violation(10, &[frame(true, TEXT_FRAME, &[b'x'; 11])]), size);
    assert_eq!(violation(10, &[frame(true, BINARY_FRAME, &[b'x'; 200])[..8].to_vec()]), size);
    assert_eq!(violation(10, &[frame(false, TEXT_FRAME, &[b'x'; 6]), frame(true, MORE, &[b'x'; 5])]), size);
    let longest = [&[0x82, 0xff][..], &[0xff; 8], &[0; 4]].concat();
    assert_eq!(violation(usize::MAX, &[frame(false, BINARY_FRAME, b"x"), [&[0x80][..], &longest[1..]].concat()]), size);
    // Control frames do not count.
    assert!(decode(1, [&frame(true, PING_FRAME, &[b'x'; 125])[..]]).is_ok());
}

#[test]
fn each_violation_has_its_code() {
    let mut reserved = frame(true, TEXT_FRAME, b"4");
    reserved[0] |= 0x20;
    for (frames, code) in [
        (vec![vec![0x81, 0x01, b'4']], 1002),
        (vec![reserved], 1002),
        (vec![vec![0x83, 0x80, 0, 0, 0, 0]], 1002),
        (vec![vec![0x8b, 0x80, 0, 0, 0, 0]], 1002),
        (vec![frame(false, PING_FRAME, b"")], 1002),
        (vec![frame(true, PING_FRAME, &[0; 126])], 1002),
        (vec![frame(true, MORE, b"x")], 1002),
        (vec![frame(false, TEXT_FRAME, b"4"), frame(true, TEXT_FRAME, b"4")], 1002),
        (vec![frame(true, CLOSE_FRAME, &[3])], 1002),
        (vec![frame(true, CLOSE_FRAME, &1005u16.to_be_bytes())], 1002),
        (vec![frame(true, CLOSE_FRAME, &[0x03, 0xe8, 0xff])], 1007),
        (vec![frame(true, TEXT_FRAME, b"4\xff")], 1007),
        (vec![frame(false, TEXT_FRAME, b"4\xc3"), frame(true, MORE, b"(")], 1007),
    ] {
        assert_eq!(violation(1000, &frames).0, code, "{frames:x?}");
    }
}

#[test]
fn a_decoder_frees_memory_once_frames_are_decoded() {
    let mut decoder = Decoder::new(100_000, false);
    let bytes = [frame(true, TEXT_FRAME, &[b'x'; 50_000]), frame(true, BINARY_FRAME, b"kept")].concat();
    decoder.push(&bytes);
    decoder.next().unwrap();
    let Some(Message::Binary(data)) = decoder.next().unwrap() else { panic!("no binary") };
    // A small payload is copied, so that it does not keep the whole buffer.
    assert!(data.is_unique());
    assert_eq!(decoder.next(), Ok(None));
    assert_eq!(decoder.capacity(), 0);
}

/// The thread's read buffer, with these frames in it.
fn large_read(frames: &[Vec<u8>]) -> BytesMut {
    let mut read = BytesMut::with_capacity(READ_SIZE);
    frames.iter().for_each(|frame| read.extend_from_slice(frame));
    read
}

#[test]
fn the_read_buffer_is_reusable_once_its_frames_are_decoded() {
    let mut decoder = Decoder::new(100_000, false);
    let last = frame(true, TEXT_FRAME, b"last");
    let mut read =
        large_read(&[frame(true, TEXT_FRAME, &[b'x'; 9_000]), frame(true, BINARY_FRAME, b"kept"), last[..5].to_vec()]);
    decoder.push_chunk(&mut read);
    let messages = [decoder.next().unwrap().unwrap(), decoder.next().unwrap().unwrap()];
    assert_eq!(messages[1], Message::Binary(Bytes::from_static(b"kept")));
    assert!(!read.try_reclaim(READ_SIZE));
    assert_eq!(decoder.next(), Ok(None));
    assert!(read.try_reclaim(READ_SIZE));
    decoder.push(&last[5..]);
    assert_eq!(decoder.next(), Ok(Some(text("last"))));
}

#[test]
fn fragments_are_copied() {
    let mut decoder = Decoder::new(100_000, false);
    let mut read = large_read(&[frame(true, TEXT_FRAME, &[b'x'; 9_000]), frame(false, BINARY_FRAME, b"begin")]);
    decoder.push_chunk(&mut read);
    decoder.next().unwrap();
    assert_eq!(decoder.next(), Ok(None));
    assert!(read.try_reclaim(READ_SIZE));
    decoder.push(&frame(true, MORE, &[7; 2_000]));
    let Ok(Some(Message::Binary(data))) = decoder.next() else { panic!("no binary") };
    assert_eq!(data.len(), 2_005);
    assert!(data.try_into_mut().unwrap().capacity() < 2 * 2_005);
}

/// A connection that accepts a few bytes at a time, and none while it is blocked.
struct Narrow {
    incoming: Cursor<Vec<u8>>,
    outgoing: Vec<u8>,
    room: usize,
}

impl Duplex for Narrow {}

impl AsyncRead for Narrow {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = self.incoming.position() as usize;
        let rest = &self.incoming.get_ref()[before..];
        if rest.is_empty() {
            return Poll::Pending;
        }
        let read = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..read]);
        self.incoming.set_position((before + read) as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Narrow {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = bytes.len().min(self.room).min(1000);
        if written == 0 {
            return Poll::Pending;
        }
        self.room -= written;
        self.outgoing.extend_from_slice(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn over(incoming: Vec<u8>, room: usize) -> WebSocket<Narrow> {
    let io = Narrow { incoming: Cursor::new(incoming), outgoing: Vec::new(), room };
    WebSocket::new(io, Bytes::new(), 1_000_000, WireFormat::default_for(ProtocolVersion::V4), Deflate::default())
}

/// Decodes bytes by tungstenite, as a client.
fn read_by_client(bytes: Vec<u8>) -> Vec<tungstenite::Message> {
    let mut stream = Cursor::new(bytes);
    let mut client = WebSocketContext::new(Role::Client, Some(WebSocketConfig::default()));
    std::iter::from_fn(|| client.read(&mut stream).ok()).collect()
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[test]
fn only_the_last_ping_gets_a_pong_if_the_connection_is_blocked() {
    let mut websocket = over(frame(true, PING_FRAME, b"1"), 0);
    assert!(Pin::new(&mut websocket).poll_next(&mut context()).is_pending());
    let pings = [frame(true, PING_FRAME, b"2"), frame(true, PING_FRAME, b"3")];
    websocket.io.incoming = Cursor::new(pings.concat());
    for room in [0, 0, 2, 100] {
        websocket.io.room = room;
        assert!(Pin::new(&mut websocket).poll_next(&mut context()).is_pending());
    }
    let pongs = ["1", "3"].map(|payload| tungstenite::Message::Pong(payload.into()));
    assert_eq!(read_by_client(websocket.io.outgoing), pongs);
}

#[test]
fn a_pong_precedes_responses_to_later_messages() {
    let frames = [frame(true, PING_FRAME, b"p"), frame(true, TEXT_FRAME, b"4a"), frame(true, TEXT_FRAME, b"4b")];
    let mut websocket = over(frames.concat(), 1_000_000);
    assert!(matches!(Pin::new(&mut websocket).poll_next(&mut context()), Poll::Ready(Some(Ok(_)))));
    assert!(Pin::new(&mut websocket).try_send_direct(b"4answer", &[]));
    assert!(matches!(Pin::new(&mut websocket).poll_next(&mut context()), Poll::Ready(Some(Ok(_)))));
    assert!(Pin::new(&mut websocket).poll_next(&mut context()).is_pending());
    let answers = [tungstenite::Message::Pong("p".into()), tungstenite::Message::text("4answer")];
    assert_eq!(read_by_client(websocket.io.outgoing), answers);
}

#[test]
fn the_code_of_a_close_is_returned_after_queued_packets() {
    let mut websocket = over(frame(true, CLOSE_FRAME, &4000u16.to_be_bytes()), 1_000_000);
    let large = Packet::message(&"x".repeat(100_000));
    Pin::new(&mut websocket).start_send(large).unwrap();
    assert!(matches!(Pin::new(&mut websocket).poll_next(&mut context()), Poll::Ready(None)));
    assert!(Pin::new(&mut websocket).poll_close(&mut context()).is_ready());
    let [text, close] = &read_by_client(websocket.io.outgoing)[..] else { panic!("two messages") };
    assert_eq!(text.len(), 100_001);
    assert!(matches!(close, tungstenite::Message::Close(Some(frame)) if u16::from(frame.code) == 4000));
}

#[test]
fn no_pong_is_sent_after_a_close_frame() {
    let frames = [frame(true, TEXT_FRAME, b"1"), frame(true, PING_FRAME, b"p")];
    let mut websocket = over(frames.concat(), 1_000_000);
    assert!(matches!(Pin::new(&mut websocket).poll_next(&mut context()), Poll::Ready(Some(Ok(_)))));
    assert!(Pin::new(&mut websocket).poll_close(&mut context()).is_ready());
    assert!(Pin::new(&mut websocket).poll_next(&mut context()).is_pending());
    assert_eq!(websocket.io.outgoing, [0x88, 0]);
}

#[test]
fn a_peer_that_sends_only_fragments_or_pongs_is_read_in_turns() {
    let pong = frame(true, OpCode::Control(Control::Pong), b"");
    let fragments = [frame(false, TEXT_FRAME, b"4"), frame(false, MORE, b"2").repeat(10_000)].concat();
    for bytes in [pong.repeat(10_000), fragments] {
        let mut websocket = over(bytes, usize::MAX);
        let waker = Arc::new(CountWakes::default());
        let mut turns = 0;
        loop {
            assert!(Pin::new(&mut websocket).poll_next(&mut Context::from_waker(&waker.clone().into())).is_pending());
            turns += 1;
            if waker.0.swap(0, Ordering::Relaxed) == 0 {
                break;
            }
        }
        assert!(turns > 100, "{turns} turns");
    }
}

#[test]
fn a_large_payload_is_written_in_turns() {
    let mut websocket = over(Vec::new(), usize::MAX);
    Pin::new(&mut websocket).start_send(Packet::binary(vec![7; 900_000])).unwrap();
    let waker = Arc::new(CountWakes::default());
    let mut turns = 0;
    while Pin::new(&mut websocket).poll_flush(&mut Context::from_waker(&waker.clone().into())).is_pending() {
        turns += 1;
        assert_eq!(waker.0.swap(0, Ordering::Relaxed), 1);
    }
    assert_eq!(turns, 900_000 / (128 * 1024));
}

#[test]
fn an_incomplete_message_is_dropped_when_the_session_ends() {
    let half = frame(true, BINARY_FRAME, &[7; 900_000])[..800_000].to_vec();
    let mut websocket = over(half, usize::MAX);
    for _ in 0..5 {
        assert!(Pin::new(&mut websocket).poll_next(&mut context()).is_pending());
    }
    assert!(websocket.unread_bytes() > 100_000);
    Pin::new(&mut websocket).forget_unread();
    assert_eq!((websocket.unread_bytes(), websocket.decoder.capacity()), (0, 0));
    for _ in 0..20 {
        assert!(Pin::new(&mut websocket).poll_next(&mut context()).is_pending());
    }
    assert_eq!((websocket.unread_bytes(), websocket.decoder.capacity()), (0, 0));
}

#[derive(Default)]
struct CountWakes(AtomicUsize);

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn an_idle_connection_allocates_nothing() {
    let websocket = over(Vec::new(), 0);
    assert_eq!(websocket.decoder.capacity(), 0);
}

proptest! {
    #[test]
    fn decoding_terminates_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1usize..50) {
        let _ = decode(1000, bytes.chunks(piece));
    }

    #[test]
    fn messages_from_tungstenite_are_decoded_in_any_pieces(
        messages in prop::collection::vec((any::<bool>(), "[ -~é]{0,300}", 1usize..60), 0..8),
        cuts in prop::collection::vec(1usize..200, 1..10),
        piece in prop_oneof![1usize..500, 4_000usize..READ_SIZE],
    ) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (is_text, text, times) in &messages {
            let text = text.repeat(*times);
            let data = Bytes::copy_from_slice(text.as_bytes());
            expected.push(if *is_text { Message::Text((&*text).into()) } else { Message::Binary(data) });
            let mut opcode = if *is_text { TEXT_FRAME } else { BINARY_FRAME };
            let mut rest = text.as_bytes();
            for cut in &cuts {
                let (part, after) = rest.split_at((*cut).min(rest.len()));
                bytes.extend(frame(false, opcode, part));
                (opcode, rest) = (MORE, after);
            }
            bytes.extend(frame(true, opcode, rest));
        }
        prop_assert_eq!(decode(READ_SIZE, bytes.chunks(piece)).unwrap(), expected);
    }

    #[test]
    fn messages_are_decoded_by_tungstenite_for_any_write_size(
        sizes in prop::collection::vec(prop_oneof![0usize..300, 16_000usize..17_000, 60_000usize..70_000], 0..8),
        rooms in prop::collection::vec(0usize..40_000, 1..20),
    ) {
        let mut websocket = over(Vec::new(), 0);
        let mut waiting: Vec<Packet> = sizes.iter().map(|size| Packet::binary(vec![7; *size])).rev().collect();
        let mut rooms = rooms.into_iter().cycle();
        for _ in 0..10_000 {
            websocket.io.room = rooms.next().unwrap() + 1;
            while !waiting.is_empty() && Pin::new(&mut websocket).poll_ready(&mut context()).is_ready() {
                Pin::new(&mut websocket).start_send(waiting.pop().unwrap()).unwrap();
            }
            if waiting.is_empty() && Pin::new(&mut websocket).poll_flush(&mut context()).is_ready() {
                break;
            }
        }
        let sent: Vec<usize> = read_by_client(websocket.io.outgoing).iter().map(tungstenite::Message::len).collect();
        prop_assert_eq!(sent, sizes);
    }
}
