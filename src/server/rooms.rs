//! Joining and leaving rooms.

use std::{cell::RefCell, sync::Arc};

use crate::{
    room::{Handle, MemberId, Registry, Room, RoomChange, SocketId},
    util::{MutexGuard, Named},
};

use super::{
    recovery_session::Journaled,
    socket::ADMITTING,
    state::{Change, Socket},
};

thread_local! {
    /// The changes of rooms that this thread has made and not told the observers yet, because it held locks.
    static UNTOLD: RefCell<Vec<RoomChange<Arc<Socket>>>> = const { RefCell::new(Vec::new()) };
}

impl Socket {
    fn member(&self) -> MutexGuard<'_, Option<MemberId>> {
        self.member.lock()
    }

    /// Returns the socket's id in the registry. It is only valid while the registry is locked.
    pub(crate) fn member_id(&self) -> Option<MemberId> {
        *self.member()
    }

    pub(crate) fn join(&self, rooms: impl Iterator<Item = Room>) {
        // Before locking: the iterator may run user code.
        let rooms: Vec<Room> = rooms.collect();
        if self.phase() == ADMITTING {
            let mut buffer = self.buffer();
            if self.phase() == ADMITTING {
                buffer.get_or_insert_default().rooms.extend(rooms);
                return;
            }
        }
        match self.recovery() {
            Some((memory, session)) => {
                let mut state = memory.lock();
                self.change_rooms(|registry, id| {
                    for room in &rooms {
                        if let Some(room) = registry.join(id, room) {
                            state.enter(session, room.clone());
                        }
                    }
                });
            }
            None if self.journaled().is_some() => {
                self.journaled().into_iter().for_each(|journaled| self.join_journaled(journaled, &rooms));
            }
            None => self.change_rooms(|registry, id| {
                for room in &rooms {
                    registry.join(id, room);
                }
            }),
        }
        self.report_rooms(&rooms);
        self.tell_room_changes();
    }

    pub(crate) fn leave(&self, room: &str) {
        let mut buffer = self.buffer();
        if self.phase() == ADMITTING {
            if let Some(buffer) = &mut *buffer {
                buffer.rooms.retain(|joined| joined != room);
            }
            if self.is_recovered() {
                buffer.get_or_insert_default().left.push(room.into());
            }
            return;
        }
        drop(buffer);
        let mut memory = self.recovery().map(|(memory, session)| (memory.lock(), session));
        self.change_rooms(|registry, id| {
            if registry.leave(id, room)
                && let Some((state, session)) = &mut memory
            {
                state.exit(session, room);
            }
        });
        drop(memory);
        self.report_rooms(&[room]);
        self.tell_room_changes();
    }

    /// Leaves all rooms except that of the socket's id.
    pub(crate) fn leave_all(&self) {
        let mut buffer = self.buffer();
        if self.phase() == ADMITTING {
            if let Some(buffer) = &mut *buffer {
                buffer.rooms.clear();
            }
            if let Some(restored) = self.session.as_ref().and_then(|session| session.restored()) {
                buffer.get_or_insert_default().left.extend(restored.rooms().cloned());
            }
            if let Some(claimed) = self.journaled().and_then(Journaled::claimed) {
                buffer.get_or_insert_default().left.extend(claimed.session().rooms.iter().cloned());
            }
            return;
        }
        drop(buffer);
        let mut memory = self.recovery().map(|(memory, session)| (memory.lock(), session));
        let mut left = Vec::new();
        self.change_rooms(|registry, id| {
            left = registry.rooms_of(id);
            for room in &left {
                if registry.leave(id, room)
                    && let Some((state, session)) = &mut memory
                {
                    state.exit(session, room);
                }
            }
        });
        drop(memory);
        self.report_rooms(&left);
        self.tell_room_changes();
    }

    /// Changes the rooms of the socket, if it is in the namespace.
    pub(super) fn change_rooms(&self, change: impl FnOnce(&mut Registry<Arc<Self>>, MemberId)) {
        self.change_registry(|registry| {
            if let Some(id) = self.member_id() {
                change(registry, id);
            }
        });
    }

    /// Changes the registry. The caller must call [`tell_room_changes`](Self::tell_room_changes) when it has released its locks.
    pub(super) fn change_registry<R>(&self, change: impl FnOnce(&mut Registry<Arc<Self>>) -> R) -> R {
        self.namespace.with_registry(|registry| {
            let result = change(registry);
            if let Some(changes) = registry.take_changes() {
                UNTOLD.with_borrow_mut(|untold| untold.extend(changes));
            }
            result
        })
    }

    /// Tells the observers which rooms this thread has changed.
    pub(super) fn tell_room_changes(&self) {
        if self.client.server.is_observed() {
            for change in UNTOLD.take() {
                change.member.client.server.tell(&Change::Room(&change));
            }
        }
    }

    pub(crate) fn rooms(&self) -> Vec<Room> {
        self.namespace.with_registry(|registry| self.member_id().map(|id| registry.rooms_of(id)).unwrap_or_default())
    }

    pub(crate) fn is_in(&self, room: &str) -> bool {
        self.namespace.with_registry(|registry| self.member_id().is_some_and(|id| registry.is_in(id, room)))
    }

    /// Removes the socket from its namespace. Must be called without a lock.
    pub(super) fn leave_rooms(&self) {
        self.report_rooms(&self.take_from_rooms());
    }

    /// Removes the socket from its namespace. The caller must [report](Self::report_rooms) the returned rooms when it has released
    /// its locks.
    #[must_use]
    pub(super) fn take_from_rooms(&self) -> Vec<Room> {
        let reports = self.namespace.reports_rooms();
        let (left, removed) = self.change_registry(|registry| {
            let Some(id) = self.member_id() else { return (Vec::new(), None) };
            let rooms = if reports { registry.rooms_of(id) } else { Vec::new() };
            let removed = registry.remove(id);
            *self.member() = None;
            (rooms, removed)
        });
        drop(removed);
        left
    }

    /// Tells the adapter of the cluster, if it follows rooms. Must be called without a lock.
    pub(super) fn report_rooms(&self, rooms: &[impl AsRef<str>]) {
        if self.namespace.reports_rooms() {
            rooms.iter().for_each(|room| self.namespace.room_changed(room.as_ref()));
        }
    }
}

impl Named for Socket {
    fn name(&self) -> &str {
        &self.id
    }
}

impl Handle for Arc<Socket> {
    fn socket_id(&self) -> &SocketId {
        &self.id
    }

    fn member_id(&self) -> Option<MemberId> {
        (**self).member_id()
    }

    fn moved(&self, id: MemberId) {
        *self.member() = Some(id);
    }
}
