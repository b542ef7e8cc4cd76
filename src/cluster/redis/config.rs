use std::{fmt, time::Duration};

/// Configuration of the connection to Redis, for all Redis adapters.
///
/// ```
/// use std::time::Duration;
/// use tower_socketio::cluster::redis::RedisConfig;
///
/// let config = RedisConfig::new("redis://user:password@127.0.0.1:6379").prefix("chat").request_timeout(Duration::from_secs(2));
/// # let _ = config;
/// ```
///
/// # URLs
///
/// | URL | broker |
/// |---|---|
/// | `redis://user:password@host:6379` | one server, or a Redis Cluster: this is detected |
/// | `redis://host:7000,host:7001,host:7002` | the first of them that is reachable, for a Redis Cluster |
/// | `rediss://host:6379` | with TLS, which needs the feature `redis-tls` |
/// | `redis+sentinel://host:26379,host:26379/mymaster` | the master of that name, as the sentinels say at each connect |
/// | `rediss+sentinel://host:26379/mymaster` | the same with TLS, also to the sentinels |
/// | `unix:///run/redis.sock` | one server |
///
/// User, password and port may be missing. Special characters in a password are percent-encoded.
#[derive(Clone)]
#[must_use]
pub struct RedisConfig {
    pub(super) url: String,
    pub(super) prefix: String,
    pub(super) request_timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) health_check: Duration,
    pub(super) queue_bytes: usize,
    pub(super) sentinel_password: Option<String>,
    #[cfg(feature = "redis-tls")]
    pub(super) root_certificates: Option<Vec<u8>>,
}

impl RedisConfig {
    /// Creates a configuration. See the table above for the URL, which is checked by `connect`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "socket.io".to_owned(),
            request_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            health_check: Duration::from_secs(3),
            queue_bytes: 16 << 20,
            sentinel_password: None,
            #[cfg(feature = "redis-tls")]
            root_certificates: None,
        }
    }

    /// Sets what the names of channels begin with. Default: `socket.io`. Node's options `key` and `channelPrefix`.
    ///
    /// All nodes of a cluster must have the same prefix. Clusters with different prefixes can share a Redis server.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets how long a request waits for the responses of other nodes if the caller sets no timeout. Default: five seconds. Node's
    /// option `requestsTimeout`.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout.min(crate::util::FOREVER);
        self
    }

    /// Sets how long opening a connection may take, with the handshakes of TLS and Redis. Default: five seconds.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout.min(crate::util::FOREVER);
        self
    }

    /// Sets how often the connections are checked, and how long Redis may take to reply to a command. Default: three seconds.
    ///
    /// A connection that is lost without notice is replaced after at most twice this time.
    pub fn health_check(mut self, interval: Duration) -> Self {
        self.health_check = interval.clamp(Duration::from_millis(10), crate::util::FOREVER);
        self
    }

    /// Sets how many bytes of messages may wait until they are sent. Default: 16 MiB.
    ///
    /// Messages wait while Redis is slower than the server. If the queue is full, messages are dropped and reported.
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// Sets the password of the sentinels. Default: none. That of the URL is for the master.
    pub fn sentinel_password(mut self, password: impl Into<String>) -> Self {
        self.sentinel_password = Some(password.into());
        self
    }

    /// Sets the certificates that a server's certificate may be signed by, in PEM format. Default: those of the system.
    #[cfg(feature = "redis-tls")]
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificates = Some(pem.into());
        self
    }
}

impl fmt::Debug for RedisConfig {
    /// Without the URL, which may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("prefix", &self.prefix)
            .field("request_timeout", &self.request_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("health_check", &self.health_check)
            .field("queue_bytes", &self.queue_bytes)
            .finish_non_exhaustive()
    }
}
