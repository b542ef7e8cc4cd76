use std::time::Instant;

use super::budget::Charge;

/// What is watched while a connection holds something. Most connections hold nothing, most of the time.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    /// When the client is too slow, unless some of what waits for it can be written before.
    pub(super) slow_at: Option<Instant>,
    /// When the connection is closed, unless more of a message that has arrived in part does so before.
    pub(super) incomplete_until: Option<Instant>,
    /// How much of that message was there when the time was set.
    pub(super) incomplete_bytes: usize,
    /// What has arrived in part.
    pub(super) input: Option<Charge>,
    /// What waits to be sent.
    pub(super) output: Option<Charge>,
}

/// What has become due.
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
