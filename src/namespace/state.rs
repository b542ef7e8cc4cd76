use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use crate::{
    cluster::ClusterAdapter,
    handler::EventRoute,
    observe::{NamespaceLabel, NamespaceMeters, RoomCount},
    parser::Parser,
    recovery::{Memory, Recovery},
    room::Registry,
    server::Server,
    socket::Socket,
};

use super::ConnectRoute;

/// What a namespace does: one for all namespaces that a pattern makes.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(super) connect: ConnectRoute,
    /// Without its layers.
    pub(super) on_connect: ConnectRoute,
    pub(super) events: EventRoute,
    pub(super) disconnecting: Option<EventRoute>,
    pub(super) disconnect: Option<EventRoute>,
    #[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "it is empty then"))]
    pub(super) label: NamespaceLabel,
    pub(super) meters: NamespaceMeters,
}

/// A namespace at work: its definition, its sockets and their rooms.
pub(crate) struct NamespaceState {
    name: Arc<str>,
    pub(super) definition: Arc<Definition>,
    registry: Mutex<Registry<Arc<Socket>>>,
    /// Shared by all sockets, so that a broadcast that asks for acks is encoded once.
    ack_ids: AtomicU64,
    /// Sockets of a dynamic namespace, in admission or admitted; `None` for one that always exists. Changed only under
    /// the lock of the table.
    pub(super) users: Option<AtomicUsize>,
    /// What it remembers for clients that come back.
    memory: Option<Memory>,
    common: Common,
}

/// What all namespaces of a server have in common.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) ack_timeout: Duration,
    pub(crate) adapter: Option<Arc<dyn ClusterAdapter>>,
    pub(crate) recovery: Option<Recovery>,
    pub(crate) parser: Option<Arc<dyn Parser>>,
    pub(crate) server: Weak<Server>,
}

impl NamespaceState {
    pub(super) fn new(name: Arc<str>, definition: Arc<Definition>, common: Common, dynamic: bool) -> Arc<Self> {
        Arc::new(Self {
            name,
            definition,
            registry: Mutex::default(),
            ack_ids: AtomicU64::new(0),
            users: dynamic.then(|| AtomicUsize::new(0)),
            memory: common.recovery.clone().map(Memory::new),
            common,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        self.name.clone()
    }

    /// The name with which it was configured.
    #[cfg(feature = "tracing")]
    pub(crate) fn label(&self) -> &NamespaceLabel {
        &self.definition.label
    }

    pub(crate) fn meters(&self) -> &NamespaceMeters {
        &self.definition.meters
    }

    /// What carries broadcasts to other nodes.
    pub(crate) fn adapter(&self) -> Option<&dyn ClusterAdapter> {
        self.common.adapter.as_deref()
    }

    /// What writes packets instead of JSON.
    pub(crate) fn parser(&self) -> Option<&dyn Parser> {
        self.common.parser.as_deref()
    }

    pub(crate) fn is_dynamic(&self) -> bool {
        self.users.is_some()
    }

    pub(crate) fn ack_timeout(&self) -> Duration {
        self.common.ack_timeout
    }

    pub(crate) fn next_ack_id(&self) -> u64 {
        self.ack_ids.fetch_add(1, Ordering::Relaxed)
    }

    /// What decides about a CONNECT; without the layers if they are to be skipped.
    pub(super) fn connect_route(&self, skip_layers: bool) -> ConnectRoute {
        if skip_layers { self.definition.on_connect.clone() } else { self.definition.connect.clone() }
    }

    /// Whether there is neither an `on_connect` nor a layer to decide about a CONNECT.
    pub(super) fn admits_everyone(&self) -> bool {
        self.definition.connect.is_everyone()
    }

    pub(crate) fn memory(&self) -> Option<&Memory> {
        self.memory.as_ref()
    }

    /// Sees to it that what is remembered is forgotten in time.
    pub(crate) fn clean_later(self: &Arc<Self>) {
        let Some(memory) = self.memory().filter(|memory| !memory.is_cleaned()) else { return };
        let Some(server) = self.common.server.upgrade() else { return };
        let Some(runtime) = server.known_runtime() else { return };
        if !memory.begin_cleaning() {
            return;
        }
        let namespace = self.clone();
        runtime.spawn(async move {
            while let Some(memory) = namespace.memory() {
                tokio::time::sleep(memory.max_age() + Duration::from_millis(1)).await;
                let more = memory.clean();
                if let Some(server) = namespace.common.server.upgrade() {
                    server.namespaces.remove_if_unused(&namespace);
                }
                if !more {
                    break;
                }
            }
        });
    }

    /// Whether nobody is there, and nobody may come back.
    pub(super) fn is_unused(&self) -> bool {
        self.users.as_ref().is_some_and(|users| users.load(Ordering::Relaxed) == 0)
            && !self.memory().is_some_and(Memory::is_awaited)
    }

    pub(crate) fn events(&self) -> &EventRoute {
        &self.definition.events
    }

    /// Does something to the registry. `change` must not run user code, nor take another lock than a socket's own.
    pub(crate) fn with_registry<R>(&self, change: impl FnOnce(&mut Registry<Arc<Socket>>) -> R) -> R {
        let mut registry = self.registry.lock();
        let rooms = RoomCount::before(&registry);
        let result = change(&mut registry);
        let rooms = rooms.after(&registry);
        drop(registry);
        self.meters().rooms(rooms);
        result
    }
}

impl fmt::Debug for NamespaceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamespaceState").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Common {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Common").field("ack_timeout", &self.ack_timeout).finish_non_exhaustive()
    }
}
