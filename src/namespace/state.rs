use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::task::AbortHandle;

use crate::{
    cluster::{ClusterAdapter, ClusterMessage},
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
    /// Of a dynamic namespace; `None` for one that always exists.
    pub(super) users: Option<Users>,
    /// What it remembers for clients that come back.
    memory: Option<Memory>,
    /// The task that makes it forget in time. It ends with the namespace.
    cleaning: Mutex<Option<AbortHandle>>,
    common: Common,
}

/// The sockets of a dynamic namespace.
#[derive(Debug)]
pub(super) struct Users {
    /// Those in admission and those admitted. Incremented only under the lock of the table.
    pub(super) count: AtomicUsize,
    /// The place among the namespaces that are kept although they are empty, or [`NO_PLACE`]. Changed only under the lock
    /// of the table.
    empty_place: AtomicU32,
}

const NO_PLACE: u32 = u32::MAX;

impl Default for Users {
    fn default() -> Self {
        Self { count: AtomicUsize::new(0), empty_place: AtomicU32::new(NO_PLACE) }
    }
}

impl Users {
    pub(super) fn empty_place(&self) -> Option<u32> {
        Some(self.empty_place.load(Ordering::Relaxed)).filter(|place| *place != NO_PLACE)
    }

    pub(super) fn set_empty_place(&self, place: u32) {
        self.empty_place.store(place, Ordering::Relaxed);
    }

    pub(super) fn take_empty_place(&self) -> Option<u32> {
        let place = self.empty_place();
        self.set_empty_place(NO_PLACE);
        place
    }
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
            users: dynamic.then(Users::default),
            memory: common.recovery.clone().map(Memory::new),
            cleaning: Mutex::default(),
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

    /// Counts a panic of the user's code.
    pub(crate) fn count_panic(&self) {
        if let Some(server) = self.common.server.upgrade() {
            server.count_panic();
        }
    }

    /// Tells the other nodes of a cluster.
    pub(crate) fn publish(&self, adapter: &dyn ClusterAdapter, message: ClusterMessage) {
        if let Some(server) = self.common.server.upgrade() {
            server.contain(|| adapter.publish(message));
        }
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
        // The task does not keep the namespace, which may make room for another one before all is forgotten.
        let (namespace, max_age) = (Arc::downgrade(self), self.memory().map(Memory::max_age).unwrap_or_default());
        // Made before the first poll: a task may be dropped without one.
        let mut guard = CleaningGuard(Some(namespace));
        let cleaning = runtime.spawn(async move {
            loop {
                tokio::time::sleep(max_age + Duration::from_millis(1)).await;
                let Some(namespace) = guard.namespace() else { break };
                let more = namespace.memory().is_some_and(Memory::clean);
                if namespace.is_empty()
                    && let Some(server) = namespace.common.server.upgrade()
                {
                    server.namespaces.remove_if_unused(&namespace);
                }
                if !more {
                    // Another task may have begun.
                    guard.disarm();
                    break;
                }
            }
        });
        *self.cleaning.lock() = Some(cleaning.abort_handle());
    }

    /// Whether it is dynamic and has no sockets.
    pub(super) fn is_empty(&self) -> bool {
        self.users.as_ref().is_some_and(|users| users.count.load(Ordering::Relaxed) == 0)
    }

    /// Whether a socket that was lost may come back.
    pub(super) fn is_awaited(&self) -> bool {
        self.memory().is_some_and(Memory::is_awaited)
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

/// The task that makes a namespace forget. If it is dropped, by a runtime that ends, another one is to begin.
struct CleaningGuard(Option<Weak<NamespaceState>>);

impl CleaningGuard {
    fn namespace(&self) -> Option<Arc<NamespaceState>> {
        self.0.as_ref().and_then(Weak::upgrade)
    }

    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for CleaningGuard {
    fn drop(&mut self) {
        let namespace = self.namespace();
        if let Some(memory) = namespace.as_deref().and_then(NamespaceState::memory) {
            memory.stop_cleaning();
        }
    }
}

impl Drop for NamespaceState {
    fn drop(&mut self) {
        if let Some(cleaning) = self.cleaning.get_mut() {
            cleaning.abort();
        }
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
