use std::sync::Arc;

use tokio::task::AbortHandle;

use crate::util::MutexGuard;

use super::state::{Client, Rare, Reserved, Slot, Socket, SocketTable};

impl SocketTable {
    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn reserved(&self) -> &[Reserved] {
        self.rare.as_ref().map_or(&[], |rare| &rare.reserved)
    }

    fn has_left(&self, namespace: &str) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.left.iter().any(|left| **left == *namespace))
    }
}

/// The reason why a socket was not added to its connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum JoinError {
    /// The client has joined the namespace or is joining it.
    Duplicate,
    /// The connection has reached its limit of namespaces.
    TooMany,
    /// The auth payloads of the connection's sockets would exceed their limit.
    TooMuchAuth,
    /// The connection has ended.
    Closed,
}

/// The recipient of a packet.
#[derive(Debug)]
pub(super) enum Addressee {
    Socket(Arc<Socket>),
    /// The server has disconnected the socket, and the client may not know yet.
    Left,
    /// The client has not joined the namespace.
    Unknown,
}

impl SocketTable {
    fn auth_bytes(&self) -> usize {
        let sockets = self.slots.iter().map(|slot| slot.auth_bytes);
        sockets.chain(self.reserved().iter().map(|reserved| reserved.auth_bytes)).sum()
    }
}

impl Client {
    fn table(&self) -> MutexGuard<'_, SocketTable> {
        self.sockets.lock()
    }

    /// Returns the recipient of a packet for a namespace.
    pub(super) fn addressee(&self, namespace: &str) -> Addressee {
        let table = self.table();
        match table.slots.iter().find(|slot| slot.socket.namespace.name() == namespace) {
            Some(slot) if slot.socket.is_connected() => Addressee::Socket(slot.socket.clone()),
            Some(slot) if slot.socket.is_closed() => Addressee::Left,
            Some(_) => Addressee::Unknown,
            None if table.has_left(namespace) => Addressee::Left,
            None => Addressee::Unknown,
        }
    }

    /// Returns the accepted sockets.
    pub(crate) fn connected_sockets(&self) -> Vec<Arc<Socket>> {
        let table = self.table();
        table.slots.iter().map(|slot| &slot.socket).filter(|socket| socket.is_connected()).cloned().collect()
    }

    /// Returns an accepted socket if there is one, or another socket.
    pub(super) fn any_socket(&self) -> Option<Arc<Socket>> {
        let table = self.table();
        let mut sockets = table.slots.iter().map(|slot| &slot.socket);
        sockets.clone().find(|socket| socket.is_connected()).or(sockets.next()).cloned()
    }

    /// Checks the limits for a socket with an auth payload of this length.
    pub(super) fn may_join(&self, namespace: &str, auth_bytes: usize) -> Result<(), JoinError> {
        let table = self.table();
        let settings = &self.server.settings;
        if table.closed {
            Err(JoinError::Closed)
        } else if table.slots.iter().any(|slot| slot.socket.namespace.name() == namespace)
            || table.reserved().iter().any(|reserved| *reserved.name == *namespace)
        {
            Err(JoinError::Duplicate)
        } else if table.slots.len() + table.reserved().len() >= settings.max_namespaces {
            Err(JoinError::TooMany)
        } else if table.auth_bytes() + auth_bytes > settings.max_auth_bytes {
            Err(JoinError::TooMuchAuth)
        } else {
            Ok(())
        }
    }

    /// Reserves a place for a namespace whose predicate is pending.
    pub(super) fn reserve(&self, namespace: &str, auth_bytes: usize, is_dynamic: bool) {
        self.table().rare().reserved.push(Reserved { name: namespace.into(), auth_bytes, is_dynamic, task: None });
    }

    /// Returns `true` if the client may join another dynamic namespace. Reservations count as such.
    pub(super) fn may_join_dynamic(&self) -> bool {
        let table = self.table();
        let joined = table.slots.iter().filter(|slot| slot.socket.namespace.is_dynamic()).count();
        joined + table.reserved().iter().filter(|reserved| reserved.is_dynamic).count()
            < self.server.settings.max_dynamic_namespaces_per_connection
    }

    pub(super) fn unreserve(&self, namespace: &str) {
        if let Some(rare) = &mut self.table().rare {
            rare.reserved.retain(|reserved| *reserved.name != *namespace);
        }
    }

    /// Aborts the task of a reservation when the connection ends.
    pub(super) fn attach_lookup(&self, namespace: &str, task: AbortHandle) {
        let mut table = self.table();
        let closed = table.closed;
        match table.rare().reserved.iter_mut().find(|reserved| *reserved.name == *namespace) {
            Some(reserved) if !closed => reserved.task = Some(task),
            // The predicate has decided, and the admission continues.
            None if !closed => {}
            _ => task.abort(),
        }
    }

    /// Adds a socket at the start of its admission. Only the reader of the connection calls this, after
    /// [`may_join`](Self::may_join).
    pub(super) fn add_socket(&self, socket: Arc<Socket>, auth_bytes: usize) -> Result<(), JoinError> {
        let mut table = self.table();
        if table.closed {
            return Err(JoinError::Closed);
        }
        if let Some(rare) = &mut table.rare {
            rare.left.retain(|left| **left != *socket.namespace.name());
        }
        // Most connections join one namespace.
        table.slots.reserve_exact(1);
        table.slots.push(Slot { socket, auth_bytes, admission: None });
        Ok(())
    }

    /// Aborts the task of an admission when the connection ends.
    pub(super) fn attach_admission(&self, socket: &Arc<Socket>, task: AbortHandle) {
        let mut table = self.table();
        match table.slots.iter_mut().find(|slot| Arc::ptr_eq(&slot.socket, socket)) {
            Some(slot) if !socket.is_connected() => slot.admission = Some(task),
            Some(_) => {}
            None => task.abort(),
        }
    }

    /// Removes the task of an admission that has ended.
    pub(super) fn release_admission(&self, socket: &Arc<Socket>) {
        let mut table = self.table();
        if let Some(slot) = table.slots.iter_mut().find(|slot| Arc::ptr_eq(&slot.socket, socket)) {
            slot.admission = None;
        }
    }

    /// Removes a socket that has left. Unless the client knows that it has left, packets for it are ignored until the client
    /// joins again.
    pub(super) fn forget_socket(&self, socket: &Socket, client_knows: bool) {
        let mut table = self.table();
        if !client_knows && !table.closed {
            let left = &mut table.rare().left;
            if left.len() >= self.server.settings.max_namespaces {
                left.pop_front();
            }
            left.push_back(socket.namespace.shared_name());
        }
        let index = table.slots.iter().position(|slot| std::ptr::eq(&*slot.socket, socket));
        let slot = index.map(|index| table.slots.swap_remove(index));
        drop(table);
        drop(slot);
    }

    /// Removes all sockets. No socket is added afterwards.
    pub(super) fn take_sockets(&self) -> Vec<Arc<Socket>> {
        let mut table = self.table();
        table.closed = true;
        let slots = std::mem::take(&mut table.slots);
        let reserved = table.rare.take().map(|rare| rare.reserved).unwrap_or_default();
        drop(table);
        reserved.into_iter().filter_map(|reserved| reserved.task).for_each(|task| task.abort());
        let end = |slot: Slot| {
            if let Some(admission) = slot.admission {
                admission.abort();
            }
            slot.socket
        };
        slots.into_iter().map(end).collect()
    }
}
