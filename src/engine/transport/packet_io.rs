use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_core::Stream;
use futures_sink::Sink;

use crate::engine::{Packet, Transport};

use super::error::TransportError;

/// How long the peer may take to close its side of a connection.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A transport that a [`Driver`](super::Driver) drives.
pub(crate) trait PacketIo:
    Stream<Item = Result<Packet, TransportError>> + Sink<Packet, Error = TransportError>
{
    /// The name of the transport.
    const TRANSPORT: Transport;

    /// Whether [`try_send_direct`](Self::try_send_direct) may succeed.
    const CAN_SEND_DIRECT: bool = false;

    /// Writes a text and its attachments, all or none, bypassing the sink. Returns `false` if there is no room.
    fn try_send_direct(self: Pin<&mut Self>, _text: &[u8], _attachments: &[Packet]) -> bool {
        false
    }

    /// Returns the number of bytes that have been read, but not returned as packets.
    fn unread_bytes(&self) -> usize {
        0
    }

    /// Returns when a frame that is not a packet, such as a WebSocket ping, last arrived since the previous call.
    fn take_heard(self: Pin<&mut Self>) -> Option<Instant> {
        None
    }

    /// Drops unread bytes, now and from now on, because the session has ended.
    fn forget_unread(self: Pin<&mut Self>) {}

    /// Returns whether anything has been written since the last call.
    fn take_written(self: Pin<&mut Self>) -> bool;
}

/// A transport that was passed to [`SocketIo::accept`](crate::SocketIo::accept).
pub(crate) struct Foreign<T> {
    transport: Pin<Box<T>>,
    written: bool,
}

impl<T> Foreign<T> {
    pub(crate) fn new(transport: T) -> Self {
        Self { transport: Box::pin(transport), written: false }
    }
}

impl<T> PacketIo for Foreign<T>
where
    T: Stream<Item = Result<Packet, TransportError>> + Sink<Packet, Error = TransportError>,
{
    const TRANSPORT: Transport = Transport::Custom;

    fn take_written(mut self: Pin<&mut Self>) -> bool {
        std::mem::take(&mut self.written)
    }
}

impl<T: Stream> Stream for Foreign<T> {
    type Item = T::Item;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T::Item>> {
        self.transport.as_mut().poll_next(cx)
    }
}

impl<T: Sink<Packet>> Sink<Packet> for Foreign<T> {
    type Error = T::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        self.transport.as_mut().poll_ready(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, packet: Packet) -> Result<(), T::Error> {
        self.written = true;
        self.transport.as_mut().start_send(packet)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        self.transport.as_mut().poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        self.transport.as_mut().poll_close(cx)
    }
}
