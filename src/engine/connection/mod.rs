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
    CloseCause, Engine, OpenPacket, Packet, Receipt, Session, Timing, Transport, WireFormat, observe::ConnectionSpan,
    seam::Peer,
};

pub use self::request::ConnectionRequest;
pub(crate) use self::{
    budget::{Budget, UNCOUNTED},
    head::{RequestError, size as head_size},
    idle::IdleSessions,
    pressure::HeldInput,
    send::{SendError, Sent},
    sessions::Sessions,
};
use self::{reader::ReaderSlot, state::State};

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
    state: Mutex<State>,
    reader: Mutex<ReaderSlot>,
    /// The reader cannot take a message: the client's silence means nothing.
    stalled: AtomicBool,
    /// The connection holds something that is watched.
    under_pressure: AtomicBool,
    /// A WebSocket carries the connection.
    is_websocket: AtomicBool,
    ended: AtomicBool,
}

/// What a WebSocket sends next.
#[derive(Debug)]
pub(crate) enum Output {
    Packet {
        packet: Packet,
        more: bool,
    },
    Nothing,
    /// The session has ended.
    Over,
}

/// What the driver does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// There is something to send.
    Not,
    /// The session has ended.
    Over,
    /// Sleep, but not longer than this. `known`: nothing has changed for the timer since the last time.
    Until { deadline: Instant, known: bool },
}

/// Why a session was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// Another session has its id.
    IdTaken,
    /// The server is being drained.
    Draining,
    /// The client's address has as many sessions as it may have.
    TooManySessions,
}

impl Connection {
    /// Opens a session and queues its handshake. `address` is the client's, if it is known and has a share.
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
                Session::polling(wire_format.protocol, now, Timing { max_poll_packets, ..config.timing() })
            }
            Transport::WebSocket | Transport::Custom => Session::websocket(wire_format.protocol, now, config.timing()),
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
        let state = State::new(session, now + config.connect_timeout, share);
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

    /// Gives the session to the handler, and adds it to the table.
    fn enter_engine(self: &Arc<Self>, address: Option<IpAddr>) -> Result<(), OpenError> {
        let engine = &self.engine;
        let (peer, reader) = engine.connect(self).ok_or(OpenError::Draining)?;
        if !engine.sessions.insert(self.clone()) {
            return Err(OpenError::IdTaken);
        }
        // A server that is drained sets the flag first, then looks at the sessions.
        if engine.draining.load(Ordering::SeqCst) {
            engine.sessions.remove(&self.id);
            return Err(OpenError::Draining);
        }
        self.state().peer = Some(peer);
        self.put_reader(reader);
        engine.idle_sessions.add(self, address);
        Ok(())
    }

    /// The client as the handler keeps it. `None` once the session has ended, or before it has begun.
    pub(crate) fn peer(&self) -> Option<Arc<dyn Peer>> {
        self.state().peer.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Changes the session's state, then wakes whom it concerns.
    fn with_state<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state();
        let result = change(&mut state);
        State::unlock_and_wake(state);
        result
    }

    /// Does something to the session. If that ends it, the driver is woken and calls [`finish`](Self::finish).
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut Session) -> R) -> R {
        self.with_state(|state| change(&mut state.session))
    }

    /// Looks at the session without changing it.
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

    /// Whom to wake for what has just been queued.
    #[inline]
    fn carrier_of(&self, state: &mut State) -> Option<Waker> {
        let waker = state.take_carrier();
        if state.session.buffered_bytes() >= state.output_mark && self.note_output(state) && waker.is_none() {
            return state.wake_driver();
        }
        waker
    }

    /// Waits until everything sent so far has left this process, or the connection has ended.
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

    /// Closes in order: what is queued is sent first. Returns whether that is possible at once.
    pub(crate) fn close(&self, cause: CloseCause) -> bool {
        self.update(|session| session.close(now(), cause))
    }

    /// Closes at once; what is queued is lost.
    pub(crate) fn abort(&self, cause: CloseCause) {
        self.update(|session| session.abort(cause));
    }

    /// Ends the connection once its session has ended. Called by the task that drives it, so that the handler learns of the end
    /// there, wherever the end began.
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

    /// Nobody drives it any more: a socket that is kept shall not keep the task.
    fn forget_driver(&self) {
        let driver = self.state().driver.take();
        // Once nothing is locked.
        drop(driver);
    }

    /// The task that carried the connection has ended.
    pub(crate) fn mark_ended(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.engine.ended.notify_waiters();
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    // Time.

    /// Lets the task that keeps the time of long-polling sleep until [`handle_timeout`](Self::handle_timeout) has something
    /// to do. It is woken when that moment moves forward. `None`: the session has ended, or left long-polling.
    pub(crate) fn rest_polling(&self, waker: &Waker) -> Option<Instant> {
        let mut state = self.state();
        if !state.session.is_polling() {
            return None;
        }
        let deadline = state.deadline()?;
        state.rest(waker, deadline);
        Some(deadline)
    }

    /// Lets the driver of a WebSocket sleep until there is something to send, or something to do for
    /// [`handle_timeout`](Self::handle_timeout).
    ///
    /// `flushed` says whether everything that was taken before has been written. As long as it has not, the driver is not woken for
    /// more output.
    pub(crate) fn rest(&self, waker: &Waker, flushed: bool) -> Rest {
        let mut state = self.state();
        if flushed {
            state.session.flushed();
            // Somebody waits until all is sent.
            if state.waiters.as_ref().is_some_and(|waiters| !waiters.drained.is_empty()) {
                State::unlock_and_wake(state);
                state = self.state();
            }
        }
        state.blocked = !flushed;
        match state.deadline() {
            None => Rest::Over,
            Some(_) if flushed && state.session.has_output() => Rest::Not,
            Some(deadline) => state.rest(waker, deadline),
        }
    }

    /// A WebSocket drives the connection from now on: the task that did is woken, to find that out.
    pub(crate) fn change_driver(&self) {
        self.is_websocket.store(true, Ordering::Relaxed);
        let driver = self.state().driver.take();
        if let Some(waker) = driver {
            waker.wake();
        }
    }

    /// Takes a packet that has been read. Answers whether it is a message for [`Inbound::receive`].
    ///
    /// `driving` says whether the caller is the driver, which then need not be woken until it [rests](Self::rest). A POST may
    /// still be under way when a WebSocket carries the session.
    pub(crate) fn handle_packet(&self, packet: &Packet, driving: bool) -> bool {
        let mut state = self.state();
        state.awake |= driving;
        let is_message = state.session.hands_on(packet);
        drop(state);
        // Nearly all packets are: then nobody is to be woken.
        is_message || self.update(|session| session.handle_packet(now, packet)) == Receipt::Message
    }

    /// Whether something may be sent past the outbox: nothing waits in it. If so, it counts as taken.
    pub(crate) fn passes_outbox(&self) -> bool {
        self.state().session.passes_outbox()
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
        // The last packet of a session that is closing ends it.
        State::unlock_and_wake(state);
        Output::Over
    }

    /// Does what is due. `reading` says whether the caller would have noticed if the client had said something.
    pub(crate) fn handle_timeout(&self, now: Instant, reading: bool) {
        let due = self.state().take_due(now);
        if due.connect {
            // At once: there is nothing that such a client must still be sent.
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
                session.excuse_silence(now);
            }
            session.handle_timeout(now);
        });
    }

    /// The client has joined a namespace, or the connection is over: the time to do so no longer runs.
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

    /// Remembers the place among the server's idle sessions.
    fn set_idle(&self, place: u32) {
        self.state().idle = Some(place);
    }

    /// Newer sessions want the place of this one, which ends unless it has joined a namespace meanwhile.
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

    /// Answers the pending GET, or waits until there is something to answer.
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

    /// Remembers who waits while a POST is under way; answers whether the session has ended or left long-polling.
    pub(crate) fn watch_post(&self, waker: &Waker) -> bool {
        let mut state = self.state();
        state.waiters().post = Some(waker.clone());
        state.session.closed().is_some() || !state.session.is_polling()
    }

    /// Remembers the probing WebSocket; answers whether the session has ended.
    pub(crate) fn watch_probe(&self, waker: &Waker) -> bool {
        let mut state = self.state();
        state.waiters().probe = Some(waker.clone());
        state.session.closed().is_some()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the id: until the session has ended, it is a secret.
        f.debug_struct("Connection").field("protocol", &self.wire_format.protocol).finish_non_exhaustive()
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
