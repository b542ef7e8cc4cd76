//! What one layer's services share.

use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use tokio::{runtime::Handle, sync::Notify};
use tower_http::cors::CorsLayer;

use crate::{
    client_bundle::ClientBundle,
    cluster::{ClusterAdapter, ClusterNode, ServerSide},
    config::{Settings, SocketIoConfig},
    connection::Sessions,
    macros::log,
    namespace::{Common, Namespaces},
    observe::ServerMeters,
    origins::Origins,
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
    pub(crate) idle_sessions: AtomicUsize,
    /// No new session is opened any more.
    pub(crate) draining: AtomicBool,
    /// A connection has ended.
    pub(crate) ended: Notify,
    runtime: OnceLock<Handle>,
}

/// Events that only ever add up.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) rejections: AtomicU64,
    pub(crate) panics: AtomicU64,
    pub(crate) slow_clients: AtomicU64,
}

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

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
            cors: settings.origins.as_ref().map(Origins::cors),
            settings,
            sessions: Sessions::default(),
            counters: Counters::default(),
            meters: ServerMeters::new(),
            idle_sessions: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            ended: Notify::new(),
            runtime: OnceLock::new(),
        });
        if let Some(adapter) = adapter {
            adapter.join(ClusterNode::new(&server));
        }
        server
    }

    /// The runtime on which the first request arrived: a socket may be closed from a thread that is in none.
    pub(crate) fn runtime(&self) -> &Handle {
        self.runtime.get_or_init(Handle::current)
    }

    /// The same, if a request has arrived.
    pub(crate) fn known_runtime(&self) -> Option<&Handle> {
        self.runtime.get()
    }

    /// Runs user code: polled once here and now, and spawned only if that did not complete it.
    pub(crate) fn start(&self, cx: &mut Context<'_>, mut task: BoxFuture<()>) -> Started {
        let _runtime = self.runtime().enter();
        match task.as_mut().poll(cx) {
            Poll::Ready(()) => Started::Done,
            Poll::Pending => Started::Spawned(self.runtime().spawn(task).abort_handle()),
        }
    }

    /// Runs something of the user's, a hook or a drop; its panic goes no further. Answers whether there was none.
    pub(crate) fn contain(&self, run: impl FnOnce()) -> bool {
        let contained = catch_unwind(AssertUnwindSafe(run));
        if contained.is_err() {
            self.count_panic();
            log!(error, "user code panicked");
        }
        contained.is_ok()
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

/// What has become of a task that was started.
#[derive(Debug)]
pub(crate) enum Started {
    Done,
    Spawned(tokio::task::AbortHandle),
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("settings", &self.settings).finish_non_exhaustive()
    }
}
