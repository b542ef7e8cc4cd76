use redis::{ErrorKind, RedisError};

use crate::cluster::{ClusterError, ClusterErrorKind};

pub(super) fn timed_out() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

pub(super) fn into_error(error: RedisError) -> ClusterError {
    let kind = match error.kind() {
        ErrorKind::InvalidClientConfig => ClusterErrorKind::Config,
        ErrorKind::AuthenticationFailed | ErrorKind::Server(_) | ErrorKind::Extension => ClusterErrorKind::Rejected,
        _ => ClusterErrorKind::Disconnected,
    };
    ClusterError::new(kind).caused_by(error)
}
