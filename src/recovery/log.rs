use std::{collections::VecDeque, time::Instant};

use crate::{
    packet::Encoded,
    room::{Room, Selection},
    socket::SocketId,
};

use super::{Recovery, Saved};

/// Whom an event was for.
#[derive(Debug)]
pub(super) enum Target {
    /// One socket.
    One(SocketId),
    /// All that are in the rooms, without the sender.
    Selection(Selection, Option<SocketId>),
}

/// An event that has been emitted.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) offset: u64,
    at: Instant,
    target: Target,
    pub(super) packet: Encoded,
    cost: usize,
}

/// The events of a namespace, in the order of their offsets, as far back as they are kept.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The offset of the last event. The first event has 1.
    last: u64,
}

impl Log {
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn push(&mut self, settings: &Recovery, at: Instant, target: Target, packet: Encoded) {
        self.last += 1;
        let cost = packet.cost() + target.cost();
        self.bytes += cost;
        self.entries.push_back(Entry { offset: self.last, at, target, packet, cost });
        self.forget_old(settings, at);
    }

    /// Whether everything behind an offset is still known.
    pub(super) fn has_all_since(&self, offset: u64) -> bool {
        self.entries.front().map_or(self.last, |first| first.offset - 1) <= offset
    }

    pub(super) fn since(&self, offset: u64) -> impl Iterator<Item = &Entry> {
        let known = self.entries.partition_point(|entry| entry.offset <= offset);
        self.entries.range(known..)
    }

    pub(super) fn forget_old(&mut self, settings: &Recovery, now: Instant) {
        while let Some(first) = self.entries.front()
            && (self.entries.len() > settings.max_packets
                || self.bytes > settings.max_bytes
                || now.duration_since(first.at) > settings.max_disconnection)
        {
            self.bytes -= first.cost;
            self.entries.pop_front();
        }
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }
}

impl Entry {
    /// Whether the event was for a socket that was away: judged by the rooms that it was in when it left.
    pub(super) fn is_for(&self, saved: &Saved) -> bool {
        match &self.target {
            Target::One(id) => *id == saved.id,
            Target::Selection(_, Some(sender)) if *sender == saved.id => false,
            Target::Selection(Selection { rooms, except }, _) => {
                let was_in = |room: &Room| saved.rooms.get(room).is_some_and(|since| *since < self.offset);
                let is_in = |room: &Room| saved.rooms.contains_key(room);
                (rooms.is_empty() || rooms.iter().any(was_in)) && !except.iter().any(is_in)
            }
        }
    }
}

impl Target {
    /// What the names of its rooms take.
    fn cost(&self) -> usize {
        const ROOM: usize = 48;
        match self {
            Self::One(_) => 0,
            Self::Selection(Selection { rooms, except }, _) => {
                rooms.iter().chain(except).map(|room| room.len() + ROOM).sum()
            }
        }
    }
}
