use std::{error::Error, fmt};

use serde::ser::Error as _;

use crate::{engine::SendError, parser::ParserError};

/// An error of `emit` and its relatives.
///
/// ```
/// use tower_socketio::{EmitError, SocketRef};
///
/// fn notify(socket: &SocketRef) -> Result<(), EmitError> {
///     match socket.emit("news", "tea is ready") {
///         Err(error) if error.is_disconnected() => Ok(()), // the client has left
///         result => result,
///     }
/// }
/// ```
#[derive(Debug)]
pub struct EmitError(Kind);

#[derive(Debug)]
enum Kind {
    Encode(serde_json::Error),
    Reserved,
    Closed,
    Full,
}

impl EmitError {
    pub(crate) fn encode(error: serde_json::Error) -> Self {
        Self(Kind::Encode(error))
    }

    /// The server's parser cannot encode the packet.
    pub(crate) fn parser(error: ParserError) -> Self {
        Self::encode(serde_json::Error::custom(error))
    }

    pub(crate) fn reserved() -> Self {
        Self(Kind::Reserved)
    }

    /// Returns `true` if the arguments cannot be encoded as JSON, such as a map whose keys are not strings, or by the server's
    /// [parser](crate::parser).
    #[must_use]
    pub fn is_encode(&self) -> bool {
        matches!(self.0, Kind::Encode(_))
    }

    /// Returns `true` if the event name is reserved by the protocol: `connect`, `connect_error`, `disconnect`, `disconnecting`
    /// and similar names.
    #[must_use]
    pub fn is_reserved_event(&self) -> bool {
        matches!(self.0, Kind::Reserved)
    }

    /// Returns `true` if the socket is not connected and the event is not [recorded](crate::SocketIoConfig::recovery) for its
    /// client.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        matches!(self.0, Kind::Closed)
    }

    /// Returns `true` if the client's send buffer is full. See [`max_buffered_bytes`](crate::SocketIoConfig::max_buffered_bytes).
    #[must_use]
    pub fn is_slow_client(&self) -> bool {
        matches!(self.0, Kind::Full)
    }
}

impl From<SendError> for EmitError {
    fn from(error: SendError) -> Self {
        Self(match error {
            SendError::Closed => Kind::Closed,
            SendError::Full => Kind::Full,
        })
    }
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Encode(_) => "the arguments cannot be encoded as JSON",
            Kind::Reserved => "the event name is reserved by the protocol",
            Kind::Closed => "the socket is not connected",
            Kind::Full => "the client is too slow: max_buffered_bytes are waiting to be sent",
        })
    }
}

impl Error for EmitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::Encode(error) => Some(error),
            Kind::Reserved | Kind::Closed | Kind::Full => None,
        }
    }
}
