use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use futures_sink::Sink;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message, Utf8Bytes,
        error::ProtocolError,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::engine::{Dialect, Packet, PacketPayload};

use super::{CLOSE_TIMEOUT, TransportError};

/// tungstenite clears its whole buffer before each read and keeps it for each connection.
const READ_BUFFER: usize = 4 * 1024;

/// What is gathered before it is written, unless it is flushed first.
const WRITE_BUFFER: usize = 32 * 1024;

/// Engine.IO packets over a WebSocket: a frame each.
#[derive(Debug)]
pub(super) struct WebSocket<Io> {
    stream: WebSocketStream<Io>,
    dialect: Dialect,
    /// How the peer is told what it did wrong.
    close_code: Option<CloseCode>,
    close_sent: bool,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> WebSocket<Io> {
    pub(super) async fn new(io: Io, max_payload: usize, dialect: Dialect) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(max_payload))
            .max_frame_size(Some(max_payload));
        let stream = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        Self { stream, dialect, close_code: None, close_sent: false }
    }

    /// Closes a WebSocket that carries no session, and hears the peer out for a while.
    pub(super) async fn close(mut self) {
        let end = poll_fn(|cx| {
            if ready!(Pin::new(&mut self).poll_close(cx)).is_err() {
                return Poll::Ready(());
            }
            while ready!(Pin::new(&mut self).poll_next(cx)).is_some_and(|packet| packet.is_ok()) {}
            Poll::Ready(())
        });
        // Whoever does not close its side is cut off.
        let _ = timeout(CLOSE_TIMEOUT, end).await;
    }

    /// Reads to the end of the connection after a failure. If it were closed with bytes unread, the peer's kernel would
    /// throw away the close frame that says what was wrong.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0u8; 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(self.stream.get_mut()).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }

    /// Sorts a failure: what the sockets are told, and what the peer is. `None` if the peer has simply gone.
    fn fail(&mut self, error: &Error) -> Option<TransportError> {
        let (code, detail) = match error {
            Error::Capacity(_) => (CloseCode::Size, "max payload size exceeded"),
            Error::Utf8(_) => (CloseCode::Invalid, "a text frame is not valid UTF-8"),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return None,
            Error::Protocol(_) => (CloseCode::Protocol, "the rules of WebSocket were broken"),
            _ => return None,
        };
        self.close_code = Some(code);
        Some(TransportError::new(detail))
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<Io> {
    type Item = Result<Packet, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.close_code.is_some() {
            return self.poll_discard(cx).map(|()| None);
        }
        loop {
            let packet = match ready!(Pin::new(&mut self.stream).poll_next(cx)) {
                None => return Poll::Ready(None),
                Some(Ok(Message::Text(text))) => self.dialect.read_text(text.into()),
                Some(Ok(Message::Binary(data))) => match self.dialect.read_binary(data) {
                    Some(packet) => Ok(packet),
                    None => continue,
                },
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_))) => continue,
                Some(Err(error)) => return Poll::Ready(self.fail(&error).map(Err)),
            };
            return Poll::Ready(Some(packet.map_err(|error| TransportError::parse(error.message()))));
        }
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Sink<Packet> for WebSocket<Io> {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Pin::new(&mut self.stream).poll_ready(cx).map_err(|_| BROKEN)
    }

    fn start_send(mut self: Pin<&mut Self>, packet: Packet) -> Result<(), TransportError> {
        let message = match self.dialect.write(packet) {
            PacketPayload::Text(text) => Message::Text(Utf8Bytes::try_from(text).map_err(|_| BROKEN)?),
            PacketPayload::Binary(data) => Message::Binary(data),
        };
        Pin::new(&mut self.stream).start_send(message).map_err(|_| BROKEN)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Pin::new(&mut self.stream).poll_flush(cx).map_err(|_| BROKEN)
    }

    /// Sends a close frame, without a code unless the peer broke a rule of WebSocket's.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        if !self.close_sent {
            self.close_sent = true;
            let frame = self.close_code.map(|code| CloseFrame { code, reason: Utf8Bytes::default() });
            if Pin::new(&mut self.stream).start_send(Message::Close(frame)).is_err() {
                return Poll::Ready(Ok(()));
            }
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx)).map_err(|_| BROKEN)?;
        // Nothing follows: the peer sees the end at once.
        Pin::new(self.stream.get_mut()).poll_shutdown(cx).map_err(|_| BROKEN)
    }
}

const BROKEN: TransportError = TransportError::new("the connection failed");
