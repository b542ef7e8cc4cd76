use std::time::{Duration, Instant};

/// The heartbeat of a session.
///
/// Engine.IO protocol 4, section "Heartbeat": the server pings `interval` after the last pong, and the client answers
/// within `timeout`.
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
}

/// What became due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Beat {
    Nothing,
    Ping,
    Timeout,
}

impl Heartbeat {
    pub(super) fn new(now: Instant, interval: Duration, timeout: Duration) -> Self {
        Self { interval, timeout, state: State::Idle { ping_at: now + interval } }
    }

    pub(super) fn deadline(&self) -> Instant {
        match self.state {
            State::Idle { ping_at } => ping_at,
            State::Waiting { until, .. } => until,
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    pub(super) fn pong(&mut self, now: Instant) {
        self.state = State::Idle { ping_at: now + self.interval };
    }

    /// Another packet than a pong has arrived.
    pub(super) fn heard(&mut self, now: Instant) {
        if let State::Waiting { until, extended: false } = self.state {
            self.state = State::Waiting { until: until.max(now + self.timeout), extended: true };
        }
    }

    /// The server itself has not been reading: the peer's silence says nothing.
    pub(super) fn excuse(&mut self, now: Instant) {
        if let State::Waiting { until, extended } = self.state {
            self.state = State::Waiting { until: until.max(now + self.timeout), extended };
        }
    }

    pub(super) fn tick(&mut self, now: Instant) -> Beat {
        match self.state {
            State::Idle { ping_at } if now >= ping_at => {
                self.state = State::Waiting { until: now + self.timeout, extended: false };
                Beat::Ping
            }
            State::Waiting { until, .. } if now >= until => Beat::Timeout,
            State::Idle { .. } | State::Waiting { .. } => Beat::Nothing,
        }
    }
}
