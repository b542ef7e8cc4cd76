//! Opening and ending a connection.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, Waker},
};

use crate::{
    engine::{CloseCause, OpenPacket, Peer, Session, SessionConfig, Transport, WireFormat, observe::ConnectionSpan},
    util::{Mutex, MutexGuard, log, now},
};

use super::{
    reader_slot::ReaderSlot,
    request::ConnectionRequest,
    shared::{Connection, Engine},
    state::{ConnectionState, OpenError},
};

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
            Transport::WebSocket | Transport::WebTransport | Transport::Custom => {
                Session::websocket(wire_format.protocol, now, config.session_config())
            }
        };
        let open = OpenPacket {
            sid: &id,
            upgrades: config.upgrades(transport, wire_format.protocol),
            ping_interval: millis(config.ping_interval),
            ping_timeout: millis(config.ping_timeout),
            max_payload: config.max_payload,
        };
        session.send_control(open.to_packet());
        if let Some(packet) = &config.initial_packet {
            session.send_control(packet.clone());
        }
        let state = ConnectionState::new(session, now + config.connect_timeout, share);
        let span = ConnectionSpan::open(|| request.remote_addr(), transport, wire_format.protocol);
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
            awaits_stream: AtomicBool::new(false),
            outlet: OnceLock::new(),
        });
        connection.enter_engine(address)?;
        connection.engine.meters.opened(transport, connection.wire_format.protocol);
        connection.span.in_scope(|| log!(debug, transport = %transport, "session opened"));
        Ok(connection)
    }

    /// Passes the session to the protocol above, and adds it to the table.
    fn enter_engine(self: &Arc<Self>, address: Option<IpAddr>) -> Result<(), OpenError> {
        let engine = &self.engine;
        let (peer, reader) = engine.handler.connect(self).ok_or(OpenError::Draining)?;
        if !engine.sessions.insert(self) {
            return Err(OpenError::IdTaken);
        }
        // `drain` sets the flag before it lists the sessions.
        if engine.draining.load(Ordering::SeqCst) {
            engine.sessions.remove(&self.id);
            return Err(OpenError::Draining);
        }
        self.state().peer = Some(peer);
        self.put_reader(reader);
        let evicted = engine.idle_sessions.add(self, address, |place| self.state().idle = Some(place));
        for connection in evicted.into_iter().flatten().filter_map(|connection| connection.upgrade()) {
            connection.evict(CloseCause::Forced("max_idle_sessions was reached by newer sessions"));
        }
        Ok(())
    }

    /// Returns the protocol's state of the client, or `None` if the session has ended.
    pub(crate) fn peer(&self) -> Option<Arc<dyn Peer>> {
        self.state().peer.clone()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, ConnectionState> {
        #[cfg(test)]
        crate::util::interleave::point();
        self.state.lock()
    }

    /// Changes the state of the connection, then wakes the tasks that wait for the change.
    pub(super) fn with_state<R>(&self, change: impl FnOnce(&mut ConnectionState) -> R) -> R {
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
            _ if self.is_websocket() => Transport::WebSocket,
            _ => Transport::WebTransport,
        }
    }

    /// Returns the waker to call after packets have been queued.
    #[inline]
    pub(super) fn driver_waker(&self, state: &mut ConnectionState) -> Option<Waker> {
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
            peer.clone().closed(cause);
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
