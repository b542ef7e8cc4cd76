use std::time::Duration;

/// The limits of recovery. See [`SocketIoConfig::recovery`](crate::SocketIoConfig::recovery).
///
/// ```
/// use std::time::Duration;
/// use tower_socketio::{RecoveryConfig, SocketIoConfig};
///
/// let recovery = RecoveryConfig::new().max_disconnection(Duration::from_secs(30)).max_packets(1_000);
/// let config = SocketIoConfig::new().recovery(recovery);
/// # let _ = config;
/// ```
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
    /// Creates a configuration with the defaults: two minutes, and for each namespace 10,000 events, 16 MiB of events, and 10,000
    /// sessions.
    pub fn new() -> Self {
        Self {
            max_disconnection: Duration::from_secs(120),
            max_packets: 10_000,
            max_bytes: 16 << 20,
            max_sessions: 10_000,
            skip_layers: false,
        }
    }

    pub(crate) fn max_disconnection_time(&self) -> Duration {
        self.max_disconnection
    }

    pub(crate) fn max_missed(&self) -> usize {
        self.max_packets
    }

    /// Sets how long after its disconnection a client can be recovered, and how long events are kept. Default: two minutes.
    pub fn max_disconnection(mut self, duration: Duration) -> Self {
        self.max_disconnection = duration.min(crate::util::FOREVER);
        self
    }

    /// Sets how many events are kept in each namespace. Default: 10,000.
    ///
    /// A client that missed an evicted event is not recovered.
    pub fn max_packets(mut self, packets: usize) -> Self {
        self.max_packets = packets;
        self
    }

    /// Sets how many bytes of events are kept in each namespace. Default: 16 MiB.
    ///
    /// A client that missed an evicted event is not recovered.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets how many sessions of disconnected clients are kept in each namespace. Default: 10,000. The oldest is evicted first.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.max_sessions = sessions;
        self
    }

    /// Sets whether the recovery of a client skips the layers of its namespace. Default: `false`.
    ///
    /// With `true`, only `on_connect` runs, with the extensions that the layers set when the socket was first accepted. This is
    /// the default of Node. A client whose permissions were revoked in the meantime is then still recovered, and deadlines and
    /// permits of layers do not apply to it.
    pub fn skip_layers(mut self, skip: bool) -> Self {
        self.skip_layers = skip;
        self
    }
}
