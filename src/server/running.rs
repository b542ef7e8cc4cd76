//! Which events may start, and those that are under way.

use std::{
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use super::{
    event_cost::{EventCost, LARGE},
    state::{Event, Socket},
};

impl Event {
    /// What the event costs while its handler runs.
    #[inline]
    pub(crate) fn cost(&self) -> EventCost {
        EventCost::new(self.payload.text(), self.size)
    }
}

impl Socket {
    /// Waits until another event may start: not too many are under way, and a large one has its share of the server's budget. False
    /// if the socket is not connected any more, or its connection is about to close.
    #[inline(always)]
    pub(super) fn poll_may_start(&self, event: &mut Event, cx: &mut Context<'_>) -> Poll<bool> {
        if event.size > LARGE {
            ready!(self.poll_share(event, cx));
        }
        if !self.takes_events() {
            return Poll::Ready(false);
        }
        // Nothing is under way, most of the time.
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

    /// Whether the socket is connected, and its connection not about to close.
    #[inline]
    pub(super) fn takes_events(&self) -> bool {
        self.is_connected() && !self.client.is_leaving()
    }

    /// Whether neither the socket nor its connection has too many events under way.
    pub(crate) fn is_below_limits(&self) -> bool {
        let settings = &self.client.server.settings;
        self.running_events() < settings.max_concurrent_events && self.client.event_bytes() < settings.max_event_bytes
    }

    pub(crate) fn running_events(&self) -> usize {
        self.running.load(Ordering::Acquire)
    }

    /// Counts an event handler as under way until the guard is dropped. `cost` is what its event takes in bytes.
    pub(crate) fn running(self: &Arc<Self>, cost: usize) -> Running {
        self.running.fetch_add(1, Ordering::AcqRel);
        self.client.add_running(cost);
        Running { socket: self.clone(), cost }
    }
}

/// An event handler that is under way.
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
