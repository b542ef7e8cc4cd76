//! The interface of the codec for its fuzz target.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use futures_sink::Sink;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::engine::Packet;

use super::{WebTransport, decoder::Decoder};

/// Decodes bytes that arrive in pieces. Returns the packets, and the first error.
pub(crate) fn decode<'a>(limit: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Packet>, Option<String>) {
    let mut decoder = Decoder::new(limit);
    let mut packets = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(error) => return (packets, Some(error.to_string())),
            }
        }
    }
    (packets, None)
}

/// Encodes packets.
pub(crate) fn encode(packets: impl IntoIterator<Item = Packet>) -> Vec<u8> {
    let mut transport = WebTransport::new(Written::default(), 0);
    let mut transport = Pin::new(&mut transport);
    let cx = &mut Context::from_waker(Waker::noop());
    for packet in packets {
        assert!(transport.as_mut().poll_ready(cx).is_ready());
        transport.as_mut().start_send(packet).expect("the output has room");
    }
    while transport.as_mut().poll_flush(cx).is_pending() {}
    std::mem::take(&mut transport.io.0)
}

/// A stream that accepts all bytes.
#[derive(Default)]
struct Written(Vec<u8>);

impl AsyncRead for Written {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Written {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.0.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
