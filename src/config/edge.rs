//! Limits of the HTTP requests and connections that lead to sessions, and of what a client may keep of the server's memory
//! without having done anything yet.

use std::time::Duration;

use crate::{client_address::ClientAddress, util::FOREVER};

use super::SocketIoConfig;

/// How long a connection to [`SocketIoService::serve`](crate::SocketIoService::serve) may be silent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionTimeouts {
    /// From the first byte of a request's head to its last; for a new connection, from the beginning.
    pub(crate) header: Duration,
    /// Between two requests.
    pub(crate) idle: Duration,
    /// While what is to be sent finds no room.
    pub(crate) write: Duration,
}

impl Default for ConnectionTimeouts {
    fn default() -> Self {
        Self { header: Duration::from_secs(30), idle: Duration::from_secs(75), write: Duration::from_secs(30) }
    }
}

impl SocketIoConfig {
    /// Where the address of a client comes from, for the limits of each address. Default: from the connection.
    ///
    /// It counts for [`max_sessions_per_address`](Self::max_sessions_per_address),
    /// [`max_idle_sessions_per_address`](Self::max_idle_sessions_per_address) and
    /// [`ConnectionLimitLayer::per_address`](crate::middleware::ConnectionLimitLayer::per_address). An IPv6 network of 64
    /// bits, which one host has to itself, counts as one address. A client whose address is not known is not counted.
    ///
    /// Behind a proxy all connections have the proxy's address: name the header that it sets.
    pub fn client_address(mut self, address: ClientAddress) -> Self {
        self.settings.client_address = address;
        self
    }

    /// How many sessions one [address](Self::client_address) may have. Default: any number.
    ///
    /// Past it, a handshake is refused with status 429 and code 4.
    pub fn max_sessions_per_address(mut self, sessions: usize) -> Self {
        self.settings.max_sessions_per_address = Some(sessions);
        self
    }

    /// How many sessions may exist that have not joined a namespace; at least 1. Default: 10,000.
    ///
    /// Past it, the oldest of them is closed for each new one, in constant time: its polls are answered with a close
    /// packet, its WebSocket is closed. No handshake is refused for that. They go by themselves after
    /// [`connect_timeout`](Self::connect_timeout).
    pub fn max_idle_sessions(mut self, sessions: usize) -> Self {
        self.settings.max_idle_sessions = sessions;
        self
    }

    /// How many of [these](Self::max_idle_sessions) one [address](Self::client_address) may have; at least 1. Default: any
    /// number.
    ///
    /// Past it, the oldest one of the same address is closed, so that one host cannot push out the sessions of others.
    pub fn max_idle_sessions_per_address(mut self, sessions: usize) -> Self {
        self.settings.max_idle_sessions_per_address = Some(sessions);
        self
    }

    /// How large the target and the headers of a handshake may be together, in bytes; each header counts for 4 bytes more
    /// than its name and value. Default: 16,384, as Node's server has it.
    ///
    /// A larger handshake is refused with status 431 and code 3. What is within the limit is kept as long as the
    /// connection, as [`SocketRef::request`](crate::SocketRef::request). Under
    /// [`SocketIoService::serve`](crate::SocketIoService::serve) it limits the heads of all requests, as they are read.
    pub fn max_head_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_head_bytes = bytes;
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

    /// How long a client may take to send the head of a request to [`SocketIoService::serve`](crate::SocketIoService::serve),
    /// and after connecting, to begin with one. Default: 30 seconds.
    ///
    /// Past it, its connection is closed. On other servers this has no effect: they have their own settings, as
    /// [the guide](crate::guide::limits) shows.
    pub fn http_header_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connection_timeouts.header = timeout.min(FOREVER);
        self
    }

    /// How long a connection to [`SocketIoService::serve`](crate::SocketIoService::serve) may be kept alive between two
    /// requests. Default: 75 seconds.
    ///
    /// Past it, the connection is closed. WebSockets and pending polls are not idle.
    pub fn http_idle_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connection_timeouts.idle = timeout.min(FOREVER);
        self
    }

    /// How long a client of [`SocketIoService::serve`](crate::SocketIoService::serve) may read nothing of the response that
    /// is being sent to it. Default: 30 seconds.
    ///
    /// Past it, the connection is closed. It is not for WebSockets.
    pub fn http_write_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connection_timeouts.write = timeout.min(FOREVER);
        self
    }
}
