/// Error returned when a connection over a custom transport is not opened.
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
}
