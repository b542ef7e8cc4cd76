mod build;
mod hooks;
mod limits;
mod namespaces;

use std::{collections::HashMap, fmt, sync::Arc};

use crate::{
    client_bundle::ClientFiles,
    cluster::ClusterAdapter,
    engine::{EngineIoConfig, engine_settings},
    parser::Parser,
    recovery::RecoveryConfig,
    server::{Definition, Hooks, NamespaceTable, ServerSideHandler, Settings},
};

/// The configuration of a [`SocketIoLayer`](crate::SocketIoLayer): namespaces, limits and callbacks.
///
/// The default of each limit suits a public server. When a client exceeds a limit, it gets an error of the protocol. Each method
/// describes which one.
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
    engine: EngineIoConfig,
    settings: Settings,
    hooks: Hooks,
    namespaces: NamespaceTable<Definition>,
    server_side: HashMap<String, ServerSideHandler>,
    client_files: ClientFiles,
}

impl Default for SocketIoConfig {
    fn default() -> Self {
        Self::new()
    }
}

engine_settings!(SocketIoConfig, self, self.engine);

impl SocketIoConfig {
    /// Sets all options of Engine.IO. This corresponds to `bind` of Node's server.
    ///
    /// The path is replaced too. Its default in [`EngineIoConfig`] is `/engine.io`.
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

    /// Creates a configuration with the defaults, and with an empty namespace `/` that accepts every client.
    pub fn new() -> Self {
        Self {
            engine: EngineIoConfig::for_socket_io(),
            settings: Settings::default(),
            hooks: Hooks::default(),
            namespaces: NamespaceTable::default(),
            server_side: HashMap::new(),
            client_files: ClientFiles::default(),
        }
    }

    /// Sets the adapter that connects the server to a cluster. Default: none. The server is then independent of others.
    ///
    /// See [`ClusterAdapter`].
    pub fn adapter(mut self, adapter: impl ClusterAdapter) -> Self {
        self.settings.adapter = Some(Arc::new(adapter));
        self
    }

    /// Sets whether clients on long-polling are served without sticky sessions. Default: `false`.
    ///
    /// If `true`, a request that arrives at another node than that of its session is passed on to that node, instead of being
    /// rejected with "Session ID unknown". This includes WebSockets. All adapters of this crate support it. Without an adapter, it has no
    /// effect. Set it on all nodes.
    ///
    /// The ids of sessions begin with 11 characters that identify the node. A request that is passed on takes two messages through
    /// the broker and, for polls that wait, a third, and its session ends if one of the two nodes ends. Sticky sessions are therefore
    /// cheaper, and both may be combined.
    ///
    /// [`on_headers`](Self::on_headers) and [`on_connection_error`](Self::on_connection_error) are called on the node of the session.
    /// If one of the callbacks for HTTP requests is set, all headers are passed on, otherwise only those that Engine.IO reads.
    ///
    /// ```
    /// use tower_socketio::{SocketIoConfig, SocketIoLayer, cluster::Local};
    ///
    /// let cluster = Local::new();
    /// let node = || SocketIoLayer::new(SocketIoConfig::new().adapter(cluster.node()).share_sessions(true));
    /// let (first, second) = (node(), node());
    /// # let _ = (first, second);
    /// ```
    /// # Panics
    ///
    /// The server cannot be built if the [adapter](Self::adapter) does not support [`send`](ClusterAdapter::send).
    pub fn share_sessions(mut self, share: bool) -> Self {
        self.settings.share_sessions = share;
        self
    }

    /// Enables recovery: a client that has lost its connection returns as the same socket, with its id, rooms and data, and gets
    /// the events that it missed. Default: disabled.
    ///
    /// Each event without an ack gets an additional last argument, an offset, which the client's library removes. Volatile events
    /// and events with acks are not recorded. Only clients of version 4.x can be recovered.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_socketio::{RecoveryConfig, SocketIoConfig};
    ///
    /// let config = SocketIoConfig::new().recovery(RecoveryConfig::new().max_disconnection(Duration::from_secs(60)));
    /// # let _ = config;
    /// ```
    pub fn recovery(mut self, recovery: RecoveryConfig) -> Self {
        self.settings.recovery = Some(recovery);
        self
    }

    /// Sets the encoding of packets. Default: JSON, which is also the default of clients.
    ///
    /// The clients must use the same parser, because the protocol does not negotiate it, unless they choose a [named
    /// one](Self::named_parser). See [`parser`](crate::parser) for available parsers and for writing one.
    pub fn parser(mut self, parser: impl Parser) -> Self {
        self.settings.parsers.set_default(parser);
        self
    }

    /// Adds a parser for the clients that choose it by its name, in the parameter `parser` of the query of their connection. The
    /// others use the [default](Self::parser), also those that send an unknown name.
    ///
    /// So clients with different parsers share one server, its namespaces and rooms. A broadcast is encoded once for each parser
    /// that one of its recipients uses. If a named parser cannot encode a broadcast, the error is logged (feature `tracing`), and
    /// its clients do not get the event.
    ///
    /// The name `json` is that of JSON, for a server with another default. In the JavaScript client, the parameter is set by
    /// `io(url, { parser, query: { parser: "msgpack" } })`.
    ///
    /// ```
    /// # #[cfg(feature = "msgpack")] {
    /// use tower_socketio::{SocketIoConfig, parser::MsgpackParser};
    ///
    /// let config = SocketIoConfig::new().named_parser("msgpack", MsgpackParser);
    /// # let _ = config;
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the name is `json` or has been added before, or if there are more than 250.
    #[track_caller]
    pub fn named_parser(mut self, name: &str, parser: impl Parser) -> Self {
        self.settings.parsers.add(name, parser);
        self
    }

    /// Sets whether the files of the JavaScript client are served under the path. Default: `true`.
    ///
    /// Source maps are served only with the feature `client-source-maps`.
    #[cfg(feature = "client")]
    pub fn serve_client(mut self, serve: bool) -> Self {
        self.client_files = if serve { ClientFiles::Embedded } else { ClientFiles::Off };
        self
    }

    /// Serves the files of the JavaScript client from a directory instead of the embedded ones.
    ///
    /// If a file has a compressed copy, named with `.br` or `.gz` appended, clients that support the encoding get the copy.
    #[cfg(feature = "client-directory")]
    pub fn client_directory(mut self, directory: impl Into<std::path::PathBuf>) -> Self {
        self.client_files = ClientFiles::Directory(directory.into());
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
