//! Engine.IO packets over a WebSocket, one message each.
//!
//! This is not tungstenite's codec, which keeps a read buffer for each connection and clears it before each read. That was most
//! of the cost of an event (`docs/performance.md`).

mod decoder;
#[cfg(feature = "permessage-deflate")]
mod deflate;
#[cfg(not(feature = "permessage-deflate"))]
#[path = "no_deflate.rs"]
mod deflate;
pub(super) mod encoder;

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
    engine::{CLOSE_TIMEOUT, Frame, Packet, Transport, WireFormat},
    util::now,
};

pub(super) use self::deflate::Deflate;
use self::{
    decoder::{BINARY, CLOSE, COMPRESSED, Decoder, Message, PONG, TEXT, Violation},
    encoder::{Encoder, LARGE_PAYLOAD},
};
use super::{error::TransportError, packet_io::PacketIo};

/// The size of the thread's read buffer.
const READ_SIZE: usize = 64 * 1024;

/// How many control frames are read before other tasks run.
const READ_ROUNDS: usize = 64;

/// How many bytes of an incomplete message are read before other tasks run.
const READ_TURN: usize = READ_SIZE;

/// A stream in both directions, which a WebSocket uses.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin {
    /// Returns `true` if the peer sees the end of a stream that is dropped, as after a shutdown.
    fn is_shut_down_by_drop(&self) -> bool {
        false
    }
}

/// A WebSocket that carries Engine.IO packets.
///
/// An idle connection has no buffers.
#[derive(Debug)]
pub(super) struct WebSocket<Io> {
    io: Io,
    wire_format: WireFormat,
    decoder: Decoder,
    encoder: Encoder,
    deflate: Deflate,
    /// `None` if the client has sent neither pings nor pongs.
    controls: Option<Box<Controls>>,
    /// A pong has been encoded, and must be written.
    pong_waits: bool,
    ended: Option<Ended>,
    close_sent: bool,
}

#[derive(Debug, Default)]
struct Controls {
    /// The payload of the last ping without a pong.
    ping: Option<Box<[u8]>>,
    /// The time of the last ping or pong.
    heard: Option<Instant>,
}

/// Why frames are no longer decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ended {
    /// The peer has sent a close frame. Its code is returned.
    ByPeer(Option<CloseCode>),
    /// The peer has violated the protocol. It gets this code.
    ByViolation(CloseCode),
    /// The session has ended, and input is dropped.
    Here,
}

impl<Io: Duplex> WebSocket<Io> {
    /// `read` are the bytes that have been read already. They are copied, because they may be a small slice of a large buffer.
    #[expect(clippy::needless_pass_by_value, reason = "the buffer is freed")]
    pub(super) fn new(io: Io, read: Bytes, max_payload: usize, wire_format: WireFormat, deflate: Deflate) -> Self {
        let mut decoder = Decoder::new(max_payload, deflate.is_agreed());
        decoder.push(&read);
        Self {
            io,
            wire_format,
            decoder,
            encoder: Encoder::default(),
            deflate,
            controls: None,
            pong_waits: false,
            ended: None,
            close_sent: false,
        }
    }

    /// Sets the maximum size of messages, from the next one on.
    pub(super) fn set_max_payload(&mut self, max_payload: usize) {
        self.decoder.set_max_payload(max_payload);
    }

    /// Closes a WebSocket that does not carry a session, and waits for the peer to close its side.
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
        // Then the connection is dropped.
        let _ = timeout(CLOSE_TIMEOUT, end).await;
    }

    /// Reads from the connection. Returns the number of bytes; 0 means end of stream.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        with_scratch(|scratch| {
            let read = ready!(poll_read_buf(Pin::new(&mut self.io), cx, scratch))?;
            self.decoder.push_chunk(scratch);
            Poll::Ready(Ok(read))
        })
    }

    /// Reads and drops input until the end of the stream. Closing with unread input would make the kernel reset the connection, and
    /// the peer could lose the close frame.
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

    fn controls(&mut self) -> &mut Controls {
        self.controls.get_or_insert_default()
    }

    fn holds_ping(&self) -> bool {
        self.controls.as_ref().is_some_and(|controls| controls.ping.is_some())
    }

    /// Encodes the pong for a ping. If there is no room, only the last ping gets a pong, later.
    fn take_ping(&mut self, payload: Box<[u8]>) {
        if self.close_sent {
            return;
        }
        if self.encoder.has_room() && !self.encoder.is_blocked() {
            self.encoder.frame(PONG, &payload);
            self.pong_waits = true;
        } else {
            self.controls().ping = Some(payload);
        }
    }

    /// Writes pongs. If the connection is blocked, a later call continues.
    fn write_pongs(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.encoder.poll_write(&mut self.io, cx)?.is_ready() {
            let Some(payload) = self.controls.as_mut().and_then(|controls| controls.ping.take()) else {
                self.pong_waits = false;
                let _ = Pin::new(&mut self.io).poll_flush(cx)?;
                break;
            };
            self.encoder.frame(PONG, &payload);
        }
        Ok(())
    }

    /// Converts a message to a packet. Returns `None` for messages that are not for the session.
    fn read(&mut self, message: Message) -> Option<Result<Packet, TransportError>> {
        let packet = match message {
            Message::Text(text) => self.wire_format.read_text(text),
            Message::Binary(data) => Ok(self.wire_format.read_binary(data)?),
            Message::Ping(payload) => {
                self.controls().heard = Some(now());
                self.take_ping(payload);
                return None;
            }
            Message::Pong => {
                self.controls().heard = Some(now());
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

impl<Io: Duplex> Stream for WebSocket<Io> {
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
                    if self.pong_waits || self.holds_ping() || self.encoder.is_blocked() {
                        self.write_pongs(cx).map_err(|_| CONNECTION_FAILED)?;
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

impl<Io: Duplex> PacketIo for WebSocket<Io> {
    const TRANSPORT: Transport = Transport::WebSocket;
    const CAN_SEND_DIRECT: bool = true;

    fn try_send_direct(mut self: Pin<&mut Self>, text: &[u8], attachments: &[Packet]) -> bool {
        let size = text.len() + attachments.iter().map(Packet::len).sum::<usize>();
        if size >= LARGE_PAYLOAD || !self.encoder.has_room() || self.wire_format.base64 || self.deflate.applies_to(size)
        {
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
        self.controls.as_mut()?.heard.take()
    }

    fn forget_unread(mut self: Pin<&mut Self>) {
        self.decoder = Decoder::new(0, false);
        self.ended.get_or_insert(Ended::Here);
    }

    fn take_written(mut self: Pin<&mut Self>) -> bool {
        self.encoder.take_written()
    }
}

/// Returns pending and wakes the task, so that other tasks run.
fn come_back<T>(cx: &Context<'_>) -> Poll<T> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

impl<Io: Duplex> Sink<Packet> for WebSocket<Io> {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let Self { encoder, io, deflate, .. } = &mut *self;
        if deflate.ends_turn() {
            return come_back(cx);
        }
        match encoder.has_room() {
            true => Poll::Ready(Ok(())),
            false => encoder.poll_write(io, cx).map_err(|_| CONNECTION_FAILED),
        }
    }

    fn start_send(mut self: Pin<&mut Self>, packet: Packet) -> Result<(), TransportError> {
        let Self { deflate, wire_format, .. } = &mut *self;
        match deflate.compress(&packet, wire_format) {
            Some(Frame::Text(text)) => {
                self.encoder.message(TEXT | COMPRESSED, &text);
                return Ok(());
            }
            Some(Frame::Binary(data)) => {
                self.encoder.message(BINARY | COMPRESSED, &data);
                return Ok(());
            }
            None => {}
        }
        match packet.text() {
            // The same in every wire format.
            Some(text) => self.encoder.message(TEXT, text),
            None => match self.wire_format.write_binary(packet) {
                Frame::Text(text) => self.encoder.message(TEXT, &text),
                Frame::Binary(data) => self.encoder.message(BINARY, &data),
            },
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let Self { encoder, io, .. } = &mut *self;
        ready!(encoder.poll_write(io, cx)).map_err(|_| CONNECTION_FAILED)?;
        Pin::new(io).poll_flush(cx).map_err(|_| CONNECTION_FAILED)
    }

    /// Sends a close frame. It has a code only if the peer sent one or violated the protocol.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        if !self.close_sent {
            ready!(self.as_mut().poll_ready(cx))?;
            self.close_sent = true;
            self.decoder.close();
            // Nothing follows a close frame.
            self.controls = None;
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
        // The peer has nothing more to send, and the stream is dropped next. RFC 6455, section 7.1.1.
        if matches!(self.ended, Some(Ended::ByPeer(_))) && self.io.is_shut_down_by_drop() {
            return Poll::Ready(Ok(()));
        }
        // No frame follows: the peer sees the end at once.
        Pin::new(&mut self.io).poll_shutdown(cx).map_err(|_| CONNECTION_FAILED)
    }
}

const CONNECTION_FAILED: TransportError = TransportError::new("the connection failed");

thread_local! {
    static SCRATCH: RefCell<Option<BytesMut>> = const { RefCell::new(None) };
}

/// Lends the thread's read buffer, empty. A nested call, by an `Io` that reads another WebSocket, gets a new buffer.
pub(super) fn with_scratch<R>(read: impl FnOnce(&mut BytesMut) -> R) -> R {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => {
            let scratch = scratch.get_or_insert_with(BytesMut::new);
            scratch.clear();
            // Slices that were split off may have been dropped.
            if scratch.capacity() < READ_SIZE && !scratch.try_reclaim(READ_SIZE) {
                *scratch = BytesMut::with_capacity(READ_SIZE);
            }
            read(scratch)
        }
        Err(_) => read(&mut BytesMut::with_capacity(READ_SIZE)),
    })
}

#[cfg(test)]
#[cfg(feature = "permessage-deflate")]
mod autobahn;
#[cfg(test)]
#[cfg(feature = "permessage-deflate")]
mod compressed_tests;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
#[cfg(test)]
mod tests;
