use std::time::Duration;

use super::super::RedisConfig;

/// Configuration of a [`RedisStreamsAdapter`](super::RedisStreamsAdapter).
///
/// The names must be the same on all nodes of a cluster. The defaults are those of Node.js.
///
/// ```
/// use tower_socketio::cluster::redis::{RedisConfig, RedisStreamsConfig};
///
/// let config = RedisStreamsConfig::new(RedisConfig::new("redis://127.0.0.1")).stream_name("chat").max_len(100_000);
/// # let _ = config;
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct RedisStreamsConfig {
    pub(super) redis: RedisConfig,
    pub(super) stream_name: String,
    pub(super) stream_count: u16,
    pub(super) max_len: usize,
    pub(super) read_count: usize,
    pub(super) block_time: Duration,
    pub(super) sharded_pubsub: bool,
    pub(super) session_key_prefix: String,
    pub(super) only_plaintext: bool,
}

impl RedisStreamsConfig {
    /// Creates a configuration with a connection. [`RedisConfig::prefix`] is Node's option `channelPrefix`, and
    /// [`RedisConfig::queue_bytes`] limits the entries that wait until Redis is back.
    pub fn new(redis: RedisConfig) -> Self {
        Self {
            redis,
            stream_name: "socket.io".to_owned(),
            stream_count: 1,
            max_len: 10_000,
            read_count: 100,
            block_time: Duration::from_secs(5),
            sharded_pubsub: false,
            session_key_prefix: "sio:session:".to_owned(),
            only_plaintext: false,
        }
    }

    /// Sets the name of the stream, or what the names of several streams begin with. Default: `socket.io`. Node's option
    /// `streamName`.
    pub fn stream_name(mut self, name: impl Into<String>) -> Self {
        self.stream_name = name.into();
        self
    }

    /// Sets the number of streams, to which the namespaces are distributed. Default: 1. Node's option `streamCount`.
    ///
    /// With `n` streams, a node reads `2 * n - 1`, because Node.js chooses a stream by a remainder that may be negative. For each of
    /// them, it opens a connection, with a Redis Cluster one to each master.
    pub fn stream_count(mut self, count: u16) -> Self {
        self.stream_count = count.max(1);
        self
    }

    /// Sets how many entries of a stream are kept, approximately. Default: 10,000. Node's option `maxLen`.
    ///
    /// It limits how far a node may fall behind, and which clients can be recovered: a client cannot if the last event that it has
    /// seen was removed.
    pub fn max_len(mut self, entries: usize) -> Self {
        self.max_len = entries;
        self
    }

    /// Sets how many entries are read at once. Default: 100. Node's option `readCount`.
    ///
    /// Fewer are read if they are large, so that a reply has some four megabytes.
    pub fn read_count(mut self, entries: usize) -> Self {
        self.read_count = entries.max(1);
        self
    }

    /// Sets how long Redis waits for entries before it replies that there are none. Default: five seconds. Node's option
    /// `blockTimeInMs`.
    ///
    /// A connection that is lost without notice is replaced after this time and [`RedisConfig::health_check`].
    pub fn block_time(mut self, time: Duration) -> Self {
        self.block_time = time.clamp(Duration::from_millis(1), crate::util::FOREVER);
        self
    }

    /// Sets whether requests and responses use sharded Pub/Sub, which needs Redis 7. Default: `false`. Node's option
    /// `useShardedPubSub`.
    pub fn sharded_pubsub(mut self, sharded: bool) -> Self {
        self.sharded_pubsub = sharded;
        self
    }

    /// Sets what the keys of sessions begin with. Default: `sio:session:`. Node's option `sessionKeyPrefix`.
    pub fn session_key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.session_key_prefix = prefix.into();
        self
    }

    /// Sets whether binary is added to streams as JSON, so that clients of other nodes receive
    /// `{"type":"Buffer","data":[..]}`. Default: `false`. Node's option `onlyPlaintext`.
    pub fn only_plaintext(mut self, only: bool) -> Self {
        self.only_plaintext = only;
        self
    }
}

impl From<RedisConfig> for RedisStreamsConfig {
    fn from(redis: RedisConfig) -> Self {
        Self::new(redis)
    }
}
