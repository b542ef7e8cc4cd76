use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use http::{Extensions, HeaderMap, HeaderValue, request::Parts};

use crate::engine::{Packet, ProtocolVersion, SessionConfig, Transport};

use super::{
    client_address::{ClientAddress, network},
    engine_settings,
    hooks::HttpHooks,
    origins::Origins,
    session_cookie::SessionCookie,
};

/// Timeouts of HTTP connections to [`SocketIoService::serve`](crate::SocketIoService::serve).
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionTimeouts {
    /// From the first byte of a request's head to its last. On a new connection, from the accept.
    pub(crate) header: Duration,
    /// Between two requests.
    pub(crate) idle: Duration,
    /// While the peer accepts no bytes.
    pub(crate) write: Duration,
}

impl Default for ConnectionTimeouts {
    fn default() -> Self {
        Self { header: Duration::from_secs(30), idle: Duration::from_secs(75), write: Duration::from_secs(30) }
    }
}

/// Configuration of an Engine.IO server.
///
/// Each setter documents its default. [`SocketIoConfig`](crate::SocketIoConfig) has the same setters, and takes an
/// `EngineIoConfig` by [`engine`](crate::SocketIoConfig::engine).
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
    /// Ends with a slash.
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
    /// `None` if clients that do not read stay connected.
    pub(crate) slow_client_timeout: Option<Duration>,
    pub(crate) receive_timeout: Duration,
    pub(crate) memory_budget: usize,
    pub(crate) max_idle_sessions: usize,
    pub(crate) max_idle_sessions_per_address: Option<usize>,
    pub(crate) max_sessions_per_address: Option<usize>,
    pub(crate) client_address: ClientAddress,
    pub(crate) max_head_bytes: usize,
    pub(crate) connection_timeouts: ConnectionTimeouts,
    #[cfg(feature = "http2")]
    pub(crate) max_http2_streams: u32,
    pub(crate) polling: bool,
    pub(crate) websocket: bool,
    pub(crate) webtransport: bool,
    pub(crate) allow_upgrades: bool,
    /// The minimum size of responses to polls that are compressed. `None` compresses none.
    #[cfg(feature = "compression")]
    pub(crate) http_compression: Option<usize>,
    #[cfg(feature = "compression")]
    pub(crate) http_compression_level: u32,
    /// How WebSocket messages are compressed. `None` compresses none.
    #[cfg(feature = "permessage-deflate")]
    pub(crate) per_message_deflate: Option<super::per_message_deflate::PerMessageDeflate>,
    pub(crate) hooks: HttpHooks,
}

engine_settings!(EngineIoConfig, self, self);

impl EngineIoConfig {
    /// Creates a configuration with the defaults. The path is `/engine.io`.
    pub fn new() -> Self {
        Self { path: "/engine.io/".to_owned(), ..Self::for_socket_io() }
    }

    /// Strips the configured path from a request's path. Returns `None` if the request is not for this server.
    pub(crate) fn strip_path<'a>(&self, path: &'a str) -> Option<&'a str> {
        match path.strip_prefix(&self.path) {
            None if !self.trailing_slash && Some(path) == self.path.strip_suffix('/') => Some(""),
            file => file,
        }
    }

    /// Returns the `Set-Cookie` header for a new session, if a cookie is configured.
    pub(crate) fn session_cookie(&self, id: &str) -> Option<HeaderValue> {
        self.cookie.as_ref().map(|cookie| cookie.header(id))
    }

    /// Returns the address to which a client's limits apply: an IPv4 address, or the network of an IPv6 address.
    pub(crate) fn address_of(&self, headers: &HeaderMap, extensions: &Extensions) -> Option<IpAddr> {
        self.client_address.of(headers, extensions).map(network)
    }

    /// Returns `true` if a limit depends on the address of clients.
    pub(crate) fn limits_addresses(&self) -> bool {
        self.max_sessions_per_address.is_some() || self.max_idle_sessions_per_address.is_some()
    }

    pub(crate) fn session_config(&self) -> SessionConfig {
        SessionConfig {
            ping_interval: self.ping_interval,
            ping_timeout: self.ping_timeout,
            max_buffered_bytes: self.max_buffered_bytes,
            max_poll_packets: self.max_poll_packets,
        }
    }

    /// The limit for the bytes of incomplete messages of all connections.
    pub(crate) fn input_budget(&self) -> usize {
        (self.memory_budget / 4).max(self.max_payload.saturating_mul(4))
    }

    /// The limit for the bytes that are queued for all clients.
    pub(crate) fn output_budget(&self) -> usize {
        self.memory_budget / 2
    }

    pub(crate) fn serves(&self, transport: Transport) -> bool {
        match transport {
            Transport::Polling => self.polling,
            Transport::WebSocket => self.websocket,
            Transport::WebTransport => self.webtransport,
            Transport::Custom => true,
        }
    }

    /// Returns the transports to which a session on `transport` can be upgraded. WebTransport requires revision 4.
    pub(crate) fn upgrades(&self, transport: Transport, protocol: ProtocolVersion) -> &'static [&'static str] {
        if transport != Transport::Polling || !self.allow_upgrades {
            return &[];
        }
        match (self.websocket, self.webtransport && protocol == ProtocolVersion::V4) {
            (true, true) => &["websocket", "webtransport"],
            (true, false) => &["websocket"],
            (false, true) => &["webtransport"],
            (false, false) => &[],
        }
    }
}

impl EngineIoConfig {
    /// Creates a configuration with the defaults. The path is `/socket.io`.
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
            #[cfg(feature = "http2")]
            max_http2_streams: 200,
            polling: true,
            websocket: true,
            webtransport: false,
            allow_upgrades: true,
            #[cfg(feature = "compression")]
            http_compression: Some(1024),
            #[cfg(feature = "compression")]
            http_compression_level: 1,
            #[cfg(feature = "permessage-deflate")]
            per_message_deflate: None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_stored_with_a_slash_at_both_ends() {
        for path in ["/feed", "feed", "feed/", "/feed/"] {
            assert_eq!(EngineIoConfig::new().path(path).path, "/feed/");
        }
    }

    #[test]
    #[should_panic(expected = "the path must not be empty or `/`")]
    fn a_path_without_a_segment_is_rejected() {
        let _ = EngineIoConfig::new().path("/");
    }

    #[test]
    #[should_panic(expected = "`Transport::Custom` cannot be listed")]
    fn the_custom_transport_cannot_be_listed() {
        let _ = EngineIoConfig::new().transports([Transport::Polling, Transport::Custom]);
    }
}
