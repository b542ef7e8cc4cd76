//! What one layer's services share.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::Notify};
use tower_http::cors::CorsLayer;

use crate::{
    client_address::{Counts, Permit},
    client_bundle::ClientBundle,
    cluster::{ClusterAdapter, ClusterNode, ServerSide},
    config::{Settings, SocketIoConfig},
    connection::{Budget, EventBudget, IdleSessions, OpenError, Sessions},
    namespace::{Common, Namespaces},
    observe::ServerMeters,
    util::{catch_panic, log},
};

/// A server: its settings, its namespaces and its sessions. One for each `SocketIoLayer::new`.
pub(crate) struct Server {
    pub(crate) settings: Settings,
    pub(crate) namespaces: Namespaces,
    pub(crate) sessions: Sessions,
    pub(crate) client_bundle: ClientBundle,
    pub(crate) adapter: Option<Arc<dyn ClusterAdapter>>,
    pub(crate) server_side: ServerSide,
    /// What browsers on pages of other origins are told, if the configuration names any.
    pub(crate) cors: Option<CorsLayer>,
    pub(crate) counters: Counters,
    pub(crate) meters: ServerMeters,
    /// Sessions that have joined no namespace yet.
    pub(crate) idle_sessions: IdleSessions,
    /// How many sessions each address has, if addresses have a share.
    sessions_of_address: Counts<IpAddr>,
    /// No new session is opened any more.
    pub(crate) draining: AtomicBool,
    /// A connection has ended.
    pub(crate) ended: Notify,
    /// Parts of messages that have not arrived whole.
    pub(crate) input_budget: Budget,
    /// What waits for clients.
    pub(crate) output_budget: Budget,
    /// Large events whose handlers are under way.
    pub(crate) event_budget: EventBudget,
    /// How much must wait for clients before it is looked at again.
    pub(crate) next_output_check: AtomicUsize,
    runtime: Mutex<Option<Handle>>,
}

/// Events that only ever add up.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) rejections: AtomicU64,
    pub(crate) panics: AtomicU64,
    pub(crate) slow_clients: AtomicU64,
}

impl Server {
    pub(crate) fn new(config: SocketIoConfig) -> Arc<Self> {
        let SocketIoConfig { settings, namespaces, adapter, server_side } = config;
        let server = Arc::new_cyclic(|server| Self {
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
            cors: settings.origins.as_ref().map(|origins| origins.cors(server.clone())),
            idle_sessions: IdleSessions::new(settings.max_idle_sessions, settings.max_idle_sessions_per_address),
            input_budget: Budget::new(settings.input_budget()),
            output_budget: Budget::new(settings.output_budget()),
            event_budget: EventBudget::new(settings.event_budget()),
            next_output_check: AtomicUsize::new(0),
            settings,
            sessions: Sessions::default(),
            counters: Counters::default(),
            meters: ServerMeters::new(),
            sessions_of_address: Counts::default(),
            draining: AtomicBool::new(false),
            ended: Notify::new(),
            runtime: Mutex::default(),
        });
        if let Some(adapter) = adapter {
            adapter.join(ClusterNode::new(&server));
        }
        server
    }

    /// The runtime of the caller, which is remembered for those that are in none.
    pub(crate) fn runtime(&self) -> Handle {
        let current = Handle::current();
        let mut known = self.runtime.lock();
        if known.as_ref().is_none_or(|known| known.id() != current.id()) {
            *known = Some(current.clone());
        }
        current
    }

    /// The runtime of the caller, or else that on which a connection was opened last.
    pub(crate) fn known_runtime(&self) -> Option<Handle> {
        Handle::try_current().ok().or_else(|| self.runtime.lock().clone())
    }

    /// Runs something of the user's, a hook or a drop; its panic goes no further. Answers whether there was none.
    pub(crate) fn contain(&self, run: impl FnOnce()) -> bool {
        self.contained(run).is_some()
    }

    /// As [`contain`](Self::contain), of a hook that returns something. `None` if it panicked.
    pub(crate) fn contained<R>(&self, run: impl FnOnce() -> R) -> Option<R> {
        let result = catch_panic(run);
        if result.is_none() {
            self.count_panic();
            log!(error, "user code panicked");
        }
        result
    }

    /// Counts a session for its address, if addresses have a share.
    pub(crate) fn take_share(&self, address: Option<IpAddr>) -> Result<Option<Permit<IpAddr>>, OpenError> {
        let Some((address, max)) = address.zip(self.settings.max_sessions_per_address) else {
            return Ok(None);
        };
        self.sessions_of_address.acquire(address, max).map(Some).ok_or(OpenError::TooManySessions)
    }

    /// An extractor has rejected an event.
    pub(crate) fn count_rejection(&self) {
        self.counters.rejections.fetch_add(1, Ordering::Relaxed);
        self.meters.rejection();
    }

    /// User code has panicked.
    pub(crate) fn count_panic(&self) {
        self.counters.panics.fetch_add(1, Ordering::Relaxed);
        self.meters.panic();
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
