//! Limits and timeouts.

use std::time::Duration;

use crate::{packet::MAX_JSON_DEPTH, server::SlowClientPolicy, util::FOREVER};

use super::SocketIoConfig;

impl SocketIoConfig {
    /// Sets how long a connection may take to join its first namespace, including admission. Default: 45 seconds.
    ///
    /// After that time, the connection is closed.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.engine.connect_timeout = timeout.min(FOREVER);
        self
    }

    /// Sets how long the server waits for acks without a timeout of their own. Default: 30 seconds.
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.settings.ack_timeout = timeout.min(FOREVER);
        self
    }

    /// Sets what happens to a client whose send buffer is full. Default: [`SlowClientPolicy::Disconnect`].
    pub fn slow_client_policy(mut self, policy: SlowClientPolicy) -> Self {
        self.settings.slow_client_policy = policy;
        self
    }

    /// Sets the memory that running events of one connection may take, in bytes. Default: 512 KiB.
    ///
    /// The cost of an event is an estimate of the memory of its arguments, and at least 1 KiB. Above the limit the connection is
    /// not read until a handler ends. A single event of any size is always handled.
    pub fn max_event_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_event_bytes = bytes;
        self
    }

    /// Sets the maximum number of attachments of a packet. Default: 10.
    ///
    /// A packet with more closes the connection. Binary data without placeholders, such as that of msgpack, does not count.
    pub fn max_attachments(mut self, attachments: usize) -> Self {
        self.settings.max_attachments = attachments;
        self
    }

    /// Sets the maximum total size of a packet's attachments, in bytes. Default: ten times [`max_payload`](Self::max_payload),
    /// which is 10,000,000.
    ///
    /// A packet with more closes the connection.
    pub fn max_attachment_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_attachment_bytes = Some(bytes);
        self
    }

    /// Sets how deep arrays and objects may be nested in an argument of an event or an ack. Default: 100. Maximum: 1024.
    ///
    /// A number has depth 0, `[1]` has 1, `{"a":[1]}` has 2. The array of all arguments does not count. In the auth payload, the
    /// object itself is the first level. JSON that is nested deeper closes the connection.
    ///
    /// JSON with more than 127 levels is read on a separate thread with enough stack, while the receiving thread waits. A
    /// [`Value`](crate::Value) of any allowed depth can be cloned, compared, emitted and dropped on a stack of 2 MiB, also in
    /// debug builds. Your own recursive types are dropped on your stack: check how much they need before you raise this limit. As
    /// an extractor in `on_connect`, `axum::Json` reads at most 127 levels of the auth payload.
    /// [`Handshake::auth`](crate::client::Handshake::auth) reads all of them.
    pub fn max_json_depth(mut self, levels: usize) -> Self {
        self.settings.max_json_depth = levels.min(MAX_JSON_DEPTH);
        self
    }

    /// Sets how many event handlers of one socket may run at the same time. Default: 32.
    ///
    /// At the limit the connection is not read until a handler ends, so that TCP's flow control slows down the client.
    ///
    /// # Panics
    ///
    /// Panics if `events` is 0.
    #[track_caller]
    pub fn max_concurrent_events(mut self, events: usize) -> Self {
        assert!(events > 0, "max_concurrent_events must be at least 1: at 0 no event could ever be handled");
        self.settings.max_concurrent_events = events;
        self
    }

    /// Sets how many sessions without a namespace may exist; at least 1. Default: 10,000.
    ///
    /// Above the limit, each new session closes the oldest one: its polls get a close packet, and its WebSocket is closed. This
    /// takes constant time. Handshakes are not rejected. Idle sessions also end after [`connect_timeout`](Self::connect_timeout).
    ///
    /// The same number of clients over WebTransport may wait to send their first packet.
    pub fn max_idle_sessions(mut self, sessions: usize) -> Self {
        self.engine.max_idle_sessions = sessions;
        self
    }

    /// Sets how many [sessions without a namespace](Self::max_idle_sessions) one [client address](Self::client_address) may have;
    /// at least 1. Default: unlimited.
    ///
    /// Above the limit, the oldest session of the same address is closed, so that one host cannot displace the sessions of
    /// others.
    pub fn max_idle_sessions_per_address(mut self, sessions: usize) -> Self {
        self.engine.max_idle_sessions_per_address = Some(sessions);
        self
    }

    /// Sets the maximum total size of the `auth` payloads of one connection's sockets, in bytes. Default: 65,536.
    ///
    /// Above the limit, a CONNECT is rejected with "the auth payload exceeds max_auth_bytes". Payloads of sockets that were
    /// rejected or have left do not count.
    pub fn max_auth_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_auth_bytes = bytes;
        self
    }
}
