use std::fmt;

use serde::{Serialize, Serializer};

use crate::engine::CloseCause;

/// Why a socket was disconnected.
///
/// [`as_str`](Self::as_str) and `Display` give the reason as Node's server names it. In handlers of
/// [`on_disconnect`](crate::Namespace::on_disconnect) it is an extractor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The client closed the connection, or the network did.
    TransportClose,
    /// The transport failed, or the client broke its rules: a message was too large, for instance.
    #[non_exhaustive]
    TransportError {
        /// What happened.
        detail: &'static str,
    },
    /// The client did not answer a ping in time.
    PingTimeout,
    /// What arrived is no Engine.IO packet.
    #[non_exhaustive]
    ParseError {
        /// What was wrong with it.
        detail: &'static str,
    },
    /// The client broke the rules of Socket.IO.
    #[non_exhaustive]
    ForcedClose {
        /// Which rule.
        detail: &'static str,
    },
    /// As [`ForcedClose`](Self::ForcedClose), when the client could not be told at once.
    #[non_exhaustive]
    ForcedServerClose {
        /// Which rule.
        detail: &'static str,
    },
    /// The client left the namespace.
    ClientNamespaceDisconnect,
    /// The server disconnected the socket.
    ServerNamespaceDisconnect,
    /// The server is closing.
    ServerShuttingDown,
    /// More than [`max_buffered_bytes`](crate::SocketIoConfig::max_buffered_bytes) waited to be sent to the client.
    SlowClient,
}

impl DisconnectReason {
    /// The reason as Node's server names it.
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

    /// Whether the connection was lost, so that the client may come back and be the socket that it was.
    pub(crate) fn is_recoverable(self) -> bool {
        !matches!(self, Self::ClientNamespaceDisconnect | Self::ServerNamespaceDisconnect)
    }

    /// What exactly happened, where the reason alone does not say it.
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
