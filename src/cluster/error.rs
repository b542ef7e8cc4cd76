use std::error::Error;

type Source = Box<dyn Error + Send + Sync>;

/// A failure of the cluster or of the broker that carries its messages.
///
/// The source has the details. Passed to [`SocketIoConfig::on_cluster_error`](crate::SocketIoConfig::on_cluster_error), and returned
/// by requests. A server without a [`ClusterAdapter`](super::ClusterAdapter) never fails in this way.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct ClusterError {
    kind: ClusterErrorKind,
    source: Option<Source>,
}

/// The kind of a [`ClusterError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterErrorKind {
    /// The connection to the broker was lost, or could not be opened. The adapter tries again.
    #[error("the connection to the broker of the cluster was lost")]
    Disconnected,
    /// Messages to other nodes were lost.
    #[error("{count} messages to other nodes of the cluster were lost")]
    Lost {
        /// The number of messages.
        count: u64,
    },
    /// Messages of other nodes were missed, or may have been. Their number is unknown.
    #[error("messages of other nodes of the cluster were missed")]
    Missed,
    /// A message of another node could not be decoded. It was ignored.
    #[error("a message of another node of the cluster could not be decoded")]
    Malformed,
    /// The broker rejected a command, for example because of a password.
    #[error("the broker of the cluster rejected a command")]
    Rejected,
    /// Nodes did not respond in time.
    #[error("{missing} nodes of the cluster did not respond in time")]
    Timeout {
        /// The number of nodes.
        missing: usize,
    },
    /// The configuration of the adapter is invalid, for example its URL.
    #[error("the configuration of the cluster is invalid")]
    Config,
}

impl ClusterError {
    /// Creates an error.
    #[must_use]
    pub const fn new(kind: ClusterErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// Sets the cause, which is returned by [`source`](Error::source).
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(cause.into());
        self
    }

    /// Returns what failed.
    #[must_use]
    pub fn kind(&self) -> ClusterErrorKind {
        self.kind
    }
}

/// Error returned by [`ClusterAdapter::publish`](super::ClusterAdapter::publish) if a message is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// There is no connection to the broker.
    #[error("there is no connection to the broker of the cluster")]
    Disconnected,
    /// The queue of messages is full, because the broker is slow.
    #[error("the queue of messages to other nodes of the cluster is full")]
    Full,
    /// The cluster has no such node, or no longer.
    #[error("the cluster has no such node")]
    UnknownNode,
    /// The adapter does not have this command, or the message is too large for it.
    #[error("the adapter cannot carry this message")]
    Unsupported,
}
