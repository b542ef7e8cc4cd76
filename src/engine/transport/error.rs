use crate::engine::CloseCause;

/// Error of a transport that is passed to [`SocketIo::accept`](crate::SocketIo::accept).
///
/// ```
/// use tower_socketio::engine::TransportError;
///
/// let error = TransportError::new("the pipe is broken");
/// assert_eq!(error.to_string(), "the pipe is broken");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct TransportError {
    detail: &'static str,
    parse: bool,
}

impl TransportError {
    /// Creates the error of a failed connection. The client's sockets are disconnected with "transport error" and this detail.
    #[must_use]
    pub const fn new(detail: &'static str) -> Self {
        Self { detail, parse: false }
    }

    /// Creates the error of data that is not an Engine.IO packet. The client's sockets are disconnected with "parse error" and this
    /// detail.
    #[must_use]
    pub const fn parse(detail: &'static str) -> Self {
        Self { detail, parse: true }
    }

    pub(crate) fn cause(self) -> CloseCause {
        if self.parse { CloseCause::ParseError(self.detail) } else { CloseCause::TransportError(self.detail) }
    }
}
