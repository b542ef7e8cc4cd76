use std::{net::IpAddr, sync::Arc, task::Waker, time::Instant};

use parking_lot::MutexGuard;

use crate::{
    engine::{Packet, Peer, Session},
    util::Permit,
};

use super::{
    budget::UNCOUNTED,
    pressure::{Due, Pressure},
};

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

/// The session, and who waits for it.
pub(super) struct State {
    pub(super) session: Session,
    /// The client as the handler keeps it, from the beginning of the session to its end.
    pub(super) peer: Option<Arc<dyn Peer>>,
    /// The place among the server's idle sessions. `None` once a namespace has been joined, or the session is over.
    pub(super) idle: Option<u32>,
    /// What the session takes of its address's share.
    pub(super) share: Option<Box<Permit<IpAddr>>>,
    /// When the connection is closed if it has joined no namespace.
    pub(super) connect_deadline: Option<Instant>,
    /// Who keeps the time, and with WebSocket carries the packets.
    pub(super) driver: Option<Waker>,
    /// The driver runs, or has been woken: it looks at the session before it rests.
    pub(super) awake: bool,
    /// The deadline that the driver knows of.
    armed: Option<Instant>,
    /// The driver cannot write: more output is no reason to wake it.
    pub(super) blocked: bool,
    /// Who else waits; with WebSocket mostly nobody.
    pub(super) waiters: Option<Box<Waiters>>,
    /// What the connection holds, and for how long.
    pub(super) pressure: Option<Box<Pressure>>,
    /// When more than this waits to be sent, it is to be counted.
    pub(super) output_mark: usize,
    /// The client has been too slow since its outbox was empty.
    pub(super) is_slow: bool,
    /// The end of the session has been dealt with.
    pub(super) finished: bool,
}

#[derive(Debug, Default)]
pub(super) struct Waiters {
    /// The GET that is pending.
    pub(super) poll: Option<Waker>,
    /// The POST that is under way.
    pub(super) post: Option<Waker>,
    /// The WebSocket that probes.
    pub(super) probe: Option<Waker>,
    /// Who waits until everything has been sent.
    pub(super) drained: Vec<Waker>,
}

/// Wakers to be woken once no lock is held.
#[derive(Debug, Default)]
struct Wakes {
    one: [Option<Waker>; 4],
    drained: Vec<Waker>,
}

impl Wakes {
    fn wake(self) {
        self.one.into_iter().flatten().chain(self.drained).for_each(Waker::wake);
    }
}

impl State {
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

    /// Whom a change concerns; mostly nobody.
    fn wakes(&mut self) -> Option<Wakes> {
        let closed = self.session.closed().is_some();
        let polling = self.session.is_polling();
        let may_send = !polling && !self.blocked && self.session.has_output();
        let driver_is_due = closed || may_send || self.deadline() < self.armed;
        if self.waiters.is_none() && !driver_is_due {
            return None;
        }
        let mut wakes = Wakes::default();
        if let Some(waiters) = &mut self.waiters {
            if closed || !polling || self.session.poll_is_due() {
                wakes.one[0] = waiters.poll.take();
            }
            if closed || !polling {
                wakes.one[1] = waiters.post.take();
            }
            if closed {
                wakes.one[2] = waiters.probe.take();
            }
            if closed || self.session.is_drained() {
                wakes.drained = std::mem::take(&mut waiters.drained);
            }
        }
        if driver_is_due {
            wakes.one[3] = self.wake_driver();
        }
        let somebody = wakes.one.iter().any(Option::is_some) || !wakes.drained.is_empty();
        somebody.then_some(wakes)
    }

    /// Wakes whom a change concerns, once nothing is locked.
    pub(super) fn unlock_and_wake(mut state: MutexGuard<'_, Self>) {
        let wakes = state.wakes();
        drop(state);
        if let Some(wakes) = wakes {
            wakes.wake();
        }
    }

    pub(super) fn waiters(&mut self) -> &mut Waiters {
        self.waiters.get_or_insert_default()
    }

    /// Whoever carries what has just been queued.
    pub(super) fn take_carrier(&mut self) -> Option<Waker> {
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

    /// The driver goes to sleep. Answers until when, and whether its timer knows that already.
    pub(super) fn rest(&mut self, waker: &Waker, deadline: Instant) -> Rest {
        let same_waker = self.driver.as_ref().is_some_and(|known| known.will_wake(waker));
        if !same_waker {
            self.driver = Some(waker.clone());
        }
        self.awake = false;
        let same_deadline = self.armed.replace(deadline) == Some(deadline);
        Rest::Until { deadline, known: same_waker && same_deadline }
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

    /// Takes out what has become due.
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
