use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use ::http::{Extensions, HeaderMap, HeaderValue, request::Parts};

use super::{ClientAddress, HttpHooks, Origins, Packet, SessionCookie, Timing, Transport, http::network};
use crate::engine::engine_settings;

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

/// Configuration of an Engine.IO server: what it serves, and within which limits.
///
/// ```
/// use std::time::Duration;
/// use tower_socketio::engine::EngineIoConfig;
///
/// let config = EngineIoConfig::new().path("/feed").ping_interval(Duration::from_secs(10)).max_payload(100_000);
/// # let _ = config;
/// ```
#[must_use]
pub struct EngineIoConfig {
    /// With a slash at its end.
    pub(crate) path: String,
    pub(crate) trailing_slash: bool,
    pub(crate) allow_eio3: bool,
    pub(crate) origins: Option<Origins>,
    pub(crate) cookie: Option<SessionCookie>,
    pub(crate) generate_id: Option<Arc<dyn Fn(&Parts) -> String + Send + Sync>>,
    pub(crate) initial_packet: Option<Packet>,
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
    pub(crate) upgrade_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_payload: usize,
    pub(crate) max_poll_packets: u32,
    pub(crate) max_buffered_bytes: usize,
    /// `None`: clients that do not read stay connected.
    pub(crate) slow_client_timeout: Option<Duration>,
    pub(crate) receive_timeout: Duration,
    pub(crate) memory_budget: usize,
    pub(crate) max_idle_sessions: usize,
    pub(crate) max_idle_sessions_per_address: Option<usize>,
    pub(crate) max_sessions_per_address: Option<usize>,
    pub(crate) client_address: ClientAddress,
    pub(crate) max_head_bytes: usize,
    pub(crate) connection_timeouts: ConnectionTimeouts,
    pub(crate) polling: bool,
    pub(crate) websocket: bool,
    pub(crate) allow_upgrades: bool,
    /// From how many bytes on the answer to a poll is compressed.
    #[cfg(feature = "compression")]
    pub(crate) http_compression: Option<usize>,
    pub(crate) hooks: HttpHooks,
}

engine_settings!(EngineIoConfig, self, self);

impl EngineIoConfig {
    /// The defaults, under the path `/engine.io`.
    pub fn new() -> Self {
        Self { path: "/engine.io/".to_owned(), ..Self::for_socket_io() }
    }

    /// What stands behind the path of Socket.IO in that of a request; `None` if the request is not ours.
    pub(crate) fn file_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        match path.strip_prefix(&self.path) {
            None if !self.trailing_slash && Some(path) == self.path.strip_suffix('/') => Some(""),
            file => file,
        }
    }

    /// The `Set-Cookie` header for a new session.
    pub(crate) fn session_cookie(&self, id: &str) -> Option<HeaderValue> {
        self.cookie.as_ref().map(|cookie| cookie.header(id))
    }

    /// The address of a client, for its limits: an IPv4 address, or the network of an IPv6 address.
    pub(crate) fn address_of(&self, headers: &HeaderMap, extensions: &Extensions) -> Option<IpAddr> {
        self.client_address.of(headers, extensions).map(network)
    }

    /// Whether requests are told apart by the addresses of their clients.
    pub(crate) fn limits_addresses(&self) -> bool {
        self.max_sessions_per_address.is_some() || self.max_idle_sessions_per_address.is_some()
    }

    pub(crate) fn timing(&self) -> Timing {
        Timing {
            ping_interval: self.ping_interval,
            ping_timeout: self.ping_timeout,
            max_buffered_bytes: self.max_buffered_bytes,
            max_poll_packets: self.max_poll_packets,
        }
    }

    /// What all connections together may hold of messages that have arrived in part.
    pub(crate) fn input_budget(&self) -> usize {
        (self.memory_budget / 4).max(self.max_payload.saturating_mul(4))
    }

    /// What may wait for all clients together.
    pub(crate) fn output_budget(&self) -> usize {
        self.memory_budget / 2
    }

    pub(crate) fn serves(&self, transport: Transport) -> bool {
        match transport {
            Transport::Polling => self.polling,
            Transport::WebSocket => self.websocket,
            Transport::Custom => true,
        }
    }

    /// The transports that a session that begins with `transport` can move to.
    pub(crate) fn upgrades(&self, transport: Transport) -> &'static [&'static str] {
        if transport == Transport::Polling && self.allow_upgrades && self.websocket { &["websocket"] } else { &[] }
    }
}

impl EngineIoConfig {
    /// The defaults, under the path `/socket.io`.
    pub(crate) fn for_socket_io() -> Self {
        Self {
            path: "/socket.io/".to_owned(),
            trailing_slash: true,
            allow_eio3: false,
            origins: None,
            cookie: None,
            generate_id: None,
            initial_packet: None,
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(45),
            max_payload: 1_000_000,
            max_poll_packets: u32::MAX,
            max_buffered_bytes: 16 << 20,
            slow_client_timeout: Some(Duration::from_secs(10)),
            receive_timeout: Duration::from_secs(30),
            memory_budget: 512 << 20,
            max_idle_sessions: 10_000,
            max_idle_sessions_per_address: None,
            max_sessions_per_address: None,
            client_address: ClientAddress::default(),
            max_head_bytes: 16 * 1024,
            connection_timeouts: ConnectionTimeouts::default(),
            polling: true,
            websocket: true,
            allow_upgrades: true,
            #[cfg(feature = "compression")]
            http_compression: Some(1024),
            hooks: HttpHooks::default(),
        }
    }
}

impl Default for EngineIoConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for EngineIoConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineIoConfig").field("path", &self.path).finish_non_exhaustive()
    }
}
