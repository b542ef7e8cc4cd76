//! The fields of the engine and of its connections, which refer to each other.

use std::{
    net::IpAddr,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64},
    },
};

use tokio::{runtime::Handle, sync::Notify};
use tower_http::cors::CorsLayer;

use crate::{
    engine::{
        EngineIoConfig, Peer, Reader, Transport, WireFormat,
        observe::{ConnectionSpan, EngineMeters},
        relay::Relay,
    },
    util::{Counts, Mutex, Named},
};

use super::{
    budget::Budget, gathering::Gathering, idle::IdleSessions, inspections::Inspections, reader_slot::ReaderSlot,
    request::ConnectionRequest, sessions::Sessions, state::ConnectionState, turnstile::Turnstile,
};

/// An Engine.IO server: its sessions and their shared state.
pub(crate) struct Engine {
    pub(crate) config: EngineIoConfig,
    pub(in crate::engine) handler: Box<dyn Connect>,
    /// [`Connect::is_observed`].
    pub(in crate::engine) is_observed: bool,
    pub(crate) sessions: Sessions<Connection>,
    pub(crate) meters: EngineMeters,
    /// Adds the CORS headers. `None` if no origins are configured.
    pub(crate) cors: Option<CorsLayer>,
    /// The sessions that have not joined a namespace.
    pub(crate) idle_sessions: IdleSessions<Connection>,
    /// The clients over WebTransport that have not sent their first packet.
    pub(in crate::engine) openings: IdleSessions<Opening>,
    /// The number of sessions of each address, if it is limited.
    pub(in crate::engine) sessions_of_address: Counts<IpAddr>,
    /// Set once new sessions are rejected.
    pub(crate) draining: AtomicBool,
    /// Notified whenever a connection has ended.
    pub(crate) ended: Notify,
    /// Limits the bytes of incomplete messages.
    pub(crate) input_budget: Budget,
    /// Limits the bytes that are queued for clients.
    pub(crate) output_budget: Budget,
    pub(in crate::engine) inspections: Inspections,
    /// Schedules connections that have much to read.
    pub(in crate::engine) turnstile: Turnstile,
    /// The number of panics of user code.
    pub(in crate::engine) panics: AtomicU64,
    pub(in crate::engine) runtime: Mutex<Option<Handle>>,
    /// Passes requests to the nodes that own their sessions. `None` unless sessions are shared.
    pub(in crate::engine) relay: Option<Arc<Relay>>,
    /// The connections to which a broadcast is to be written.
    pub(in crate::engine) gathering: Mutex<Gathering<Connection>>,
}

/// A client over WebTransport that has not sent its first packet.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    /// Its place in [`Engine::openings`].
    pub(in crate::engine) place: OnceLock<u32>,
    /// Notified if it must make room for newer ones.
    pub(in crate::engine) evicted: Notify,
}

/// A protocol above Engine.IO. One handler serves all sessions of an [`Engine`](super::Engine).
pub(crate) trait Connect: Send + Sync + 'static {
    /// Handles a new session. Nothing can be sent yet. Returns `None` to reject the session, because the server has been dropped.
    fn connect(&self, connection: &Arc<Connection>) -> Option<(Arc<dyn Peer>, Box<dyn Reader>)>;

    /// Returns `true` if peers are told of the messages that are [sent](Peer::sent).
    fn is_observed(&self) -> bool {
        false
    }
}

/// A client's connection: its session, and the tasks that wait for it. The transport may change.
///
/// No lock is held while user code runs or a waker is woken.
pub(crate) struct Connection {
    pub(crate) engine: Arc<Engine>,
    /// The runtime on which the connection's handlers run.
    pub(crate) runtime: Handle,
    pub(crate) id: Arc<str>,
    pub(crate) wire_format: WireFormat,
    /// The transport on which the connection was opened.
    pub(crate) first_transport: Transport,
    /// The `tracing` span. Ends with the session.
    pub(crate) span: ConnectionSpan,
    pub(crate) request: ConnectionRequest,
    pub(super) state: Mutex<ConnectionState>,
    pub(super) reader: Mutex<ReaderSlot>,
    /// Set while the reader is not ready, and the client's silence must be ignored.
    pub(super) stalled: AtomicBool,
    /// Set while the connection has a [`Pressure`](pressure::Pressure), or is marked as slow.
    pub(super) under_pressure: AtomicBool,
    /// Set while a WebSocket carries the connection.
    pub(super) is_websocket: AtomicBool,
    pub(super) ended: AtomicBool,
    /// Set by a driver that finds its stream in use, and sleeps.
    pub(in crate::engine) awaits_stream: AtomicBool,
    /// The stream, if other tasks than its driver may write to it.
    pub(in crate::engine) outlet: OnceLock<Weak<dyn Outlet>>,
}

impl Named for Connection {
    fn name(&self) -> &str {
        &self.id
    }
}

/// The stream of a connection, to which other tasks may write while its driver is parked.
pub(crate) trait Outlet: Send + Sync {
    /// Writes the queued packets of its connection. Returns `false` if the driver must be woken: the stream is full or in use, the
    /// driver waits for it, or the session has ended.
    fn write(&self, connection: &Connection) -> bool;
}
