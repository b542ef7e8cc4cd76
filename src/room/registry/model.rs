//! Compares a registry with a model of maps and sets. Run by the property test and the fuzz target.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use crate::util::Named;

use super::{Handle, MemberId, Registry, Room, Selection, SocketId};

/// A member that knows its number and its id.
#[derive(Debug, Clone)]
pub(super) struct Guest(Rc<(u32, SocketId, Cell<Option<MemberId>>)>);

impl Guest {
    pub(super) fn new(number: u32) -> Self {
        Self::named(number, &format!("m{number}"))
    }

    pub(super) fn named(number: u32, name: &str) -> Self {
        Self(Rc::new((number, SocketId::of_other_node(name.into()), Cell::new(None))))
    }

    pub(super) fn id(&self) -> MemberId {
        self.member_id().expect("it has been inserted")
    }
}

impl Named for Guest {
    fn name(&self) -> &str {
        self.socket_id()
    }
}

impl Handle for Guest {
    fn socket_id(&self) -> &SocketId {
        &self.0.1
    }

    fn member_id(&self) -> Option<MemberId> {
        self.0.2.get()
    }

    fn moved(&self, id: MemberId) {
        self.0.2.set(Some(id));
    }
}

/// Returns the numbers of the selected members, in order.
pub(super) fn selected(registry: &Registry<Guest>, to: &[&str], except: &[&str], sender: Option<MemberId>) -> Vec<u32> {
    let rooms = |names: &[&str]| names.iter().map(|name| Room::from(*name)).collect();
    let selection = Selection { rooms: rooms(to), except: rooms(except) };
    let mut numbers: Vec<u32> = registry.select(&selection, sender).iter().map(|guest| guest.0.0).collect();
    numbers.sort_unstable();
    numbers
}

/// The rooms of single operations. Bulk operations also use others.
const ROOMS: u32 = 6;

fn room(number: u32) -> Room {
    format!("r{number}").into()
}

#[derive(Debug, Default)]
struct Model {
    registry: Registry<Guest>,
    members: BTreeMap<u32, (Guest, BTreeSet<Room>)>,
    next: u32,
}

const MAX_MEMBERS: u32 = 300;

/// The maximum number of operations. More do not find further bugs.
const MAX_OPERATIONS: usize = 100;

/// Interprets bytes as operations, and compares the registry with the model.
pub(crate) fn run(script: &[u8]) {
    let mut model = Model::default();
    for operation in script.chunks_exact(3).take(MAX_OPERATIONS) {
        model.apply(operation[0], operation[1].into(), operation[2].into());
    }
    model.check();
}

impl Model {
    fn apply(&mut self, operation: u8, first: u32, second: u32) {
        match operation % 8 {
            0 => self.insert(),
            1 => self.remove(first),
            2 | 3 => self.join(first, &room(second % ROOMS)),
            4 => self.leave(first, &room(second % ROOMS)),
            // In the room that has another member's name.
            5 => self.join(first, &format!("m{second}").into()),
            6 => self.crowd(first, second),
            _ => {
                self.exodus(first, second);
                self.check_capacities();
            }
        }
    }

    /// Many members join a room, or one member joins many rooms.
    fn crowd(&mut self, first: u32, second: u32) {
        if second.is_multiple_of(2) {
            for _ in 0..(first / 4).min(MAX_MEMBERS.saturating_sub(self.members.len() as u32)) {
                self.insert();
                self.join(self.next - 1, &room(second % ROOMS));
            }
        } else {
            (0..first).for_each(|number| self.join(second, &room(number)));
        }
    }

    /// Most members leave a room, one member leaves most of its rooms, or most members are removed.
    fn exodus(&mut self, first: u32, second: u32) {
        let stays = |number: u32| number % 16 == first % 16;
        let members: Vec<u32> = self.members.keys().copied().filter(|number| !stays(*number)).collect();
        match second % 3 {
            0 => members.into_iter().for_each(|number| self.leave_exactly(number, &room(second % ROOMS))),
            1 => (0..256).filter(|number| !stays(*number)).for_each(|number| self.leave(first, &room(number))),
            _ => members.into_iter().for_each(|number| self.remove_exactly(number)),
        }
    }

    /// Returns the number of an existing member.
    fn pick(&self, number: u32) -> Option<u32> {
        let index = number as usize % self.members.len().max(1);
        self.members.keys().copied().nth(index)
    }

    fn insert(&mut self) {
        let guest = Guest::new(self.next);
        let id = self.registry.insert(guest.clone());
        assert_eq!(guest.id(), id);
        self.members.insert(self.next, (guest, BTreeSet::new()));
        self.next += 1;
    }

    fn remove(&mut self, number: u32) {
        if let Some(number) = self.pick(number) {
            self.remove_exactly(number);
        }
    }

    fn remove_exactly(&mut self, number: u32) {
        let Some((guest, _)) = self.members.remove(&number) else { return };
        let removed = self.registry.remove(guest.id()).expect("it is a member");
        assert!(Rc::ptr_eq(&removed.0, &guest.0));
    }

    fn join(&mut self, number: u32, room: &Room) {
        let Some(number) = self.pick(number) else { return };
        let Some((guest, rooms)) = self.members.get_mut(&number) else { return };
        let joined = self.registry.join(guest.id(), room).cloned();
        let expected = (*room != guest.name() && rooms.insert(room.clone())).then(|| room.clone());
        assert_eq!(joined, expected);
    }

    fn leave(&mut self, number: u32, room: &Room) {
        if let Some(number) = self.pick(number) {
            self.leave_exactly(number, room);
        }
    }

    fn leave_exactly(&mut self, number: u32, room: &Room) {
        let Some((guest, rooms)) = self.members.get_mut(&number) else { return };
        assert_eq!(self.registry.leave(guest.id(), room), rooms.remove(room));
    }

    /// Checks that allocations are proportional to the contents. The capacity of hash maps is approximate, because removed entries
    /// leave tombstones.
    fn check_capacities(&self) {
        for (len, capacity) in self.registry.capacities() {
            assert!(capacity <= 32 || capacity < 10 * (len + 1), "{len} of {capacity}");
        }
    }

    fn is_in(&self, number: u32, room: &str) -> bool {
        self.members.get(&number).is_some_and(|(guest, rooms)| guest.name() == room || rooms.contains(room))
    }

    fn expected(&self, to: &[&str], except: &[&str]) -> Vec<u32> {
        let is_in_one = |number: u32, rooms: &[&str]| rooms.iter().any(|room| self.is_in(number, room));
        let is_meant = |number: &u32| (to.is_empty() || is_in_one(*number, to)) && !is_in_one(*number, except);
        self.members.keys().copied().filter(is_meant).collect()
    }

    fn check(&self) {
        self.check_capacities();
        assert_eq!(self.registry.len(), self.members.len());
        let mut names: BTreeSet<Room> = self.members.values().flat_map(|(_, rooms)| rooms.clone()).collect();
        let rooms: BTreeMap<&Room, usize> = self.registry.rooms().collect();
        assert_eq!(rooms.keys().copied().collect::<BTreeSet<_>>(), names.iter().collect());
        let memberships: usize = self.members.values().map(|(_, rooms)| rooms.len()).sum();
        assert_eq!(rooms.values().sum::<usize>(), memberships);
        for (guest, rooms) in self.members.values() {
            let name = guest.name();
            assert_eq!(self.registry.id_of(name), Some(guest.id()));
            assert!(self.registry.get(name).is_some_and(|found| Rc::ptr_eq(&found.0, &guest.0)));
            let all: BTreeSet<Room> = self.registry.rooms_of(guest.id()).into_iter().collect();
            assert!(all.contains(name) && all.is_superset(rooms) && all.len() == rooms.len() + 1);
        }
        for (number, (guest, _)) in self.members.iter().take(5) {
            let others: Vec<u32> = self.members.keys().copied().filter(|other| other != number).collect();
            assert_eq!(selected(&self.registry, &[], &[], Some(guest.id())), others);
        }
        names.insert(room(0));
        names.extend(self.members.values().take(3).map(|(guest, _)| Room::from(guest.name())));
        let names: Vec<&str> = names.iter().map(|name| &**name).take(20).collect();
        for (index, &name) in names.iter().enumerate() {
            let (next, last) = (names[(index + 1) % names.len()], names[names.len() - 1]);
            self.members.iter().take(20).for_each(|(number, (guest, _))| {
                assert_eq!(self.registry.is_in(guest.id(), name), self.is_in(*number, name));
            });
            for (to, except) in
                [(&[name][..], &[][..]), (&[], &[name]), (&[name, next], &[last]), (&[name, last], &[next, name])]
            {
                assert_eq!(selected(&self.registry, to, except, None), self.expected(to, except), "{to:?} {except:?}");
            }
        }
    }
}
