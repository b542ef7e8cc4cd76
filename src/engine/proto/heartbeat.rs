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
    /// A ping is out. Whatever arrives shows that the peer lives, and extends the deadline: a pong may be stuck behind a
    /// large upload.
    Waiting { until: Instant },
    /// The client pings; it is given up at this time. `heard`: other packets have arrived since the time was set.
    Listening { until: Instant, heard: bool },
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
            Protocol::V3 => State::Listening { until: now + interval + timeout, heard: false },
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
            State::Waiting { until } | State::Listening { until, .. } => until,
        }
    }

    /// When the peer is given up if nothing arrives any more.
    pub(super) fn expiry(&self) -> Instant {
        match self.state {
            State::Idle { ping_at } => ping_at + self.timeout,
            State::Waiting { until } | State::Listening { until, .. } => until,
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
        self.state = State::Listening { until: now + self.interval + self.timeout, heard: false };
    }

    /// Another packet than a heartbeat has arrived. Returns whether [`extend`](Self::extend) should be called: where the client pings,
    /// it is enough to note it.
    pub(super) fn note_packet(&mut self) -> bool {
        if let State::Listening { heard, .. } = &mut self.state {
            *heard = true;
        }
        self.is_waiting()
    }

    /// The server itself has not been reading: the peer's silence says nothing. Something is to be sent instead, now and
    /// whenever another `timeout` has passed: if the connection is broken, writing fails.
    pub(super) fn excuse(&mut self, now: Instant) -> bool {
        match &mut self.state {
            State::Waiting { until } | State::Listening { until, .. } if now >= *until => {
                *until = now + self.timeout;
                true
            }
            State::Idle { .. } | State::Waiting { .. } | State::Listening { .. } => false,
        }
    }

    /// Gives the client another `timeout`: it has been heard, or could not be.
    pub(super) fn extend(&mut self, now: Instant) {
        if let State::Waiting { until } | State::Listening { until, .. } = &mut self.state {
            *until = (*until).max(now + self.timeout);
        }
    }

    pub(super) fn tick(&mut self, now: Instant) -> Beat {
        match self.state {
            State::Idle { ping_at } if now >= ping_at => {
                self.state = State::Waiting { until: now + self.timeout };
                Beat::Ping
            }
            State::Listening { until, heard: true } if now >= until => {
                self.state = State::Listening { until: now + self.timeout, heard: false };
                Beat::Nothing
            }
            State::Waiting { until } | State::Listening { until, .. } if now >= until => Beat::Timeout,
            State::Idle { .. } | State::Waiting { .. } | State::Listening { .. } => Beat::Nothing,
        }
    }
}
