use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_core::Stream;
use futures_sink::Sink;
use pin_project::pin_project;

use crate::engine::Packet;

use super::error::TransportError;

/// How long the peer may take to read the end of its connection.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A transport of packets, as a driver needs it.
pub(crate) trait PacketIo:
    Stream<Item = Result<Packet, TransportError>> + Sink<Packet, Error = TransportError>
{
    /// Whether [`send_now`](Self::send_now) may succeed.
    const CAN_SEND_NOW: bool = false;

    /// Sends a text and its attachments past the sink, all or none, if there is room. Returns whether it did.
    fn send_now(self: Pin<&mut Self>, _text: &[u8], _attachments: &[Packet]) -> bool {
        false
    }

    /// Bytes that have been read and not been taken: part of a message, unless more has been read than taken.
    fn unread_bytes(&self) -> usize {
        0
    }

    /// Returns when something that is no packet arrived last, if it did since the last call.
    fn take_heard(self: Pin<&mut Self>) -> Option<Instant> {
        None
    }

    /// Drops what has been read and not been taken, and what follows it: the session is over.
    fn forget_unread(self: Pin<&mut Self>) {}

    /// Returns whether anything has been written since the last call.
    fn take_written(self: Pin<&mut Self>) -> bool;
}

/// A transport that was given to [`SocketIo::accept`](crate::SocketIo::accept).
#[pin_project]
pub(crate) struct Foreign<T> {
    #[pin]
    transport: T,
    written: bool,
}

impl<T> Foreign<T> {
    pub(crate) fn new(transport: T) -> Self {
        Self { transport, written: false }
    }
}

impl<T> PacketIo for Foreign<T>
where
    T: Stream<Item = Result<Packet, TransportError>> + Sink<Packet, Error = TransportError>,
{
    fn take_written(self: Pin<&mut Self>) -> bool {
        std::mem::take(self.project().written)
    }
}

impl<T: Stream> Stream for Foreign<T> {
    type Item = T::Item;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T::Item>> {
        self.project().transport.poll_next(cx)
    }
}

impl<T: Sink<Packet>> Sink<Packet> for Foreign<T> {
    type Error = T::Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        self.project().transport.poll_ready(cx)
    }

    fn start_send(self: Pin<&mut Self>, packet: Packet) -> Result<(), T::Error> {
        let this = self.project();
        *this.written = true;
        this.transport.start_send(packet)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        self.project().transport.poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        self.project().transport.poll_close(cx)
    }
}
