use std::error::Error;

/// Error returned when the other nodes of a cluster could not be asked.
///
/// The source says why. A server without a [`ClusterAdapter`](super::ClusterAdapter) never fails in this way.
#[derive(Debug, thiserror::Error)]
#[error("the other nodes of the cluster could not be asked")]
pub struct ClusterError(#[source] Box<dyn Error + Send + Sync>);

impl ClusterError {
    /// Creates an error from its cause.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}
