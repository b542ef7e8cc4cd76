mod edge;
mod http;

use std::{collections::HashMap, fmt, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use ::http::{Extensions, HeaderMap, HeaderValue, request::Parts};
use cookie::Cookie;

use crate::{
    client_address::{ClientAddress, network},
    cluster::{ClusterAdapter, Handler, ServerSideEvent},
    engine::{Packet, Timing, Transport},
    extract::Rejected,
    io::NamespaceRef,
    namespace::{Namespace, NamespaceRequest, NamespaceTable, Predicate},
    origins::Origins,
    packet::{Limits, MAX_JSON_DEPTH},
    parser::Parser,
    recovery::Recovery,
    socket::SocketRef,
    util::{BoxFuture, FOREVER},
};

pub(crate) use self::{edge::ConnectionTimeouts, http::HttpHooks};

/// What happens to a packet for which a client has no room left.
///
/// See [`SocketIoConfig::max_buffered_bytes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SlowClientPolicy {
    /// The client is disconnected, so that it can connect again and catch up.
    #[default]
    Disconnect,
    /// The packet is dropped, and [`on_slow_client`](SocketIoConfig::on_slow_client) is told.
    DropPacket,
}

/// Where the files of the JavaScript client come from.
#[derive(Debug, Clone, Default)]
pub(crate) enum ClientFiles {
    /// Those that were built into this crate.
    #[default]
    Embedded,
    Directory(PathBuf),
    Off,
}

/// What a [`SocketIoLayer`](crate::SocketIoLayer) serves, and within which limits.
///
/// Every limit has a default that suits a public server. Those that a client can reach are answered with the protocol's
/// own errors; what is told, and to whom, stands with each.
///
/// ```
/// use std::time::Duration;
/// use tower_socketio::{Namespace, SocketIoConfig, SocketIoLayer};
///
/// let config = SocketIoConfig::new()
///     .ping_interval(Duration::from_secs(10))
///     .max_payload(100_000)
///     .namespace("/chat", Namespace::new());
/// let layer = SocketIoLayer::new(config);
/// # let _ = layer;
/// ```
#[must_use]
#[non_exhaustive]
pub struct SocketIoConfig {
    pub(crate) settings: Settings,
    pub(crate) namespaces: NamespaceTable,
    pub(crate) adapter: Option<Arc<dyn ClusterAdapter>>,
    pub(crate) server_side: HashMap<String, Handler>,
}

/// The settings that requests and connections look at.
pub(crate) struct Settings {
    /// With a slash at its end.
    pub(crate) path: String,
    trailing_slash: bool,
    pub(crate) allow_eio3: bool,
    pub(crate) origins: Option<Origins>,
    cookie: Option<Cookie<'static>>,
    pub(crate) generate_id: Option<Arc<dyn Fn(&Parts) -> String + Send + Sync>>,
    pub(crate) initial_packet: Option<Packet>,
    pub(crate) recovery: Option<Recovery>,
    pub(crate) on_namespace: Option<Arc<dyn Fn(&NamespaceRef) + Send + Sync>>,
    pub(crate) parser: Option<Arc<dyn Parser>>,
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
    pub(crate) upgrade_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) ack_timeout: Duration,
    pub(crate) max_payload: usize,
    pub(crate) max_poll_packets: u32,
    pub(crate) max_buffered_bytes: usize,
    pub(crate) slow_client_policy: SlowClientPolicy,
    pub(crate) slow_client_timeout: Duration,
    pub(crate) receive_timeout: Duration,
    memory_budget: usize,
    pub(crate) max_event_bytes: usize,
    pub(crate) max_attachments: usize,
    max_attachment_bytes: Option<usize>,
    pub(crate) max_json_depth: usize,
    pub(crate) max_concurrent_events: usize,
    pub(crate) max_namespaces: usize,
    pub(crate) max_namespace_length: usize,
    pub(crate) max_dynamic_namespaces_per_connection: usize,
    pub(crate) max_idle_sessions: usize,
    pub(crate) max_idle_sessions_per_address: Option<usize>,
    pub(crate) max_sessions_per_address: Option<usize>,
    pub(crate) client_address: ClientAddress,
    pub(crate) max_head_bytes: usize,
    pub(crate) max_auth_bytes: usize,
    pub(crate) connection_timeouts: ConnectionTimeouts,
    pub(crate) polling: bool,
    pub(crate) websocket: bool,
    pub(crate) allow_upgrades: bool,
    pub(crate) client_files: ClientFiles,
    /// From how many bytes on the answer to a poll is compressed.
    #[cfg(feature = "compression")]
    pub(crate) http_compression: Option<usize>,
    pub(crate) hooks: HttpHooks,
    pub(crate) on_rejection: Option<Arc<dyn Fn(&Rejected<'_>) + Send + Sync>>,
    pub(crate) on_slow_client: Option<Arc<dyn Fn(&SocketRef) + Send + Sync>>,
}

impl Settings {
    /// What stands behind the path of Socket.IO in that of a request; `None` if the request is not ours.
    pub(crate) fn file_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        match path.strip_prefix(&self.path) {
            None if !self.trailing_slash && Some(path) == self.path.strip_suffix('/') => Some(""),
            file => file,
        }
    }

    /// The `Set-Cookie` header for a new session.
    pub(crate) fn session_cookie(&self, id: &str) -> Option<HeaderValue> {
        let mut cookie = self.cookie.clone()?;
        cookie.set_value(id.to_owned());
        let header = HeaderValue::try_from(cookie.encoded().to_string());
        Some(header.expect("the cookie was checked, and its value is percent-encoded"))
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

    /// How many bytes the attachments of one packet may take together.
    pub(crate) fn max_attachment_bytes(&self) -> usize {
        self.max_attachment_bytes.unwrap_or(self.max_payload.saturating_mul(10))
    }

    /// What all connections together may hold of messages that have arrived in part.
    pub(crate) fn input_budget(&self) -> usize {
        (self.memory_budget / 4).max(self.max_payload.saturating_mul(4))
    }

    /// What all connections together may hold of large events that are being handled.
    pub(crate) fn event_budget(&self) -> usize {
        (self.memory_budget / 4).max(self.max_payload.saturating_mul(4))
    }

    /// What may wait for all clients together.
    pub(crate) fn output_budget(&self) -> usize {
        self.memory_budget / 2
    }

    pub(crate) fn packet_limits(&self) -> Limits {
        Limits { attachments: self.max_attachments, depth: self.max_json_depth }
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

impl Default for Settings {
    fn default() -> Self {
        Self {
            path: "/socket.io/".to_owned(),
            trailing_slash: true,
            allow_eio3: false,
            origins: None,
            cookie: None,
            generate_id: None,
            initial_packet: None,
            recovery: None,
            on_namespace: None,
            parser: None,
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(45),
            ack_timeout: Duration::from_secs(30),
            max_payload: 1_000_000,
            max_poll_packets: u32::MAX,
            max_buffered_bytes: 16 << 20,
            slow_client_policy: SlowClientPolicy::default(),
            slow_client_timeout: Duration::from_secs(10),
            receive_timeout: Duration::from_secs(30),
            memory_budget: 512 << 20,
            max_event_bytes: 512 << 10,
            max_attachments: 10,
            max_attachment_bytes: None,
            max_json_depth: 100,
            max_concurrent_events: 32,
            max_namespaces: 32,
            max_namespace_length: 256,
            max_dynamic_namespaces_per_connection: 10,
            max_idle_sessions: 10_000,
            max_idle_sessions_per_address: None,
            max_sessions_per_address: None,
            client_address: ClientAddress::default(),
            max_head_bytes: 16 * 1024,
            max_auth_bytes: 64 * 1024,
            connection_timeouts: ConnectionTimeouts::default(),
            polling: true,
            websocket: true,
            allow_upgrades: true,
            client_files: ClientFiles::default(),
            #[cfg(feature = "compression")]
            http_compression: Some(1024),
            hooks: HttpHooks::default(),
            on_rejection: None,
            on_slow_client: None,
        }
    }
}

impl Default for SocketIoConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl SocketIoConfig {
    /// The defaults, with an empty `/` namespace that everyone may join.
    pub fn new() -> Self {
        Self {
            settings: Settings::default(),
            namespaces: NamespaceTable::default(),
            adapter: None,
            server_side: HashMap::new(),
        }
    }

    /// Adds a namespace, by its exact name or by a pattern.
    ///
    /// A name with braces is a pattern of axum's kind: `/room/{id}` is joined as `/room/7`, and `Path<u32>` works in
    /// [`on_connect`](Namespace::on_connect). `/` replaces the default namespace. A missing leading slash is added.
    ///
    /// # Panics
    ///
    /// If the name has been added before, if a pattern is malformed or overlaps another one, or if a name holds a comma
    /// or a question mark, which the protocol cannot carry.
    #[track_caller]
    pub fn namespace(mut self, name: &str, namespace: Namespace) -> Self {
        self.namespaces.add(name, namespace);
        self
    }

    /// Adds a namespace for every name that no exact name and no pattern matches and that `matches` accepts.
    ///
    /// Several may be added; the first that accepts a name serves it.
    pub fn namespace_fn<F>(mut self, matches: F, namespace: Namespace) -> Self
    where
        F: Fn(&str) -> bool + Send + Sync + 'static,
    {
        self.namespaces.add_predicate(Predicate::AtOnce(Box::new(matches)), namespace);
        self
    }

    /// As [`namespace_fn`](Self::namespace_fn), with a predicate that may take its time, and sees who asks.
    ///
    /// Predicates of both kinds are asked in the order in which they were added. While one decides, the client waits, and
    /// may ask for other namespaces. If several clients ask for one name at a time, there will be one namespace.
    ///
    /// ```
    /// use tower_socketio::{Namespace, NamespaceRequest, SocketIoConfig};
    ///
    /// async fn is_a_tenant(name: &str) -> bool {
    ///     // .. asks a database ..
    ///     name.starts_with("/tenant/")
    /// }
    /// let config = SocketIoConfig::new()
    ///     .namespace_when(async |request: NamespaceRequest| is_a_tenant(request.name()).await, Namespace::new());
    /// # let _ = config;
    /// ```
    pub fn namespace_when<F, Fut>(mut self, accepts: F, namespace: Namespace) -> Self
    where
        F: Fn(NamespaceRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        let accepts = move |request| -> BoxFuture<bool> { Box::pin(accepts(request)) };
        self.namespaces.add_predicate(Predicate::Later(Box::new(accepts)), namespace);
        self
    }

    /// Is called when a pattern or a predicate has made a namespace, before the first socket joins that asked for it. Others
    /// may join while it runs.
    pub fn on_namespace<F>(mut self, hook: F) -> Self
    where
        F: Fn(&NamespaceRef) + Send + Sync + 'static,
    {
        self.settings.on_namespace = Some(Arc::new(hook));
        self
    }

    /// Drops a namespace that was made from a pattern or a predicate when its last socket has left. Default: true.
    ///
    /// Otherwise it is kept, with its name, until the server ends.
    pub fn cleanup_empty_namespaces(mut self, cleanup: bool) -> Self {
        self.namespaces.cleanup = cleanup;
        self
    }

    /// Makes the server a node of a cluster. Default: it stands alone, with everything in memory.
    pub fn adapter(mut self, adapter: impl ClusterAdapter) -> Self {
        self.adapter = Some(Arc::new(adapter));
        self
    }

    /// Lets clients recover their connections: one that was cut off comes back as the socket that it was, with its id, its
    /// rooms and its data, and gets the events that it missed. Default: none.
    ///
    /// Every event without an ack then has one argument more, a string that only the client's library wants to see. Events
    /// that are volatile or ask for an ack are not kept. Only clients of the 4.x generation take part.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_socketio::{Recovery, SocketIoConfig};
    ///
    /// let config = SocketIoConfig::new().recovery(Recovery::new().max_disconnection(Duration::from_secs(60)));
    /// # let _ = config;
    /// ```
    pub fn recovery(mut self, recovery: Recovery) -> Self {
        self.settings.recovery = Some(recovery);
        self
    }

    /// How packets look on the wire, if not as JSON. Default: as JSON, which every client speaks unless it is told otherwise.
    ///
    /// It is the only one of the server, and its clients must have the same: nothing in the protocol tells which it is. See
    /// [`parser`](crate::parser) for what there is, and for how to write one.
    pub fn parser(mut self, parser: impl Parser) -> Self {
        self.settings.parser = Some(Arc::new(parser));
        self
    }

    /// Handles an event that another server of the cluster emits to the servers themselves, by
    /// [`server_side_emit`](crate::SocketIo::server_side_emit). What it returns is the answer, if the other one waits for
    /// any: a tuple is several arguments, anything else one.
    ///
    /// ```
    /// use tower_socketio::{ServerSideEvent, SocketIoConfig};
    ///
    /// let config = SocketIoConfig::new().on_server_side("count", async |event: ServerSideEvent| event.io().stats().sockets);
    /// # let _ = config;
    /// ```
    ///
    /// # Panics
    ///
    /// If the event has a handler already.
    #[track_caller]
    pub fn on_server_side<F, Fut, R>(mut self, event: &str, handler: F) -> Self
    where
        F: Fn(ServerSideEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: serde::Serialize,
    {
        let before = self.server_side.insert(event.to_owned(), crate::cluster::handler(handler));
        assert!(before.is_none(), "the event `{event}` of other servers has two handlers");
        self
    }

    /// The path under which Socket.IO is served. Default: `/socket.io`.
    ///
    /// Requests match on the path with a slash at its end: `/socket.io/`, not `/socket.iox`. Under a nested router it is
    /// the path that is left there.
    pub fn path(mut self, path: &str) -> Self {
        self.settings.path = format!("/{}/", path.trim_matches('/')).replace("//", "/");
        self
    }

    /// Whether the path must be followed by a slash. Default: true.
    ///
    /// If not, `/socket.io` is served as well as `/socket.io/`: for clients with `addTrailingSlash: false`.
    pub fn add_trailing_slash(mut self, add: bool) -> Self {
        self.settings.trailing_slash = add;
        self
    }

    /// Serves clients of Engine.IO 3 too: Socket.IO 1.x and 2.x. Default: false.
    ///
    /// Turn it on while such clients exist. They join `/` without asking, are never sent anything in a form that they
    /// cannot read, and may share rooms with newer ones. Some of them encode text twice and say so nowhere: until a client has
    /// sent text of which that cannot be true, its text is decoded twice where that is possible. Their sockets' public
    /// ids are the ids of their sessions, and nothing but those ids protects a session on long-polling: do not show them
    /// to other clients.
    pub fn allow_eio3(mut self, allow: bool) -> Self {
        self.settings.allow_eio3 = allow;
        self
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
    pub fn origins(mut self, origins: impl Into<Origins>) -> Self {
        self.settings.origins = Some(origins.into());
        self
    }

    /// Sets a cookie with the handshake of each session; its value is the session's id. Default: none.
    ///
    /// For load balancers that send all requests of a session to one node. Node's server, asked for its cookie, sends
    ///
    /// ```
    /// use tower_socketio::{SocketIoConfig, cookie::{Cookie, SameSite}};
    ///
    /// let cookie = Cookie::build("io").path("/").http_only(true).same_site(SameSite::Lax);
    /// let config = SocketIoConfig::new().cookie(cookie);
    /// # let _ = config;
    /// ```
    ///
    /// but over long-polling only; here it is on the answer that opens a WebSocket too.
    ///
    /// # Panics
    ///
    /// If the cookie's name or one of its attributes cannot stand in a header.
    #[track_caller]
    pub fn cookie(mut self, cookie: impl Into<Cookie<'static>>) -> Self {
        let cookie = cookie.into();
        let header = HeaderValue::try_from(cookie.encoded().to_string());
        assert!(header.is_ok(), "the cookie cannot stand in a header: `{cookie}`");
        self.settings.cookie = Some(cookie);
        self
    }

    /// Makes the ids of sessions from the requests that open them. Default: 15 random bytes, as 20 characters of base64.
    ///
    /// An id must be a secret: whoever knows it speaks for the client. A session whose id is empty or
    /// taken is refused with code 3. If the function panics, the handshake is refused with status 500 and code 3.
    pub fn generate_id<F>(mut self, generate: F) -> Self
    where
        F: Fn(&Parts) -> String + Send + Sync + 'static,
    {
        self.settings.generate_id = Some(Arc::new(generate));
        self
    }

    /// A packet that follows the handshake of each session, in the same response where that is possible. Default: none.
    pub fn initial_packet(mut self, packet: Packet) -> Self {
        self.settings.initial_packet = Some(packet);
        self
    }

    /// How long after a pong the next ping is sent. Default: 25 seconds.
    ///
    /// A connection costs nothing between two pings; an idle proxy may need them more often.
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.settings.ping_interval = interval.min(FOREVER);
        self
    }

    /// How long a client may take to answer a ping. Default: 20 seconds.
    ///
    /// Past it, its sockets are disconnected with "ping timeout".
    pub fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.settings.ping_timeout = timeout.min(FOREVER);
        self
    }

    /// How long an upgrade from long-polling may take. Default: 10 seconds.
    ///
    /// Past it, the new connection is closed, and the session stays on long-polling.
    pub fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.settings.upgrade_timeout = timeout.min(FOREVER);
        self
    }

    /// How long a connection may take to join its first namespace, admission included. Default: 45 seconds.
    ///
    /// Past it, the connection is closed.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout.min(FOREVER);
        self
    }

    /// How long the server waits for an ack where no timeout was asked for. Default: 30 seconds.
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.settings.ack_timeout = timeout.min(FOREVER);
        self
    }

    /// The largest message in bytes, on every transport. Default: 1,000,000.
    ///
    /// A larger POST is answered 413 and the session lives on; a larger WebSocket message closes the connection with
    /// code 1009.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.settings.max_payload = bytes;
        self
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
    pub fn max_poll_packets(mut self, packets: u32) -> Self {
        assert!(packets > 0, "max_poll_packets must be at least 1: at 0 nothing could ever be sent over long-polling");
        self.settings.max_poll_packets = packets;
        self
    }

    /// Sets how much may wait to be sent to one client, in bytes. Default: 16 MiB.
    ///
    /// Packets that wait cost their size and some 40 bytes each. A client for which more would wait is too slow, and
    /// [`slow_client_policy`](Self::slow_client_policy) decides what happens. A single packet larger than the limit is taken when
    /// nothing else waits.
    ///
    /// The limit should be far above what one handler emits at once, for nothing can be written before the handler returns. Clients
    /// that do not read at all are found by [`slow_client_timeout`](Self::slow_client_timeout).
    pub fn max_buffered_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_buffered_bytes = bytes;
        self
    }

    /// Sets what happens when a client is too slow. Default: it is disconnected.
    pub fn slow_client_policy(mut self, policy: SlowClientPolicy) -> Self {
        self.settings.slow_client_policy = policy;
        self
    }

    /// Sets how long nothing may be written to a client for which something waits. Default: 10 seconds.
    ///
    /// After it, the client is disconnected with "slow client". On a stream the time runs while its buffers are full; on long-polling,
    /// while more than 64 KiB waits and no poll is pending. With [`SlowClientPolicy::DropPacket`] it never runs: the heartbeat
    /// ends the connection of a client that is gone.
    pub fn slow_client_timeout(mut self, timeout: Duration) -> Self {
        self.settings.slow_client_timeout = timeout.min(FOREVER);
        self
    }

    /// Sets how long a message that has arrived in part may stand still: a frame or a body whose rest is missing, or a packet
    /// whose attachments are. Default: 30 seconds.
    ///
    /// After it, the connection is closed with "transport error". Bytes that arrive start the time anew, so slow uploads take as long as
    /// they need.
    pub fn receive_timeout(mut self, timeout: Duration) -> Self {
        self.settings.receive_timeout = timeout.min(FOREVER);
        self
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
    pub fn memory_budget(mut self, bytes: usize) -> Self {
        self.settings.memory_budget = bytes;
        self
    }

    /// Sets how much memory the events of one connection may take whose handlers have not ended, in bytes. Default: 512 KiB.
    ///
    /// An event counts with an estimate of what its arguments take in memory, at least 1 KiB. Past the limit the connection is not
    /// read until a handler ends. One event is always handled, whatever its size.
    pub fn max_event_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_event_bytes = bytes;
        self
    }

    /// The most attachments of one packet. Default: 10.
    ///
    /// A packet that announces more closes the connection. Binary that needs no placeholder, as msgpack's, does not count.
    pub fn max_attachments(mut self, attachments: usize) -> Self {
        self.settings.max_attachments = attachments;
        self
    }

    /// Sets how many bytes the attachments of one packet may take together. Default: ten times [`max_payload`](Self::max_payload),
    /// which are 10,000,000.
    ///
    /// More close the connection.
    pub fn max_attachment_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_attachment_bytes = Some(bytes);
        self
    }

    /// How many arrays and objects may be nested in an argument of an event or an ack. Default: 100; at most 1024.
    ///
    /// A number has no levels, `[1]` has one, `{"a":[1]}` two: the array in which the arguments travel does not count. In
    /// the auth payload, its object is the first level. What is nested deeper closes the connection.
    ///
    /// A text of more than 127 levels is read on a thread made for it, which has a stack of its own, while the thread that
    /// received it waits; a [`Value`](crate::Value) of any allowed depth can then be cloned, compared, emitted and dropped
    /// on a stack of 2 MiB, also in a debug build. Types of your own that recurse are dropped on your stack too: before you
    /// raise this limit, look at how much of it they need. `axum::Json`, as an extractor in `on_connect`, reads no more than
    /// 127 levels of the auth payload; [`Handshake::auth`](crate::Handshake::auth) reads them all.
    pub fn max_json_depth(mut self, levels: usize) -> Self {
        self.settings.max_json_depth = levels.min(MAX_JSON_DEPTH);
        self
    }

    /// How many event handlers of one socket may be under way. Default: 32.
    ///
    /// Beyond that the connection is not read until one has ended, and the pressure reaches the client's TCP window.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn max_concurrent_events(mut self, events: usize) -> Self {
        assert!(events > 0, "max_concurrent_events must be at least 1: at 0 no event could ever be handled");
        self.settings.max_concurrent_events = events;
        self
    }

    /// How many namespaces one connection may have joined or be joining. Default: 32.
    ///
    /// Past it, a client is refused with "too many namespaces on this connection".
    pub fn max_namespaces(mut self, namespaces: usize) -> Self {
        self.settings.max_namespaces = namespaces;
        self
    }

    /// The longest namespace name in bytes that a client may send. Default: 256.
    ///
    /// A longer one is refused with "the namespace name is too long".
    pub fn max_namespace_length(mut self, bytes: usize) -> Self {
        self.settings.max_namespace_length = bytes;
        self
    }

    /// The transports that clients may use. Default: long-polling and WebSocket.
    ///
    /// Another one is answered with code 0, "Transport unknown".
    pub fn transports(mut self, transports: impl IntoIterator<Item = Transport>) -> Self {
        (self.settings.polling, self.settings.websocket) = (false, false);
        for transport in transports {
            match transport {
                Transport::Polling => self.settings.polling = true,
                Transport::WebSocket => self.settings.websocket = true,
                // What is given to `accept` asks nobody.
                Transport::Custom => {}
            }
        }
        self
    }

    /// Whether a session may move from long-polling to WebSocket. Default: true.
    ///
    /// If not, the handshake offers no upgrade, and one that is tried is refused with code 3.
    pub fn allow_upgrades(mut self, allow: bool) -> Self {
        self.settings.allow_upgrades = allow;
        self
    }

    /// Whether the files of the JavaScript client are served beneath the path. Default: true.
    pub fn serve_client(mut self, serve: bool) -> Self {
        self.settings.client_files = if serve { ClientFiles::Embedded } else { ClientFiles::Off };
        self
    }

    /// Serves the files of the JavaScript client from a directory instead of those built into the crate.
    pub fn client_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.settings.client_files = ClientFiles::Directory(directory.into());
        self
    }

    /// Is called when an event's extractor rejects: the arguments do not fit the handler, for instance.
    ///
    /// The rejection is answered in any case, if the client waits for an ack, and logged with the feature `tracing`.
    pub fn on_rejection<F>(mut self, hook: F) -> Self
    where
        F: Fn(&Rejected<'_>) + Send + Sync + 'static,
    {
        self.settings.on_rejection = Some(Arc::new(hook));
        self
    }

    /// Sets a callback for clients that are too slow. It is called once for each, with one of its sockets; with
    /// [`SlowClientPolicy::DropPacket`] once more if the client has caught up in the meantime.
    ///
    /// It runs in a task, soon after the packet was refused, and must not block.
    pub fn on_slow_client<F>(mut self, hook: F) -> Self
    where
        F: Fn(&SocketRef) + Send + Sync + 'static,
    {
        self.settings.on_slow_client = Some(Arc::new(hook));
        self
    }
}

impl fmt::Debug for SocketIoConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketIoConfig")
            .field("settings", &self.settings)
            .field("namespaces", &self.namespaces)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("path", &self.path).finish_non_exhaustive()
    }
}
