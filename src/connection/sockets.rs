use std::sync::Arc;

use parking_lot::MutexGuard;
use tokio::task::AbortHandle;

use crate::socket::Socket;

use super::Connection;

/// The sockets of one connection, one for each namespace that it has joined or is joining.
///
/// There are few: a list beats a map.
#[derive(Debug, Default)]
pub(super) struct SocketTable {
    slots: Vec<Slot>,
    /// Namespaces of which it is not known yet whether they exist.
    reserved: Vec<Reserved>,
    /// The connection has ended: nothing joins any more.
    closed: bool,
}

#[derive(Debug)]
struct Slot {
    socket: Arc<Socket>,
    /// The task of the admission, while it is under way. It ends with the connection.
    admission: Option<AbortHandle>,
}

#[derive(Debug)]
struct Reserved {
    name: Box<str>,
    /// The task that finds out. It ends with the connection.
    task: Option<AbortHandle>,
}

/// Why a socket was not added to its connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum JoinError {
    /// The namespace has been joined, or is being joined.
    Duplicate,
    /// The connection has joined as many namespaces as it may.
    TooMany,
    /// The connection has ended.
    Closed,
}

impl Connection {
    fn table(&self) -> MutexGuard<'_, SocketTable> {
        self.sockets.lock()
    }

    /// The socket of a namespace, connected or not.
    pub(crate) fn socket(&self, namespace: &str) -> Option<Arc<Socket>> {
        let table = self.table();
        table.slots.iter().find(|slot| slot.socket.namespace.name() == namespace).map(|slot| slot.socket.clone())
    }

    /// The sockets that have been accepted.
    pub(crate) fn connected_sockets(&self) -> Vec<Arc<Socket>> {
        let table = self.table();
        table.slots.iter().map(|slot| &slot.socket).filter(|socket| socket.is_connected()).cloned().collect()
    }

    pub(crate) fn may_join(&self, namespace: &str) -> Result<(), JoinError> {
        let table = self.table();
        if table.closed {
            Err(JoinError::Closed)
        } else if table.slots.iter().any(|slot| slot.socket.namespace.name() == namespace)
            || table.reserved.iter().any(|reserved| *reserved.name == *namespace)
        {
            Err(JoinError::Duplicate)
        } else if table.slots.len() + table.reserved.len() >= self.server.settings.max_namespaces {
            Err(JoinError::TooMany)
        } else {
            Ok(())
        }
    }

    /// Keeps a place for a namespace of which it is not known yet whether it exists.
    pub(crate) fn reserve(&self, namespace: &str) {
        self.table().reserved.push(Reserved { name: namespace.into(), task: None });
    }

    pub(crate) fn unreserve(&self, namespace: &str) {
        self.table().reserved.retain(|reserved| *reserved.name != *namespace);
    }

    /// Ties the task that finds out to the connection.
    pub(crate) fn own_reservation(&self, namespace: &str, task: AbortHandle) {
        let mut table = self.table();
        let closed = table.closed;
        match table.reserved.iter_mut().find(|reserved| *reserved.name == *namespace) {
            Some(reserved) if !closed => reserved.task = Some(task),
            // It has found out, and goes on with the admission.
            None if !closed => {}
            _ => task.abort(),
        }
    }

    /// Adds a socket whose admission begins. Only the connection's own reader does that, after
    /// [`may_join`](Self::may_join).
    pub(crate) fn add_socket(&self, socket: Arc<Socket>) -> Result<(), JoinError> {
        let mut table = self.table();
        if table.closed {
            return Err(JoinError::Closed);
        }
        // Most connections join one namespace.
        table.slots.reserve_exact(1);
        table.slots.push(Slot { socket, admission: None });
        Ok(())
    }

    /// Ties a running admission to the connection.
    pub(crate) fn own_admission(&self, socket: &Arc<Socket>, task: AbortHandle) {
        let mut table = self.table();
        match table.slots.iter_mut().find(|slot| Arc::ptr_eq(&slot.socket, socket)) {
            Some(slot) if !socket.is_connected() => slot.admission = Some(task),
            Some(_) => {}
            None => task.abort(),
        }
    }

    /// The admission has ended by itself.
    pub(crate) fn release_admission(&self, socket: &Arc<Socket>) {
        let mut table = self.table();
        if let Some(slot) = table.slots.iter_mut().find(|slot| Arc::ptr_eq(&slot.socket, socket)) {
            slot.admission = None;
        }
    }

    pub(crate) fn forget_socket(&self, socket: &Socket) {
        let mut table = self.table();
        let index = table.slots.iter().position(|slot| std::ptr::eq(&*slot.socket, socket));
        let slot = index.map(|index| table.slots.swap_remove(index));
        drop(table);
        drop(slot);
    }

    /// Takes all sockets; none is added from now on.
    pub(super) fn take_sockets(&self) -> Vec<Arc<Socket>> {
        let mut table = self.table();
        table.closed = true;
        let slots = std::mem::take(&mut table.slots);
        let reserved = std::mem::take(&mut table.reserved);
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
