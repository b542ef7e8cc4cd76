use std::{error::Error, fmt, future::poll_fn, net::SocketAddr, sync::Arc};

use super::{CloseCause, Connection, ConnectionRequest, Message, ProtocolVersion, SendError, Session, Transport};

/// A handle to an Engine.IO session: sends messages to its client, and closes it. Cloning is cheap.
///
/// Passed to [`Handler::open`](super::Handler::open).
#[derive(Clone)]
pub struct EngineSocket(Arc<Connection>);

impl EngineSocket {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self(connection)
    }

    /// Returns the id of the session. It is a secret: its holder can send and receive as the client.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Returns the revision of Engine.IO that the client speaks.
    #[must_use]
    pub fn protocol(&self) -> ProtocolVersion {
        self.0.wire_format.protocol
    }

    /// Returns the current transport of the session. An upgrade changes it.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.0.transport()
    }

    /// Returns the request that opened the session.
    #[must_use]
    pub fn request(&self) -> &ConnectionRequest {
        &self.0.request
    }

    /// Returns the address of the peer. See [`ConnectionRequest::remote_addr`].
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.0.request.remote_addr()
    }

    /// Returns `true` if the session is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.inspect(Session::is_open)
    }

    /// Returns `true` if a message that is sent now is written at once.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.0.inspect(Session::is_writable)
    }

    /// Returns the number of queued bytes, including some overhead for each message.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.0.inspect(Session::buffered_bytes)
    }

    /// Queues a message. Messages are sent in order.
    ///
    /// # Errors
    ///
    /// Returns an error if the session is closed, or if the queue would exceed
    /// [`max_buffered_bytes`](super::EngineIoConfig::max_buffered_bytes). In the latter case the session stays open.
    pub fn send(&self, message: impl Into<Message>) -> Result<(), EngineSendError> {
        let packet = message.into().into_packet();
        let sent = self.0.send(std::slice::from_ref(&packet), false, || true).map_err(EngineSendError)?;
        if let Some(waker) = sent.waker {
            waker.wake();
        }
        Ok(())
    }

    /// Waits until all queued messages have been written to the network, or the session has ended.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe.
    pub async fn drained(&self) {
        poll_fn(|cx| self.0.poll_drained(cx.waker())).await;
    }

    /// Closes the session, after the queued messages.
    pub fn close(&self) {
        self.0.close(CloseCause::Forced("closed by the server"));
    }

    /// Closes the session at once, and drops the queued messages. In Node: `close(true)`.
    pub fn abort(&self) {
        self.0.abort(CloseCause::Forced("closed by the server"));
    }
}

impl fmt::Debug for EngineSocket {
    /// Omits the id, which is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineSocket")
            .field("protocol", &self.protocol())
            .field("transport", &self.transport())
            .finish_non_exhaustive()
    }
}

/// Error returned by [`EngineSocket::send`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineSendError(SendError);

impl EngineSendError {
    /// Returns `true` if the session is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0 == SendError::Closed
    }

    /// Returns `true` if the queue is full, because the client reads too slowly.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0 == SendError::Full
    }
}

impl fmt::Display for EngineSendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            SendError::Closed => "the session is closed",
            SendError::Full => "the message would exceed max_buffered_bytes",
        })
    }
}

impl Error for EngineSendError {}
