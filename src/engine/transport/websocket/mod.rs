//! Engine.IO packets over a WebSocket: a frame each.
//!
//! The framing is our own: tungstenite's keeps a read buffer for each connection and clears it before each read, which was
//! most of what an event cost (`docs/performance.md`).

mod decoder;
mod encoder;

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_sink::Sink;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_util::io::poll_read_buf;

use crate::{
    engine::{CLOSE_TIMEOUT, Packet, PacketPayload, WireFormat},
    util::now,
};

use self::{
    decoder::{BINARY, CLOSE, Decoder, Message, PONG, TEXT, Violation},
    encoder::{Encoder, LARGE_PAYLOAD},
};
use super::{error::TransportError, packet_io::PacketIo};

/// The most that is read at once, into a buffer of the thread's.
const READ_SIZE: usize = 64 * 1024;

/// How many control frames of a peer that never stops sending are read before other tasks run.
const READ_ROUNDS: usize = 64;

/// How many bytes of a message that has not arrived whole are read before that.
const READ_TURN: usize = READ_SIZE;

/// Engine.IO packets over a WebSocket.
///
/// Buffers exist while something is in them: an idle connection has none.
#[derive(Debug)]
pub(super) struct WebSocket<Io> {
    io: Io,
    wire_format: WireFormat,
    decoder: Decoder,
    encoder: Encoder,
    /// What the last ping said that has not been answered.
    ping: Option<Box<[u8]>>,
    /// An answer to a ping has been encoded, and is to be written.
    pong_waits: bool,
    ended: Option<Ended>,
    close_sent: bool,
    /// When a ping or a pong has arrived.
    heard: Option<Instant>,
}

/// Nothing is decoded any more.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ended {
    /// The peer has closed: it gets its own code back.
    ByPeer(Option<CloseCode>),
    /// The peer has broken a rule, and is told by this code.
    ByViolation(CloseCode),
    /// The session is over, and what the peer sends is not kept any more.
    Here,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> WebSocket<Io> {
    /// `read` is what has been read already. It is not kept: it may be a small part of a large buffer.
    #[expect(clippy::needless_pass_by_value, reason = "so that nobody keeps it")]
    pub(super) fn new(io: Io, read: Bytes, max_payload: usize, wire_format: WireFormat) -> Self {
        let mut decoder = Decoder::new(max_payload);
        decoder.feed(&read);
        Self {
            io,
            wire_format,
            decoder,
            encoder: Encoder::default(),
            ping: None,
            pong_waits: false,
            ended: None,
            close_sent: false,
            heard: None,
        }
    }

    /// Changes how long messages may be, from the next one on.
    pub(super) fn set_max_payload(&mut self, max_payload: usize) {
        self.decoder.set_max_payload(max_payload);
    }

    /// Closes a WebSocket that carries no session, and hears the peer out for a while.
    pub(super) async fn close(mut self) {
        let end = poll_fn(|cx| {
            if ready!(Pin::new(&mut self).poll_close(cx)).is_err() {
                return Poll::Ready(());
            }
            for _ in 0..READ_ROUNDS {
                if !ready!(Pin::new(&mut self).poll_next(cx)).is_some_and(|packet| packet.is_ok()) {
                    return Poll::Ready(());
                }
            }
            come_back(cx)
        });
        // Whoever does not close its side is cut off.
        let _ = timeout(CLOSE_TIMEOUT, end).await;
    }

    /// Reads what has arrived. Answers how much it was; nothing is the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        with_scratch(|scratch| {
            let read = ready!(poll_read_buf(Pin::new(&mut self.io), cx, scratch))?;
            self.decoder.take(scratch);
            Poll::Ready(Ok(read))
        })
    }

    /// Reads to the end of the connection after a failure. If it were closed with bytes unread, the peer's kernel would
    /// throw away the close frame that says what was wrong.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        with_scratch(|scratch| {
            for _ in 0..READ_ROUNDS {
                if !matches!(ready!(poll_read_buf(Pin::new(&mut self.io), cx, scratch)), Ok(1..)) {
                    return Poll::Ready(());
                }
                scratch.clear();
            }
            come_back(cx)
        })
    }

    /// Answers a ping before whatever follows it is handled. If there is no room, the last one is answered later.
    fn take_ping(&mut self, payload: Box<[u8]>) {
        if self.close_sent {
            return;
        }
        if self.encoder.has_room() && !self.encoder.is_blocked() {
            self.encoder.frame(PONG, &payload);
            self.pong_waits = true;
        } else {
            self.ping = Some(payload);
        }
    }

    /// Writes the answers to pings. If the connection is blocked, a later call goes on.
    fn write_pongs(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.encoder.poll_write(&mut self.io, cx)?.is_ready() {
            let Some(payload) = self.ping.take() else {
                self.pong_waits = false;
                let _ = Pin::new(&mut self.io).poll_flush(cx)?;
                break;
            };
            self.encoder.frame(PONG, &payload);
        }
        Ok(())
    }

    /// What a message of the peer's means to the session. `None`: it does not concern it.
    fn read(&mut self, message: Message) -> Option<Result<Packet, TransportError>> {
        let packet = match message {
            Message::Text(text) => self.wire_format.read_text(text),
            Message::Binary(data) => Ok(self.wire_format.read_binary(data)?),
            Message::Ping(payload) => {
                self.heard = Some(now());
                self.take_ping(payload);
                return None;
            }
            Message::Pong => {
                self.heard = Some(now());
                return None;
            }
            Message::Close(code) => {
                self.ended = Some(Ended::ByPeer(code));
                return None;
            }
        };
        Some(packet.map_err(|error| TransportError::parse(error.message())))
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<Io> {
    type Item = Result<Packet, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut bytes = 0;
        for _ in 0..READ_ROUNDS {
            match self.ended {
                None => {}
                Some(Ended::ByPeer(_)) => return Poll::Ready(None),
                Some(Ended::ByViolation(_) | Ended::Here) => return self.poll_discard(cx).map(|()| None),
            }
            match self.decoder.next() {
                Ok(Some(message)) => {
                    if let Some(packet) = self.read(message) {
                        return Poll::Ready(Some(packet));
                    }
                }
                Ok(None) if self.decoder.is_paused() || bytes >= READ_TURN => break,
                Ok(None) => {
                    if self.pong_waits || self.ping.is_some() || self.encoder.is_blocked() {
                        self.write_pongs(cx).map_err(|_| BROKEN)?;
                    }
                    match ready!(self.poll_read(cx)) {
                        Ok(read @ 1..) => bytes += read,
                        Ok(0) | Err(_) => return Poll::Ready(None),
                    }
                }
                Err(Violation { code, rule }) => {
                    self.ended = Some(Ended::ByViolation(code));
                    return Poll::Ready(Some(Err(TransportError::new(rule))));
                }
            }
        }
        come_back(cx)
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> PacketIo for WebSocket<Io> {
    const CAN_SEND_NOW: bool = true;

    fn send_now(mut self: Pin<&mut Self>, text: &[u8], attachments: &[Packet]) -> bool {
        let size = text.len() + attachments.iter().map(Packet::len).sum::<usize>();
        if size >= LARGE_PAYLOAD || !self.encoder.has_room() || self.wire_format.base64 {
            return false;
        }
        self.encoder.frame(TEXT, text);
        attachments.iter().for_each(|attachment| self.encoder.frame(BINARY, attachment.data()));
        true
    }

    fn unread_bytes(&self) -> usize {
        self.decoder.unread_bytes()
    }

    fn take_heard(mut self: Pin<&mut Self>) -> Option<Instant> {
        self.heard.take()
    }

    fn forget_unread(mut self: Pin<&mut Self>) {
        self.decoder = Decoder::new(0);
        self.ended.get_or_insert(Ended::Here);
    }

    fn take_written(mut self: Pin<&mut Self>) -> bool {
        self.encoder.take_written()
    }
}

/// Lets other tasks run, and is polled again afterwards.
fn come_back<T>(cx: &Context<'_>) -> Poll<T> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Sink<Packet> for WebSocket<Io> {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let Self { encoder, io, .. } = &mut *self;
        match encoder.has_room() {
            true => Poll::Ready(Ok(())),
            false => encoder.poll_write(io, cx).map_err(|_| BROKEN),
        }
    }

    fn start_send(mut self: Pin<&mut Self>, packet: Packet) -> Result<(), TransportError> {
        match packet.text() {
            // Framed alike in every wire_format.
            Some(text) => self.encoder.message(TEXT, text),
            None => match self.wire_format.write_binary(packet) {
                PacketPayload::Text(text) => self.encoder.message(TEXT, &text),
                PacketPayload::Binary(data) => self.encoder.message(BINARY, &data),
            },
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let Self { encoder, io, .. } = &mut *self;
        ready!(encoder.poll_write(io, cx)).map_err(|_| BROKEN)?;
        Pin::new(io).poll_flush(cx).map_err(|_| BROKEN)
    }

    /// Sends a close frame, without a code unless the peer sent one or broke a rule of WebSocket's.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        if !self.close_sent {
            ready!(self.as_mut().poll_ready(cx))?;
            self.close_sent = true;
            // Nothing follows a close frame.
            self.ping = None;
            self.pong_waits = false;
            let code = match self.ended {
                Some(Ended::ByPeer(code)) => code,
                Some(Ended::ByViolation(code)) => Some(code),
                Some(Ended::Here) | None => None,
            };
            let code = code.map(|code| u16::from(code).to_be_bytes());
            self.encoder.frame(CLOSE, code.as_ref().map_or(&[], |code| code));
        }
        ready!(self.as_mut().poll_flush(cx))?;
        // Nothing follows: the peer sees the end at once.
        Pin::new(&mut self.io).poll_shutdown(cx).map_err(|_| BROKEN)
    }
}

const BROKEN: TransportError = TransportError::new("the connection failed");

thread_local! {
    static SCRATCH: RefCell<Option<BytesMut>> = const { RefCell::new(None) };
}

/// Lends the thread's buffer for reading, empty. An `Io` that reads another one meanwhile has one of its own.
fn with_scratch<R>(read: impl FnOnce(&mut BytesMut) -> R) -> R {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => {
            let scratch = scratch.get_or_insert_with(BytesMut::new);
            scratch.clear();
            // What has been split off may be gone by now.
            if scratch.capacity() < READ_SIZE && !scratch.try_reclaim(READ_SIZE) {
                *scratch = BytesMut::with_capacity(READ_SIZE);
            }
            read(scratch)
        }
        Err(_) => read(&mut BytesMut::with_capacity(READ_SIZE)),
    })
}

#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
#[cfg(test)]
mod tests;
