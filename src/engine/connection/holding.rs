//! Limits for slow clients: the bytes that a connection holds, and deadlines for reading output and for completing messages.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
};

use tokio::runtime::Handle;

use crate::{
    engine::{CloseCause, HeldInput, Outbox},
    util::now,
};

use super::{
    budget::{Charge, UNCOUNTED},
    shared::{Connection, Engine},
    state::ConnectionState,
};

impl Connection {
    /// Returns `true` if [`note_pressure`](Self::note_pressure) must be called whenever the driver parks.
    #[inline]
    pub(crate) fn is_under_pressure(&self) -> bool {
        self.under_pressure.load(Ordering::Relaxed)
    }

    /// Updates charges and deadlines before the driver parks. `flushed` is `true` if all packets taken so far have been written,
    /// `progress` if anything has been written since the last call. `input` is the unhandled input, if it is known.
    #[cold]
    pub(crate) fn note_pressure(&self, flushed: bool, progress: bool, input: Option<HeldInput>) {
        let mut state = self.state();
        if let Some(input) = input {
            self.note_input(&mut state, input);
        }
        if flushed {
            state.session.flushed();
        }
        if !flushed {
            self.watch_progress(&mut state, progress);
        } else if progress || !state.session.has_output() {
            self.note_progress(&mut state);
        }
        self.settle_pressure(&mut state);
    }

    /// Drops the pressure if there is none any more, and updates the flags.
    fn settle_pressure(&self, state: &mut ConnectionState) {
        if state.pressure.as_ref().is_some_and(|pressure| pressure.is_over()) {
            state.pressure = None;
        }
        self.under_pressure.store(state.pressure.is_some() || state.is_slow, Ordering::Relaxed);
    }

    // Output.

    /// Charges queued packets to the budget. On long-polling without a pending poll, also starts the client's deadline. Returns
    /// `true` if the driver must be woken for a new deadline.
    #[cold]
    pub(super) fn note_output(&self, state: &mut ConnectionState) -> bool {
        self.count_output(state);
        let is_stuck = state.session.is_polling() && !state.session.has_poll();
        let has_deadline = is_stuck && self.watch_progress(state, false);
        self.settle_pressure(state);
        has_deadline
    }

    /// Charges the queued bytes to the server's budget, if there are many.
    fn count_output(&self, state: &mut ConnectionState) {
        let bytes = state.session.buffered_bytes();
        let counted = if bytes >= UNCOUNTED { bytes } else { 0 };
        state.output_mark = counted + UNCOUNTED;
        if counted > 0 || state.pressure.is_some() {
            let used = self.engine.output_budget.set(&mut state.pressure().output, &self.id, counted);
            self.engine.shed_output(used, &self.runtime);
        }
    }

    /// Sets the deadline at which the client is too slow, because queued packets cannot be written. Returns `true` if the
    /// deadline is new.
    fn watch_progress(&self, state: &mut ConnectionState, progress: bool) -> bool {
        let is_watched = state.pressure.as_ref().is_some_and(|pressure| pressure.slow_at.is_some());
        let Some(timeout) = self.engine.config.slow_client_timeout.filter(|_| !is_watched || progress) else {
            return false;
        };
        state.pressure().slow_at = Some(now() + timeout);
        true
    }

    /// Removes that deadline, because queued packets have been written.
    fn note_progress(&self, state: &mut ConnectionState) {
        if state.session.is_drained() {
            state.is_slow = false;
        }
        let Some(pressure) = &mut state.pressure else { return };
        pressure.slow_at = None;
        let counted = pressure.output.as_ref().map_or(0, Charge::bytes);
        if state.session.buffered_bytes() <= counted / 2 {
            self.count_output(state);
        }
    }

    /// Updates charges and deadlines after a response to a poll, which may not contain all queued packets.
    pub(super) fn note_poll(&self, state: &mut ConnectionState) {
        let is_much = state.session.buffered_bytes() >= UNCOUNTED;
        if is_much || self.is_under_pressure() {
            self.note_progress(state);
            if is_much {
                self.watch_progress(state, true);
            }
            self.settle_pressure(state);
        }
    }

    /// Marks the client as too slow until its queue is empty. Returns `true` if it was marked already.
    pub(crate) fn mark_slow(&self) -> bool {
        let mut state = self.state();
        let was_slow = std::mem::replace(&mut state.is_slow, true);
        self.settle_pressure(&mut state);
        was_slow
    }

    /// Returns the number of queued bytes, without those of buffers in `seen`. Adds shared buffers to `seen`.
    fn unseen_output(&self, seen: &mut HashSet<*const u8>) -> usize {
        let state = self.state();
        let waiting = state.session.waiting();
        waiting
            .map(|packet| {
                let is_new = packet.is_unique() || seen.insert(packet.data().as_ptr());
                Outbox::OVERHEAD + if is_new { packet.len() } else { 0 }
            })
            .sum()
    }

    // Input.

    /// Charges unhandled input to the server's budget. An incomplete message has a deadline. When more of the message arrives,
    /// this deadline and that of the heartbeat are extended.
    fn note_input(&self, state: &mut ConnectionState, held: HeldInput) {
        let counted = if held.bytes >= UNCOUNTED { held.bytes } else { 0 };
        let is_nothing = !held.is_incomplete && counted == 0;
        if is_nothing && state.pressure.is_none() || state.finished {
            return;
        }
        let pressure = state.pressure.get_or_insert_default();
        if !held.is_incomplete {
            pressure.incomplete_until = None;
        } else if pressure.incomplete_until.is_none() || held.bytes != pressure.incomplete_bytes {
            let now = now();
            pressure.incomplete_until = Some(now + self.engine.config.receive_timeout);
            pressure.incomplete_bytes = held.bytes;
            state.session.extend_heartbeat(now);
        }
        let used = self.engine.input_budget.set(&mut pressure.input, &self.id, counted);
        self.engine.shed_input(used, &self.runtime);
    }

    /// Like [`note_input`](Self::note_input), for long-polling: wakes the timer task for a new deadline.
    #[cold]
    pub(crate) fn hold_input(&self, held: HeldInput) {
        self.with_state(|state| {
            self.note_input(state, held);
            self.settle_pressure(state);
        });
    }

    /// Removes the charge for input.
    fn release_input(&self) {
        let mut state = self.state();
        if let Some(pressure) = &mut state.pressure {
            self.engine.input_budget.set(&mut pressure.input, &self.id, 0);
        }
        self.settle_pressure(&mut state);
    }

    /// Removes all charges.
    pub(super) fn release_pressure(&self, state: &mut ConnectionState) {
        if let Some(mut pressure) = state.pressure.take() {
            self.engine.input_budget.set(&mut pressure.input, &self.id, 0);
            self.engine.output_budget.set(&mut pressure.output, &self.id, 0);
        }
    }
}

/// These run on blocking threads: their callers hold the lock of a connection, and in the runtime's queue they would wait behind
/// the tasks that fill the memory.
impl Engine {
    /// If the budget is exceeded, closes the connections whose messages have been arriving for longest.
    fn shed_input(self: &Arc<Self>, used: usize, runtime: &Handle) {
        if used <= self.input_budget.limit() {
            return;
        }
        let engine = self.clone();
        runtime.spawn_blocking(move || {
            let budget = &engine.input_budget;
            while budget.used() > budget.limit()
                && let Some(connection) = budget.oldest().and_then(|id| engine.sessions.get(&id))
            {
                connection.abort(CloseCause::Forced("memory_budget is reached while a message arrives"));
                connection.release_input();
            }
        });
    }

    /// If the budget is exceeded, disconnects the clients whose packets have been queued for longest.
    ///
    /// No messages are read until that is done, because responses to them would need memory.
    fn shed_output(self: &Arc<Self>, used: usize, runtime: &Handle) {
        if self.inspections.begin(used) {
            let inspection = Inspection(self.clone());
            runtime.spawn_blocking(move || inspection.run());
        }
    }
}

/// An inspection that is in progress or about to begin.
struct Inspection(Arc<Engine>);

impl Inspection {
    fn run(self) {
        let (engine, budget) = (&self.0, &self.0.output_budget);
        let (mut bytes, mut kept, mut seen) = (0, 0, HashSet::new());
        for id in budget.newest_first() {
            let Some(connection) = engine.sessions.get(&id) else { continue };
            bytes += connection.unseen_output(&mut seen);
            if bytes > budget.limit() {
                connection.abort(CloseCause::SlowClient);
            } else {
                kept = bytes;
            }
        }
        // The budget may be exceeded by an eighth, so that inspections are rare.
        let slack = (budget.limit() - kept).max(budget.limit() / 8);
        engine.inspections.plan(budget.used(), slack);
    }
}

impl Drop for Inspection {
    fn drop(&mut self) {
        self.0.inspections.end();
    }
}
