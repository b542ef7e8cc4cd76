use std::{error::Error, fmt};

use crate::server::EmitError;

/// Why there is no answer to an event that asked for an ack.
#[derive(Debug)]
pub struct AckError(AckKind);

#[derive(Debug)]
enum AckKind {
    Emit(EmitError),
    NotAccepted,
    Timeout,
    Disconnected,
    Decode(serde_json::Error),
}

impl AckError {
    pub(super) fn emit(error: EmitError) -> Self {
        Self(AckKind::Emit(error))
    }

    pub(super) fn not_accepted() -> Self {
        Self(AckKind::NotAccepted)
    }

    pub(super) fn timeout() -> Self {
        Self(AckKind::Timeout)
    }

    pub(super) fn disconnected() -> Self {
        Self(AckKind::Disconnected)
    }

    pub(super) fn decode(error: serde_json::Error) -> Self {
        Self(AckKind::Decode(error))
    }

    /// The event was not emitted at all; the source says why.
    #[must_use]
    pub fn is_emit(&self) -> bool {
        matches!(self.0, AckKind::Emit(_))
    }

    /// The client did not answer in time.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.0, AckKind::Timeout | AckKind::NotAccepted)
    }

    /// The socket was disconnected before the client answered.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        matches!(self.0, AckKind::Disconnected)
    }

    /// The client's answer does not fit the type that was asked for.
    #[must_use]
    pub fn is_decode(&self) -> bool {
        matches!(self.0, AckKind::Decode(_))
    }
}

impl fmt::Display for AckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            AckKind::Emit(_) => "the event was not emitted",
            AckKind::NotAccepted => {
                "the socket is not accepted before on_connect has answered: spawn a task that waits for the ack"
            }
            AckKind::Timeout => "the client did not answer in time",
            AckKind::Disconnected => "the socket was disconnected before the client answered",
            AckKind::Decode(_) => "the client's answer is of another type",
        })
    }
}

impl Error for AckError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            AckKind::Emit(error) => Some(error),
            AckKind::Decode(error) => Some(error),
            AckKind::NotAccepted | AckKind::Timeout | AckKind::Disconnected => None,
        }
    }
}
