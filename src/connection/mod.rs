//! One client's connection: its Engine.IO session behind a lock, its sockets, and what arrives for them.

mod budget;
mod event_cost;
mod head;
mod idle;
mod inbound;
mod pressure;
mod request;
mod sessions;
mod sockets;
mod state;

use std::{
    borrow::Cow,
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Instant,
};

use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};
use tokio::{runtime::Handle, task::AbortHandle};

use crate::{
    engine::{CloseCause, OpenPacket, Outbox, Packet, Protocol, Receipt, Session, Timing, Transport, WireFormat},
    observe::ConnectionSpan,
    packet::Encoded,
    parser::translated,
    server::Server,
    socket::DisconnectReason,
    util::{BoxFuture, log, now},
};

pub use self::request::ConnectionRequest;
pub(crate) use self::{
    budget::{Budget, UNCOUNTED},
    event_cost::{EVENT, EventBudget, EventCost, Share},
    head::{RequestError, size as head_size},
    idle::IdleSessions,
    inbound::Inbound,
    pressure::HeldInput,
    sessions::Sessions,
    sockets::{Addressee, JoinError},
};
use self::{inbound::InboundSlot, sockets::SocketTable, state::State};

/// One client's connection, whatever transport carries it.
///
/// Locks, in the order in which they may be taken: `sockets`, a socket's `pending`, a namespace's registry, `state`. No
/// lock is held while user code runs or a waker is woken.
pub(crate) struct Connection {
    pub(crate) server: Arc<Server>,
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
    sockets: Mutex<SocketTable>,
    inbound: Mutex<InboundSlot>,
    /// Whoever reads this connection and waits for an event handler to end.
    pub(crate) reader: AtomicWaker,
    /// The reader waits for an event handler to end, or for a layer to be ready.
    pub(crate) stalled: AtomicBool,
    /// The connection holds something that is watched.
    under_pressure: AtomicBool,
    /// What the events cost whose handlers are under way, those of disconnections included.
    event_bytes: AtomicUsize,
    leaving: AtomicU8,
    /// A WebSocket carries the connection.
    is_websocket: AtomicBool,
    ended: AtomicBool,
}

// Values of `Connection::leaving`.
const STAYS: u8 = 0;
/// Until its handlers have ended.
const LEAVES: u8 = 1;
/// The same, and its sockets get a DISCONNECT packet.
const LEAVES_FOR_GOOD: u8 = 2;

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

/// What became of a packet.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// It will leave, in order.
    pub(crate) queued: bool,
    /// Who carries it, if somebody waits for that.
    pub(crate) waker: Option<Waker>,
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

/// A packet has not been queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendError {
    /// The connection or the socket is closed.
    Closed,
    /// The client is too slow: the packet found no room.
    Full,
}

impl Connection {
    /// Opens a session and queues its handshake. `address` is the client's, if it is known and has a share.
    pub(crate) fn open(
        server: Arc<Server>,
        id: Arc<str>,
        request: ConnectionRequest,
        transport: Transport,
        wire_format: WireFormat,
        address: Option<IpAddr>,
    ) -> Result<Arc<Self>, OpenError> {
        let share = server.take_share(address)?;
        let now = now();
        let settings = &server.settings;
        let mut session = match transport {
            Transport::Polling => {
                let max_poll_packets = wire_format.max_poll_packets(settings.max_poll_packets);
                Session::polling(wire_format.protocol, now, Timing { max_poll_packets, ..settings.timing() })
            }
            Transport::WebSocket | Transport::Custom => {
                Session::websocket(wire_format.protocol, now, settings.timing())
            }
        };
        let open = OpenPacket {
            sid: &id,
            upgrades: settings.upgrades(transport),
            ping_interval: millis(settings.ping_interval),
            ping_timeout: millis(settings.ping_timeout),
            max_payload: settings.max_payload,
        };
        session.send_control(open.to_packet());
        if let Some(packet) = &settings.initial_packet {
            session.send_control(packet.clone());
        }
        let state = State::new(session, now + settings.connect_timeout, share);
        let span = ConnectionSpan::open(&request, transport, wire_format.protocol);
        let connection = Arc::new(Self {
            inbound: Mutex::new(InboundSlot::new(settings)),
            runtime: server.runtime(),
            server,
            id,
            wire_format,
            first_transport: transport,
            span,
            request,
            state: Mutex::new(state),
            sockets: Mutex::default(),
            reader: AtomicWaker::new(),
            stalled: AtomicBool::new(false),
            under_pressure: AtomicBool::new(false),
            event_bytes: AtomicUsize::new(0),
            leaving: AtomicU8::new(STAYS),
            is_websocket: AtomicBool::new(transport == Transport::WebSocket),
            ended: AtomicBool::new(false),
        });
        connection.enter_server(address)?;
        connection.server.meters.opened(&connection);
        connection.span.in_scope(|| log!(debug, transport = %transport, "session opened"));
        Ok(connection)
    }

    /// Adds the connection to those of its server.
    fn enter_server(self: &Arc<Self>, address: Option<IpAddr>) -> Result<(), OpenError> {
        if !self.server.sessions.insert(self.clone()) {
            return Err(OpenError::IdTaken);
        }
        // Whoever drains the server first sets the flag, then looks at the sessions.
        if self.server.draining.load(Ordering::SeqCst) {
            self.server.sessions.remove(&self.id);
            return Err(OpenError::Draining);
        }
        self.server.idle_sessions.add(self, address);
        Ok(())
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

    // Sending.

    /// Queues a packet of a socket's, and wakes whoever carries it. `volatile` drops it, without an error, unless it would
    /// leave at once.
    pub(crate) fn send(&self, packet: &Encoded, volatile: bool) -> Result<(), SendError> {
        if let Some(waker) = self.try_send(Cow::Borrowed(packet), volatile)?.waker {
            waker.wake();
        }
        Ok(())
    }

    /// As [`send`](Self::send), but nobody is woken.
    pub(crate) fn try_send(&self, packet: Cow<'_, Encoded>, volatile: bool) -> Result<Sent, SendError> {
        // Before the lock: this may run a parser.
        let packets = self.packets_of(&packet);
        let mut state = self.state();
        if !state.session.is_open() {
            return Err(SendError::Closed);
        }
        if volatile && !state.session.is_writable() {
            return Ok(Sent::default());
        }
        let is_plain = std::ptr::eq(packets, packet.packets());
        let cost = Outbox::cost(packets);
        let sent = match packet {
            Cow::Owned(packet) if is_plain => state.session.send_costly(cost, |queue| packet.move_into(queue)),
            _ => state.session.send(packets),
        };
        if sent.is_err() {
            return Err(SendError::Full);
        }
        Ok(Sent { queued: true, waker: self.carrier_of(&mut state) })
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

    /// A packet as the client wants it. A parser runs, unless it has done so for another recipient.
    pub(crate) fn packets_of<'a>(&self, packet: &'a Encoded) -> &'a [Packet] {
        match &self.server.settings.parser {
            None if self.wire_format.wants_ascii(self.is_websocket.load(Ordering::Relaxed)) => packet.ascii_packets(),
            None => packet.packets(),
            Some(parser) => translated(packet, &**parser),
        }
    }

    /// Queues what was held back while a socket was not accepted, whatever the limit says: it was checked before. Answers
    /// whom to wake.
    ///
    /// `accept` is called before anybody can see what is queued: an answer of the client's must find the socket accepted.
    pub(crate) fn release<'a>(
        &self,
        packets: impl Iterator<Item = &'a Encoded>,
        accept: impl FnOnce(),
    ) -> Option<Waker> {
        let mut state = self.state();
        accept();
        for packet in packets {
            state.session.release(self.packets_of(packet));
        }
        self.carrier_of(&mut state)
    }

    /// Queues an answer of the protocol's own. A client that has no room even for that is let go.
    pub(crate) fn reply(&self, packet: &Encoded) {
        if self.send(packet, false) == Err(SendError::Full) {
            self.abort(CloseCause::SlowClient);
        }
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

    /// Closes in order: what is queued is sent first. The sockets are disconnected at once.
    pub(crate) fn close(&self, cause: CloseCause) {
        let at_once = self.update(|session| session.close(now(), cause));
        let reason = match cause {
            CloseCause::Forced(detail) if !at_once => DisconnectReason::ForcedServerClose { detail },
            cause => cause.into(),
        };
        self.disconnect_sockets(reason, false);
    }

    /// Closes at once; what is queued is lost.
    pub(crate) fn abort(&self, cause: CloseCause) {
        self.update(|session| session.abort(cause));
    }

    /// The peer has broken the rules of Socket.IO.
    pub(crate) fn violation(&self, detail: &'static str) {
        self.span.in_scope(|| log!(debug, detail = %detail, "protocol violation"));
        self.close(CloseCause::Forced(detail));
    }

    /// Ends the connection once its session has ended. Called by whoever drives it, so that handlers of the disconnection
    /// run on the connection's own task, wherever the end began.
    pub(crate) fn finish(self: &Arc<Self>) {
        let cause = {
            let mut state = self.state();
            match state.session.closed() {
                Some(cause) if !state.finished => {
                    state.finished = true;
                    self.release_pressure(&mut state);
                    cause
                }
                _ => return,
            }
        };
        self.span.in_scope(|| log!(debug, reason = %DisconnectReason::from(cause), "session closed"));
        self.server.meters.closed(self, cause);
        self.joined();
        self.return_share();
        self.forget_driver();
        self.server.sessions.remove(&self.id);
        self.disconnect_sockets(cause.into(), false);
        if self.runs_handlers() {
            self.server.sessions.linger(self);
        }
        self.drop_inbound();
        self.span.end(cause.into());
    }

    /// Nobody drives it any more: a socket that is kept shall not keep the task.
    fn forget_driver(&self) {
        let driver = self.state().driver.take();
        // Once nothing is locked.
        drop(driver);
    }

    /// Closes every socket; with `tell`, with a DISCONNECT packet.
    fn disconnect_sockets(&self, reason: DisconnectReason, tell: bool) {
        for socket in self.take_sockets() {
            if tell {
                socket.send_disconnect();
            }
            socket.close(reason);
        }
    }

    /// The server is closing: no event starts any more, and the connection is [shut down](Self::shut_down) once the handlers that run
    /// have ended, so that their acks are sent. The client's acks, which they may wait for, are still read.
    pub(crate) fn leave(&self, disconnect: bool) {
        let leaving = if disconnect { LEAVES_FOR_GOOD } else { LEAVES };
        // Before the look at the handlers: the last one that ends looks at this.
        if self.leaving.compare_exchange(STAYS, leaving, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            self.reader.wake();
        }
        if !self.runs_handlers() {
            self.shut_down(disconnect);
        }
    }

    #[inline]
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed) != STAYS
    }

    /// Whether handlers of the client's events, or of its disconnection, are under way.
    #[inline]
    pub(crate) fn runs_handlers(&self) -> bool {
        self.event_bytes() > 0
    }

    /// What the events cost whose handlers are under way, in bytes.
    #[inline]
    pub(crate) fn event_bytes(&self) -> usize {
        self.event_bytes.load(Ordering::SeqCst)
    }

    pub(crate) fn add_running(&self, cost: usize) {
        self.event_bytes.fetch_add(cost, Ordering::SeqCst);
    }

    /// A handler has ended, whose event was [added](Self::add_running).
    pub(crate) fn remove_running(self: &Arc<Self>, cost: usize) {
        let is_last = self.event_bytes.fetch_sub(cost, Ordering::SeqCst) == cost;
        self.reader.wake();
        if is_last && self.has_ended() {
            self.server.ended.notify_waiters();
        } else if is_last && self.is_leaving() {
            let disconnect = self.leaving.load(Ordering::SeqCst) == LEAVES_FOR_GOOD;
            let connection = self.clone();
            // The caller may hold a lock.
            self.runtime.spawn(async move { connection.shut_down(disconnect) });
        }
    }

    /// The server is closing: the sockets are told, with a DISCONNECT packet if they should not come back, and what is queued is sent
    /// first.
    pub(crate) fn shut_down(&self, disconnect: bool) {
        self.disconnect_sockets(DisconnectReason::ServerShuttingDown, disconnect);
        self.close(CloseCause::ShuttingDown);
    }

    /// The task that carried the connection has ended.
    pub(crate) fn mark_ended(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.server.ended.notify_waiters();
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Closes every socket with a DISCONNECT packet, then the connection.
    pub(crate) fn disconnect_all(&self) {
        self.disconnect_sockets(DisconnectReason::ServerNamespaceDisconnect, true);
        self.close(CloseCause::Forced("disconnected by the server"));
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

    /// Whether the client takes packets as they are encoded.
    pub(crate) fn takes_plain_text(&self) -> bool {
        self.wire_format.protocol == Protocol::V4 && self.server.settings.parser.is_none()
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
            self.refuse_packet(None);
        }
        let listening = reading && !self.stalled.load(Ordering::Relaxed);
        self.update(|session| {
            if !listening {
                session.excuse_silence(now);
            }
            session.handle_timeout(now);
        });
    }

    /// A namespace has been joined, or the connection is over: the time to join one no longer runs.
    pub(crate) fn joined(&self) {
        let idle = {
            let mut state = self.state();
            state.connect_deadline = None;
            state.idle.take()
        };
        if let Some(place) = idle {
            self.server.idle_sessions.remove(place, self);
        }
    }

    /// Runs user code: polls it once, and spawns it only if that did not complete it. Returns the task in that case.
    pub(crate) fn poll_or_spawn(&self, cx: &mut Context<'_>, mut task: BoxFuture<()>) -> Option<AbortHandle> {
        let _entered = self.runtime.enter();
        match task.as_mut().poll(cx) {
            Poll::Ready(()) => None,
            Poll::Pending => Some(self.runtime.spawn(task).abort_handle()),
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
