mod edge;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use crate::{
    client_bundle::ClientFiles,
    cluster::{ClusterAdapter, Handler, ServerSideEvent},
    engine::{EngineIoConfig, engine_settings},
    extract::Rejected,
    io::NamespaceRef,
    namespace::{Namespace, NamespaceRequest, NamespaceTable, Predicate},
    packet::{Limits, MAX_JSON_DEPTH},
    parser::Parser,
    recovery::Recovery,
    socket::SocketRef,
    util::{BoxFuture, FOREVER},
};

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
    pub(crate) engine: EngineIoConfig,
    pub(crate) settings: Settings,
    pub(crate) namespaces: NamespaceTable,
    pub(crate) adapter: Option<Arc<dyn ClusterAdapter>>,
    pub(crate) server_side: HashMap<String, Handler>,
}

/// What the server reads while it handles packets.
pub(crate) struct Settings {
    pub(crate) recovery: Option<Recovery>,
    pub(crate) on_namespace: Option<Arc<dyn Fn(&NamespaceRef) + Send + Sync>>,
    pub(crate) parser: Option<Arc<dyn Parser>>,
    pub(crate) ack_timeout: Duration,
    pub(crate) slow_client_policy: SlowClientPolicy,
    pub(crate) max_event_bytes: usize,
    pub(crate) max_attachments: usize,
    /// `None`: ten times `max_payload`.
    pub(crate) max_attachment_bytes: Option<usize>,
    pub(crate) max_json_depth: usize,
    pub(crate) max_concurrent_events: usize,
    pub(crate) max_namespaces: usize,
    pub(crate) max_namespace_length: usize,
    pub(crate) max_dynamic_namespaces_per_connection: usize,
    pub(crate) max_auth_bytes: usize,
    pub(crate) client_files: ClientFiles,
    pub(crate) on_rejection: Option<Arc<dyn Fn(&Rejected<'_>) + Send + Sync>>,
    pub(crate) on_slow_client: Option<Arc<dyn Fn(&SocketRef) + Send + Sync>>,
}

impl Settings {
    pub(crate) fn packet_limits(&self) -> Limits {
        Limits { attachments: self.max_attachments, depth: self.max_json_depth }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            recovery: None,
            on_namespace: None,
            parser: None,
            ack_timeout: Duration::from_secs(30),
            slow_client_policy: SlowClientPolicy::default(),
            max_event_bytes: 512 << 10,
            max_attachments: 10,
            max_attachment_bytes: None,
            max_json_depth: 100,
            max_concurrent_events: 32,
            max_namespaces: 32,
            max_namespace_length: 256,
            max_dynamic_namespaces_per_connection: 10,
            max_auth_bytes: 64 * 1024,
            client_files: ClientFiles::default(),
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

engine_settings!(SocketIoConfig, self, self.engine);

impl SocketIoConfig {
    /// Sets everything that concerns Engine.IO at once: what Node calls `bind`.
    ///
    /// The path is that of the engine: `/engine.io`, unless it has been set.
    ///
    /// ```
    /// use tower_socketio::{SocketIoConfig, engine::EngineIoConfig};
    ///
    /// let engine = EngineIoConfig::new().path("/socket.io").max_payload(100_000);
    /// let config = SocketIoConfig::new().engine(engine);
    /// # let _ = config;
    /// ```
    pub fn engine(mut self, engine: EngineIoConfig) -> Self {
        self.engine = engine;
        self
    }

    /// The defaults, with an empty `/` namespace that everyone may join.
    pub fn new() -> Self {
        Self {
            engine: EngineIoConfig::for_socket_io(),
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

    /// How long a connection may take to join its first namespace, admission included. Default: 45 seconds.
    ///
    /// Past it, the connection is closed.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.engine.connect_timeout = timeout.min(FOREVER);
        self
    }

    /// How long the server waits for an ack where no timeout was asked for. Default: 30 seconds.
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.settings.ack_timeout = timeout.min(FOREVER);
        self
    }

    /// Sets what happens when a client is too slow. Default: it is disconnected.
    pub fn slow_client_policy(mut self, policy: SlowClientPolicy) -> Self {
        self.settings.slow_client_policy = policy;
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

    /// Whether the files of the JavaScript client are served beneath the path. Default: true.
    ///
    /// Without the feature `client-source-maps`, their source maps are not among them.
    #[cfg(feature = "client")]
    pub fn serve_client(mut self, serve: bool) -> Self {
        self.settings.client_files = if serve { ClientFiles::Embedded } else { ClientFiles::Off };
        self
    }

    /// Serves the files of the JavaScript client from a directory instead of those built into the crate.
    ///
    /// A compressed copy of a file, with `.br` or `.gz` behind its name, is served to clients that accept it.
    #[cfg(feature = "client-directory")]
    pub fn client_directory(mut self, directory: impl Into<std::path::PathBuf>) -> Self {
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
        f.debug_struct("Settings").finish_non_exhaustive()
    }
}
