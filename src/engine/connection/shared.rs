//! The engine and its connections, which refer to one another: what each of them holds.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize},
    },
};

use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::Notify};
use tower_http::cors::CorsLayer;

use crate::{
    engine::{
        EngineIoConfig, Peer, Reader, Transport, WireFormat,
        observe::{ConnectionSpan, EngineMeters},
    },
    util::Counts,
};

use super::{
    budget::Budget, idle::IdleSessions, reader_slot::ReaderSlot, request::ConnectionRequest, sessions::Sessions,
    state::ConnectionState, turnstile::Turnstile,
};

/// An Engine.IO server: its sessions, and what they share.
pub(crate) struct Engine {
    pub(crate) config: EngineIoConfig,
    pub(in crate::engine) handler: Box<dyn Connect>,
    pub(crate) sessions: Sessions<Connection>,
    pub(crate) meters: EngineMeters,
    /// The CORS headers, if the configuration names origins.
    pub(crate) cors: Option<CorsLayer>,
    /// Sessions that have joined no namespace yet.
    pub(crate) idle_sessions: IdleSessions<Connection>,
    /// How many sessions each address has, if addresses have a share.
    pub(in crate::engine) sessions_of_address: Counts<IpAddr>,
    /// No new session is opened any more.
    pub(crate) draining: AtomicBool,
    /// Notified when a connection has ended.
    pub(crate) ended: Notify,
    /// Parts of messages that have not arrived whole.
    pub(crate) input_budget: Budget,
    /// What waits for clients.
    pub(crate) output_budget: Budget,
    /// How much must wait for clients before it is looked at again.
    pub(crate) next_output_check: AtomicUsize,
    /// How many looks at what waits for clients are under way or about to begin.
    pub(in crate::engine) shedding: AtomicUsize,
    /// Where connections wait that have much to read.
    pub(in crate::engine) turnstile: Turnstile,
    /// User code so far that panicked.
    pub(in crate::engine) panics: AtomicU64,
    pub(in crate::engine) runtime: Mutex<Option<Handle>>,
}

/// A protocol above Engine.IO. One handler serves all sessions of an [`Engine`](super::Engine).
pub(crate) trait Connect: Send + Sync + 'static {
    /// Takes a new session. Nothing can be sent yet. `None` refuses it: the server has gone.
    fn connect(&self, connection: &Arc<Connection>) -> Option<(Arc<dyn Peer>, Box<dyn Reader>)>;
}

/// A client's connection, whatever transport carries it.
///
/// No lock is held while user code runs or a waker is woken.
pub(crate) struct Connection {
    pub(crate) engine: Arc<Engine>,
    /// The runtime that drives it: handlers run there, wherever they are started.
    pub(crate) runtime: Handle,
    pub(crate) id: Arc<str>,
    pub(crate) wire_format: WireFormat,
    /// What carried the connection when it began.
    pub(crate) first_transport: Transport,
    /// Ends with the session.
    pub(crate) span: ConnectionSpan,
    pub(crate) request: ConnectionRequest,
    pub(super) state: Mutex<ConnectionState>,
    pub(super) reader: Mutex<ReaderSlot>,
    /// The reader cannot take a message: the client's silence means nothing.
    pub(super) stalled: AtomicBool,
    /// The connection holds something that is watched.
    pub(super) under_pressure: AtomicBool,
    /// A WebSocket carries the connection.
    pub(super) is_websocket: AtomicBool,
    pub(super) ended: AtomicBool,
}
