use std::{error::Error, fmt, future::poll_fn, net::SocketAddr, sync::Arc};

use super::{CloseCause, Connection, ConnectionRequest, Message, Protocol, SendError, Session, Transport};

/// A session of Engine.IO: sends messages to its client, and closes it. Cloning is cheap.
#[derive(Clone)]
pub struct EngineSocket(Arc<Connection>);

impl EngineSocket {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self(connection)
    }

    /// The id of the session. It is a secret: who knows it can send and receive in the client's name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The revision of Engine.IO that the client speaks.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.0.wire_format.protocol
    }

    /// The transport that carries the session now. An upgrade changes it.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.0.transport()
    }

    /// The request that opened the session.
    #[must_use]
    pub fn request(&self) -> &ConnectionRequest {
        &self.0.request
    }

    /// The address of the peer. See [`ConnectionRequest::address`].
    #[must_use]
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.0.request.address()
    }

    /// Whether the session is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.inspect(Session::is_open)
    }

    /// Whether a message that is sent now leaves at once.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.0.inspect(Session::is_writable)
    }

    /// How many bytes wait to be sent, and some more for each message.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.0.inspect(Session::buffered_bytes)
    }

    /// Queues a message, in order.
    ///
    /// # Errors
    ///
    /// If the session is closed, or if the message finds no room: more than
    /// [`max_buffered_bytes`](super::EngineIoConfig::max_buffered_bytes) would wait. In the latter case the session stays open.
    pub fn send(&self, message: impl Into<Message>) -> Result<(), EngineSendError> {
        let packet = message.into().into_packet();
        let sent = self.0.send(std::slice::from_ref(&packet), false).map_err(EngineSendError)?;
        if let Some(waker) = sent.waker {
            waker.wake();
        }
        Ok(())
    }

    /// Waits until everything that was queued has been written to the network, or the session has ended.
    ///
    /// # Cancel safety
    ///
    /// The future can be dropped at any time.
    pub async fn drained(&self) {
        poll_fn(|cx| self.0.poll_drained(cx.waker())).await;
    }

    /// Closes the session: what is queued is sent first.
    pub fn close(&self) {
        self.0.close(CloseCause::Forced("closed by the server"));
    }
}

impl fmt::Debug for EngineSocket {
    /// Leaves out the id, which is a secret.
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
    /// Whether the session is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0 == SendError::Closed
    }

    /// Whether the message found no room, because the client reads too slowly.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0 == SendError::Full
    }
}

impl fmt::Display for EngineSendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            SendError::Closed => "the session is closed",
            SendError::Full => "max_buffered_bytes would be exceeded",
        })
    }
}

impl Error for EngineSendError {}
