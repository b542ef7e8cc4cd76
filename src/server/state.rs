//! The central types, which refer to one another. Their methods are in other files of this module.

use std::{
    any::Any,
    borrow::Cow,
    collections::{HashMap, VecDeque},
    fmt,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    task::Context,
};

use bytes::Bytes;
use foldhash::fast::RandomState;
use futures_util::task::AtomicWaker;
use http::Extensions;
use tokio::{runtime::Handle, sync::watch, task::AbortHandle};

use crate::{
    client_bundle::ClientBundle,
    cluster::{ClusterCommand, ClusterError, EventBody, Offset, Payload},
    engine::{Connection, Direct, Engine, Packet},
    observe::{NamespaceMeters, Scope, ServerMeters},
    packet::{Encoded, EventPayload, Form},
    recovery::History,
    room::{MemberId, Registry, RoomChange, SocketId},
    util::{BoxFuture, Mutex, Order, RwLock},
};

use super::{
    acks::Acks,
    buffer::Buffer,
    claimed::Delivered,
    connect_error::Refusal,
    event_cost::{EventBudget, Share},
    layer_data::LayerData,
    namespace_table::NamespaceTable,
    reason::DisconnectReason,
    recovery_session::RecoverySession,
    requests::Requests,
    settings::Settings,
};

/// A server: an engine, the hooks, and the namespaces. Each `SocketIoLayer::new` creates one.
pub(crate) struct Server {
    pub(crate) engine: Arc<Engine>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) hooks: Hooks,
    pub(crate) namespaces: Namespaces,
    pub(crate) client_bundle: ClientBundle,
    /// Handlers of server-side events of the default namespace, by name.
    pub(crate) server_side: HashMap<String, ServerSideHandler>,
    /// Pending requests to other servers.
    pub(crate) requests: Requests,
    pub(crate) counters: Counters,
    /// The number of sessions that are being stored in the journal.
    pub(crate) saving: watch::Sender<usize>,
    pub(crate) meters: ServerMeters,
    /// The budget for large events whose handlers run.
    pub(crate) event_budget: EventBudget,
}

/// Totals.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) rejections: AtomicU64,
    pub(crate) slow_clients: AtomicU64,
}

/// Callbacks of the user.
#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) on_namespace: Option<Box<dyn Fn(&Arc<NamespaceState>) + Send + Sync>>,
    /// Called with the name of the event and the message of the extractor.
    pub(crate) on_rejection: Option<Box<dyn Fn(&Arc<Socket>, &str, &str) + Send + Sync>>,
    /// Called in the same way. Returns the message and the data of the error for the client.
    pub(crate) argument_error: Option<Box<ArgumentError>>,
    pub(crate) on_slow_client: Option<Arc<dyn Fn(&Arc<Socket>) + Send + Sync>>,
    pub(crate) on_cluster_error: Option<Box<dyn Fn(&ClusterError) + Send + Sync>>,
    /// Empty unless [`Settings::is_observed`].
    pub(crate) observers: Vec<Observe>,
    /// Called with the commands of other nodes, before they are executed.
    pub(crate) on_command: Vec<OnCommand>,
    /// Called with the data of sockets that another node fetches. Returns the data for that node.
    pub(crate) fetched_data: Vec<FetchedData>,
}

pub(crate) type OnCommand = Box<dyn Fn(&Arc<Server>, &Arc<NamespaceState>, &ClusterCommand) + Send + Sync>;
pub(crate) type FetchedData = Box<dyn Fn(&Arc<Socket>, Payload) -> Payload + Send + Sync>;

/// An observer of the user.
pub(crate) type Observe = Box<dyn Fn(&Change<'_>) + Send + Sync>;

/// What an observer is told.
pub(crate) enum Change<'a> {
    ConnectionOpened(&'a Arc<Client>),
    ConnectionUpgraded(&'a Arc<Client>),
    ConnectionClosed(&'a Arc<Client>, DisconnectReason),
    PacketReceived(&'a Arc<Client>, &'a Packet),
    PacketSent(&'a Arc<Client>, &'a Packet),
    SocketConnected(&'a Arc<Socket>),
    DataChanged(&'a Arc<Socket>),
    SocketDisconnected(&'a Arc<Socket>, DisconnectReason),
    Room(&'a RoomChange<Arc<Socket>>),
    EventReceived(&'a Arc<Socket>, &'a Event),
    EventSent(&'a Arc<Socket>, &'a Encoded),
}

type ArgumentError = dyn Fn(&Arc<Socket>, &str, &str) -> (Cow<'static, str>, Option<serde_json::Value>) + Send + Sync;

/// Handles an event of another server.
pub(crate) type ServerSideHandler =
    Arc<dyn Fn(&Arc<Server>, &Arc<NamespaceState>, EventBody) -> BoxFuture<serde_json::Result<Payload>> + Send + Sync>;

/// What a namespace does with its clients: layers, handlers and hooks. Implemented by `namespace::Handlers`.
pub(crate) trait Application: Send + Sync + 'static {
    /// Decides about a CONNECT. Returns `None` if there are neither layers nor `on_connect`: the socket has then
    /// [entered](Socket::enter_namespace) the namespace.
    fn connect(&self, socket: &Arc<Socket>, auth: Bytes) -> Option<BoxFuture<Result<(), Refusal>>>;

    /// Starts an event and polls its handler once. Returns a future if a layer is not ready. The event has started when that
    /// future completes.
    fn event(
        &self,
        socket: &Arc<Socket>,
        event: Event,
        direct: &mut Direct<'_>,
        cx: &mut Context<'_>,
    ) -> Option<BoxFuture<()>>;

    /// Called for outgoing events of sockets that have [`application_data`](Socket::application_data).
    fn outgoing(&self, socket: &Socket, packet: &Encoded);

    /// Called before the socket leaves.
    fn disconnecting(&self, socket: &Arc<Socket>, reason: DisconnectReason);

    /// Called after the socket has left. Must call [`Socket::forget_auth`] when the handler has ended.
    fn disconnected(&self, socket: &Arc<Socket>, reason: DisconnectReason);

    /// Drops the data of the socket.
    fn forget(&self, socket: &Socket);
}

/// An event from a client.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) payload: EventPayload,
    /// The bytes of the arguments and attachments.
    pub(crate) size: usize,
    /// The id of the ack that the client requested.
    pub(crate) ack: Option<u64>,
    /// The share of the server's budget, for a large event.
    pub(crate) share: Option<Box<Share>>,
}

/// A client and its sockets.
///
/// Lock order: `sockets`, a socket's `buffer`, a namespace's registry, the state of the connection. No lock is held while user
/// code runs or a waker is called.
pub(crate) struct Client {
    pub(crate) connection: Arc<Connection>,
    pub(crate) server: Arc<Server>,
    pub(super) sockets: Mutex<SocketTable>,
    /// Wakes the reader, which may wait for an event handler to end.
    pub(super) reader: AtomicWaker,
    /// The memory cost of running handlers, including those of disconnections.
    pub(super) event_bytes: AtomicUsize,
    pub(super) leaving: AtomicU8,
    /// How its packets are encoded.
    pub(crate) form: Form,
    /// Whether the client is being disconnected because it is too slow.
    pub(super) is_slow: AtomicBool,
}

/// The sockets of one connection, one for each namespace that it has joined or is joining.
///
/// A list, because there are few.
#[derive(Debug, Default)]
pub(super) struct SocketTable {
    pub(super) slots: Vec<Slot>,
    pub(super) rare: Option<Box<Rare>>,
    /// Whether the connection has ended, so that no socket can be added.
    pub(super) closed: bool,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) socket: Arc<Socket>,
    /// The length of the auth payload that the socket stores.
    pub(super) auth_bytes: usize,
    /// The task of the admission, which is aborted with the connection.
    pub(super) admission: Option<AbortHandle>,
}

/// Fields that most connections do not need.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// Namespaces whose predicates are pending.
    pub(super) reserved: Vec<Reserved>,
    /// Namespaces from which the server has disconnected this client. Packets for them may still arrive.
    pub(super) left: VecDeque<Arc<str>>,
}

/// A namespace whose predicate is pending.
#[derive(Debug)]
pub(super) struct Reserved {
    pub(super) name: Box<str>,
    pub(super) auth_bytes: usize,
    /// Whether the namespace is created from a pattern or a predicate.
    pub(super) is_dynamic: bool,
    /// The task that waits for the predicate. It is aborted with the connection.
    pub(super) task: Option<AbortHandle>,
}

/// The namespaces of a server: those that always exist, and dynamic ones, which are created from patterns and predicates.
pub(crate) struct Namespaces {
    pub(super) table: NamespaceTable<Definition>,
    pub(super) existing: RwLock<Existing>,
    /// The default namespace, which cannot be removed.
    pub(crate) root: Arc<NamespaceState>,
    pub(super) settings: Arc<Settings>,
    pub(super) server: Weak<Server>,
}

pub(super) struct Existing {
    /// With std's hasher, which resists chosen keys, because names come from clients.
    pub(super) by_name: HashMap<Arc<str>, Arc<NamespaceState>>,
    /// The number of dynamic namespaces.
    pub(super) dynamic: usize,
    /// Dynamic namespaces that are kept without sockets. The one that has been empty for the longest time is first, and is
    /// dropped first to make room.
    pub(super) empty: Order<Arc<str>>,
}

/// The behaviour of a namespace. Namespaces created from the same pattern share one.
pub(crate) struct Definition {
    pub(crate) application: Box<dyn Application>,
    /// The name in the configuration.
    pub(crate) label: Box<str>,
    pub(crate) meters: NamespaceMeters,
    /// Handlers of server-side events, by name.
    pub(crate) server_side: HashMap<String, ServerSideHandler>,
}

/// A namespace: its definition, its sockets and their rooms.
pub(crate) struct NamespaceState {
    pub(super) name: Arc<str>,
    pub(crate) definition: Arc<Definition>,
    pub(super) registry: Mutex<Registry<Arc<Socket>>>,
    /// Shared by all sockets, so that a broadcast with acks is encoded once.
    pub(super) ack_ids: AtomicU64,
    /// `None` if the namespace always exists.
    pub(super) users: Option<Users>,
    /// Whether the namespace has been removed from the server, so that no socket can enter it. Changed under the lock of the
    /// registry.
    pub(super) removed: AtomicBool,
    /// Recorded events and sessions, if recovery is enabled and the cluster has no journal.
    pub(crate) memory: Option<Memory>,
    /// Set if recovery is enabled and the cluster has a journal.
    pub(super) journal: Option<Box<Mutex<JournalState>>>,
    pub(crate) settings: Arc<Settings>,
    pub(super) server: Weak<Server>,
}

/// The users of a dynamic namespace.
#[derive(Debug)]
pub(super) struct Users {
    /// The number of sockets, including those in admission. Incremented only while the table is locked.
    pub(super) count: AtomicUsize,
    /// The index in `Existing::empty`, or `NO_PLACE`. Changed only while the table is locked.
    pub(super) empty_place: AtomicU32,
}

/// The recovery state of a namespace. Its lock is held while the namespace emits.
///
/// Everything that decides who gets an event happens under this lock: sockets join and leave the namespace and its rooms, and
/// events are stamped, queued for their recipients and recorded. Each client therefore gets the events of a namespace in the
/// order of their offsets, and the last offset that it saw tells which ones it missed. Parsers are the only user code that runs
/// under the lock. No waker is called under it.
pub(crate) struct Memory {
    pub(super) state: Mutex<Remembered>,
    /// Whether a task that evicts old entries is running.
    pub(super) is_cleaned: AtomicBool,
    /// That task. It is aborted when the namespace is dropped.
    pub(super) cleaning: Mutex<Option<AbortHandle>>,
}

/// The state of a namespace whose events are in the journal of the cluster.
///
/// Its lock is held while an event from the journal is queued for its recipients, and while a socket joins the namespace. So each
/// client gets the events of a namespace in the order of their offsets, and none twice.
#[derive(Default)]
pub(super) struct JournalState {
    /// The last event that was delivered.
    pub(super) last: Offset,
    /// For each socket that is being recovered, the events that are delivered meanwhile.
    pub(super) watching: Vec<Weak<Mutex<Delivered>>>,
    /// The sockets by the private ids of their sessions.
    pub(super) live: HashMap<Arc<str>, Weak<Socket>, RandomState>,
}

/// The locked part of a [`Memory`].
pub(crate) struct Remembered {
    pub(super) history: History,
    /// The connected sockets and those that are being recovered, by the private ids of their sessions. `None` for a session that
    /// has just been claimed.
    pub(super) live: HashMap<Arc<str>, Option<Arc<Socket>>, RandomState>,
}

/// A socket: a client in a namespace.
///
/// ```text
///   Admitting ──on_connect reached──▶ Accepting ──response 2xx──▶ Connected
///       │                                │                            │
///       └───────────────┬────────────────┴────────────────────────────┘
///                       ▼
///                 Closed or Lost
/// ```
///
/// An accepting socket is a member of the namespace, so that it gets what `on_connect` broadcasts. Its packets are buffered
/// until it is accepted, so that CONNECT comes first.
pub(crate) struct Socket {
    pub(crate) id: SocketId,
    pub(crate) namespace: Arc<NamespaceState>,
    pub(crate) client: Arc<Client>,
    pub(crate) acks: Acks,
    /// `None` while they are equal to those of the request that opened the connection.
    pub(super) extensions: Mutex<Option<Extensions>>,
    pub(super) layer_data: LayerData,
    /// The auth payload of CONNECT as JSON, or nothing for an empty object. `None` if the socket has left.
    pub(super) auth: Mutex<Option<Box<[u8]>>>,
    /// Recovery state; `None` if recovery is off or the client speaks revision 3.
    pub(crate) session: Option<Box<RecoverySession>>,
    /// The data that handlers have stored, as JSON.
    pub(super) data: Mutex<Option<Box<Bytes>>>,
    /// Data of the [`Application`]: the listeners of this socket. Most sockets have none.
    pub(crate) application_data: OnceLock<Box<dyn Any + Send + Sync>>,
    /// Whether outgoing events are shown to listeners or observers.
    pub(super) is_watched: AtomicBool,
    /// Whether DISCONNECT has to be sent to the client.
    pub(super) disconnect_due: AtomicBool,
    /// Whether `on_connect` itself has rejected the client.
    pub(super) declined: AtomicBool,
    pub(super) phase: AtomicU8,
    /// `None` once the socket has been accepted.
    pub(super) buffer: Mutex<Option<Box<Buffer>>>,
    /// The id in the namespace's registry. Changed only while the registry is locked.
    pub(super) member: Mutex<Option<MemberId>>,
    /// The number of running event handlers.
    pub(super) running: AtomicUsize,
}

impl Server {
    /// Returns the runtime of the caller, or else that of the most recently opened connection.
    pub(crate) fn try_runtime(&self) -> Option<Handle> {
        self.engine.try_runtime()
    }

    /// Runs user code: a hook or a drop. Returns `None` if it panicked.
    pub(crate) fn catch_panic<R>(&self, run: impl FnOnce() -> R) -> Option<R> {
        self.engine.catch_panic(run)
    }

    /// Counts a panic of user code.
    pub(crate) fn count_panic(&self) {
        self.engine.count_panic();
    }

    /// Returns the maximum total size of a packet's attachments, in bytes.
    pub(super) fn max_attachment_bytes(&self) -> usize {
        self.settings.max_attachment_bytes.unwrap_or(self.engine.config.max_payload.saturating_mul(10))
    }

    /// Counts an event that an extractor rejected.
    pub(crate) fn count_rejection(&self) {
        self.counters.rejections.fetch_add(1, Ordering::Relaxed);
        self.meters.rejection();
    }

    /// Counts a packet that did not fit into the send buffer of its client.
    pub(super) fn count_slow_client(&self) {
        self.counters.slow_clients.fetch_add(1, Ordering::Relaxed);
        self.meters.slow_client();
    }
}

impl NamespaceState {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        self.name.clone()
    }

    #[inline]
    pub(crate) fn application(&self) -> &dyn Application {
        &*self.definition.application
    }

    pub(crate) fn meters(&self) -> &NamespaceMeters {
        &self.definition.meters
    }

    pub(crate) fn is_dynamic(&self) -> bool {
        self.users.is_some()
    }
}

impl Socket {
    /// Returns the labels for spans and metrics.
    #[inline]
    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope {
            connection: &self.client.connection.span,
            namespace: self.namespace.name(),
            socket: &self.id,
            is_dynamic: self.namespace.is_dynamic(),
            label: &self.namespace.definition.label,
            meters: self.namespace.meters(),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl fmt::Debug for NamespaceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamespaceState").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.id)
            .field("namespace", &self.namespace.name())
            .finish_non_exhaustive()
    }
}
