//! The four nouns, which refer to one another: what each of them holds. What is done with them stands in the files beside this one.

use std::{
    any::Any,
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
use parking_lot::{Mutex, RwLock};
use tokio::{runtime::Handle, task::AbortHandle};

use crate::{
    client_bundle::ClientBundle,
    cluster::EventBody,
    engine::{Connection, Direct, Engine},
    observe::{NamespaceMeters, Scope, ServerMeters},
    packet::{Encoded, EncodedArgs, EventPayload},
    recovery::{History, RecoverySession},
    room::{MemberId, Registry, SocketId},
    util::{BoxFuture, Order},
};

use super::{
    acks::Acks,
    buffer::Buffer,
    connect_error::Refusal,
    event_cost::{EventBudget, Share},
    layer_data::LayerData,
    namespace_table::NamespaceTable,
    reason::DisconnectReason,
    requests::Requests,
    settings::Settings,
};

/// A server: an engine, what it does with the engine's sessions, and its namespaces. One for each `SocketIoLayer::new`.
pub(crate) struct Server {
    pub(crate) engine: Arc<Engine>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) hooks: Hooks,
    pub(crate) namespaces: Namespaces,
    pub(crate) client_bundle: ClientBundle,
    /// What answers events of other servers, by their names.
    pub(crate) server_side: HashMap<String, ServerSideHandler>,
    /// What other servers are asked for.
    pub(crate) requests: Requests,
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

/// Callbacks of the user.
#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) on_namespace: Option<Box<dyn Fn(&Arc<NamespaceState>) + Send + Sync>>,
    /// Gets the name of the event, and what the extractor says.
    pub(crate) on_rejection: Option<Box<dyn Fn(&Arc<Socket>, &str, &str) + Send + Sync>>,
    pub(crate) on_slow_client: Option<Arc<dyn Fn(&Arc<Socket>) + Send + Sync>>,
}

/// Answers an event of another server.
pub(crate) type ServerSideHandler =
    Box<dyn Fn(&Arc<Server>, EventBody) -> BoxFuture<serde_json::Result<EncodedArgs>> + Send + Sync>;

/// What a namespace does with its clients: layers, handlers and hooks. `namespace::Handlers` implements it.
pub(crate) trait Application: Send + Sync + 'static {
    /// Decides about a CONNECT. `None`: there is neither a layer nor `on_connect`, and the socket has been [held](Socket::hold).
    fn connect(&self, socket: &Arc<Socket>, auth: Bytes) -> Option<BoxFuture<Result<(), Refusal>>>;

    /// Starts an event: polls its handler once, here. `Some`: a layer is not ready, and the event has started when the future is.
    fn event(
        &self,
        socket: &Arc<Socket>,
        event: Event,
        direct: &mut Direct<'_>,
        cx: &mut Context<'_>,
    ) -> Option<BoxFuture<()>>;

    /// An event is on its way to the client. Called only where the socket has [`application_data`](Socket::application_data).
    fn outgoing(&self, socket: &Socket, packet: &Encoded);

    /// The socket is about to leave.
    fn disconnecting(&self, socket: &Arc<Socket>, reason: DisconnectReason);

    /// The socket has left. [`Socket::forget_auth`] is called when its handler has ended.
    fn disconnected(&self, socket: &Arc<Socket>, reason: DisconnectReason);

    /// Drops what is kept of the socket.
    fn forget(&self, socket: &Socket);
}

/// An event of a client that may start.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) payload: EventPayload,
    /// The bytes of the arguments and attachments.
    pub(crate) size: usize,
    /// The id of the ack that the client waits for.
    pub(crate) ack: Option<u64>,
    /// What a large event has of the server's budget.
    pub(crate) share: Option<Box<Share>>,
}

/// A client, with its sockets.
///
/// Locks, in the order in which they may be taken: `sockets`, a socket's `buffer`, a namespace's registry, the state of the
/// connection. No lock is held while user code runs or a waker is woken.
pub(crate) struct Client {
    pub(crate) connection: Arc<Connection>,
    pub(crate) server: Arc<Server>,
    pub(super) sockets: Mutex<SocketTable>,
    /// Wakes the reader, which may wait for an event handler to end.
    pub(super) reader: AtomicWaker,
    /// What the events cost whose handlers are under way, those of disconnections included.
    pub(super) event_bytes: AtomicUsize,
    pub(super) leaving: AtomicU8,
    /// It is being disconnected because it is too slow.
    pub(super) is_slow: AtomicBool,
}

/// The sockets of one connection, one for each namespace that it has joined or is joining.
///
/// There are few: a list beats a map.
#[derive(Debug, Default)]
pub(super) struct SocketTable {
    pub(super) slots: Vec<Slot>,
    pub(super) rare: Option<Box<Rare>>,
    /// The connection has ended: nothing joins any more.
    pub(super) closed: bool,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) socket: Arc<Socket>,
    /// The length of the auth payload that the socket keeps.
    pub(super) auth_bytes: usize,
    /// The task of the admission, while it is under way. It ends with the connection.
    pub(super) admission: Option<AbortHandle>,
}

/// What most connections never have.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// Namespaces of which it is not known yet whether they exist.
    pub(super) reserved: Vec<Reserved>,
    /// Namespaces that the server has closed to this client: packets for them may still be on their way.
    pub(super) left: VecDeque<Arc<str>>,
}

/// A namespace of which it is not known yet whether it exists.
#[derive(Debug)]
pub(super) struct Reserved {
    pub(super) name: Box<str>,
    pub(super) auth_bytes: usize,
    /// The task that finds out. It ends with the connection.
    pub(super) task: Option<AbortHandle>,
}

/// The namespaces of a server: those that always exist, and those that patterns and predicates have made.
pub(crate) struct Namespaces {
    pub(super) table: NamespaceTable<Definition>,
    pub(super) existing: RwLock<Existing>,
    pub(super) settings: Arc<Settings>,
    pub(super) server: Weak<Server>,
}

pub(super) struct Existing {
    /// Names come from clients: std's hasher resists chosen keys.
    pub(super) by_name: HashMap<Arc<str>, Arc<NamespaceState>>,
    /// How many of them are dynamic.
    pub(super) dynamic: usize,
    /// The dynamic ones that are kept although they have no sockets, the one that has had none for the longest time
    /// first. They make room for new ones.
    pub(super) empty: Order<Arc<str>>,
}

/// What a namespace does: one for all namespaces that a pattern makes.
pub(crate) struct Definition {
    pub(crate) application: Box<dyn Application>,
    /// The name with which it was configured.
    pub(crate) label: Box<str>,
    pub(crate) meters: NamespaceMeters,
}

/// A namespace at work: its definition, its sockets and their rooms.
pub(crate) struct NamespaceState {
    pub(super) name: Arc<str>,
    pub(crate) definition: Arc<Definition>,
    pub(super) registry: Mutex<Registry<Arc<Socket>>>,
    /// Shared by all sockets, so that a broadcast that asks for acks is encoded once.
    pub(super) ack_ids: AtomicU64,
    /// Of a dynamic namespace; `None` for one that always exists.
    pub(super) users: Option<Users>,
    /// It has been removed from the server, and no socket enters it any more. Changed under the lock of the registry.
    pub(super) removed: AtomicBool,
    /// What it remembers for clients that come back.
    pub(crate) memory: Option<Memory>,
    pub(crate) settings: Arc<Settings>,
    pub(super) server: Weak<Server>,
}

/// The sockets of a dynamic namespace.
#[derive(Debug)]
pub(super) struct Users {
    /// Those in admission and those admitted. Incremented only under the lock of the table.
    pub(super) count: AtomicUsize,
    /// The place among the namespaces that are kept although they are empty, or `NO_PLACE`. Changed only under the lock of the
    /// table.
    pub(super) empty_place: AtomicU32,
}

/// What one namespace remembers, and the lock under which it emits.
///
/// Everything that decides who gets an event happens under it: sockets join and leave the namespace and its rooms, and events
/// are stamped, queued for their recipients and recorded. So each client gets the events of a namespace in the order of their
/// offsets, and the last offset that it saw says all. Of the user's code, only a parser runs under the lock; nobody is woken.
pub(crate) struct Memory {
    pub(super) state: Mutex<Remembered>,
    /// A task forgets what has become old.
    pub(super) is_cleaned: AtomicBool,
    /// That task. It ends with the namespace.
    pub(super) cleaning: Mutex<Option<AbortHandle>>,
}

/// The locked part of a [`Memory`].
pub(crate) struct Remembered {
    pub(super) history: History,
    /// The sockets that are there, by the private ids of their sessions; among them those that are about to come back. There is
    /// none for a session that has just been claimed.
    pub(super) live: HashMap<Arc<str>, Option<Arc<Socket>>, RandomState>,
}

/// A client in a namespace.
///
/// ```text
///   Admitting ──on_connect reached──▶ Held ──answered 2xx──▶ Connected
///       │                              │                         │
///       └──────────────┬───────────────┴─────────────────────────┘
///                      ▼
///                    Closed
/// ```
///
/// While a socket is held it is a member of the namespace already, so that what `on_connect` broadcasts reaches it too;
/// but nothing is sent to it before it has been accepted, and then CONNECT comes first.
pub(crate) struct Socket {
    pub(crate) id: SocketId,
    pub(crate) namespace: Arc<NamespaceState>,
    pub(crate) client: Arc<Client>,
    pub(crate) acks: Acks,
    /// There are none as long as they are those of the request that opened the connection.
    pub(super) extensions: Mutex<Option<Extensions>>,
    pub(super) layer_data: LayerData,
    /// The JSON object that came with CONNECT, or nothing for an empty one. `None` once the socket has left.
    pub(super) auth: Mutex<Option<Box<[u8]>>>,
    /// Recovery state; `None` if recovery is off or the client speaks revision 3.
    pub(crate) session: Option<Box<RecoverySession>>,
    /// JSON: what handlers keep about the socket.
    pub(super) data: Mutex<Option<Bytes>>,
    /// What the [`Application`] keeps of the socket: its own listeners. Most sockets have none.
    pub(crate) application_data: OnceLock<Box<dyn Any + Send + Sync>>,
    /// The client is to be sent a DISCONNECT packet.
    pub(super) disconnect_due: AtomicBool,
    /// `on_connect` itself has refused the client.
    pub(super) declined: AtomicBool,
    pub(super) phase: AtomicU8,
    /// There is none once the socket has been accepted.
    pub(super) buffer: Mutex<Option<Box<Buffer>>>,
    /// Its place in the namespace's registry; changed only under the registry's lock.
    pub(super) member: Mutex<Option<MemberId>>,
    /// Event handlers under way.
    pub(super) running: AtomicUsize,
}

impl Server {
    /// Returns the caller's runtime, or else the one on which a connection was opened last.
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

    /// How many bytes the attachments of one packet may take together.
    pub(super) fn max_attachment_bytes(&self) -> usize {
        self.settings.max_attachment_bytes.unwrap_or(self.engine.config.max_payload.saturating_mul(10))
    }

    /// An extractor has rejected an event.
    pub(crate) fn count_rejection(&self) {
        self.counters.rejections.fetch_add(1, Ordering::Relaxed);
        self.meters.rejection();
    }

    /// A packet has found no room for its client.
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
    /// What spans and metrics say about the socket.
    #[inline]
    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope {
            connection: &self.client.connection.span,
            namespace: self.namespace.name(),
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
