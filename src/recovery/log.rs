use std::{collections::VecDeque, time::Instant};

use crate::packet::Encoded;

use super::{
    config::RecoveryConfig,
    scope::{Scope, SessionKey},
};

/// A recorded event.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) offset: u64,
    at: Instant,
    pub(super) scope: Scope,
    pub(super) packet: Encoded,
    cost: usize,
}

/// The recorded events of a namespace, in the order of their offsets.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The offset of the last event. The first event has offset 1.
    last: u64,
}

impl Log {
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Returns the offset of the last evicted event.
    pub(super) fn start(&self) -> u64 {
        self.entries.front().map_or(self.last, |first| first.offset - 1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Appends an event with the next offset. `packet` must contain that offset.
    pub(super) fn push(&mut self, config: &RecoveryConfig, at: Instant, scope: Scope, packet: Encoded) {
        self.last += 1;
        let cost = packet.kept_cost() + scope.cost();
        self.bytes += cost;
        self.entries.push_back(Entry { offset: self.last, at, scope, packet, cost });
        self.forget_old(config, at);
    }

    /// Returns the recorded events after an offset.
    pub(super) fn since(&self, offset: u64) -> impl Iterator<Item = &Entry> {
        let known = self.entries.partition_point(|entry| entry.offset <= offset);
        self.entries.range(known..)
    }

    /// Withdraws events after an offset that were for a failed attempt to join.
    pub(super) fn undo(&mut self, failed: SessionKey, offset: u64) {
        let known = self.entries.partition_point(|entry| entry.offset <= offset);
        for entry in self.entries.range_mut(known..) {
            if matches!(entry.scope, Scope::One { attempt: Some(attempt), .. } if attempt == failed) {
                entry.scope = Scope::Nobody;
            }
        }
    }

    pub(super) fn forget_old(&mut self, config: &RecoveryConfig, now: Instant) {
        while let Some(first) = self.entries.front()
            && (self.entries.len() > config.max_packets
                || self.bytes > config.max_bytes
                || now.duration_since(first.at) > config.max_disconnection)
        {
            self.bytes -= first.cost;
            self.entries.pop_front();
        }
        if self.entries.capacity() > 16 && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }
}
