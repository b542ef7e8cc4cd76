use std::time::{Duration, Instant};

use super::query::Protocol;

/// The heartbeat of a session.
///
/// Engine.IO protocol 4, section "Heartbeat": the server pings `interval` after the last pong, and the client answers
/// within `timeout`. In revision 3 it is the client who pings every `interval`.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// The next ping is due.
    Idle { ping_at: Instant },
    /// A ping is out. Any other packet shows that the peer lives, and extends the deadline once for each ping: a pong
    /// may be stuck behind a large upload.
    Waiting { until: Instant, extended: bool },
    /// The client pings; it is given up at this time.
    Listening { until: Instant },
}

/// What became due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Beat {
    Nothing,
    Ping,
    Timeout,
}

impl Heartbeat {
    pub(super) fn new(protocol: Protocol, now: Instant, interval: Duration, timeout: Duration) -> Self {
        let state = match protocol {
            Protocol::V3 => State::Listening { until: now + interval + timeout },
            Protocol::V4 => State::Idle { ping_at: now + interval },
        };
        Self { interval, timeout, state }
    }

    /// Whether it is the client who pings.
    pub(super) fn is_clients(&self) -> bool {
        matches!(self.state, State::Listening { .. })
    }

    pub(super) fn deadline(&self) -> Instant {
        match self.state {
            State::Idle { ping_at } => ping_at,
            State::Waiting { until, .. } | State::Listening { until } => until,
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    pub(super) fn pong(&mut self, now: Instant) {
        self.state = State::Idle { ping_at: now + self.interval };
    }

    /// The client has pinged.
    pub(super) fn pinged(&mut self, now: Instant) {
        self.state = State::Listening { until: now + self.interval + self.timeout };
    }

    /// Another packet than a pong has arrived.
    pub(super) fn heard(&mut self, now: Instant) {
        if let State::Waiting { until, extended: false } = self.state {
            self.state = State::Waiting { until: until.max(now + self.timeout), extended: true };
        }
    }

    /// The server itself has not been reading: the peer's silence says nothing. Something is to be sent instead, now and
    /// whenever another `timeout` has passed: if the connection is broken, writing fails.
    pub(super) fn excuse(&mut self, now: Instant) -> bool {
        match &mut self.state {
            State::Waiting { until, .. } | State::Listening { until } if now >= *until => {
                *until = now + self.timeout;
                true
            }
            State::Idle { .. } | State::Waiting { .. } | State::Listening { .. } => false,
        }
    }

    /// Gives the client another `timeout`.
    pub(super) fn extend(&mut self, now: Instant) {
        if let State::Waiting { until, .. } | State::Listening { until } = &mut self.state {
            *until = (*until).max(now + self.timeout);
        }
    }

    pub(super) fn tick(&mut self, now: Instant) -> Beat {
        match self.state {
            State::Idle { ping_at } if now >= ping_at => {
                self.state = State::Waiting { until: now + self.timeout, extended: false };
                Beat::Ping
            }
            State::Waiting { until, .. } | State::Listening { until } if now >= until => Beat::Timeout,
            State::Idle { .. } | State::Waiting { .. } | State::Listening { .. } => Beat::Nothing,
        }
    }
}
