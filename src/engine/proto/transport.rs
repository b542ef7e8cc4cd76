use std::{error::Error, fmt, str::FromStr};

use serde::{Serialize, Serializer};

/// A transport that carries Engine.IO packets.
///
/// Displays, serializes and parses as its [name](Self::as_str).
///
/// ```
/// use tower_socketio::Transport;
///
/// assert_eq!(Transport::Polling.to_string(), "polling");
/// assert_eq!("websocket".parse(), Ok(Transport::WebSocket));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// HTTP long-polling.
    Polling,
    /// WebSocket.
    WebSocket,
    /// WebTransport, over HTTP/3. Not served unless it is [listed](crate::SocketIoConfig::transports).
    WebTransport,
    /// A transport that was passed to [`SocketIo::accept`](crate::SocketIo::accept).
    Custom,
}

impl Transport {
    /// Returns the name of the transport in the protocol, `polling`, `websocket` or `webtransport`; or `custom`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
            Self::WebTransport => "webtransport",
            Self::Custom => "custom",
        }
    }

    /// Returns the index of a transport to which sessions can be upgraded, among those.
    pub(crate) fn probe_index(self) -> usize {
        usize::from(self == Self::WebTransport)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Transport {
    type Err = ParseTransportError;

    fn from_str(name: &str) -> Result<Self, ParseTransportError> {
        let all = [Self::Polling, Self::WebSocket, Self::WebTransport, Self::Custom];
        all.into_iter().find(|transport| transport.as_str() == name).ok_or(ParseTransportError(()))
    }
}

impl Serialize for Transport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Error returned when a [`Transport`] is parsed from an unknown name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseTransportError(());

impl fmt::Display for ParseTransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown transport: expected `polling`, `websocket`, `webtransport` or `custom`")
    }
}

impl Error for ParseTransportError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transport_is_parsed_from_its_name() {
        for transport in [Transport::Polling, Transport::WebSocket, Transport::WebTransport, Transport::Custom] {
            assert_eq!(transport.to_string().parse(), Ok(transport));
            assert_eq!(serde_json::to_value(transport).unwrap(), transport.as_str());
        }
        for name in ["", "Polling", "websocket ", "webTransport"] {
            assert!(name.parse::<Transport>().is_err(), "{name}");
        }
    }
}
