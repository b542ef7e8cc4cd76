use std::time::Duration;

/// How long and how much a server remembers, so that clients can recover their connections. See
/// [`SocketIoConfig::recovery`](crate::SocketIoConfig::recovery).
#[derive(Debug, Clone)]
#[must_use]
pub struct RecoveryConfig {
    pub(super) max_disconnection: Duration,
    pub(super) max_packets: usize,
    pub(super) max_bytes: usize,
    pub(super) max_sessions: usize,
    pub(crate) skip_layers: bool,
}

impl Default for RecoveryConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl RecoveryConfig {
    /// The defaults: two minutes, and in each namespace 10,000 events of 16 MiB together, and 10,000 sessions.
    pub fn new() -> Self {
        Self {
            max_disconnection: Duration::from_secs(120),
            max_packets: 10_000,
            max_bytes: 16 << 20,
            max_sessions: 10_000,
            skip_layers: false,
        }
    }

    /// How long a client may be away, and how long events are kept. Default: two minutes.
    pub fn max_disconnection(mut self, duration: Duration) -> Self {
        self.max_disconnection = duration.min(crate::util::FOREVER);
        self
    }

    /// How many events are kept in each namespace. Default: 10,000.
    ///
    /// A client that missed an older one is not recovered.
    pub fn max_packets(mut self, packets: usize) -> Self {
        self.max_packets = packets;
        self
    }

    /// How many bytes of events are kept in each namespace. Default: 16 MiB.
    ///
    /// A client that missed an older one is not recovered.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// How many sockets that are away are remembered in each namespace. Default: 10,000. The oldest are forgotten first.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.max_sessions = sessions;
        self
    }

    /// Whether a client that returns is spared the layers of its namespace. Default: false.
    ///
    /// If so, `on_connect` runs alone, with what the layers put on the request when the socket was admitted first. Node
    /// does that by default. A client whose rights have been withdrawn in the meantime then comes back all the same, without
    /// the deadline or the permit that a layer may have given it.
    pub fn skip_layers(mut self, skip: bool) -> Self {
        self.skip_layers = skip;
        self
    }
}
