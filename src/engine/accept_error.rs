use super::RequestError;

/// Error returned when a connection over a stream is not opened, by [`SocketIo::accept`](crate::SocketIo::accept) or
/// [`SocketIo::accept_webtransport`](crate::SocketIo::accept_webtransport).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The server is draining, and opens no new connections.
    #[error("the server is draining")]
    Draining,
    /// `generate_id` returned the id of another session.
    #[error("another session has the id that `generate_id` returned")]
    IdTaken,
    /// `generate_id` panicked or returned an empty id.
    #[error("`generate_id` panicked or returned an empty id")]
    InvalidId,
    /// The target of the request is too long.
    #[error("the target of the request is too long")]
    TargetTooLong,
    /// The target and the headers of the request exceed `max_head_bytes`.
    #[error("the target and the headers exceed `max_head_bytes`")]
    HeadTooLarge,
    /// `max_sessions_per_address` is reached.
    #[error("`max_sessions_per_address` is reached")]
    TooManySessions,
    /// WebTransport is not among the `transports` of the server.
    #[error("WebTransport is not among the transports of the server")]
    Disabled,
    /// The origin of the page is not allowed.
    #[error("the origin is not allowed")]
    Forbidden,
    /// The first packet of the client did not arrive within `upgrade_timeout`, or is not a handshake.
    #[error("the first packet is missing or not a handshake")]
    NoHandshake,
    /// The client was waiting to send its first packet when `max_idle_sessions` newer ones arrived.
    #[error("`max_idle_sessions` is reached by newer clients")]
    Displaced,
    /// The client asks for a session that does not exist or has ended.
    #[error("no session has this id, or it has ended")]
    UnknownSession,
    /// The client asks for a session that cannot be upgraded to WebTransport: upgrades are turned off, the session is not on
    /// long-polling, it is being upgraded already, or it uses revision 3 of the protocol.
    #[error("the session cannot be upgraded to WebTransport")]
    CannotUpgrade,
}

impl From<AcceptError> for RequestError {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Draining => Self::Overloaded("The server is shutting down"),
            AcceptError::IdTaken => Self::BadRequest("the id of the session is taken"),
            AcceptError::InvalidId => Self::Internal("`generate_id` panicked or returned an empty id"),
            AcceptError::TargetTooLong | AcceptError::HeadTooLarge => Self::HeadTooLarge,
            AcceptError::TooManySessions => Self::TooManySessions,
            AcceptError::Disabled => Self::UnknownTransport,
            AcceptError::Forbidden => Self::Forbidden,
            AcceptError::NoHandshake => Self::BadRequest("the first packet is missing or not a handshake"),
            AcceptError::Displaced => Self::BadRequest("max_idle_sessions is reached by newer clients"),
            AcceptError::UnknownSession => Self::UnknownSession,
            AcceptError::CannotUpgrade => Self::BadRequest("the session cannot be upgraded to WebTransport"),
        }
    }
}
