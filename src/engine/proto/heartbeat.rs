use std::time::{Duration, Instant};

use super::query::ProtocolVersion;

/// The heartbeat of a session.
///
/// Engine.IO protocol 4, section "Heartbeat": the server sends a ping `interval` after the last pong, and the client responds
/// within `timeout`. In revision 3, the client sends a ping every `interval`.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    state: HeartbeatState,
}

#[derive(Debug, Clone, Copy)]
enum HeartbeatState {
    /// The server sends the next ping at `ping_at`.
    Idle { ping_at: Instant },
    /// The server waits for a pong. Every packet extends the deadline, because a pong may be queued behind a large upload.
    Waiting { until: Instant },
    /// The client sends the pings, and times out at `until`. `heard` is set if other packets arrived since `until` was set.
    Listening { until: Instant, heard: bool },
}

/// The result of [`Heartbeat::handle_timeout`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeartbeatAction {
    Nothing,
    Ping,
    Timeout,
}

impl Heartbeat {
    pub(super) fn new(protocol: ProtocolVersion, now: Instant, interval: Duration, timeout: Duration) -> Self {
        let state = match protocol {
            ProtocolVersion::V3 => HeartbeatState::Listening { until: now + interval + timeout, heard: false },
            ProtocolVersion::V4 => HeartbeatState::Idle { ping_at: now + interval },
        };
        Self { interval, timeout, state }
    }

    /// Returns `true` if the client sends the pings (revision 3).
    pub(super) fn is_client_driven(&self) -> bool {
        matches!(self.state, HeartbeatState::Listening { .. })
    }

    pub(super) fn deadline(&self) -> Instant {
        match self.state {
            HeartbeatState::Idle { ping_at } => ping_at,
            HeartbeatState::Waiting { until } | HeartbeatState::Listening { until, .. } => until,
        }
    }

    /// Returns the time at which the client times out if no further packet arrives.
    pub(super) fn expiry(&self) -> Instant {
        match self.state {
            HeartbeatState::Idle { ping_at } => ping_at + self.timeout,
            HeartbeatState::Waiting { until } | HeartbeatState::Listening { until, .. } => until,
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, HeartbeatState::Waiting { .. })
    }

    pub(super) fn pong(&mut self, now: Instant) {
        self.state = HeartbeatState::Idle { ping_at: now + self.interval };
    }

    /// Handles a ping from the client.
    pub(super) fn pinged(&mut self, now: Instant) {
        self.state = HeartbeatState::Listening { until: now + self.interval + self.timeout, heard: false };
    }

    /// Handles a packet other than a heartbeat. Returns whether the caller should call [`extend`](Self::extend), which needs the
    /// time. In revision 3 it is enough to set a flag.
    pub(super) fn note_packet(&mut self) -> bool {
        if let HeartbeatState::Listening { heard, .. } = &mut self.state {
            *heard = true;
        }
        self.is_waiting()
    }

    /// Moves an expired deadline by `timeout`, because the server has not read from the connection and cannot know whether the
    /// client is silent. Returns `true` if it did. The caller then sends a packet: writing fails if the connection is broken.
    pub(super) fn defer_timeout(&mut self, now: Instant) -> bool {
        match &mut self.state {
            HeartbeatState::Waiting { until } | HeartbeatState::Listening { until, .. } if now >= *until => {
                *until = now + self.timeout;
                true
            }
            HeartbeatState::Idle { .. } | HeartbeatState::Waiting { .. } | HeartbeatState::Listening { .. } => false,
        }
    }

    /// Moves the deadline to at least `timeout` from now.
    pub(super) fn extend(&mut self, now: Instant) {
        if let HeartbeatState::Waiting { until } | HeartbeatState::Listening { until, .. } = &mut self.state {
            *until = (*until).max(now + self.timeout);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> HeartbeatAction {
        match self.state {
            HeartbeatState::Idle { ping_at } if now >= ping_at => {
                self.state = HeartbeatState::Waiting { until: now + self.timeout };
                HeartbeatAction::Ping
            }
            HeartbeatState::Listening { until, heard: true } if now >= until => {
                self.state = HeartbeatState::Listening { until: now + self.timeout, heard: false };
                HeartbeatAction::Nothing
            }
            HeartbeatState::Waiting { until } | HeartbeatState::Listening { until, .. } if now >= until => {
                HeartbeatAction::Timeout
            }
            HeartbeatState::Idle { .. } | HeartbeatState::Waiting { .. } | HeartbeatState::Listening { .. } => {
                HeartbeatAction::Nothing
            }
        }
    }
}
