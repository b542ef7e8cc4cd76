//! A connection: a session behind its lock, and the tasks that wait for it.

mod budget;
mod head;
mod idle;
mod pressure;
mod reader;
mod request;
mod send;
mod sessions;
mod state;

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, Waker},
    time::Instant,
};

use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;

use crate::util::{log, now};

use super::{
    CloseCause, Engine, OpenPacket, Packet, PacketOutcome, Session, SessionConfig, Transport, WireFormat,
    observe::ConnectionSpan, seam::Peer,
};

pub use self::request::ConnectionRequest;
pub(crate) use self::{
    budget::{Budget, UNCOUNTED},
    head::{HeadError, size as head_size},
    idle::IdleSessions,
    pressure::HeldInput,
    send::{SendError, Sent},
    sessions::Sessions,
};
use self::{reader::ReaderSlot, state::ConnectionState};

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
    state: Mutex<ConnectionState>,
    reader: Mutex<ReaderSlot>,
    /// Set while the reader is not ready, and the client's silence must be ignored.
    stalled: AtomicBool,
    /// Set while the connection has a [`Pressure`](pressure::Pressure), or is marked as slow.
    under_pressure: AtomicBool,
    /// Set while a WebSocket carries the connection.
    is_websocket: AtomicBool,
    ended: AtomicBool,
}

/// The result of [`Connection::pop_output`].
#[derive(Debug)]
pub(crate) enum Output {
    Packet {
        packet: Packet,
        more: bool,
    },
    Nothing,
    /// The session has ended.
    Closed,
}

/// The result of [`Connection::park`]: what the driver does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Park {
    /// It sends the output that is queued.
    HasOutput,
    /// It ends the session, which is closed.
    Closed,
    /// It sleeps until `deadline` at the latest. `known` is set if neither the deadline nor the waker has changed.
    Until { deadline: Instant, known: bool },
}

/// Why a session cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// Another session has its id.
    IdTaken,
    /// The server is being drained.
    Draining,
    /// The client's address has reached its limit of sessions.
    TooManySessions,
}

impl Connection {
    /// Opens a session and queues its handshake. `address` is that of the client, if it is known and limits depend on it.
    pub(crate) fn open(
        engine: Arc<Engine>,
        id: Arc<str>,
        request: ConnectionRequest,
        transport: Transport,
        wire_format: WireFormat,
        address: Option<IpAddr>,
    ) -> Result<Arc<Self>, OpenError> {
        let share = engine.take_share(address)?;
        let now = now();
        let config = &engine.config;
        let mut session = match transport {
            Transport::Polling => {
                let max_poll_packets = wire_format.max_poll_packets(config.max_poll_packets);
                Session::polling(
                    wire_format.protocol,
                    now,
                    SessionConfig { max_poll_packets, ..config.session_config() },
                )
            }
            Transport::WebSocket | Transport::Custom => {
                Session::websocket(wire_format.protocol, now, config.session_config())
            }
        };
        let open = OpenPacket {
            sid: &id,
            upgrades: config.upgrades(transport),
            ping_interval: millis(config.ping_interval),
            ping_timeout: millis(config.ping_timeout),
            max_payload: config.max_payload,
        };
        session.send_control(open.to_packet());
        if let Some(packet) = &config.initial_packet {
            session.send_control(packet.clone());
        }
        let state = ConnectionState::new(session, now + config.connect_timeout, share);
        let span = ConnectionSpan::open(&request, transport, wire_format.protocol);
        let connection = Arc::new(Self {
            runtime: engine.runtime(),
            engine,
            id,
            wire_format,
            first_transport: transport,
            span,
            request,
            state: Mutex::new(state),
            reader: Mutex::new(ReaderSlot::new()),
            stalled: AtomicBool::new(false),
            under_pressure: AtomicBool::new(false),
            is_websocket: AtomicBool::new(transport == Transport::WebSocket),
            ended: AtomicBool::new(false),
        });
        connection.enter_engine(address)?;
        connection.engine.meters.opened(transport, connection.wire_format.protocol);
        connection.span.in_scope(|| log!(debug, transport = %transport, "session opened"));
        Ok(connection)
    }

    /// Passes the session to the protocol above, and adds it to the table.
    fn enter_engine(self: &Arc<Self>, address: Option<IpAddr>) -> Result<(), OpenError> {
        let engine = &self.engine;
        let (peer, reader) = engine.connect(self).ok_or(OpenError::Draining)?;
        if !engine.sessions.insert(self.clone()) {
            return Err(OpenError::IdTaken);
        }
        // `drain` sets the flag before it lists the sessions.
        if engine.draining.load(Ordering::SeqCst) {
            engine.sessions.remove(&self.id);
            return Err(OpenError::Draining);
        }
        self.state().peer = Some(peer);
        self.put_reader(reader);
        engine.idle_sessions.add(self, address);
        Ok(())
    }

    /// Returns the protocol's state of the client, or `None` if the session has ended.
    pub(crate) fn peer(&self) -> Option<Arc<dyn Peer>> {
        self.state().peer.clone()
    }

    fn state(&self) -> MutexGuard<'_, ConnectionState> {
        self.state.lock()
    }

    /// Changes the state, then wakes the tasks that the change concerns.
    fn with_state<R>(&self, change: impl FnOnce(&mut ConnectionState) -> R) -> R {
        let mut state = self.state();
        let result = change(&mut state);
        ConnectionState::unlock_and_wake(state);
        result
    }

    /// Changes the session. If that ends it, the driver is woken and calls [`finish`](Self::finish).
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut Session) -> R) -> R {
        self.with_state(|state| change(&mut state.session))
    }

    /// Reads the session.
    pub(crate) fn inspect<R>(&self, look: impl FnOnce(&Session) -> R) -> R {
        look(&self.state().session)
    }

    pub(crate) fn transport(&self) -> Transport {
        match self.first_transport {
            Transport::Custom => Transport::Custom,
            _ if self.inspect(Session::is_polling) => Transport::Polling,
            _ => Transport::WebSocket,
        }
    }

    /// Returns the waker to call after packets have been queued.
    #[inline]
    fn driver_waker(&self, state: &mut ConnectionState) -> Option<Waker> {
        let waker = state.take_driver_waker();
        if state.session.buffered_bytes() >= state.output_mark && self.note_output(state) && waker.is_none() {
            return state.wake_driver();
        }
        waker
    }

    /// Waits until all queued packets have been written, or the connection has ended.
    pub(crate) fn poll_drained(&self, waker: &Waker) -> Poll<()> {
        let mut state = self.state();
        if state.session.closed().is_some() || state.session.is_drained() {
            return Poll::Ready(());
        }
        let drained = &mut state.waiters().drained;
        if !drained.iter().any(|known| known.will_wake(waker)) {
            drained.push(waker.clone());
        }
        Poll::Pending
    }

    // Closing.

    /// Closes the session after the queued packets. Returns whether the close packet can be sent at once.
    pub(crate) fn close(&self, cause: CloseCause) -> bool {
        self.update(|session| session.close(now(), cause))
    }

    /// Closes the session at once. Drops queued packets.
    pub(crate) fn abort(&self, cause: CloseCause) {
        self.update(|session| session.abort(cause));
    }

    /// Ends the connection if its session has ended. Only the task that drives the connection calls this, so that handlers of the
    /// disconnection never run inside another task's call.
    pub(crate) fn finish(self: &Arc<Self>) {
        let (cause, peer) = {
            let mut state = self.state();
            match state.session.closed() {
                Some(cause) if !state.finished => {
                    state.finished = true;
                    self.release_pressure(&mut state);
                    (cause, state.peer.take())
                }
                _ => return,
            }
        };
        self.span.in_scope(|| log!(debug, reason = %cause.as_str(), "session closed"));
        self.engine.meters.closed(self.transport(), self.wire_format.protocol, cause);
        self.establish();
        self.return_share();
        self.forget_driver();
        self.engine.sessions.remove(&self.id);
        if let Some(peer) = peer {
            peer.closed(cause);
            if peer.is_busy() {
                self.engine.sessions.linger(self, &peer);
            }
        }
        self.drop_reader();
        self.span.end(cause);
    }

    /// Drops the driver's waker, so that a socket that is still referenced does not keep the task.
    fn forget_driver(&self) {
        let driver = self.state().driver.take();
        // Dropped without a lock.
        drop(driver);
    }

    /// Records that the connection's task has ended.
    pub(crate) fn mark_ended(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.engine.ended.notify_waiters();
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    // Time.

    /// Parks the timer task of long-polling. Returns the time at which it must call [`handle_timeout`](Self::handle_timeout), or
    /// `None` if the session has ended or left long-polling. The task is woken if that time moves forward.
    pub(crate) fn park_polling(&self, waker: &Waker) -> Option<Instant> {
        let mut state = self.state();
        if !state.session.is_polling() {
            return None;
        }
        let deadline = state.deadline()?;
        state.park(waker, deadline);
        Some(deadline)
    }

    /// Parks the driver of a stream until there is output, or until [`handle_timeout`](Self::handle_timeout) must be called.
    ///
    /// `flushed` is `true` if all packets taken so far have been written. Otherwise the driver is not woken for more output.
    pub(crate) fn park(&self, waker: &Waker, flushed: bool) -> Park {
        let mut state = self.state();
        if flushed {
            state.session.flushed();
            // A task waits in `poll_drained`.
            if state.waiters.as_ref().is_some_and(|waiters| !waiters.drained.is_empty()) {
                ConnectionState::unlock_and_wake(state);
                state = self.state();
            }
        }
        state.blocked = !flushed;
        match state.deadline() {
            None => Park::Closed,
            Some(_) if flushed && state.session.has_output() => Park::HasOutput,
            Some(deadline) => state.park(waker, deadline),
        }
    }

    /// Records that a WebSocket drives the connection, and wakes the timer task of long-polling so that it ends.
    pub(crate) fn change_driver(&self) {
        self.is_websocket.store(true, Ordering::Relaxed);
        let driver = self.state().driver.take();
        if let Some(waker) = driver {
            waker.wake();
        }
    }

    /// Handles a packet that has been read. Returns `true` if it is a message for [`Reader::receive`](super::Reader::receive).
    ///
    /// `driving` is `true` if the caller is the driver, which then is not woken until it [parks](Self::park). A POST may still be
    /// in progress when a WebSocket carries the session.
    pub(crate) fn handle_packet(&self, packet: &Packet, driving: bool) -> bool {
        let mut state = self.state();
        state.awake |= driving;
        let is_message = state.session.is_forwarded(packet);
        drop(state);
        // Fast path: no waker to call for nearly all packets.
        is_message || self.update(|session| session.handle_packet(now, packet)) == PacketOutcome::Forward
    }

    /// Returns `true` if a packet may bypass the outbox. See [`Session::try_bypass`].
    pub(crate) fn try_bypass(&self) -> bool {
        self.state().session.try_bypass()
    }

    /// Takes the next packet for a WebSocket.
    pub(crate) fn pop_output(&self) -> Output {
        let mut state = self.state();
        if let Some(packet) = state.session.pop() {
            return Output::Packet { packet, more: state.session.has_output() };
        }
        if state.session.closed().is_none() {
            return Output::Nothing;
        }
        // The session was closing, and its last packet has been taken.
        ConnectionState::unlock_and_wake(state);
        Output::Closed
    }

    /// Handles expired deadlines. `reading` is `true` if the caller reads from the connection, so that silence is the client's.
    pub(crate) fn handle_timeout(&self, now: Instant, reading: bool) {
        let due = self.state().take_due(now);
        if due.connect {
            // At once: nothing is queued for such a client.
            self.abort(CloseCause::Forced("no namespace joined within connect_timeout"));
        }
        if due.incomplete {
            self.abort(CloseCause::TransportError("a message did not arrive whole within receive_timeout"));
        }
        if due.slow {
            self.abort(CloseCause::SlowClient);
        }
        let listening = reading && !self.stalled.load(Ordering::Relaxed);
        self.update(|session| {
            if !listening {
                session.defer_timeout(now);
            }
            session.handle_timeout(now);
        });
    }

    /// Records that the client has joined a namespace, or that the connection has ended: `connect_timeout` no longer applies.
    pub(crate) fn establish(&self) {
        let idle = {
            let mut state = self.state();
            state.connect_deadline = None;
            state.idle.take()
        };
        if let Some(place) = idle {
            self.engine.idle_sessions.remove(place, self);
        }
    }

    /// Stores the session's place in [`IdleSessions`].
    fn set_idle(&self, place: u32) {
        self.state().idle = Some(place);
    }

    /// Aborts the session to make room for a newer one, unless it has joined a namespace.
    fn evict(&self, cause: CloseCause) {
        self.with_state(|state| {
            if state.idle.take().is_some() {
                state.session.abort(cause);
            }
        });
    }

    fn return_share(&self) {
        let share = self.state().share.take();
        drop(share);
    }

    // Long-polling.

    /// Waits for the packets of the response to the pending GET.
    pub(crate) fn poll_answer(&self, waker: &Waker) -> Poll<Vec<Packet>> {
        self.with_state(|state| match state.session.poll_answer() {
            Some(packets) => {
                self.note_poll(state);
                Poll::Ready(packets)
            }
            None => {
                state.waiters().poll = Some(waker.clone());
                Poll::Pending
            }
        })
    }

    /// Registers the waker of a POST. Returns `true` if the session has ended or left long-polling.
    pub(crate) fn watch_post(&self, waker: &Waker) -> bool {
        let mut state = self.state();
        state.waiters().post = Some(waker.clone());
        state.session.closed().is_some() || !state.session.is_polling()
    }

    /// Registers the waker of a probing WebSocket. Returns `true` if the session has ended.
    pub(crate) fn watch_probe(&self, waker: &Waker) -> bool {
        let mut state = self.state();
        state.waiters().probe = Some(waker.clone());
        state.session.closed().is_some()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The id is a secret.
        f.debug_struct("Connection").field("protocol", &self.wire_format.protocol).finish_non_exhaustive()
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
