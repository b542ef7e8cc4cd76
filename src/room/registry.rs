use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use foldhash::fast::RandomState;
use slab::Slab;

use crate::util::{ByName, Named};

use super::{Room, SocketId};

/// Identifies a member of a registry. [`Handle::moved`] may change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MemberId(u32);

impl MemberId {
    fn new(key: usize) -> Self {
        Self(index(key))
    }

    fn key(self) -> usize {
        self.0 as usize
    }
}

/// A member as the registry stores it. Cloning must be cheap. Its name is its socket's id.
pub(crate) trait Handle: Clone + Named {
    fn socket_id(&self) -> &SocketId;

    /// Returns the last id that [`moved`](Self::moved) was called with. `None` if it is not a member.
    fn member_id(&self) -> Option<MemberId>;

    /// Called when the member is inserted, and when its id changes because the registry shrinks.
    fn moved(&self, id: MemberId);
}

type RoomId = u32;

/// Members and rooms are stored in four bytes, because each member has some of them.
fn index(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than 2^32 sockets and rooms")
}

/// The members of one namespace and their rooms.
///
/// Each room has a shared list of its members. A broadcast clones the reference to the list, so that it needs neither a lock nor
/// a copy. The next join or leave copies the list only if a broadcast still holds it.
///
/// Every member is also in the room of its own name. That is not stored: selections also look up members by name.
#[derive(Debug)]
pub(crate) struct Registry<M> {
    members: Slab<Member<M>>,
    all: Members<M>,
    by_name: HashSet<ByName<M>, RandomState>,
    rooms: Slab<RoomMembers<M>>,
    /// With std's hasher, which resists chosen keys, because clients may choose the names of rooms.
    room_ids: HashMap<Room, RoomId>,
    /// The changes since the last [`take_changes`](Self::take_changes). `None` if they are not recorded.
    changes: Option<Vec<RoomChange<M>>>,
}

/// A change of a room by one of its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoomChange<M> {
    pub(crate) kind: RoomChangeKind,
    pub(crate) room: Room,
    pub(crate) member: M,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoomChangeKind {
    /// The member is the first one.
    Created,
    Joined,
    Left,
    /// The member was the last one.
    Deleted,
}

type Members<M> = Arc<Vec<(MemberId, M)>>;

#[derive(Debug)]
struct RoomMembers<M> {
    name: Room,
    members: Members<M>,
}

#[derive(Debug)]
struct Member<M> {
    handle: M,
    /// The index in `Registry::all`.
    place: u32,
    /// The rooms, and the index in the list of each.
    rooms: BTreeMap<RoomId, u32>,
}

/// The target of a broadcast.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    /// Empty means every member.
    pub(crate) rooms: Vec<Room>,
    pub(crate) except: Vec<Room>,
}

/// A snapshot of the members that a selection matches.
#[derive(Debug)]
pub(crate) struct Recipients<M> {
    members: Members<M>,
    except: Except,
}

#[derive(Debug)]
enum Except {
    None,
    One(MemberId),
    Set(HashSet<MemberId, RandomState>),
}

impl<M> Default for Recipients<M> {
    fn default() -> Self {
        Self { members: Members::default(), except: Except::None }
    }
}

impl<M> Default for Registry<M> {
    fn default() -> Self {
        Self {
            members: Slab::new(),
            all: Members::default(),
            by_name: HashSet::default(),
            rooms: Slab::new(),
            room_ids: HashMap::new(),
            changes: None,
        }
    }
}

impl<M: Named> Registry<M> {
    /// Returns `true` if a room has members. The name of a member is a room.
    fn exists(&self, room: &str) -> bool {
        self.room_ids.contains_key(room) || self.by_name.contains(room)
    }
}

impl<M> Registry<M> {
    /// Creates a registry that records changes of rooms, for [`take_changes`](Self::take_changes).
    pub(crate) fn recording() -> Self {
        Self { changes: Some(Vec::new()), ..Self::default() }
    }

    /// Returns the changes since the last call. `None` if there are none, or they are not recorded.
    pub(crate) fn take_changes(&mut self) -> Option<Vec<RoomChange<M>>> {
        self.changes.as_mut().filter(|changes| !changes.is_empty()).map(std::mem::take)
    }

    fn record(&mut self, kind: RoomChangeKind, room: &Room, member: M) {
        if let Some(changes) = &mut self.changes {
            changes.push(RoomChange { kind, room: room.clone(), member });
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Returns all rooms that have been joined, with the number of their members.
    pub(crate) fn rooms(&self) -> impl ExactSizeIterator<Item = (&Room, usize)> {
        self.rooms.iter().map(|(_, entry)| (&entry.name, entry.members.len()))
    }
}

impl<M: Handle> Registry<M> {
    /// Adds a member. It is in the room of its own name only.
    pub(crate) fn insert(&mut self, handle: M) -> MemberId {
        if self.changes.is_some() {
            self.record_join(&handle.socket_id().room(), &handle);
        }
        let place = index(self.all.len());
        let key = self.members.insert(Member { handle: handle.clone(), place, rooms: BTreeMap::new() });
        let id = MemberId::new(key);
        handle.moved(id);
        Arc::make_mut(&mut self.all).push((id, handle.clone()));
        self.by_name.replace(ByName(handle));
        id
    }

    /// Removes a member from the registry and from all rooms.
    ///
    /// # Complexity
    ///
    /// Linear in the number of its rooms.
    pub(crate) fn remove(&mut self, id: MemberId) -> Option<M> {
        let member = self.members.try_remove(id.key())?;
        // A successor with the same name may have been inserted.
        if self.id_of(member.handle.name()) == Some(id) {
            self.by_name.remove(member.handle.name());
        }
        let all = Arc::make_mut(&mut self.all);
        all.swap_remove(member.place as usize);
        if let Some((moved, _)) = all.get(member.place as usize) {
            self.members[moved.key()].place = member.place;
        }
        if self.changes.is_some() {
            self.record_leave(&member.handle.socket_id().room(), &member.handle);
        }
        for (room, place) in member.rooms {
            let name = self.changes.is_some().then(|| self.rooms[room as usize].name.clone());
            self.remove_member(room, place);
            if let Some(name) = name {
                self.record_leave(&name, &member.handle);
            }
        }
        self.shrink_members();
        self.shrink_rooms();
        Some(member.handle)
    }

    /// Adds a member to a room. Returns the registry's copy of the room's name, or `None` if the member was already there.
    pub(crate) fn join(&mut self, id: MemberId, room: &Room) -> Option<&Room> {
        let member = self.members.get_mut(id.key())?;
        if *room == member.handle.name() {
            return None;
        }
        let room_id = match self.room_ids.get(room) {
            Some(room_id) => *room_id,
            None => {
                let key = self.rooms.insert(RoomMembers { name: room.clone(), members: Members::default() });
                let room_id = index(key);
                self.room_ids.insert(room.clone(), room_id);
                room_id
            }
        };
        let entry = &mut self.rooms[room_id as usize];
        if member.rooms.contains_key(&room_id) {
            return None;
        }
        member.rooms.insert(room_id, index(entry.members.len()));
        Arc::make_mut(&mut entry.members).push((id, member.handle.clone()));
        if let Some(changes) = &mut self.changes {
            let is_new = entry.members.len() == 1 && !self.by_name.contains(room.as_str());
            let kinds = is_new.then_some(RoomChangeKind::Created).into_iter().chain([RoomChangeKind::Joined]);
            changes.extend(kinds.map(|kind| RoomChange { kind, room: room.clone(), member: member.handle.clone() }));
        }
        Some(&entry.name)
    }

    /// Removes a member from a room. Returns `true` if it was there. A member cannot leave the room of its own name.
    pub(crate) fn leave(&mut self, id: MemberId, room: &str) -> bool {
        let (Some(room_id), Some(member)) = (self.room_ids.get(room), self.members.get_mut(id.key())) else {
            return false;
        };
        let Some(place) = member.rooms.remove(room_id) else {
            return false;
        };
        let handle = self.changes.is_some().then(|| member.handle.clone());
        self.remove_member(*room_id, place);
        if let Some(handle) = handle {
            self.record_leave(&room.into(), &handle);
        }
        self.shrink_rooms();
        true
    }

    #[cold]
    fn record_join(&mut self, room: &Room, member: &M) {
        if !self.exists(room) {
            self.record(RoomChangeKind::Created, room, member.clone());
        }
        self.record(RoomChangeKind::Joined, room, member.clone());
    }

    #[cold]
    fn record_leave(&mut self, room: &Room, member: &M) {
        self.record(RoomChangeKind::Left, room, member.clone());
        if !self.exists(room) {
            self.record(RoomChangeKind::Deleted, room, member.clone());
        }
    }

    /// Returns the rooms of a member, including that of its own name.
    pub(crate) fn rooms_of(&self, id: MemberId) -> Vec<Room> {
        let Some(member) = self.members.get(id.key()) else {
            return Vec::new();
        };
        let joined = member.rooms.keys().map(|room| self.rooms[*room as usize].name.clone());
        std::iter::once(member.handle.socket_id().room()).chain(joined).collect()
    }

    /// Returns `true` if a member is in a room.
    pub(crate) fn is_in(&self, id: MemberId, room: &str) -> bool {
        let Some(member) = self.members.get(id.key()) else {
            return false;
        };
        member.handle.name() == room || self.room_ids.get(room).is_some_and(|room| member.rooms.contains_key(room))
    }

    /// Returns the member with a name.
    pub(crate) fn get(&self, name: &str) -> Option<&M> {
        self.by_name.get(name).map(|found| &found.0)
    }

    /// Returns the id of the member with a name.
    pub(crate) fn id_of(&self, name: &str) -> Option<MemberId> {
        self.get(name)?.member_id()
    }

    /// Resolves a selection.
    ///
    /// # Complexity
    ///
    /// O(1) for one room or all, with at most one excepted member. Otherwise linear in the members of the rooms in the selection.
    pub(crate) fn select(&self, selection: &Selection, except: Option<MemberId>) -> Recipients<M> {
        let members = match selection.rooms.as_slice() {
            [] => self.all.clone(),
            [room] => self.room_members(room),
            rooms => self.union(rooms),
        };
        Recipients { members, except: self.excepted(&selection.except, except) }
    }

    fn room_members(&self, room: &str) -> Members<M> {
        let joined = self.room_ids.get(room).map(|id| &self.rooms[*id as usize].members);
        let named = self.get(room).and_then(|handle| Some((handle.member_id()?, handle)));
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
            members.extend(self.room_members(room).iter().filter(|(id, _)| seen.insert(*id)).cloned());
        }
        Arc::new(members)
    }

    fn excepted(&self, rooms: &[Room], except: Option<MemberId>) -> Except {
        if rooms.is_empty() {
            return except.map_or(Except::None, Except::One);
        }
        let members = rooms.iter().flat_map(|room| {
            let members = self.room_members(room);
            (0..members.len()).map(move |index| members[index].0)
        });
        Except::Set(members.chain(except).collect())
    }

    /// Removes the member at an index of a room's list. Drops the room if it is empty.
    fn remove_member(&mut self, room_id: RoomId, place: u32) {
        let members = Arc::make_mut(&mut self.rooms[room_id as usize].members);
        members.swap_remove(place as usize);
        if let Some((moved, _)) = members.get(place as usize) {
            self.members[moved.key()].rooms.insert(room_id, place);
        } else if members.is_empty() {
            let entry = self.rooms.remove(room_id as usize);
            self.room_ids.remove(&entry.name);
            return;
        }
        shrink_list(members);
    }

    /// Frees memory after most members have left.
    ///
    /// Moves members at the end of the slab to its front. The cost is amortized, because three of four have left since the last
    /// time.
    fn shrink_members(&mut self) {
        if is_sparse(self.by_name.len(), self.by_name.capacity()) {
            self.by_name.shrink_to(self.by_name.len() * 2);
        }
        if is_sparse(self.all.len(), self.all.capacity()) {
            shrink_list(Arc::make_mut(&mut self.all));
        }
        if !is_sparse(self.members.len(), self.members.capacity()) {
            return;
        }
        let Self { members, all, rooms, .. } = self;
        let all = Arc::make_mut(all);
        members.compact(|member, _, to| {
            let id = MemberId::new(to);
            all[member.place as usize].0 = id;
            for (room, place) in &member.rooms {
                Arc::make_mut(&mut rooms[*room as usize].members)[*place as usize].0 = id;
            }
            member.handle.moved(id);
            true
        });
    }

    /// Like [`shrink_members`](Self::shrink_members), for rooms.
    fn shrink_rooms(&mut self) {
        if is_sparse(self.room_ids.len(), self.room_ids.capacity()) {
            self.room_ids.shrink_to(self.room_ids.len() * 2);
        }
        if !is_sparse(self.rooms.len(), self.rooms.capacity()) {
            return;
        }
        let Self { members, rooms, room_ids, .. } = self;
        rooms.compact(|entry, from, to| {
            let (from, to) = (from as RoomId, to as RoomId);
            for (member, _) in entry.members.iter() {
                let own = &mut members[member.key()].rooms;
                let place = own.remove(&from).expect("members know their rooms");
                own.insert(to, place);
            }
            if let Some(known) = room_ids.get_mut(&entry.name) {
                *known = to;
            }
            true
        });
    }
}

#[cfg(any(test, fuzzing))]
impl<M> Registry<M> {
    /// Returns the length and the capacity of each collection.
    fn capacities(&self) -> impl Iterator<Item = (usize, usize)> {
        let own = [
            (self.members.len(), self.members.capacity()),
            (self.all.len(), self.all.capacity()),
            (self.by_name.len(), self.by_name.capacity()),
            (self.rooms.len(), self.rooms.capacity()),
            (self.room_ids.len(), self.room_ids.capacity()),
        ];
        let lists = self.rooms.iter().map(|(_, entry)| (entry.members.len(), entry.members.capacity()));
        own.into_iter().chain(lists)
    }
}

/// Returns `true` if a collection uses so little of its capacity that shrinking pays off.
fn is_sparse(len: usize, capacity: usize) -> bool {
    const KEPT: usize = 16;
    capacity > KEPT && len < capacity / 4
}

fn shrink_list<M>(members: &mut Vec<(MemberId, M)>) {
    if is_sparse(members.len(), members.capacity()) {
        members.shrink_to(members.len() * 2);
    }
}

impl<M> Recipients<M> {
    /// Returns the number of members.
    pub(crate) fn len(&self) -> usize {
        match self.except {
            Except::None => self.members.len(),
            _ => self.iter().count(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &M> {
        self.members.iter().filter(|(id, _)| !self.except.contains(*id)).map(|(_, handle)| handle)
    }
}

impl Except {
    fn contains(&self, id: MemberId) -> bool {
        match self {
            Self::None => false,
            Self::One(one) => *one == id,
            Self::Set(set) => set.contains(&id),
        }
    }
}

#[cfg(any(test, fuzzing))]
pub(super) mod model;
#[cfg(test)]
mod tests;
