//! The settings of the engine, which `EngineIoConfig` and `SocketIoConfig` share.

/// Implements the setters of the engine for a type. `$engine` is its [`EngineIoConfig`](super::EngineIoConfig).
macro_rules! engine_settings {
    ($ty:ty, $self:ident, $engine:expr) => {
        impl $ty {
            /// The path that is served. Default: `/socket.io` for Socket.IO, `/engine.io` for a handler of one's own.
            ///
            /// Requests match on the path with a slash at its end: `/socket.io/`, not `/socket.iox`. Under a nested router it is
            /// the path that is left there.
            pub fn path(mut $self, path: &str) -> Self {
                $engine.path = format!("/{}/", path.trim_matches('/')).replace("//", "/");
                $self
            }

            /// Whether the path must be followed by a slash. Default: true.
            ///
            /// If not, `/socket.io` is served as well as `/socket.io/`: for clients with `addTrailingSlash: false`.
            pub fn add_trailing_slash(mut $self, add: bool) -> Self {
                $engine.trailing_slash = add;
                $self
            }

            /// Serves clients of Engine.IO 3 too: Socket.IO 1.x and 2.x. Default: false.
            ///
            /// Turn it on while such clients exist. They join `/` without asking, are never sent anything in a form that they
            /// cannot read, and may share rooms with newer ones. Some of them encode text twice and say so nowhere: until a client has
            /// sent text of which that cannot be true, its text is decoded twice where that is possible. Their sockets' public
            /// ids are the ids of their sessions, and nothing but those ids protects a session on long-polling: do not show them
            /// to other clients.
            pub fn allow_eio3(mut $self, allow: bool) -> Self {
                $engine.allow_eio3 = allow;
                $self
            }

            /// The pages that may connect, by their origin. Default: all of them.
            ///
            /// A handshake from any other page is refused with 403 and code 4, over long-polling and WebSocket: browsers enforce
            /// no such rule for WebSockets themselves. Requests without an `Origin` come from no page, and are let through; those of
            /// JSONP, which have none, are judged by their `Referer`, and refused without one. Pages of the server's own host are
            /// let through, too.
            ///
            /// Once origins are named, requests of ours are answered with the headers of CORS, preflights included, credentials
            /// allowed; another `CorsLayer` is then not needed, and should not be put around this layer. With `*` everyone
            /// is let through, JSONP without a `Referer` included, and no credentials are allowed, as with Node's server:
            /// `Origins::predicate(|_, _| true)` allows all pages with credentials.
            ///
            /// ```
            /// use tower_socketio::{Origins, SocketIoConfig};
            ///
            /// let listed = SocketIoConfig::new().origins(["https://example.com", "http://localhost:*"]);
            /// let asked = SocketIoConfig::new().origins(Origins::predicate(|origin, _| origin != "null"));
            /// # let _ = (listed, asked);
            /// ```
            ///
            /// # Panics
            ///
            /// If a text is no origin.
            #[track_caller]
            pub fn origins(mut $self, origins: impl Into<crate::engine::Origins>) -> Self {
                $engine.origins = Some(origins.into());
                $self
            }

            /// Sets a cookie with the handshake of each session; its value is the session's id. Default: none.
            ///
            /// For load balancers that send all requests of a session to one node. Node's server, asked for its cookie, sends
            ///
            /// ```
            /// use tower_socketio::{SocketIoConfig, engine::{SameSite, SessionCookie}};
            ///
            /// let cookie = SessionCookie::new("io").path("/").http_only(true).same_site(SameSite::Lax);
            /// let config = SocketIoConfig::new().cookie(cookie);
            /// # let _ = config;
            /// ```
            ///
            /// but over long-polling only; here it is on the answer that opens a WebSocket too.
            pub fn cookie(mut $self, cookie: crate::engine::SessionCookie) -> Self {
                $engine.cookie = Some(cookie);
                $self
            }

            /// Makes the ids of sessions from the requests that open them. Default: 15 random bytes, as 20 characters of base64.
            ///
            /// An id must be a secret: whoever knows it speaks for the client. A session whose id is empty or
            /// taken is refused with code 3. If the function panics, the handshake is refused with status 500 and code 3.
            pub fn generate_id<F>(mut $self, generate: F) -> Self
            where
                F: Fn(&http::request::Parts) -> String + Send + Sync + 'static,
            {
                $engine.generate_id = Some(std::sync::Arc::new(generate));
                $self
            }

            /// A packet that follows the handshake of each session, in the same response where that is possible. Default: none.
            pub fn initial_packet(mut $self, packet: crate::engine::Packet) -> Self {
                $engine.initial_packet = Some(packet);
                $self
            }

            /// How long after a pong the next ping is sent. Default: 25 seconds.
            ///
            /// A connection costs nothing between two pings; an idle proxy may need them more often.
            pub fn ping_interval(mut $self, interval: std::time::Duration) -> Self {
                $engine.ping_interval = interval.min(crate::util::FOREVER);
                $self
            }

            /// How long a client may take to answer a ping. Default: 20 seconds.
            ///
            /// Past it, its sockets are disconnected with "ping timeout".
            pub fn ping_timeout(mut $self, timeout: std::time::Duration) -> Self {
                $engine.ping_timeout = timeout.min(crate::util::FOREVER);
                $self
            }

            /// How long an upgrade from long-polling may take. Default: 10 seconds.
            ///
            /// Past it, the new connection is closed, and the session stays on long-polling.
            pub fn upgrade_timeout(mut $self, timeout: std::time::Duration) -> Self {
                $engine.upgrade_timeout = timeout.min(crate::util::FOREVER);
                $self
            }

            /// The largest message in bytes, on every transport. Default: 1,000,000.
            ///
            /// A larger POST is answered 413 and the session lives on; a larger WebSocket message closes the connection with
            /// code 1009.
            pub fn max_payload(mut $self, bytes: usize) -> Self {
                $engine.max_payload = bytes;
                $self
            }

            /// Sets how many packets the answer to one poll of long-polling may carry. Default: no limit but that of 1 MB for each answer
            /// (50 kB for clients of revision 3).
            ///
            /// A client that refuses large numbers of packets in one answer needs a lower limit. python-engineio does, beyond 16: clients whose
            /// `User-Agent` is that of its HTTP libraries, `requests` and `aiohttp`, never get more.
            ///
            /// # Panics
            ///
            /// If it is zero.
            #[track_caller]
            pub fn max_poll_packets(mut $self, packets: u32) -> Self {
                assert!(packets > 0, "max_poll_packets must be at least 1: at 0 nothing could ever be sent over long-polling");
                $engine.max_poll_packets = packets;
                $self
            }

            /// Sets how much may wait to be sent to one client, in bytes. Default: 16 MiB.
            ///
            /// Packets that wait cost their size and some 40 bytes each. A client for which more would wait is too slow, and
            /// [`slow_client_policy`](crate::SocketIoConfig::slow_client_policy) decides what happens. A single packet larger than the limit is taken when
            /// nothing else waits.
            ///
            /// The limit should be far above what one handler emits at once, for nothing can be written before the handler returns. Clients
            /// that do not read at all are found by [`slow_client_timeout`](Self::slow_client_timeout).
            pub fn max_buffered_bytes(mut $self, bytes: usize) -> Self {
                $engine.max_buffered_bytes = bytes;
                $self
            }

            /// Sets how long nothing may be written to a client for which something waits. Default: 10 seconds.
            ///
            /// After it, the client is disconnected with "slow client". On a stream the time runs while its buffers are full; on long-polling,
            /// while more than 64 KiB waits and no poll is pending. With [`SlowClientPolicy::DropPacket`](crate::SlowClientPolicy::DropPacket) it never runs: the heartbeat
            /// ends the connection of a client that is gone.
            pub fn slow_client_timeout(mut $self, timeout: std::time::Duration) -> Self {
                $engine.slow_client_timeout = Some(timeout.min(crate::util::FOREVER));
                $self
            }

            /// Sets how long a message that has arrived in part may stand still: a frame or a body whose rest is missing, or a packet
            /// whose attachments are. Default: 30 seconds.
            ///
            /// After it, the connection is closed with "transport error". Bytes that arrive start the time anew, so slow uploads take as long as
            /// they need.
            pub fn receive_timeout(mut $self, timeout: std::time::Duration) -> Self {
                $engine.receive_timeout = timeout.min(crate::util::FOREVER);
                $self
            }

            /// Sets how much memory all clients together can make the server hold, beyond a small amount for each, in bytes. Default: 512 MiB.
            ///
            /// | part | for | past it |
            /// |---|---|---|
            /// | a half | packets that wait to be sent | those clients are disconnected with "slow client" for whom something has waited for the longest time |
            /// | a quarter | messages that have arrived in part | those connections are closed ("forced close") whose messages have been arriving for the longest time |
            /// | a quarter | events of more than 64 KiB whose handlers have not ended | the next one waits, and its connection is not read |
            ///
            /// A connection that holds less than 64 KiB of a kind is not counted. The latter two are never less than four times
            /// [`max_payload`](Self::max_payload).
            pub fn memory_budget(mut $self, bytes: usize) -> Self {
                $engine.memory_budget = bytes;
                $self
            }

            /// The transports that clients may use. Default: long-polling and WebSocket.
            ///
            /// Another one is answered with code 0, "Transport unknown".
            pub fn transports(mut $self, transports: impl IntoIterator<Item = crate::engine::Transport>) -> Self {
                ($engine.polling, $engine.websocket) = (false, false);
                for transport in transports {
                    match transport {
                        crate::engine::Transport::Polling => $engine.polling = true,
                        crate::engine::Transport::WebSocket => $engine.websocket = true,
                        // What is given to `accept` asks nobody.
                        crate::engine::Transport::Custom => {}
                    }
                }
                $self
            }

            /// Whether a session may move from long-polling to WebSocket. Default: true.
            ///
            /// If not, the handshake offers no upgrade, and one that is tried is refused with code 3.
            pub fn allow_upgrades(mut $self, allow: bool) -> Self {
                $engine.allow_upgrades = allow;
                $self
            }

            /// Where the address of a client comes from, for the limits of each address. Default: from the connection.
            ///
            /// It counts for [`max_sessions_per_address`](Self::max_sessions_per_address),
            /// [`max_idle_sessions_per_address`](crate::SocketIoConfig::max_idle_sessions_per_address) and
            /// [`ConnectionLimitLayer::per_address`](crate::middleware::ConnectionLimitLayer::per_address). An IPv6 network of 64
            /// bits, which one host has to itself, counts as one address. A client whose address is not known is not counted.
            ///
            /// Behind a proxy all connections have the proxy's address: name the header that it sets.
            pub fn client_address(mut $self, address: crate::engine::ClientAddress) -> Self {
                $engine.client_address = address;
                $self
            }

            /// How many sessions one [address](Self::client_address) may have. Default: any number.
            ///
            /// Past it, a handshake is refused with status 429 and code 4.
            pub fn max_sessions_per_address(mut $self, sessions: usize) -> Self {
                $engine.max_sessions_per_address = Some(sessions);
                $self
            }

            /// How large the target and the headers of a handshake may be together, in bytes; each header counts for 4 bytes more
            /// than its name and value. Default: 16,384, as Node's server has it.
            ///
            /// A larger handshake is refused with status 431 and code 3. What is within the limit is kept as long as the
            /// connection, as [`SocketRef::request`](crate::SocketRef::request). Under
            /// [`SocketIoService::serve`](crate::SocketIoService::serve) it limits the heads of all requests, as they are read.
            pub fn max_head_bytes(mut $self, bytes: usize) -> Self {
                $engine.max_head_bytes = bytes;
                $self
            }

            /// How long a client may take to send the head of a request to [`SocketIoService::serve`](crate::SocketIoService::serve),
            /// and after connecting, to begin with one. Default: 30 seconds.
            ///
            /// Past it, its connection is closed. On other servers this has no effect: they have their own settings, as
            /// [the guide](crate::guide::limits) shows.
            pub fn http_header_timeout(mut $self, timeout: std::time::Duration) -> Self {
                $engine.connection_timeouts.header = timeout.min(crate::util::FOREVER);
                $self
            }

            /// How long a connection to [`SocketIoService::serve`](crate::SocketIoService::serve) may be kept alive between two
            /// requests. Default: 75 seconds.
            ///
            /// Past it, the connection is closed. WebSockets and pending polls are not idle.
            pub fn http_idle_timeout(mut $self, timeout: std::time::Duration) -> Self {
                $engine.connection_timeouts.idle = timeout.min(crate::util::FOREVER);
                $self
            }

            /// How long a client of [`SocketIoService::serve`](crate::SocketIoService::serve) may read nothing of the response that
            /// is being sent to it. Default: 30 seconds.
            ///
            /// Past it, the connection is closed. It is not for WebSockets.
            pub fn http_write_timeout(mut $self, timeout: std::time::Duration) -> Self {
                $engine.connection_timeouts.write = timeout.min(crate::util::FOREVER);
                $self
            }

            /// Compresses the answers to polls that have at least so many bytes; `None` compresses nothing. Default: 1024.
            ///
            /// With gzip or deflate, if the client accepts one of them, and if that makes the answer smaller. What should not be
            /// compressed is emitted with [`compress(false)`](crate::SocketRef::compress). It costs some milliseconds of one core
            /// for each megabyte. A `CompressionLayer` around this layer leaves alone what has been compressed here.
            #[cfg(feature = "compression")]
            pub fn http_compression(mut $self, threshold: Option<usize>) -> Self {
                $engine.http_compression = threshold;
                $self
            }

            /// Is called with each request that is refused: what Node calls `connection_error`.
            ///
            /// That is one that is answered with an error of Engine.IO's, or whose opening handshake of WebSocket is at fault.
            /// Clients that a namespace refuses are not meant, nor are errors that end a session: these are reasons of a
            /// disconnection.
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

            /// Is called with the headers of the first response of each session, the answer to a poll or a WebSocket's, and may
            /// change them: what Node calls `initial_headers`.
            ///
            /// The session's [`cookie`](Self::cookie) is not among them: it stands before every cookie that is set here.
            pub fn on_initial_headers<F>(mut $self, hook: F) -> Self
            where
                F: Fn(&mut http::HeaderMap, &http::request::Parts) + Send + Sync + 'static,
            {
                $engine.hooks.initial_headers = Some(std::sync::Arc::new(hook));
                $self
            }

            /// Is called with the headers of every successful answer to a poll, a POST or an opening WebSocket, and may change
            /// them: what Node calls `headers`.
            ///
            /// On the first response of a session it runs after [`on_initial_headers`](Self::on_initial_headers). Errors, CORS
            /// preflights and the files of the JavaScript client are not meant: for those put a layer around this one.
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
