use std::time::Duration;

use super::super::NatsConfig;

/// Configuration of a [`NatsJetStreamAdapter`](super::NatsJetStreamAdapter).
///
/// ```
/// use std::time::Duration;
/// use tower_socketio::cluster::nats::{NatsConfig, NatsJetStreamConfig};
///
/// let config = NatsJetStreamConfig::new(NatsConfig::new("nats://127.0.0.1")).max_age(Duration::from_secs(600)).replicas(3);
/// # let _ = config;
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct NatsJetStreamConfig {
    pub(super) nats: NatsConfig,
    pub(super) limits: Limits,
}

/// What the stream of events stores.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) max_age: Duration,
    pub(super) max_bytes: u64,
    pub(super) replicas: u8,
}

impl NatsJetStreamConfig {
    /// Creates a configuration with a connection. [`NatsConfig::queue_bytes`] limits the events that wait until NATS is back.
    ///
    /// The first node creates two streams. Their names are the [prefix](NatsConfig::prefix), with `-` in place of characters that
    /// names of streams do not have, and the same with `-sessions`: `socket-io` and `socket-io-sessions`. Streams that exist are used
    /// as they are, and must have the subjects `<prefix>.journal.*` and `<prefix>.saved.*`.
    pub fn new(nats: NatsConfig) -> Self {
        let limits = Limits { max_age: Duration::from_secs(60 * 60), max_bytes: 256 << 20, replicas: 1 };
        Self { nats, limits }
    }

    /// Sets how long events are stored. Default: one hour. Minimum: one second.
    ///
    /// It limits how long a node may be without a connection, and which clients can be recovered: a client cannot if the last event
    /// that it has seen was removed.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.limits.max_age = age.clamp(Duration::from_secs(1), crate::util::FOREVER);
        self
    }

    /// Sets the size in bytes of the events that are stored. The oldest are removed for new ones. Default: 256 MiB.
    ///
    /// NATS reserves this space for each replica, and refuses a stream for which there is none.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.limits.max_bytes = bytes;
        self
    }

    /// Sets on how many servers of a NATS cluster events and sessions are stored. Default: 1. NATS allows 1 to 5.
    ///
    /// With three, nothing is lost if one server is.
    pub fn replicas(mut self, replicas: u8) -> Self {
        self.limits.replicas = replicas;
        self
    }
}

impl From<NatsConfig> for NatsJetStreamConfig {
    fn from(nats: NatsConfig) -> Self {
        Self::new(nats)
    }
}
