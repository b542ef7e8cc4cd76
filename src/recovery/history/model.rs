//! Compares a history and a registry with a simple model. Used by the property test and the fuzz target.
//!
//! For each event, the model records for which sessions it is at the time it is emitted. Afterwards each client must get exactly
//! those events, once and in order, or a new session.

mod client;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use http::Extensions;

use crate::{
    engine::ProtocolVersion,
    packet::{Encoded, Target, encode_event},
    room::{Registry, Room, Selection, SocketId},
};

use self::client::{Client, Connection, Joined, Seat, Session, View};
use super::{History, RecoveryConfig, Restored, Scope, SessionKey, Stamp};

const CLIENTS: usize = 3;
const ROOMS: u8 = 4;
const MAX_DISCONNECTION: Duration = Duration::from_secs(100);
/// A session remembers all rooms that it has left if their stays take less than this.
const CERTAINLY_REMEMBERED: usize = 16 << 10;

/// Longer scripts find no additional errors.
const MAX_OPERATIONS: usize = 300;

/// Interprets bytes as operations, and compares the history with the model.
pub(crate) fn run(script: &[u8]) {
    let Some((limits, operations)) = script.split_first() else { return };
    let mut world = World::new(*limits);
    for operation in operations.chunks_exact(3).take(MAX_OPERATIONS) {
        world.apply(operation[0], operation[1], operation[2]);
        world.check();
    }
    // Clients that can be recovered get the remaining events.
    for index in 0..CLIENTS {
        world.come_back(index, 1);
        world.read(index, usize::MAX);
    }
}

struct World {
    history: History,
    registry: Registry<Seat>,
    now: Instant,
    limits: Limits,
    clients: [Client; CLIENTS],
    /// The time of each event. The first one has offset 1.
    recorded: Vec<Instant>,
    /// The private ids of sessions that are away, by the time of their disconnection.
    away: BTreeMap<(Instant, u64), Arc<str>>,
    next_away: u64,
    next_id: u32,
}

#[derive(Clone, Copy)]
struct Limits {
    packets: usize,
    sessions: usize,
    /// Whether slow clients are disconnected and get no further event. Otherwise they stay, and packets that do not fit are
    /// dropped.
    lets_go: bool,
}

/// The expected result of a claim.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Recovered,
    New,
    Either,
}

fn room(number: u8) -> Room {
    format!("r{}", number % ROOMS).into()
}

fn left_bytes(room: &Room) -> usize {
    room.len() + 96
}

fn event(stamp: Stamp) -> Encoded {
    encode_event(Target { namespace: "/", id: None }, "n", &stamp.offset).expect("a number is JSON")
}

/// Returns the number in a stamped event, which is equal to its offset.
fn number(stamped: &Encoded) -> u64 {
    let text = std::str::from_utf8(stamped.packets()[0].text().expect("it is text")).expect("it is UTF-8");
    let json = &text[text.find('[').expect("it is an event")..];
    let (_, number, offset): (String, u64, String) = serde_json::from_str(json).expect("a name, a number, an offset");
    assert_eq!(offset, format!("tag.{number:x}"));
    number
}

impl World {
    fn new(limits: u8) -> Self {
        let limits = Limits {
            packets: [2, 10, 1000, 1000][usize::from(limits % 4)],
            sessions: [1, 2, 100, 100][usize::from(limits / 4 % 4)],
            lets_go: limits < 128,
        };
        let config = RecoveryConfig::new()
            .max_disconnection(MAX_DISCONNECTION)
            .max_packets(limits.packets)
            .max_sessions(limits.sessions);
        Self {
            history: History::new(config, "tag".to_owned()),
            registry: Registry::default(),
            now: Instant::now(),
            limits,
            clients: Default::default(),
            recorded: Vec::new(),
            away: BTreeMap::new(),
            next_away: 0,
            next_id: 0,
        }
    }

    fn apply(&mut self, operation: u8, first: u8, second: u8) {
        let client = usize::from(first) % CLIENTS;
        match operation % 24 {
            0 => {}
            1 => self.claim(client, second),
            2 | 3 => self.come_back(client, second),
            4 => self.enter_namespace(client),
            5 | 6 => self.accept(client),
            7 => self.refuse(client),
            8 => self.lose(client),
            9 => self.dismiss(client),
            10 => self.die(client),
            11 => self.clients[client].is_slow ^= true,
            12 => self.emit(first, second, None, false),
            13 => self.emit(first, second & 0xf, Some(usize::from(second >> 4) % CLIENTS), false),
            14 => self.emit(first, second, None, true),
            15 => self.emit_to(client, second.is_multiple_of(4)),
            16 => self.join(client, &room(second)),
            17 => self.leave(client, &room(second)),
            18 => self.read(client, usize::from(second) % 8),
            19 if second < 128 => self.wait(second),
            19 => self.wander(client, second - 128),
            20 => self.connect(client),
            // Events for other sockets only advance the log.
            21 => (0..second % 16).for_each(|_| self.emit_elsewhere()),
            _ => self.read(client, usize::MAX),
        }
    }

    fn last(&self) -> u64 {
        self.recorded.len() as u64
    }

    /// Returns the offset of the last event that must have been evicted.
    fn log_start(&self) -> u64 {
        let is_fresh = |at: &&Instant| self.now.duration_since(**at) <= MAX_DISCONNECTION;
        let fresh = self.recorded.iter().rev().take_while(is_fresh).count();
        self.last() - fresh.min(self.limits.packets) as u64
    }

    // Events.

    /// Returns the rooms of a bit set: some are joined, others are those of the clients' ids.
    fn rooms(&self, set: u8) -> Vec<Room> {
        let own = self.clients.iter().map(|client| match &client.session {
            Some(session) => session.id.room(),
            None => "nobody".into(),
        });
        let all = (0..ROOMS).map(room).chain(own).enumerate();
        all.filter(|(bit, _)| set >> bit & 1 == 1).map(|(_, room)| room).collect()
    }

    fn emit(&mut self, to: u8, except: u8, sender: Option<usize>, volatile: bool) {
        let selection = Selection { rooms: self.rooms(to), except: self.rooms(except) };
        let sender = sender.and_then(|index| self.clients[index].session.as_ref()).map(|session| session.id.clone());
        self.emit_to_rooms(selection, sender, volatile);
    }

    fn emit_to_rooms(&mut self, selection: Selection, sender: Option<SocketId>, volatile: bool) {
        let member = sender.as_ref().and_then(|id| self.registry.id_of(id));
        let recipients: Vec<usize> = self.registry.select(&selection, member).iter().map(Seat::index).collect();
        if volatile {
            return self.give(&recipients, true, true);
        }
        let offset = self.last() + 1;
        for session in self.clients.iter_mut().filter_map(|client| client.session.as_mut()) {
            let id = session.id.clone();
            for view in session.views() {
                let is_in = |room: &Room| **room == *id || view.rooms.contains(room);
                if (selection.rooms.is_empty() || selection.rooms.iter().any(is_in))
                    && !selection.except.iter().any(is_in)
                    && sender.as_ref() != Some(&id)
                {
                    view.events.insert(offset, false);
                }
            }
        }
        self.give(&recipients, false, true);
        self.record(Scope::Selection { selection, sender });
    }

    fn wait(&mut self, seconds: u8) {
        self.now += Duration::from_secs(seconds.into());
        if seconds.is_multiple_of(2) {
            drop(self.history.clean(self.now));
        }
    }

    fn emit_elsewhere(&mut self) {
        self.record(Scope::Selection {
            selection: Selection { rooms: vec!["elsewhere".into()], except: Vec::new() },
            sender: None,
        });
    }

    /// Emits to one client. `from_outside` uses the handle of a previous socket of the client.
    fn emit_to(&mut self, index: usize, from_outside: bool) {
        let offset = self.last() + 1;
        let client = &mut self.clients[index];
        let Some(session) = &mut client.session else { return };
        let id = session.id.clone();
        let mut attempt = None;
        let mut is_recorded = true;
        let is_member = match &mut client.connection {
            Connection::None if self.history.is_away(self.now, &session.private_id) => false,
            Connection::None => return,
            Connection::Entering { early, .. } if !from_outside => {
                *early += 1;
                return;
            }
            // No other code has a handle to a new socket.
            Connection::Entering { restored, .. } if restored.is_none() => return,
            Connection::Entering { .. } => false,
            Connection::Joined(joined) => {
                if joined.is_new() && (joined.is_dead || from_outside) {
                    return;
                }
                if !joined.accepted && !joined.is_dead && !from_outside {
                    attempt = Some(joined.key);
                }
                // If slow clients stay, packets that do not fit are rejected. If slow clients are disconnected, they are
                // rejected only if the client cannot be recovered.
                is_recorded = !client.is_slow || joined.is_dead || self.limits.lets_go && !joined.is_new();
                true
            }
        };
        if is_recorded {
            match &mut session.tried {
                Some(tried) if attempt.is_some() => {
                    tried.events.insert(offset, false);
                }
                _ => session.views().for_each(|view| {
                    view.events.insert(offset, false);
                }),
            }
        }
        if is_member {
            self.give(&[index], false, is_recorded);
        }
        if is_recorded {
            self.record(Scope::One { id, attempt });
        }
    }

    /// Sends the next event to recipients, as `Memory` does.
    fn give(&mut self, recipients: &[usize], volatile: bool, is_recorded: bool) {
        let stamp = self.history.stamp(self.now, volatile);
        assert_eq!(number(&self.history.stamped(stamp, &event(stamp))), self.last() + u64::from(!volatile));
        for index in recipients {
            let client = &mut self.clients[*index];
            let (Connection::Joined(joined), Some(session)) = (&mut client.connection, &mut client.session) else {
                panic!("it is a member")
            };
            let cursor = self.history.cursor(joined.key).expect("it is a member");
            assert_eq!(cursor.has_missed(), joined.first_missed.is_some());
            if joined.first_missed.is_some() && self.limits.lets_go {
                continue;
            }
            if !client.is_slow && !joined.is_dead {
                cursor.sent(stamp);
                joined.first_missed = None;
                joined.wire.push_back((stamp.offset, volatile));
                session.current().sent(stamp.offset, &mut joined.missed);
            } else if !volatile {
                cursor.missed(stamp);
                joined.first_missed.get_or_insert(stamp.offset);
                joined.missed.extend(is_recorded.then_some(stamp.offset));
            }
        }
    }

    fn record(&mut self, scope: Scope) {
        let stamp = self.history.stamp(self.now, false);
        let stamped = self.history.stamped(stamp, &event(stamp));
        self.history.record(self.now, scope, stamped);
        self.recorded.push(self.now);
    }

    /// Reads at the client, if it is connected. What arrives must be the next event for it.
    fn read(&mut self, index: usize, count: usize) {
        let Client { connection: Connection::Joined(joined), session: Some(session), .. } = &mut self.clients[index]
        else {
            return;
        };
        if !joined.accepted || joined.is_dead {
            return;
        }
        for (offset, volatile) in joined.wire.drain(..count.min(joined.wire.len())) {
            let next = session.unseen().find(|event| *event <= offset);
            if volatile {
                assert_eq!(next, None, "it is missing before the volatile event at {offset}");
            } else {
                assert!(offset > session.seen && session.view.events.contains_key(&offset), "{offset} is not for it");
                assert!(next.is_none_or(|next| next == offset), "{next:?} is missing before {offset}");
            }
            session.seen = session.seen.max(offset);
            session.offsets.push(offset);
        }
        if joined.wire.is_empty() && joined.first_missed.is_none() {
            assert_eq!(session.unseen().next(), None, "it has not been sent");
        }
    }

    // Rooms.

    fn join(&mut self, index: usize, room: &Room) {
        let client = &mut self.clients[index];
        match &mut client.connection {
            Connection::None => {}
            Connection::Entering { joined, .. } => {
                joined.insert(room.clone());
            }
            Connection::Joined(joined) => {
                let session = client.session.as_mut().expect("it is a member");
                let is_new = self.registry.join(joined.seat.member(), room).cloned();
                assert_eq!(is_new.is_some(), session.current().rooms.insert(room.clone()));
                is_new.into_iter().for_each(|room| self.history.enter(joined.key, room));
            }
        }
    }

    fn leave(&mut self, index: usize, room: &Room) {
        let client = &mut self.clients[index];
        match &mut client.connection {
            Connection::None => {}
            Connection::Entering { joined, left, .. } => {
                joined.remove(room);
                left.insert(room.clone());
            }
            Connection::Joined(joined) => {
                let view = client.session.as_mut().expect("it is a member").current();
                let was_in = self.registry.leave(joined.seat.member(), room);
                assert_eq!(was_in, view.rooms.remove(room));
                if was_in {
                    view.left_bytes += left_bytes(room);
                    self.history.exit(joined.key, room);
                }
            }
        }
    }

    /// Moves a client through rooms, with events in some of them.
    fn wander(&mut self, index: usize, times: u8) {
        for time in 0..times {
            let room = Room::from(format!("corridor {:0200}", time % 8));
            self.join(index, &room);
            let selection = Selection { rooms: vec![room.clone()], except: Vec::new() };
            if time % 3 != 0 {
                self.emit_to_rooms(selection, None, false);
            }
            self.leave(index, &room);
        }
    }

    // Coming.

    /// Begins a new session. The client is `Entering`.
    fn begin(&mut self, index: usize) {
        self.next_id += 1;
        let name: Arc<str> = format!("s{}", self.next_id).into();
        let session = Session {
            id: SocketId::new(ProtocolVersion::V3, &name, "/"),
            private_id: name,
            begun: 0,
            seen: 0,
            offsets: Vec::new(),
            view: View::default(),
            tried: None,
        };
        self.clients[index] = Client { session: Some(session), connection: Connection::entering(None), is_slow: false };
    }

    fn connect(&mut self, index: usize) {
        // The client's previous session is kept, within the limits.
        self.lose(index);
        self.begin(index);
        self.enter_namespace(index);
        self.accept(index);
    }

    /// Disconnects the client, possibly before the server notices, and claims its session.
    fn claim(&mut self, index: usize, how: u8) {
        self.lose(index);
        let Some(session) = &self.clients[index].session else { return };
        let private_id = session.private_id.clone();
        let (offset, text) = session.bring(how);
        let expected = self.outcome(session, offset);
        let (restored, garbage) = self.history.claim(self.now, &private_id, text.as_deref());
        self.away.retain(|_, away| *away != private_id);
        drop(garbage);
        match (restored, offset) {
            (Some(restored), Some(offset)) if expected != Outcome::New => {
                let session = self.clients[index].session.as_mut().expect("it has one");
                session.forget_since(offset);
                assert_eq!((&restored.saved.id, &restored.saved.private_id), (&session.id, &private_id));
                self.clients[index].connection = Connection::entering(Some(restored));
            }
            (None, _) if expected != Outcome::Recovered => self.begin(index),
            (restored, _) => panic!("{expected:?} was expected, but it is {restored:?}"),
        }
        // A second claim fails.
        let (again, garbage) = self.history.claim(self.now, &private_id, None);
        assert!(again.is_none() && garbage.is_empty());
    }

    /// Returns the expected result of a claim. `None` stands for an offset of another server.
    fn outcome(&self, session: &Session, offset: Option<u64>) -> Outcome {
        let Session { view, begun, .. } = session;
        let last_sent = view.last_sent.max(*begun);
        let is_known = self.away.iter().any(|((left, _), away)| {
            *away == session.private_id && self.now.duration_since(*left) <= MAX_DISCONNECTION
        });
        let Some(offset) = offset.filter(|offset| is_known && *offset <= last_sent) else {
            return Outcome::New;
        };
        let (start, seen) = (self.log_start(), offset.max(*begun));
        let lost = |(event, dropped): (&u64, &bool)| *event > seen && *event <= start && !dropped;
        if view.events.iter().any(|(event, dropped)| lost((event, dropped))) {
            Outcome::New
        } else if (seen >= start || seen == last_sent && view.complete_until >= start)
            && view.left_bytes <= CERTAINLY_REMEMBERED
        {
            Outcome::Recovered
        } else {
            Outcome::Either
        }
    }

    fn come_back(&mut self, index: usize, how: u8) {
        self.claim(index, how);
        self.enter_namespace(index);
        self.accept(index);
    }

    fn enter_namespace(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let Connection::Entering { restored, early, joined, left } = &mut client.connection else { return };
        let (restored, early) = (restored.take(), *early);
        let (joined, left) = (std::mem::take(joined), std::mem::take(left));
        let session = client.session.as_mut().expect("it has one");
        let seat = Seat::new(index, session.id.clone());
        let position = restored.as_ref().map(|restored| restored.position.from);
        let joined_history = self.history.join(session.id.clone(), session.private_id.clone(), restored.as_ref());
        let Some((key, missed)) = joined_history else {
            // Events that it missed have been evicted since the claim.
            assert!(position.is_some_and(|from| from < self.history.log.start()));
            client.connection = Connection::None;
            return;
        };
        let id = self.registry.insert(seat.clone());
        let was_in: BTreeSet<Room> = restored.iter().flat_map(Restored::rooms).cloned().collect();
        assert_eq!(was_in, session.view.rooms);
        was_in.difference(&left).for_each(|room| drop(self.registry.join(id, room).cloned()));
        let missed: Vec<u64> = missed.iter().map(number).collect();
        match &restored {
            Some(_) => {
                session.check_missed(&missed);
                let last_sent = missed.last().copied().unwrap_or(session.seen);
                session.tried = Some(View { last_sent, ..session.view.clone() });
            }
            None => {
                let last = self.recorded.len() as u64;
                (session.begun, session.seen) = (last, last);
                session.view = View { last_sent: last, ..View::default() };
            }
        }
        let view = session.current();
        for room in &left {
            if view.rooms.remove(room) {
                view.left_bytes += left_bytes(room);
            }
            self.history.exit(key, room);
        }
        for room in joined {
            if let Some(room) = self.registry.join(id, &room).cloned() {
                assert!(view.rooms.insert(room.clone()));
                self.history.enter(key, room);
            }
        }
        let wire = missed.into_iter().map(|event| (event, false)).collect();
        client.connection = Connection::Joined(Joined {
            seat,
            key,
            restored,
            accepted: false,
            wire,
            is_dead: false,
            first_missed: None,
            missed: Vec::new(),
        });
        client.is_slow = false;
        (0..early).for_each(|_| self.emit_to(index, false));
    }

    fn accept(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if let (Connection::Joined(joined), Some(session)) = (&mut client.connection, &mut client.session)
            && !joined.is_dead
        {
            joined.accepted = true;
            joined.restored = None;
            session.view = session.tried.take().unwrap_or_else(|| std::mem::take(&mut session.view));
        }
    }

    // Going.

    fn refuse(&mut self, index: usize) {
        match &self.clients[index].connection {
            Connection::Entering { .. } | Connection::Joined(Joined { accepted: false, .. }) => self.lose(index),
            Connection::Joined(_) | Connection::None => {}
        }
    }

    /// Cuts the connection. The socket stays a member while its handlers run.
    fn die(&mut self, index: usize) {
        if let Connection::Joined(joined) = &mut self.clients[index].connection {
            joined.is_dead = true;
        }
    }

    fn lose(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let Some(session) = &mut client.session else { return };
        session.tried = None;
        match std::mem::take(&mut client.connection) {
            Connection::None => {}
            Connection::Entering { restored, .. } => match restored {
                Some(restored) => self.take_back(None, &restored),
                None => self.clients[index] = Client::default(),
            },
            Connection::Joined(joined) => {
                self.registry.remove(joined.seat.member());
                if joined.accepted {
                    session.view.complete_until =
                        joined.first_missed.map_or(self.recorded.len() as u64, |first| first - 1);
                    let private_id = session.private_id.clone();
                    drop(self.history.lose(self.now, joined.key, None, Extensions::new()));
                    self.keep(private_id, self.now);
                } else if let Some(restored) = joined.restored {
                    self.take_back(Some(joined.key), &restored);
                } else {
                    self.history.end(joined.key);
                    self.clients[index] = Client::default();
                }
            }
        }
    }

    fn take_back(&mut self, key: Option<SessionKey>, restored: &Restored) {
        drop(self.history.take_back(self.now, key, restored));
        self.keep(restored.saved.private_id.clone(), restored.left);
    }

    fn keep(&mut self, private_id: Arc<str>, left: Instant) {
        self.away.retain(|(left, _), _| self.now.duration_since(*left) <= MAX_DISCONNECTION);
        self.away.insert((left, self.next_away), private_id);
        self.next_away += 1;
        while self.away.len() > self.limits.sessions {
            self.away.pop_first();
        }
    }

    fn dismiss(&mut self, index: usize) {
        if let Connection::Joined(joined) = &self.clients[index].connection
            && joined.accepted
            && !joined.is_dead
        {
            self.registry.remove(joined.seat.member());
            self.history.end(joined.key);
            self.clients[index] = Client::default();
        }
    }

    // Checks.

    fn check(&self) {
        assert!(self.history.log.since(0).count() <= self.limits.packets);
        for session in self.clients.iter().filter_map(|client| client.session.as_ref()) {
            let left = self.away.iter().find(|(_, away)| **away == session.private_id).map(|((left, _), _)| *left);
            let is_away = left.is_some_and(|left| self.now.duration_since(left) <= MAX_DISCONNECTION);
            assert_eq!(self.history.is_away(self.now, &session.private_id), is_away);
        }
    }
}
