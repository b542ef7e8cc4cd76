use std::{error::Error, fmt};

use crate::{cluster::ClusterError, server::EmitError};

/// The reason why an event with an ack was not acknowledged.
///
/// ```
/// use tower_socketio::SocketRef;
///
/// async fn is_alive(socket: &SocketRef) -> bool {
///     match socket.emit_with_ack::<()>("are you there", &()).await {
///         Ok(()) => true,
///         Err(error) => error.is_decode(), // an ack of another type
///     }
/// }
/// # let _ = is_alive;
/// ```
#[derive(Debug)]
pub struct AckError(AckKind);

#[derive(Debug)]
enum AckKind {
    Emit(EmitError),
    NotAccepted,
    Timeout,
    Disconnected,
    Decode(serde_json::Error),
    Cluster(Box<ClusterError>),
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

    pub(super) fn cluster(error: ClusterError) -> Self {
        Self(AckKind::Cluster(Box::new(error)))
    }

    /// Returns `true` if the other nodes of the cluster could not be asked. The [source](std::error::Error::source) is the
    /// [`ClusterError`].
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        matches!(self.0, AckKind::Cluster(_))
    }

    /// Returns `true` if the event was not emitted. The [source](std::error::Error::source) is the [`EmitError`].
    #[must_use]
    pub fn is_emit(&self) -> bool {
        matches!(self.0, AckKind::Emit(_))
    }

    /// Returns `true` if the client did not acknowledge in time.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.0, AckKind::Timeout | AckKind::NotAccepted)
    }

    /// Returns `true` if the socket was disconnected before the client acknowledged.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        matches!(self.0, AckKind::Disconnected)
    }

    /// Returns `true` if the ack does not match the requested type.
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
                "the socket is not accepted before on_connect has returned: wait for the ack in a spawned task"
            }
            AckKind::Timeout => "the client did not acknowledge in time",
            AckKind::Disconnected => "the socket was disconnected before the client acknowledged",
            AckKind::Decode(_) => "the ack does not match the type",
            AckKind::Cluster(_) => "the other nodes of the cluster could not be asked",
        })
    }
}

impl Error for AckError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            AckKind::Emit(error) => Some(error),
            AckKind::Decode(error) => Some(error),
            AckKind::Cluster(error) => Some(&**error),
            AckKind::NotAccepted | AckKind::Timeout | AckKind::Disconnected => None,
        }
    }
}
