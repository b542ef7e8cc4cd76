//! Methods for the tasks that drive a connection.

use std::{
    sync::atomic::Ordering,
    task::{Poll, Waker},
    time::Instant,
};

use crate::{
    engine::{CloseCause, Packet, PacketOutcome, ProbeAction, Transport},
    util::{MutexGuard, now},
};

use super::{
    shared::Connection,
    state::{ConnectionState, Output, Park},
};

impl Connection {
    // Time.

    /// Returns the time at which the timer task of long-polling must call [`handle_timeout`](Self::handle_timeout). The task is
    /// woken when that time becomes earlier. Returns `None` if the session has ended or left long-polling.
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
    /// `flushed` is `true` if all packets taken before have been written. Otherwise the driver is not woken for more output.
    pub(crate) fn park(&self, waker: &Waker, flushed: bool) -> Park {
        let mut state = if flushed { self.note_flushed() } else { self.state() };
        state.blocked = !flushed;
        match state.deadline() {
            None => Park::Closed,
            Some(_) if flushed && state.session.has_output() => Park::HasOutput,
            Some(deadline) => state.park(waker, deadline),
        }
    }

    /// Parks the driver again after another task has written all packets that it took. Returns ready with `false` if the driver must be
    /// woken, pending if more packets have been queued.
    pub(crate) fn park_again(&self) -> Poll<bool> {
        let mut state = self.note_flushed();
        if state.is_due() || state.session.closed().is_some() {
            return Poll::Ready(false);
        }
        if state.session.has_output() {
            return Poll::Pending;
        }
        state.awake = false;
        Poll::Ready(true)
    }

    /// Notes that all packets taken before have been written, and wakes the tasks that wait in `poll_drained`.
    #[inline]
    fn note_flushed(&self) -> MutexGuard<'_, ConnectionState> {
        let mut state = self.state();
        state.session.flushed();
        if state.waiters.as_ref().is_some_and(|waiters| !waiters.drained.is_empty()) {
            ConnectionState::unlock_and_wake(state);
            state = self.state();
        }
        state
    }

    /// Wakes the timer task of long-polling so that it ends, because a stream drives the connection.
    pub(crate) fn change_driver(&self) {
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
        // Fast path for nearly all packets, after which no task must be woken.
        is_message || self.update(|session| session.handle_packet(now, packet)) == PacketOutcome::Forward
    }

    /// Returns `true` if a packet may bypass the outbox, because the outbox is empty. Counts the packet as taken.
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
        // The last packet of a session that is closing ends it.
        ConnectionState::unlock_and_wake(state);
        Output::Closed
    }

    /// Handles expired deadlines. `reading` is `true` if the caller reads from the connection, so that silence is the client's.
    pub(crate) fn handle_timeout(&self, now: Instant, reading: bool) {
        let due = self.state().take_due(now);
        if due.connect {
            // Not after the queued packets, because the client does not read them.
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

    /// Registers the waker of a probe. Returns `true` if the session has ended or left long-polling.
    pub(crate) fn watch_probe(&self, transport: Transport, waker: &Waker) -> bool {
        let mut state = self.state();
        state.waiters().probes.get_or_insert_default()[transport.probe_index()] = Some(waker.clone());
        state.session.closed().is_some() || !state.session.is_polling()
    }

    /// Handles a packet from a probe.
    pub(crate) fn probe_packet(&self, transport: Transport, packet: &Packet) -> ProbeAction {
        self.with_state(|state| {
            let action = state.session.probe_packet(transport, packet);
            if action == ProbeAction::Upgrade {
                // Not woken by its own upgrade.
                if let Some(probes) = &mut state.waiters().probes {
                    probes[transport.probe_index()] = None;
                }
                self.is_websocket.store(transport == Transport::WebSocket, Ordering::Relaxed);
            }
            action
        })
    }
}
