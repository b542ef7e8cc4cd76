//! Limits of running events.

use std::{
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use super::{
    event_cost::{EventCost, LARGE},
    state::{Event, Socket},
};

impl Event {
    /// Returns the cost of the event while its handler runs.
    #[inline]
    pub(crate) fn cost(&self) -> EventCost {
        EventCost::new(self.payload.text(), self.size)
    }
}

impl Socket {
    /// Waits until the event may start: the limits of running events allow another one, and a large event holds its share of the
    /// server's budget. Returns `false` if the socket is disconnected or its connection is about to close.
    #[inline(always)]
    pub(super) fn poll_may_start(&self, event: &mut Event, cx: &mut Context<'_>) -> Poll<bool> {
        if event.size > LARGE {
            ready!(self.poll_share(event, cx));
        }
        if !self.takes_events() {
            return Poll::Ready(false);
        }
        // Usually no event is running.
        if self.client.runs_handlers() && !self.is_below_limits() {
            return Poll::Pending;
        }
        Poll::Ready(true)
    }

    #[cold]
    fn poll_share(&self, event: &mut Event, cx: &mut Context<'_>) -> Poll<()> {
        if !self.takes_events() || !self.is_below_limits() {
            return Poll::Ready(());
        }
        if event.share.is_none() {
            let share = self.client.server.event_budget.take(event.cost().bytes());
            event.share = Some(Box::new(share));
        }
        event.share.as_mut().map_or(Poll::Ready(()), |share| share.poll(cx))
    }

    /// Returns `true` if the socket is connected and its connection is not about to close.
    #[inline]
    pub(super) fn takes_events(&self) -> bool {
        self.is_connected() && !self.client.is_leaving()
    }

    /// Returns `true` if neither the socket nor its connection has reached its limit of running events.
    pub(crate) fn is_below_limits(&self) -> bool {
        let settings = &self.client.server.settings;
        self.running_events() < settings.max_concurrent_events && self.client.event_bytes() < settings.max_event_bytes
    }

    pub(crate) fn running_events(&self) -> usize {
        self.running.load(Ordering::Acquire)
    }

    /// Counts an event handler as running until the guard is dropped. `cost` is the bytes that its event takes.
    pub(crate) fn running(self: &Arc<Self>, cost: usize) -> Running {
        self.running.fetch_add(1, Ordering::AcqRel);
        self.client.add_running(cost);
        Running { socket: self.clone(), cost }
    }
}

/// A running event handler.
#[derive(Debug)]
pub(crate) struct Running {
    socket: Arc<Socket>,
    cost: usize,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.socket.running.fetch_sub(1, Ordering::AcqRel);
        self.socket.client.remove_running(self.cost);
        self.socket.drop_extensions();
    }
}
