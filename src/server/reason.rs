use std::fmt;

use serde::{Serialize, Serializer};

use crate::engine::CloseCause;

/// The reason why a socket was disconnected.
///
/// [`as_str`](Self::as_str) and `Display` return the reason as Node's server names it. In handlers of
/// [`on_disconnect`](crate::Namespace::on_disconnect) it is an extractor:
///
/// ```
/// use tower_socketio::{DisconnectReason, Namespace, SocketRef};
///
/// async fn left(socket: SocketRef, reason: DisconnectReason) {
///     println!("{} left: {reason}", socket.id());
/// }
///
/// let chat = Namespace::new().on_disconnect(left);
/// # let _: Namespace = chat;
/// assert_eq!(DisconnectReason::PingTimeout.as_str(), "ping timeout");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// "transport close": the client or the network closed the connection.
    TransportClose,
    /// "transport error": the transport failed, or the client violated its protocol, such as with a message that is too large.
    #[non_exhaustive]
    TransportError {
        /// A description of the error.
        detail: &'static str,
    },
    /// "ping timeout": the client did not answer a ping within [`ping_timeout`](crate::SocketIoConfig::ping_timeout).
    PingTimeout,
    /// "parse error": the client sent something that is not an Engine.IO packet.
    #[non_exhaustive]
    ParseError {
        /// A description of the error.
        detail: &'static str,
    },
    /// "forced close": the client violated the Socket.IO protocol.
    #[non_exhaustive]
    ForcedClose {
        /// A description of the violation.
        detail: &'static str,
    },
    /// "forced server close": like [`ForcedClose`](Self::ForcedClose), if the client could not be informed immediately.
    #[non_exhaustive]
    ForcedServerClose {
        /// A description of the violation.
        detail: &'static str,
    },
    /// "client namespace disconnect": the client left the namespace.
    ClientNamespaceDisconnect,
    /// "server namespace disconnect": the server disconnected the socket. The client has the reason "io server disconnect".
    ServerNamespaceDisconnect,
    /// "server shutting down": the server is shutting down.
    ServerShuttingDown,
    /// "slow client": the client's send buffer was full. See [`max_buffered_bytes`](crate::SocketIoConfig::max_buffered_bytes).
    SlowClient,
}

impl DisconnectReason {
    /// Returns the text of the reason, which is that of Node's server.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TransportClose => "transport close",
            Self::TransportError { .. } => "transport error",
            Self::PingTimeout => "ping timeout",
            Self::ParseError { .. } => "parse error",
            Self::ForcedClose { .. } => "forced close",
            Self::ForcedServerClose { .. } => "forced server close",
            Self::ClientNamespaceDisconnect => "client namespace disconnect",
            Self::ServerNamespaceDisconnect => "server namespace disconnect",
            Self::ServerShuttingDown => "server shutting down",
            Self::SlowClient => "slow client",
        }
    }

    /// Returns `true` if the connection was lost, so that the client may recover the socket.
    pub(crate) fn is_recoverable(self) -> bool {
        !matches!(self, Self::ClientNamespaceDisconnect | Self::ServerNamespaceDisconnect)
    }

    /// Returns details of the error, if the reason has any.
    #[must_use]
    pub fn detail(self) -> Option<&'static str> {
        match self {
            Self::TransportError { detail }
            | Self::ParseError { detail }
            | Self::ForcedClose { detail }
            | Self::ForcedServerClose { detail } => Some(detail),
            Self::TransportClose
            | Self::PingTimeout
            | Self::ClientNamespaceDisconnect
            | Self::ServerNamespaceDisconnect
            | Self::ServerShuttingDown
            | Self::SlowClient => None,
        }
    }
}

impl From<CloseCause> for DisconnectReason {
    fn from(cause: CloseCause) -> Self {
        match cause {
            CloseCause::PingTimeout => Self::PingTimeout,
            CloseCause::TransportClose => Self::TransportClose,
            CloseCause::TransportError(detail) => Self::TransportError { detail },
            CloseCause::ParseError(detail) => Self::ParseError { detail },
            CloseCause::Forced(detail) => Self::ForcedClose { detail },
            CloseCause::SlowClient => Self::SlowClient,
            CloseCause::ShuttingDown => Self::ServerShuttingDown,
        }
    }
}

/// Serializes as its [name](Self::as_str).
impl Serialize for DisconnectReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_displays_and_serializes_as_its_name() {
        for reason in [DisconnectReason::SlowClient, DisconnectReason::ParseError { detail: "x" }] {
            assert_eq!(reason.to_string(), reason.as_str());
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
