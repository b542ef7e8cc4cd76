//! Limits of the HTTP requests and connections that lead to sessions, and of what a client may keep of the server's memory
//! without having done anything yet.

use super::SocketIoConfig;

impl SocketIoConfig {
    /// How many sessions may exist that have not joined a namespace; at least 1. Default: 10,000.
    ///
    /// Past it, the oldest of them is closed for each new one, in constant time: its polls are answered with a close
    /// packet, its WebSocket is closed. No handshake is refused for that. They go by themselves after
    /// [`connect_timeout`](Self::connect_timeout).
    pub fn max_idle_sessions(mut self, sessions: usize) -> Self {
        self.engine.max_idle_sessions = sessions;
        self
    }

    /// How many of [these](Self::max_idle_sessions) one [address](Self::client_address) may have; at least 1. Default: any
    /// number.
    ///
    /// Past it, the oldest one of the same address is closed, so that one host cannot push out the sessions of others.
    pub fn max_idle_sessions_per_address(mut self, sessions: usize) -> Self {
        self.engine.max_idle_sessions_per_address = Some(sessions);
        self
    }

    /// How many bytes of `auth` the sockets of one connection may keep, in all namespaces together. Default: 65,536.
    ///
    /// Past it, a CONNECT is refused with "the auth payload exceeds max_auth_bytes". What was sent for a socket that has
    /// been refused or has left no longer counts.
    pub fn max_auth_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_auth_bytes = bytes;
        self
    }

    /// How many namespaces of patterns and predicates may exist at a time. Default: 10,000.
    ///
    /// Past it, one that is kept although it has no sockets makes room for a new one: because
    /// [`cleanup_empty_namespaces`](Self::cleanup_empty_namespaces) is off, or because sockets may be
    /// [recovered](Self::recovery) in it, which connect as new ones then. The one that has been empty for the longest time
    /// goes first. If all have sockets, a client is refused with "too many namespaces on this server".
    pub fn max_dynamic_namespaces(mut self, namespaces: usize) -> Self {
        self.namespaces.max_dynamic = namespaces;
        self
    }

    /// How many namespaces of patterns and predicates one connection may have joined or be joining. Default: 10.
    ///
    /// Past it, a client is refused with "too many dynamic namespaces on this connection". So a few clients cannot take all
    /// of [`max_dynamic_namespaces`](Self::max_dynamic_namespaces).
    pub fn max_dynamic_namespaces_per_connection(mut self, namespaces: usize) -> Self {
        self.settings.max_dynamic_namespaces_per_connection = namespaces;
        self
    }
}
