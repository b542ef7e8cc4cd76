use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use foldhash::fast::RandomState;
use slab::Slab;

use super::Room;

/// Names a member of a registry for as long as it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MemberId(u32);

impl MemberId {
    fn key(self) -> usize {
        self.0 as usize
    }
}

type RoomId = u32;

/// The members of one namespace and their rooms.
///
/// Each room keeps its members in a shared list: a broadcast takes the list as it is, without a lock and without a copy,
/// and the next join or leave copies it only if a broadcast still holds it.
///
/// Every member is in the room of its own name too. Nothing is stored for that: a selection looks among the members'
/// names as well.
#[derive(Debug)]
pub(crate) struct Registry<M> {
    members: Slab<Member<M>>,
    everyone: Members<M>,
    by_name: HashMap<Room, MemberId, RandomState>,
    rooms: Slab<Entry<M>>,
    /// Room names may come from clients: std's hasher resists chosen keys.
    room_ids: HashMap<Room, RoomId>,
}

type Members<M> = Arc<Vec<(MemberId, M)>>;

#[derive(Debug)]
struct Entry<M> {
    name: Room,
    members: Members<M>,
}

#[derive(Debug)]
struct Member<M> {
    name: Room,
    handle: M,
    /// Its place in the list of all members.
    place: usize,
    /// Its rooms, and its place in each one's list.
    rooms: HashMap<RoomId, usize, RandomState>,
}

/// Whom a broadcast is for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    /// Nobody is in none: everyone is meant.
    pub(crate) rooms: Vec<Room>,
    pub(crate) except: Vec<Room>,
}

/// The members that a selection means, as they were when it was resolved.
#[derive(Debug)]
pub(crate) struct Recipients<M> {
    members: Members<M>,
    except: Except,
}

#[derive(Debug)]
enum Except {
    Nobody,
    One(MemberId),
    Set(HashSet<MemberId, RandomState>),
}

impl<M> Default for Registry<M> {
    fn default() -> Self {
        Self {
            members: Slab::new(),
            everyone: Members::default(),
            by_name: HashMap::default(),
            rooms: Slab::new(),
            room_ids: HashMap::new(),
        }
    }
}

impl<M: Clone> Registry<M> {
    /// Adds a member, which is in the room of its own name and in no other.
    pub(crate) fn insert(&mut self, name: Room, handle: M) -> MemberId {
        let place = self.everyone.len();
        let key = self.members.insert(Member {
            name: name.clone(),
            handle: handle.clone(),
            place,
            rooms: HashMap::default(),
        });
        let id = MemberId(u32::try_from(key).expect("fewer than 2^32 sockets"));
        Arc::make_mut(&mut self.everyone).push((id, handle));
        self.by_name.insert(name, id);
        id
    }

    /// Removes a member from everything.
    ///
    /// # Complexity
    ///
    /// Linear in the number of its rooms.
    pub(crate) fn remove(&mut self, id: MemberId) -> Option<M> {
        let member = self.members.try_remove(id.key())?;
        self.by_name.remove(&member.name);
        let everyone = Arc::make_mut(&mut self.everyone);
        everyone.swap_remove(member.place);
        if let Some((moved, _)) = everyone.get(member.place) {
            self.members[moved.key()].place = member.place;
        }
        for (room, place) in member.rooms {
            self.take_out(room, place);
        }
        self.shrink();
        Some(member.handle)
    }

    /// Adds a member to a room. Answers whether it was not there before.
    pub(crate) fn join(&mut self, id: MemberId, room: &Room) -> bool {
        let Some(member) = self.members.get_mut(id.key()) else {
            return false;
        };
        if member.name == *room {
            return false;
        }
        let room_id = match self.room_ids.get(room) {
            Some(room_id) => *room_id,
            None => {
                let key = self.rooms.insert(Entry { name: room.clone(), members: Members::default() });
                let room_id = RoomId::try_from(key).expect("fewer than 2^32 rooms");
                self.room_ids.insert(room.clone(), room_id);
                room_id
            }
        };
        let members = &mut self.rooms[room_id as usize].members;
        if member.rooms.contains_key(&room_id) {
            return false;
        }
        member.rooms.insert(room_id, members.len());
        Arc::make_mut(members).push((id, member.handle.clone()));
        true
    }

    /// Takes a member out of a room. Answers whether it was there. No member can leave the room of its own name.
    pub(crate) fn leave(&mut self, id: MemberId, room: &str) -> bool {
        let (Some(room_id), Some(member)) = (self.room_ids.get(room), self.members.get_mut(id.key())) else {
            return false;
        };
        match member.rooms.remove(room_id) {
            Some(place) => {
                self.take_out(*room_id, place);
                true
            }
            None => false,
        }
    }

    /// The rooms of a member, its own among them.
    pub(crate) fn rooms_of(&self, id: MemberId) -> Vec<Room> {
        let Some(member) = self.members.get(id.key()) else {
            return Vec::new();
        };
        let joined = member.rooms.keys().map(|room| self.rooms[*room as usize].name.clone());
        std::iter::once(member.name.clone()).chain(joined).collect()
    }

    /// Whether a member is in a room.
    pub(crate) fn is_in(&self, id: MemberId, room: &str) -> bool {
        let Some(member) = self.members.get(id.key()) else {
            return false;
        };
        *member.name == *room || self.room_ids.get(room).is_some_and(|room| member.rooms.contains_key(room))
    }

    /// The member of a name.
    pub(crate) fn get(&self, name: &str) -> Option<&M> {
        let id = self.by_name.get(name)?;
        self.members.get(id.key()).map(|member| &member.handle)
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// All rooms that somebody joined, with the number of their members.
    pub(crate) fn rooms(&self) -> impl ExactSizeIterator<Item = (&Room, usize)> {
        self.rooms.iter().map(|(_, entry)| (&entry.name, entry.members.len()))
    }

    /// Resolves a selection.
    ///
    /// # Complexity
    ///
    /// Constant for one room or everyone, with at most one member excepted; else linear in the members of the rooms that
    /// the selection names. The other rooms and members never matter.
    pub(crate) fn select(&self, selection: &Selection, except: Option<MemberId>) -> Recipients<M> {
        let members = match selection.rooms.as_slice() {
            [] => self.everyone.clone(),
            [room] => self.members_of(room),
            rooms => self.union(rooms),
        };
        Recipients { members, except: self.excepted(&selection.except, except) }
    }

    fn members_of(&self, room: &str) -> Members<M> {
        let joined = self.room_ids.get(room).map(|id| &self.rooms[*id as usize].members);
        let named = self.by_name.get(room).map(|id| (*id, &self.members[id.key()].handle));
        match (joined, named) {
            (Some(joined), None) => joined.clone(),
            (None, None) => Members::default(),
            (None, Some((id, handle))) => Arc::new(vec![(id, handle.clone())]),
            (Some(joined), Some((id, handle))) => {
                let mut members = Vec::clone(joined);
                members.push((id, handle.clone()));
                Arc::new(members)
            }
        }
    }

    fn union(&self, rooms: &[Room]) -> Members<M> {
        let mut seen = HashSet::<MemberId, RandomState>::default();
        let mut members = Vec::new();
        for room in rooms {
            members.extend(self.members_of(room).iter().filter(|(id, _)| seen.insert(*id)).cloned());
        }
        Arc::new(members)
    }

    fn excepted(&self, rooms: &[Room], except: Option<MemberId>) -> Except {
        if rooms.is_empty() {
            return except.map_or(Except::Nobody, Except::One);
        }
        let members = rooms.iter().flat_map(|room| {
            let members = self.members_of(room);
            (0..members.len()).map(move |index| members[index].0)
        });
        Except::Set(members.chain(except).collect())
    }

    /// Takes the member at a place out of a room's list, and drops the room with its last member.
    fn take_out(&mut self, room_id: RoomId, place: usize) {
        let members = Arc::make_mut(&mut self.rooms[room_id as usize].members);
        members.swap_remove(place);
        if let Some((moved, _)) = members.get(place) {
            self.members[moved.key()].rooms.insert(room_id, place);
        } else if members.is_empty() {
            let entry = self.rooms.remove(room_id as usize);
            self.room_ids.remove(&entry.name);
        }
    }

    /// Gives back what a crowd needed once most of it has left.
    fn shrink(&mut self) {
        let few = |len: usize, capacity: usize| capacity > 64 && len < capacity / 4;
        if few(self.by_name.len(), self.by_name.capacity()) {
            self.by_name.shrink_to(self.by_name.len() * 2);
            Arc::make_mut(&mut self.everyone).shrink_to(self.by_name.len() * 2);
            self.members.shrink_to_fit();
        }
        if few(self.room_ids.len(), self.room_ids.capacity()) {
            self.room_ids.shrink_to(self.room_ids.len() * 2);
            self.rooms.shrink_to_fit();
        }
    }
}

impl<M> Recipients<M> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &M> {
        self.members.iter().filter(|(id, _)| !self.except.contains(*id)).map(|(_, handle)| handle)
    }
}

impl Except {
    fn contains(&self, id: MemberId) -> bool {
        match self {
            Self::Nobody => false,
            Self::One(one) => *one == id,
            Self::Set(set) => set.contains(&id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn rooms(names: &[&str]) -> Vec<Room> {
        names.iter().map(|name| Room::from(*name)).collect()
    }

    fn selected(registry: &Registry<u8>, to: &[&str], except: &[&str]) -> Vec<u8> {
        let selection = Selection { rooms: rooms(to), except: rooms(except) };
        let mut members: Vec<u8> = registry.select(&selection, None).iter().copied().collect();
        members.sort_unstable();
        members
    }

    #[test]
    fn a_member_of_several_target_rooms_is_selected_once() {
        let mut registry = Registry::default();
        let a = registry.insert("a".into(), 1);
        let b = registry.insert("b".into(), 2);
        registry.insert("c".into(), 3);
        for room in rooms(&["x", "y"]) {
            registry.join(a, &room);
            registry.join(b, &room);
        }
        assert_eq!(selected(&registry, &["x", "y", "a"], &[]), [1, 2]);
        assert_eq!(selected(&registry, &["x"], &["b"]), [1]);
        assert_eq!(selected(&registry, &[], &["x"]), [3]);
        assert!(selected(&registry, &["nowhere"], &[]).is_empty());
    }

    #[test]
    fn everyone_is_in_the_room_of_its_own_name_and_others_may_join_it() {
        let mut registry = Registry::default();
        let a = registry.insert("a".into(), 1);
        let b = registry.insert("b".into(), 2);
        assert_eq!(selected(&registry, &["a"], &[]), [1]);
        assert!(registry.join(b, &"a".into()));
        assert!(!registry.join(a, &"a".into()));
        assert_eq!(selected(&registry, &["a"], &[]), [1, 2]);
        assert_eq!(registry.rooms_of(a), rooms(&["a"]));
    }

    #[test]
    fn a_snapshot_does_not_change_when_members_leave() {
        let mut registry = Registry::default();
        let a = registry.insert("a".into(), 1);
        let snapshot = registry.select(&Selection::default(), None);
        registry.remove(a);
        assert_eq!(snapshot.iter().count(), 1);
        assert_eq!(registry.len(), 0);
    }

    #[derive(Debug, Clone)]
    enum Op {
        Insert,
        Remove(usize),
        Join(usize, u8),
        Leave(usize, u8),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            Just(Op::Insert),
            any::<usize>().prop_map(Op::Remove),
            (any::<usize>(), 0u8..4).prop_map(|(member, room)| Op::Join(member, room)),
            (any::<usize>(), 0u8..4).prop_map(|(member, room)| Op::Leave(member, room)),
        ]
    }

    proptest! {
        /// The registry against a map of sets, after any history.
        #[test]
        fn the_registry_agrees_with_a_model(ops in prop::collection::vec(op(), 0..80)) {
            let mut registry = Registry::default();
            let mut model = BTreeMap::<u8, (MemberId, BTreeSet<u8>)>::new();
            let mut next = 0u8;
            let pick = |model: &BTreeMap<u8, (MemberId, BTreeSet<u8>)>, n: usize| {
                model.keys().copied().nth(n % model.len().max(1))
            };
            for op in ops {
                match op {
                    Op::Insert => {
                        model.insert(next, (registry.insert(format!("m{next}").into(), next), BTreeSet::new()));
                        next += 1;
                    }
                    Op::Remove(n) => if let Some(key) = pick(&model, n) {
                        let (id, _) = model.remove(&key).unwrap();
                        prop_assert_eq!(registry.remove(id), Some(key));
                    },
                    Op::Join(n, room) => if let Some(key) = pick(&model, n) {
                        let (id, rooms) = model.get_mut(&key).unwrap();
                        prop_assert_eq!(registry.join(*id, &format!("r{room}").into()), rooms.insert(room));
                    },
                    Op::Leave(n, room) => if let Some(key) = pick(&model, n) {
                        let (id, rooms) = model.get_mut(&key).unwrap();
                        prop_assert_eq!(registry.leave(*id, &format!("r{room}")), rooms.remove(&room));
                    },
                }
            }
            for room in 0..4 {
                let name = format!("r{room}");
                let expected: Vec<u8> =
                    model.iter().filter(|(_, (_, rooms))| rooms.contains(&room)).map(|(key, _)| *key).collect();
                prop_assert_eq!(selected(&registry, &[&name], &[]), expected);
                for (key, (id, rooms)) in &model {
                    prop_assert_eq!(registry.is_in(*id, &name), rooms.contains(&room));
                    let own = format!("m{key}");
                    prop_assert!(registry.is_in(*id, &own));
                }
            }
            prop_assert_eq!(selected(&registry, &[], &[]), model.keys().copied().collect::<Vec<_>>());
            let occupied = model.values().flat_map(|(_, rooms)| rooms).collect::<BTreeSet<_>>().len();
            prop_assert_eq!(registry.rooms().count(), occupied);
            for (id, rooms) in model.values() {
                prop_assert_eq!(registry.rooms_of(*id).len(), rooms.len() + 1);
            }
        }
    }
}
