use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::{handler::EventRoute, room::Registry, socket::Socket};

use super::ConnectRoute;

/// What a namespace does: one for all namespaces that a pattern makes.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(super) connect: ConnectRoute,
    pub(super) events: EventRoute,
    pub(super) disconnecting: Option<EventRoute>,
    pub(super) disconnect: Option<EventRoute>,
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
    ack_timeout: Duration,
}

impl NamespaceState {
    pub(super) fn new(name: Arc<str>, definition: Arc<Definition>, ack_timeout: Duration, dynamic: bool) -> Arc<Self> {
        Arc::new(Self {
            name,
            definition,
            registry: Mutex::default(),
            ack_ids: AtomicU64::new(0),
            users: dynamic.then(|| AtomicUsize::new(0)),
            ack_timeout,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_dynamic(&self) -> bool {
        self.users.is_some()
    }

    pub(crate) fn ack_timeout(&self) -> Duration {
        self.ack_timeout
    }

    pub(crate) fn next_ack_id(&self) -> u64 {
        self.ack_ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn connect_route(&self) -> ConnectRoute {
        self.definition.connect.clone()
    }

    pub(crate) fn events(&self) -> &EventRoute {
        &self.definition.events
    }

    /// Does something to the registry. `change` must not run user code, nor take another lock than a socket's own.
    pub(crate) fn with_registry<R>(&self, change: impl FnOnce(&mut Registry<Arc<Socket>>) -> R) -> R {
        change(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for NamespaceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamespaceState").field("name", &self.name).finish_non_exhaustive()
    }
}
