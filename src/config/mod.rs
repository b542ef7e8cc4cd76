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
            hooks: Hooks::default(),
            namespaces: NamespaceTable::default(),
            server_side: HashMap::new(),
            client_files: ClientFiles::default(),
        }
    }

    /// Makes the server a node of a cluster. Default: it stands alone, with everything in memory.
    pub fn adapter(mut self, adapter: impl ClusterAdapter) -> Self {
        self.settings.adapter = Some(Arc::new(adapter));
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
    /// use tower_socketio::{RecoveryConfig, SocketIoConfig};
    ///
    /// let config = SocketIoConfig::new().recovery(RecoveryConfig::new().max_disconnection(Duration::from_secs(60)));
    /// # let _ = config;
    /// ```
    pub fn recovery(mut self, recovery: RecoveryConfig) -> Self {
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

    /// Whether the files of the JavaScript client are served beneath the path. Default: true.
    ///
    /// Source maps are not among them without the feature `client-source-maps`.
    #[cfg(feature = "client")]
    pub fn serve_client(mut self, serve: bool) -> Self {
        self.client_files = if serve { ClientFiles::Embedded } else { ClientFiles::Off };
        self
    }

    /// Serves the files of the JavaScript client from a directory instead of those built into the crate.
    ///
    /// A compressed copy of a file, with `.br` or `.gz` appended to its name, is served to clients that accept it.
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
