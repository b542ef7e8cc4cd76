//! Socket.IO at work: a server, its clients, and what they send.

mod client;
mod event_cost;
mod receive;
mod socket_table;

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::runtime::Handle;

use crate::{
    client_bundle::ClientBundle,
    cluster::{ClusterAdapter, ClusterNode, ServerSide},
    config::{Settings, SlowClientPolicy, SocketIoConfig},
    engine::{self, Connection, Engine, Peer, Reader},
    namespace::{Common, Namespaces},
    observe::ServerMeters,
};

use self::receive::Inbound;
pub(crate) use self::{
    client::Client,
    event_cost::{EVENT, EventBudget, EventCost, Share},
    socket_table::JoinError,
};

/// A server: an engine, what it does with the engine's sessions, and its namespaces. One for each `SocketIoLayer::new`.
pub(crate) struct Server {
    pub(crate) engine: Arc<Engine>,
    pub(crate) settings: Settings,
    pub(crate) namespaces: Namespaces,
    pub(crate) client_bundle: ClientBundle,
    pub(crate) adapter: Option<Arc<dyn ClusterAdapter>>,
    pub(crate) server_side: ServerSide,
    pub(crate) counters: Counters,
    pub(crate) meters: ServerMeters,
    /// Large events whose handlers are under way.
    pub(crate) event_budget: EventBudget,
}

/// Events that only ever add up.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) rejections: AtomicU64,
    pub(crate) slow_clients: AtomicU64,
}

/// Makes a client of each session of the engine.
struct Handler(Weak<Server>);

impl engine::Connect for Handler {
    fn connect(&self, connection: &Arc<Connection>) -> Option<(Arc<dyn Peer>, Box<dyn Reader>)> {
        let client = Arc::new(Client::new(connection.clone(), self.0.upgrade()?));
        Some((client.clone(), Box::new(Inbound::new(client))))
    }
}

impl Server {
    pub(crate) fn new(config: SocketIoConfig) -> Arc<Self> {
        let SocketIoConfig { mut engine, settings, namespaces, adapter, server_side } = config;
        if settings.slow_client_policy != SlowClientPolicy::Disconnect {
            engine.slow_client_timeout = None;
        }
        let server = Arc::new_cyclic(|server: &Weak<Self>| Self {
            client_bundle: ClientBundle::new(&settings.client_files),
            adapter: adapter.clone(),
            server_side: ServerSide::new(server_side),
            namespaces: Namespaces::new(
                namespaces,
                Common {
                    ack_timeout: settings.ack_timeout,
                    adapter: adapter.clone(),
                    recovery: settings.recovery.clone(),
                    parser: settings.parser.clone(),
                    server: server.clone(),
                },
            ),
            event_budget: EventBudget::new(engine.input_budget()),
            engine: Engine::new(engine, Box::new(Handler(server.clone()))),
            settings,
            counters: Counters::default(),
            meters: ServerMeters::new(),
        });
        if let Some(adapter) = adapter {
            adapter.join(ClusterNode::new(&server));
        }
        server
    }

    /// Returns the caller's runtime, or else the one on which a connection was opened last.
    pub(crate) fn known_runtime(&self) -> Option<Handle> {
        self.engine.try_runtime()
    }

    /// Runs user code: a hook or a drop. Returns whether it did not panic.
    pub(crate) fn contain(&self, run: impl FnOnce()) -> bool {
        self.engine.catch_panic(run).is_some()
    }

    /// As [`contain`](Self::contain), for a hook that returns something. Returns `None` if it panicked.
    pub(crate) fn contained<R>(&self, run: impl FnOnce() -> R) -> Option<R> {
        self.engine.catch_panic(run)
    }

    /// Counts a panic of user code.
    pub(crate) fn count_panic(&self) {
        self.engine.count_panic();
    }

    /// How many bytes the attachments of one packet may take together.
    pub(crate) fn max_attachment_bytes(&self) -> usize {
        self.settings.max_attachment_bytes.unwrap_or(self.engine.config.max_payload.saturating_mul(10))
    }

    /// An extractor has rejected an event.
    pub(crate) fn count_rejection(&self) {
        self.counters.rejections.fetch_add(1, Ordering::Relaxed);
        self.meters.rejection();
    }

    /// A packet has found no room for its client.
    pub(crate) fn count_slow_client(&self) {
        self.counters.slow_clients.fetch_add(1, Ordering::Relaxed);
        self.meters.slow_client();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("settings", &self.settings).finish_non_exhaustive()
    }
}
