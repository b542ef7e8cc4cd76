use std::time::Instant;

use super::budget::Charge;

/// The charges and deadlines of a connection that holds queued packets or incomplete messages. Most connections have none.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    /// The time at which the client is too slow, unless output can be written before.
    pub(super) slow_at: Option<Instant>,
    /// The time at which the connection is closed, unless more of the incomplete message arrives before.
    pub(super) incomplete_until: Option<Instant>,
    /// The size of the incomplete message when that time was set.
    pub(super) incomplete_bytes: usize,
    /// The charge for incomplete messages.
    pub(super) input: Option<Charge>,
    /// The charge for queued packets.
    pub(super) output: Option<Charge>,
}

/// The deadlines that have expired.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) connect: bool,
    pub(super) slow: bool,
    pub(super) incomplete: bool,
}

impl Pressure {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.slow_at.into_iter().chain(self.incomplete_until).min()
    }

    pub(super) fn is_over(&self) -> bool {
        self.deadline().is_none() && self.input.is_none() && self.output.is_none()
    }
}
