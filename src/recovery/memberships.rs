use std::{
    collections::{HashMap, VecDeque},
    fmt,
};

use crate::{room::Room, util::shrink};

/// The stays of a session in rooms, in offsets: it is in a room for events whose offset is greater than that of joining, and not
/// greater than that of leaving.
///
/// The current rooms are those of the registry. Stays that have ended are kept while the log contains events of their time, up to
/// [`MAX_LEFT_BYTES`]. Above that, the oldest are dropped, and it is unknown whether events up to their end were for the session.
#[derive(Clone, Default)]
pub(super) struct Memberships {
    /// The offset of joining each room. With std's hasher, which resists chosen keys, because names may come from clients.
    current: HashMap<Room, u64>,
    /// Boxed, because most sessions leave no room.
    left: Option<Box<Left>>,
    /// For events up to this offset it is unknown whether they were for the session.
    known_since: u64,
}

/// Stays that have ended.
#[derive(Clone, Default)]
struct Left {
    stays: HashMap<Room, VecDeque<Stay>>,
    /// The ends of all stays, oldest first.
    ends: VecDeque<(u64, Room)>,
    bytes: usize,
}

#[derive(Debug, Clone, Copy)]
struct Stay {
    joined: u64,
    left: u64,
}

/// The maximum memory for the ended stays of one session. Enough for about 150.
pub(super) const MAX_LEFT_BYTES: usize = 16 << 10;

/// The memory of a stay without the name of its room: entries in the map and in both queues.
const STAY_OVERHEAD: usize = 96;

impl Memberships {
    /// Returns the current rooms.
    pub(super) fn current(&self) -> impl Iterator<Item = &Room> {
        self.current.keys()
    }

    /// Returns the offset after which it is known which events were for the session.
    pub(super) fn known_since(&self) -> u64 {
        self.known_since
    }

    /// Joins a room after the last event. The session must not be in the room.
    pub(super) fn join(&mut self, room: Room, last: u64) {
        self.current.insert(room, last);
    }

    /// Leaves a room after the last event. Events up to `log_start` have been evicted.
    pub(super) fn leave(&mut self, room: &str, last: u64, log_start: u64) {
        let Some((room, joined)) = self.current.remove_entry(room) else {
            return;
        };
        shrink(&mut self.current);
        self.forget(log_start);
        // Otherwise there is no recorded event during the stay.
        if joined.max(log_start) < last {
            self.remember(room, Stay { joined, left: last });
        }
    }

    /// Returns `true` if the session was in a room at an offset.
    pub(super) fn contained(&self, room: &str, offset: u64) -> bool {
        self.current.get(room).is_some_and(|joined| *joined < offset)
            || self.left.as_ref().is_some_and(|left| left.contained(room, offset))
    }

    fn remember(&mut self, room: Room, stay: Stay) {
        let left = self.left.get_or_insert_default();
        left.push(room, stay);
        while left.bytes > MAX_LEFT_BYTES
            && let Some(end) = left.pop()
        {
            self.known_since = self.known_since.max(end);
        }
        self.drop_if_empty();
    }

    /// Drops stays that ended up to `log_start`, because those events have been evicted.
    pub(super) fn forget(&mut self, log_start: u64) {
        let Some(left) = &mut self.left else { return };
        while left.ends.front().is_some_and(|(end, _)| *end <= log_start) {
            left.pop();
        }
        self.drop_if_empty();
    }

    fn drop_if_empty(&mut self) {
        self.left.take_if(|left| left.ends.is_empty());
    }
}

impl Left {
    fn push(&mut self, room: Room, stay: Stay) {
        self.bytes += cost(&room);
        self.stays.entry(room.clone()).or_default().push_back(stay);
        self.ends.push_back((stay.left, room));
    }

    /// Drops the stay that ended first. Returns the offset of its end.
    fn pop(&mut self) -> Option<u64> {
        let (end, room) = self.ends.pop_front()?;
        self.bytes -= cost(&room);
        if let Some(stays) = self.stays.get_mut(&room) {
            stays.pop_front();
            if stays.is_empty() {
                self.stays.remove(&room);
                shrink(&mut self.stays);
            }
        }
        Some(end)
    }

    fn contained(&self, room: &str, offset: u64) -> bool {
        let Some(stays) = self.stays.get(room) else {
            return false;
        };
        let first = stays.partition_point(|stay| stay.left < offset);
        stays.get(first).is_some_and(|stay| stay.joined < offset)
    }
}

fn cost(room: &Room) -> usize {
    room.len() + STAY_OVERHEAD
}

impl fmt::Debug for Memberships {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memberships").field("current", &self.current).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the offsets up to 9 at which a session was in a room.
    fn times(memberships: &Memberships, room: &str) -> Vec<u64> {
        (0..10).filter(|offset| memberships.contained(room, *offset)).collect()
    }

    #[test]
    fn each_stay_in_a_room_counts() {
        let mut memberships = Memberships::default();
        memberships.join("a".into(), 1);
        memberships.leave("a", 3, 0);
        memberships.join("a".into(), 3);
        memberships.leave("a", 3, 0);
        memberships.join("a".into(), 5);
        memberships.leave("a", 6, 0);
        memberships.join("a".into(), 8);
        memberships.join("b".into(), 8);
        assert_eq!(times(&memberships, "a"), [2, 3, 6, 9]);
        assert_eq!(times(&memberships, "b"), [9]);
        assert_eq!(memberships.known_since(), 0);
    }

    #[test]
    fn what_the_log_has_forgotten_is_forgotten() {
        let mut memberships = Memberships::default();
        for offset in 0..1000 {
            memberships.join("a".into(), offset);
            memberships.leave("a", offset + 1, offset.saturating_sub(10));
        }
        assert!(memberships.left.as_ref().unwrap().ends.len() <= 11);
        memberships.join("a".into(), 1000);
        memberships.leave("a", 1000, 1000);
        assert!(memberships.left.is_none());
        assert_eq!(memberships.known_since(), 0);
    }

    #[test]
    fn a_session_that_leaves_rooms_in_a_loop_is_bounded() {
        for length in [1, 1000, MAX_LEFT_BYTES] {
            let mut memberships = Memberships::default();
            for offset in 0..1000 {
                let room = Room::from(format!("{offset:0length$}"));
                memberships.join(room.clone(), offset);
                memberships.leave(&room, offset + 1, 0);
                let left = memberships.left.as_deref();
                assert!(left.is_none_or(|left| left.bytes <= MAX_LEFT_BYTES && left.stays.len() <= 169));
            }
            let known = (0..1000).filter(|offset| *offset >= memberships.known_since());
            let remembered = known.filter(|offset| memberships.contained(&format!("{offset:0length$}"), offset + 1));
            assert_eq!(remembered.count() as u64, 1000 - memberships.known_since());
            assert!(memberships.known_since() > 0);
        }
    }

    #[test]
    fn a_crowd_of_rooms_is_given_back() {
        let mut memberships = Memberships::default();
        let rooms: Vec<Room> = (0..1000).map(|number| Room::from(format!("{number}"))).collect();
        rooms.iter().for_each(|room| memberships.join(room.clone(), 0));
        rooms.iter().for_each(|room| memberships.leave(room, 0, 0));
        assert!(memberships.current.capacity() <= 16);
        assert!(memberships.left.is_none());
    }
}
