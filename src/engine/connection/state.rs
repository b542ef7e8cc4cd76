use std::{net::IpAddr, sync::Arc, task::Waker, time::Instant};

use crate::{
    engine::{Packet, Peer, Session},
    util::{MutexGuard, Permit},
};

use super::{
    budget::UNCOUNTED,
    pressure::{Due, Pressure},
};

/// The next output of a WebSocket.
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

/// The result of [`Connection::park`](super::Connection::park): what the driver does next.
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

/// The session, and the wakers of the tasks that wait for it.
pub(super) struct ConnectionState {
    pub(super) session: Session,
    /// The protocol's state of the client, until the session ends.
    pub(super) peer: Option<Arc<dyn Peer>>,
    /// The place in [`IdleSessions`](super::IdleSessions). `None` once the session has joined a namespace or ended.
    pub(super) idle: Option<u32>,
    /// Counts the session against its address's limit.
    pub(super) share: Option<Box<Permit<IpAddr>>>,
    /// The time at which the connection is closed unless it has joined a namespace.
    pub(super) connect_deadline: Option<Instant>,
    /// The task that drives the session: the timer task for long-polling, the driver for a stream.
    pub(super) driver: Option<Waker>,
    /// The driver runs or has been woken. It reads the session before it parks, so it need not be woken again.
    pub(super) awake: bool,
    /// The deadline for which the driver has set its timer.
    armed: Option<Instant>,
    /// The transport is full, so that the driver is not woken for more output.
    pub(super) blocked: bool,
    /// Other tasks that wait. Usually `None` with a WebSocket.
    pub(super) waiters: Option<Box<Waiters>>,
    /// What the connection holds in memory, and its deadlines. See [`Pressure`].
    pub(super) pressure: Option<Box<Pressure>>,
    /// The number of queued bytes at which they are counted against the budget.
    pub(super) output_mark: usize,
    /// Set once the client is too slow, until its outbox is empty.
    pub(super) is_slow: bool,
    /// [`Connection::finish`](super::Connection::finish) has run.
    pub(super) finished: bool,
}

#[derive(Debug, Default)]
pub(super) struct Waiters {
    /// The pending GET.
    pub(super) poll: Option<Waker>,
    /// The POST in progress.
    pub(super) post: Option<Waker>,
    /// The probes by WebSocket and by WebTransport. `None` if there has been none.
    pub(super) probes: Option<Box<[Option<Waker>; 2]>>,
    /// Tasks in `poll_drained`.
    pub(super) drained: Vec<Waker>,
}

/// Wakers to call once no lock is held.
#[derive(Debug, Default)]
struct WakeList {
    one: [Option<Waker>; 3],
    more: Vec<Waker>,
}

impl WakeList {
    fn wake(self) {
        self.one.into_iter().flatten().chain(self.more).for_each(Waker::wake);
    }
}

impl ConnectionState {
    pub(super) fn new(session: Session, connect_deadline: Instant, share: Option<Permit<IpAddr>>) -> Self {
        Self {
            session,
            peer: None,
            idle: None,
            share: share.map(Box::new),
            connect_deadline: Some(connect_deadline),
            driver: None,
            awake: false,
            armed: None,
            blocked: false,
            waiters: None,
            pressure: None,
            output_mark: UNCOUNTED,
            is_slow: false,
            finished: false,
        }
    }

    /// Returns the wakers to call after a state change, or `None` in the common case.
    fn due_wakers(&mut self) -> Option<WakeList> {
        let closed = self.session.closed().is_some();
        let polling = self.session.is_polling();
        let may_send = !polling && !self.blocked && self.session.has_output();
        let driver_is_due = closed || may_send || self.is_due();
        if self.waiters.is_none() && !driver_is_due {
            return None;
        }
        let mut wakers = WakeList::default();
        if let Some(waiters) = &mut self.waiters {
            if closed || !polling || self.session.poll_is_due() {
                wakers.one[0] = waiters.poll.take();
            }
            if closed || self.session.is_drained() {
                wakers.more = std::mem::take(&mut waiters.drained);
            }
            if closed || !polling {
                wakers.one[1] = waiters.post.take();
                if let Some(probes) = waiters.probes.take() {
                    wakers.more.extend(probes.into_iter().flatten());
                }
            }
        }
        if driver_is_due {
            wakers.one[2] = self.wake_driver();
        }
        let is_due = wakers.one.iter().any(Option::is_some) || !wakers.more.is_empty();
        is_due.then_some(wakers)
    }

    /// Unlocks the state, then calls the wakers that are due.
    pub(super) fn unlock_and_wake(mut state: MutexGuard<'_, Self>) {
        let wakers = state.due_wakers();
        drop(state);
        if let Some(wakers) = wakers {
            wakers.wake();
        }
    }

    pub(super) fn waiters(&mut self) -> &mut Waiters {
        self.waiters.get_or_insert_default()
    }

    /// Takes the waker of the task that sends the packets which have just been queued.
    pub(super) fn take_driver_waker(&mut self) -> Option<Waker> {
        match self.session.is_polling() {
            true => self.waiters.as_mut()?.poll.take(),
            false if self.blocked => None,
            false => self.wake_driver(),
        }
    }

    pub(super) fn wake_driver(&mut self) -> Option<Waker> {
        match std::mem::replace(&mut self.awake, true) {
            true => None,
            false => self.driver.clone(),
        }
    }

    /// Parks the driver until `deadline`.
    pub(super) fn park(&mut self, waker: &Waker, deadline: Instant) -> Park {
        let same_waker = self.driver.as_ref().is_some_and(|known| known.will_wake(waker));
        if !same_waker {
            self.driver = Some(waker.clone());
        }
        self.awake = false;
        let same_deadline = self.armed.replace(deadline) == Some(deadline);
        Park::Until { deadline, known: same_waker && same_deadline }
    }

    /// Returns `true` if the driver must set its timer anew.
    pub(super) fn is_due(&self) -> bool {
        self.deadline() < self.armed
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let session = self.session.deadline()?;
        let session = self.connect_deadline.map_or(session, |connect| connect.min(session));
        let pressure = self.pressure.as_ref().and_then(|pressure| pressure.deadline());
        Some(pressure.map_or(session, |pressure| pressure.min(session)))
    }

    pub(super) fn pressure(&mut self) -> &mut Pressure {
        self.pressure.get_or_insert_default()
    }

    /// Returns the deadlines that have expired, and removes them.
    pub(super) fn take_due(&mut self, now: Instant) -> Due {
        let take = |deadline: &mut Option<Instant>| deadline.take_if(|deadline| now >= *deadline).is_some();
        let mut due = Due { connect: take(&mut self.connect_deadline), ..Due::default() };
        if let Some(pressure) = &mut self.pressure {
            due.slow = take(&mut pressure.slow_at);
            due.incomplete = take(&mut pressure.incomplete_until);
        }
        due
    }
}
