/// How WebSocket messages are compressed. RFC 7692.
///
/// Each message is compressed by itself, in both directions: this server answers every offer with `server_no_context_takeover` and
/// `client_no_context_takeover`. An idle connection therefore needs no memory for compression, and all recipients of a broadcast get
/// the same bytes. Each thread keeps one compressor and one decompressor, some 320 kB.
///
/// See [`SocketIoConfig::per_message_deflate`](crate::SocketIoConfig::per_message_deflate).
///
/// ```
/// use tower_socketio::engine::{EngineIoConfig, PerMessageDeflate};
///
/// let config = EngineIoConfig::new().per_message_deflate(PerMessageDeflate::new().level(1));
/// # let _ = config;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct PerMessageDeflate {
    pub(crate) threshold: usize,
    pub(crate) level: u8,
}

impl PerMessageDeflate {
    /// Creates a configuration with the defaults.
    pub const fn new() -> Self {
        Self { threshold: 1024, level: 3 }
    }

    /// Sets the minimum size in bytes of messages that are compressed. Default: 1024.
    ///
    /// The size is that of the Engine.IO packet: an event of Socket.IO with its header. Attachments are messages too.
    pub const fn threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// Sets the level of compression, from 1 (fast) to 9 (small). Default: 3.
    ///
    /// JSON of 1 kB takes some 4 microseconds at level 1, and 11 at levels 3 and 6. It shrinks to 60 % at level 1, and to 40 %
    /// at the others.
    ///
    /// # Panics
    ///
    /// Panics if the level is not between 1 and 9.
    #[track_caller]
    pub const fn level(mut self, level: u8) -> Self {
        assert!(level >= 1 && level <= 9, "the level of compression must be between 1 and 9");
        self.level = level;
        self
    }
}

impl Default for PerMessageDeflate {
    fn default() -> Self {
        Self::new()
    }
}
