//! The setters that `EngineIoConfig` and `SocketIoConfig` share.

/// Implements the engine's setters for a type. `$engine` is the type's [`EngineIoConfig`](super::EngineIoConfig).
macro_rules! engine_settings {
    ($ty:ty, $self:ident, $engine:expr) => {
        impl $ty {
            /// Sets the path of the server. Default: `/socket.io`, or `/engine.io` for [`EngineIoConfig`](crate::engine::EngineIoConfig).
            ///
            /// The path of a request must equal this path followed by a slash, or begin with it: `/socket.io/` matches, `/socket.iox`
            /// does not. In a nested router, the path is relative to the router.
            ///
            /// # Panics
            ///
            /// Panics if the path is empty or `/`, which would match every request.
            #[track_caller]
            pub fn path(mut $self, path: &str) -> Self {
                let path = path.trim_matches('/');
                assert!(!path.is_empty(), "the path must not be empty or `/`: the server would take every request");
                $engine.path = format!("/{path}/");
                $self
            }

            /// Sets whether the path must be followed by a slash. Default: `true`.
            ///
            /// If `false`, `/socket.io` is served as well as `/socket.io/`, for clients with `addTrailingSlash: false`.
            pub fn add_trailing_slash(mut $self, add: bool) -> Self {
                $engine.trailing_slash = add;
                $self
            }

            /// Sets whether clients of Engine.IO 3, which are those of Socket.IO 1.x and 2.x, are served. Default: `false`.
            ///
            /// Such clients join `/` without a CONNECT, and may share rooms with newer clients: each client gets packets in the form that
            /// it can read. Some of them encode text twice without saying so; their text is decoded twice where that is possible, until
            /// the client has sent text for which it is not.
            ///
            /// In revision 3 the id of a socket is the id of its session, which is the only secret of a session on long-polling. Do not
            /// reveal these ids to other clients.
            pub fn allow_eio3(mut $self, allow: bool) -> Self {
                $engine.allow_eio3 = allow;
                $self
            }

            /// Sets the origins of pages that may connect. Default: all origins, without CORS headers.
            ///
            /// A handshake from another origin is rejected with status 403 and code 4, over long-polling and WebSocket: browsers do not
            /// enforce origins for WebSockets. Requests without an `Origin` header do not come from a page and are accepted. JSONP
            /// requests have no `Origin`; their `Referer` is checked instead, and required. Pages of the server's own host are accepted.
            ///
            /// If origins are set, responses have CORS headers with credentials allowed, and preflights are handled. Do not add another
            /// `CorsLayer` around this layer. With `*` every request is accepted, also JSONP without a `Referer`, and credentials are not
            /// allowed, as with Node's server. `Origins::predicate(|_, _| true)` accepts all pages with credentials.
            ///
            /// ```
            /// use tower_socketio::{Origins, SocketIoConfig};
            ///
            /// let list = SocketIoConfig::new().origins(["https://example.com", "http://localhost:*"]);
            /// let predicate = SocketIoConfig::new().origins(Origins::predicate(|origin, _| origin != "null"));
            /// # let _ = (list, predicate);
            /// ```
            ///
            /// # Panics
            ///
            /// Panics if a text is not an origin.
            #[track_caller]
            pub fn origins(mut $self, origins: impl Into<crate::engine::Origins>) -> Self {
                $engine.origins = Some(origins.into());
                $self
            }

            /// Sets a cookie that the handshake of each session carries. Its value is the session's id. Default: none.
            ///
            /// Load balancers use it to route all requests of a session to one node. The following is the default cookie of Node's
            /// server, which sends it over long-polling only. This server sends it in the response that opens a WebSocket, too.
            ///
            /// ```
            /// use tower_socketio::{SocketIoConfig, engine::{SameSite, SessionCookie}};
            ///
            /// let cookie = SessionCookie::new("io").path("/").http_only(true).same_site(SameSite::Lax);
            /// let config = SocketIoConfig::new().cookie(cookie);
            /// # let _ = config;
            /// ```
            pub fn cookie(mut $self, cookie: crate::engine::SessionCookie) -> Self {
                $engine.cookie = Some(cookie);
                $self
            }

            /// Sets a function that generates the id of a session from its first request. Default: 15 random bytes as 20 characters of
            /// base64.
            ///
            /// The id must be a secret, because its holder can send and receive as the client. If it is empty or taken, the handshake is
            /// rejected with code 3; if the function panics, with status 500 and code 3.
            pub fn generate_id<F>(mut $self, generate: F) -> Self
            where
                F: Fn(&http::request::Parts) -> String + Send + Sync + 'static,
            {
                $engine.generate_id = Some(std::sync::Arc::new(generate));
                $self
            }

            /// Sets a packet that follows the handshake of each session. Default: none.
            ///
            /// Over long-polling it is part of the first response.
            pub fn initial_packet(mut $self, packet: crate::engine::Packet) -> Self {
                $engine.initial_packet = Some(packet);
                $self
            }

            /// Sets the time between a pong and the next ping. Default: 25 seconds.
            ///
            /// Choose a shorter one if a proxy closes idle connections earlier.
            pub fn ping_interval(mut $self, interval: std::time::Duration) -> Self {
                $engine.ping_interval = interval.min(crate::util::FOREVER);
                $self
            }

            /// Sets the timeout for the response to a ping. Default: 20 seconds.
            ///
            /// After it, the client's sockets are disconnected with "ping timeout".
            pub fn ping_timeout(mut $self, timeout: std::time::Duration) -> Self {
                $engine.ping_timeout = timeout.min(crate::util::FOREVER);
                $self
            }

            /// Sets the timeout for an upgrade from long-polling. Default: 10 seconds.
            ///
            /// After it, the new connection is closed, and the session stays on long-polling. It also limits how long a client over
            /// WebTransport may take to send its first packet.
            pub fn upgrade_timeout(mut $self, timeout: std::time::Duration) -> Self {
                $engine.upgrade_timeout = timeout.min(crate::util::FOREVER);
                $self
            }

            /// Sets the maximum size of a message in bytes, on every transport. Default: 1,000,000.
            ///
            /// A larger POST is rejected with status 413, and the session stays open. A larger WebSocket message closes the connection
            /// with code 1009.
            pub fn max_payload(mut $self, bytes: usize) -> Self {
                $engine.max_payload = bytes;
                $self
            }

            /// Sets the maximum number of packets in the response to one poll. Default: no limit.
            ///
            /// A response is also limited to 1 MB, and to 50 kB for clients of revision 3. Lower the limit for clients that reject responses
            /// with many packets. python-engineio rejects more than 16, so clients whose `User-Agent` is that of its HTTP libraries,
            /// `requests` and `aiohttp`, never get more.
            ///
            /// # Panics
            ///
            /// Panics if the number is zero.
            #[track_caller]
            pub fn max_poll_packets(mut $self, packets: u32) -> Self {
                assert!(packets > 0, "max_poll_packets must be at least 1");
                $engine.max_poll_packets = packets;
                $self
            }

            /// Sets the maximum number of bytes that are queued for one client. Default: 16 MiB.
            ///
            /// A queued packet costs its size and some 40 bytes. A client that exceeds the limit is too slow, and
            /// [`slow_client_policy`](crate::SocketIoConfig::slow_client_policy) applies. An empty queue accepts a packet of any size.
            ///
            /// The limit should be far above what one handler emits, because nothing is written before the handler returns.
            /// [`slow_client_timeout`](Self::slow_client_timeout) detects clients that do not read at all.
            pub fn max_buffered_bytes(mut $self, bytes: usize) -> Self {
                $engine.max_buffered_bytes = bytes;
                $self
            }

            /// Sets how long a client may fail to read the packets that are queued for it. Default: 10 seconds.
            ///
            /// After it, the client is disconnected with "slow client". On a stream the time runs while the connection's buffers are full;
            /// on long-polling, while more than 64 KiB are queued and no poll is pending. The timeout does not apply with
            /// [`SlowClientPolicy::DropPacket`](crate::SlowClientPolicy::DropPacket): the heartbeat detects clients that are gone.
            pub fn slow_client_timeout(mut $self, timeout: std::time::Duration) -> Self {
                $engine.slow_client_timeout = Some(timeout.min(crate::util::FOREVER));
                $self
            }

            /// Sets how long the rest of an incomplete message may take to make progress. Default: 30 seconds.
            ///
            /// A message is incomplete while part of its frame, of its body or of its attachments is missing. After the timeout, the
            /// connection is closed with "transport error". Each byte that arrives restarts it, so slow uploads are not cut off.
            pub fn receive_timeout(mut $self, timeout: std::time::Duration) -> Self {
                $engine.receive_timeout = timeout.min(crate::util::FOREVER);
                $self
            }

            /// Sets how much memory in bytes all clients together may use, beyond a small amount for each. Default: 512 MiB.
            ///
            /// | share | used for | if exceeded |
            /// |---|---|---|
            /// | one half | queued packets | the clients whose queues have been filled for longest are disconnected with "slow client" |
            /// | one quarter | incomplete messages | the connections whose messages have been arriving for longest are closed with "forced close" |
            /// | one quarter | events of more than 64 KiB whose handlers run | the next such event waits, and its connection is not read |
            ///
            /// Less than 64 KiB of a connection are not counted. The quarters are at least four times
            /// [`max_payload`](Self::max_payload).
            pub fn memory_budget(mut $self, bytes: usize) -> Self {
                $engine.memory_budget = bytes;
                $self
            }

            /// Sets the transports that clients may use. Default: long-polling and WebSocket.
            ///
            /// A request for another transport is rejected with code 0, "Transport unknown". Transports that are passed to `accept`
            /// are served in any case; with an empty list, they are the only ones.
            ///
            /// [WebTransport](crate::guide::webtransport) also needs a server over QUIC. If it is listed, the handshakes of long-polling
            /// in revision 4 offer it as an upgrade.
            ///
            /// # Panics
            ///
            /// Panics if the list contains [`Transport::Custom`](crate::engine::Transport::Custom).
            #[track_caller]
            pub fn transports(mut $self, transports: impl IntoIterator<Item = crate::engine::Transport>) -> Self {
                ($engine.polling, $engine.websocket, $engine.webtransport) = (false, false, false);
                for transport in transports {
                    match transport {
                        crate::engine::Transport::Polling => $engine.polling = true,
                        crate::engine::Transport::WebSocket => $engine.websocket = true,
                        crate::engine::Transport::WebTransport => $engine.webtransport = true,
                        crate::engine::Transport::Custom => {
                            panic!("`Transport::Custom` cannot be listed: `accept` serves it in any case")
                        }
                    }
                }
                $self
            }

            /// Sets whether a session may be upgraded from long-polling to WebSocket or WebTransport. Default: `true`.
            ///
            /// If `false`, the handshake offers no upgrade, and an attempt is rejected with code 3.
            pub fn allow_upgrades(mut $self, allow: bool) -> Self {
                $engine.allow_upgrades = allow;
                $self
            }

            /// Sets how the address of a client is determined, for limits per address. Default: from the connection.
            ///
            /// It applies to [`max_sessions_per_address`](Self::max_sessions_per_address),
            /// [`max_idle_sessions_per_address`](crate::SocketIoConfig::max_idle_sessions_per_address) and
            /// [`ConnectionLimitLayer::per_address`](crate::middleware::ConnectionLimitLayer::per_address). IPv6 addresses of the same
            /// 64-bit network, which usually belong to one host, count as one. Clients with an unknown address are not limited.
            ///
            /// Behind a proxy all connections have the proxy's address: set the header that it sends.
            pub fn client_address(mut $self, address: crate::engine::ClientAddress) -> Self {
                $engine.client_address = address;
                $self
            }

            /// Sets the maximum number of sessions of one [address](Self::client_address). Default: no limit.
            ///
            /// Further handshakes are rejected with status 429 and code 4.
            pub fn max_sessions_per_address(mut $self, sessions: usize) -> Self {
                $engine.max_sessions_per_address = Some(sessions);
                $self
            }

            /// Sets the maximum size of the target and the headers of a handshake in bytes. Default: 16,384, as in Node.
            ///
            /// Each header counts 4 bytes more than its name and value. A larger handshake is rejected with status 431 and code 3. The
            /// request is kept as long as the connection, see [`SocketRef::request`](crate::SocketRef::request). In
            /// [`SocketIoService::serve`](crate::SocketIoService::serve) the limit applies to the heads of all requests.
            pub fn max_head_bytes(mut $self, bytes: usize) -> Self {
                $engine.max_head_bytes = bytes;
                $self
            }

            /// Sets the timeout for the head of a request to [`SocketIoService::serve`](crate::SocketIoService::serve). Default: 30 seconds.
            ///
            /// It also limits how long a new connection may take to begin a request. After it, the connection is closed. Other servers
            /// have their own settings, see [the guide](crate::guide::limits).
            pub fn http_header_timeout(mut $self, timeout: std::time::Duration) -> Self {
                $engine.connection_timeouts.header = timeout.min(crate::util::FOREVER);
                $self
            }

            /// Sets how long a connection to [`SocketIoService::serve`](crate::SocketIoService::serve) may be idle between two requests.
            /// Default: 75 seconds.
            ///
            /// After it, the connection is closed. WebSockets and pending polls are not idle.
            pub fn http_idle_timeout(mut $self, timeout: std::time::Duration) -> Self {
                $engine.connection_timeouts.idle = timeout.min(crate::util::FOREVER);
                $self
            }

            /// Sets how long a client of [`SocketIoService::serve`](crate::SocketIoService::serve) may fail to read a response. Default: 30
            /// seconds.
            ///
            /// After it, the connection is closed. It does not apply to WebSockets.
            pub fn http_write_timeout(mut $self, timeout: std::time::Duration) -> Self {
                $engine.connection_timeouts.write = timeout.min(crate::util::FOREVER);
                $self
            }

            /// Sets how many streams one HTTP/2 connection may have at a time. Default: 200.
            ///
            /// Applies to [`SocketIoService::serve`](crate::SocketIoService::serve). With another server, it is a setting of that server.
            ///
            /// A WebSocket over HTTP/2 is a stream as long as it is open. A client above the limit waits or opens another connection, as
            /// proxies do. Raise the limit if a proxy, such as Envoy, should carry thousands of WebSockets over one connection.
            #[cfg(feature = "http2")]
            pub fn max_http2_streams(mut $self, streams: u32) -> Self {
                $engine.max_http2_streams = streams;
                $self
            }

            /// Sets the minimum size in bytes of responses to polls that are compressed. `None` disables compression. Default: 1024.
            ///
            /// Responses are compressed with gzip or deflate if the client accepts one of them and if that makes the response smaller.
            /// Use [`compress(false)`](crate::SocketRef::compress) for packets that should not be compressed. Compression takes some
            /// milliseconds of CPU time per megabyte. A `CompressionLayer` around this layer skips responses that are compressed already.
            #[cfg(feature = "compression")]
            pub fn http_compression(mut $self, threshold: Option<usize>) -> Self {
                $engine.http_compression = threshold;
                $self
            }

            /// Sets the level at which responses to polls are compressed, from 1 (fastest) to 9 (smallest). Default: 1, because a
            /// response is read once, by one client.
            ///
            /// Level 6, the default of Node's server, makes JSON some 10 % smaller and takes two to three times the CPU time.
            ///
            /// # Panics
            ///
            /// Panics if the level is not from 1 to 9.
            #[cfg(feature = "compression")]
            #[track_caller]
            pub fn http_compression_level(mut $self, level: u32) -> Self {
                assert!((1..=9).contains(&level), "the compression level must be from 1 to 9");
                $engine.http_compression_level = level;
                $self
            }

            /// Sets how WebSocket messages are compressed, for clients that offer `permessage-deflate`. Default: not at all.
            ///
            /// Browsers and most other clients offer it. Messages are compressed from a
            /// [threshold](crate::engine::PerMessageDeflate::threshold) on, if that makes them smaller, and a broadcast once for all of its
            /// recipients. Messages of the client may be compressed as it likes; their size after decompression is limited by
            /// [`max_payload`](Self::max_payload). See [the guide](crate::guide::compression).
            ///
            /// The length of a compressed message depends on its content. If a client can choose part of a message, it can learn about the
            /// rest: use [`compress(false)`](crate::SocketRef::compress) for messages that also contain secrets.
            ///
            /// ```
            /// use tower_socketio::{SocketIoConfig, engine::PerMessageDeflate};
            ///
            /// let config = SocketIoConfig::new().per_message_deflate(PerMessageDeflate::new().threshold(4096));
            /// # let _ = config;
            /// ```
            #[cfg(feature = "permessage-deflate")]
            pub fn per_message_deflate(mut $self, deflate: crate::engine::PerMessageDeflate) -> Self {
                $engine.per_message_deflate = Some(deflate);
                $self
            }

            /// Sets a callback for rejected requests. In Node: the event `connection_error`.
            ///
            /// It is called for requests that are rejected with an Engine.IO error or for an invalid WebSocket handshake. It is not called
            /// for clients that a namespace rejects, or for errors that end a session: those are reasons of a disconnection.
            ///
            /// ```
            /// use tower_socketio::SocketIoConfig;
            ///
            /// let config = SocketIoConfig::new().on_connection_error(|error| {
            ///     eprintln!("{} {}: {error}", error.request().method, error.code());
            /// });
            /// # let _ = config;
            /// ```
            pub fn on_connection_error<F>(mut $self, hook: F) -> Self
            where
                F: Fn(&crate::engine::ConnectionError<'_>) + Send + Sync + 'static,
            {
                $engine.hooks.connection_error = Some(std::sync::Arc::new(hook));
                $self
            }

            /// Sets a callback that may change the headers of the first response of each session. In Node: the event `initial_headers`.
            ///
            /// The first response is the one to a poll, or the one that opens a WebSocket. The session's [`cookie`](Self::cookie) is added
            /// after the callback, before all cookies that the callback sets.
            pub fn on_initial_headers<F>(mut $self, hook: F) -> Self
            where
                F: Fn(&mut http::HeaderMap, &http::request::Parts) + Send + Sync + 'static,
            {
                $engine.hooks.initial_headers = Some(std::sync::Arc::new(hook));
                $self
            }

            /// Sets a callback that may change the headers of every successful response to a poll, a POST or a WebSocket handshake. In Node:
            /// the event `headers`.
            ///
            /// It runs after [`on_initial_headers`](Self::on_initial_headers). It is not called for errors, CORS preflights and the files
            /// of the JavaScript client: use a layer around this one for those.
            pub fn on_headers<F>(mut $self, hook: F) -> Self
            where
                F: Fn(&mut http::HeaderMap, &http::request::Parts) + Send + Sync + 'static,
            {
                $engine.hooks.headers = Some(std::sync::Arc::new(hook));
                $self
            }

        }
    };
}

pub(crate) use engine_settings;
