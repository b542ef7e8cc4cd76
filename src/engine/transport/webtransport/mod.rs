//! Engine.IO packets over a stream of WebTransport, one frame each.
//!
//! The stream is any `AsyncRead + AsyncWrite`. QUIC and HTTP/3 belong to the caller.

mod decoder;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use futures_sink::Sink;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::poll_read_buf;

use crate::engine::{Frame, Packet, Transport};

use self::decoder::Decoder;
use super::{
    error::TransportError,
    packet_io::PacketIo,
    websocket::{
        encoder::{Encoder, LARGE_PAYLOAD},
        with_scratch,
    },
};

/// How many bytes of an incomplete frame are read before other tasks run.
const READ_TURN: usize = 64 * 1024;

/// A stream of WebTransport that carries Engine.IO packets.
///
/// An idle connection has no buffers.
#[derive(Debug)]
pub(crate) struct WebTransport<Io> {
    io: Io,
    decoder: Decoder,
    encoder: Encoder,
    /// Nothing is read any more: the client has ended its side or violated the protocol, or the session has ended.
    ended: bool,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> WebTransport<Io> {
    pub(crate) fn new(io: Io, max_payload: usize) -> Self {
        Self { io, decoder: Decoder::new(max_payload), encoder: Encoder::default(), ended: false }
    }

    /// Sets the maximum size of a packet, from the next one on.
    pub(crate) fn set_max_payload(&mut self, max_payload: usize) {
        self.decoder.set_max_payload(max_payload);
    }

    /// Reads from the stream. Returns the number of bytes; 0 means end of stream.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        with_scratch(|scratch| {
            let read = ready!(poll_read_buf(Pin::new(&mut self.io), cx, scratch))?;
            self.decoder.push(scratch);
            Poll::Ready(Ok(read))
        })
    }

    fn end(&mut self) {
        self.ended = true;
        self.decoder = Decoder::new(0);
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Stream for WebTransport<Io> {
    type Item = Result<Packet, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut bytes = 0;
        while !self.ended {
            match self.decoder.next() {
                Ok(Some(packet)) => return Poll::Ready(Some(Ok(packet))),
                Ok(None) if bytes >= READ_TURN => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(None) => {}
                Err(error) => {
                    self.end();
                    return Poll::Ready(Some(Err(error)));
                }
            }
            match ready!(self.poll_read(cx)) {
                Ok(read @ 1..) => bytes += read,
                Ok(0) | Err(_) => self.end(),
            }
        }
        Poll::Ready(None)
    }
}

/// Adds the frame of a packet to the output.
fn add_frame(encoder: &mut Encoder, is_binary: bool, payload: &[u8]) {
    add_header(encoder, is_binary, payload.len());
    encoder.encoded(payload);
}

fn add_header(encoder: &mut Encoder, is_binary: bool, length: usize) {
    let flag = u8::from(is_binary) << 7;
    match length {
        length @ ..126 => encoder.encoded(&[flag | length as u8]),
        length @ 126..=0xffff => {
            let [high, low] = (length as u16).to_be_bytes();
            encoder.encoded(&[flag | 126, high, low]);
        }
        length => {
            encoder.encoded(&[flag | 127]);
            encoder.encoded(&(length as u64).to_be_bytes());
        }
    }
}

/// The frame of an empty binary message. The JavaScript client rejects binary frames without a payload, but reads base64.
const EMPTY_BINARY: &[u8] = b"b";

impl<Io: AsyncRead + AsyncWrite + Unpin> PacketIo for WebTransport<Io> {
    const TRANSPORT: Transport = Transport::WebTransport;
    const CAN_SEND_DIRECT: bool = true;

    fn try_send_direct(mut self: Pin<&mut Self>, text: &[u8], attachments: &[Packet]) -> bool {
        let size = text.len() + attachments.iter().map(Packet::len).sum::<usize>();
        if size >= LARGE_PAYLOAD || !self.encoder.has_room() {
            return false;
        }
        add_frame(&mut self.encoder, false, text);
        for attachment in attachments {
            match attachment.is_empty() {
                true => add_frame(&mut self.encoder, false, EMPTY_BINARY),
                false => add_frame(&mut self.encoder, true, attachment.data()),
            }
        }
        true
    }

    fn unread_bytes(&self) -> usize {
        self.decoder.unread_bytes()
    }

    fn forget_unread(mut self: Pin<&mut Self>) {
        self.end();
    }

    fn take_written(mut self: Pin<&mut Self>) -> bool {
        self.encoder.take_written()
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Sink<Packet> for WebTransport<Io> {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let Self { encoder, io, .. } = &mut *self;
        match encoder.has_room() {
            true => Poll::Ready(Ok(())),
            false => encoder.poll_write(io, cx).map_err(|_| CONNECTION_FAILED),
        }
    }

    fn start_send(mut self: Pin<&mut Self>, packet: Packet) -> Result<(), TransportError> {
        let (is_binary, payload) = match packet.into_frame() {
            Frame::Text(text) => (false, text),
            Frame::Binary(data) if data.is_empty() => (false, Bytes::from_static(EMPTY_BINARY)),
            Frame::Binary(data) => (true, data),
        };
        if payload.len() < LARGE_PAYLOAD {
            add_frame(&mut self.encoder, is_binary, &payload);
        } else {
            add_header(&mut self.encoder, is_binary, payload.len());
            self.encoder.large(payload);
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let Self { encoder, io, .. } = &mut *self;
        ready!(encoder.poll_write(io, cx)).map_err(|_| CONNECTION_FAILED)?;
        Pin::new(io).poll_flush(cx).map_err(|_| CONNECTION_FAILED)
    }

    /// Ends the stream. The client does not end its side in response, so nothing is read after that.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        ready!(self.as_mut().poll_flush(cx))?;
        ready!(Pin::new(&mut self.io).poll_shutdown(cx)).map_err(|_| CONNECTION_FAILED)?;
        self.end();
        Poll::Ready(Ok(()))
    }
}

const CONNECTION_FAILED: TransportError = TransportError::new("the connection failed");

#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
#[cfg(test)]
mod tests;
