use std::{cell::Cell, collections::HashMap};

use bytes::Bytes;
use foldhash::fast::RandomState;
use parking_lot::{Mutex, MutexGuard};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

use crate::{
    packet::{ArgsError, Json, read_args},
    room::SocketId,
};

/// The acks that a socket's client still owes.
///
/// The table is allocated with the first one. An entry goes when the client answers, when whoever waits for it stops
/// waiting, and when the socket is closed, whichever comes first.
#[derive(Debug, Default)]
pub(crate) struct Acks(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    waiting: Option<Waiting>,
    closed: bool,
}

/// Boxed: most sockets wait for no ack.
type Waiting = Box<HashMap<u64, Waiter, RandomState>>;

/// A table that has room for more is not used again.
const SPARE_CAPACITY: usize = 16;

thread_local! {
    /// A table that has become empty: most sockets wait for one ack at a time.
    static SPARE: Cell<Option<Waiting>> = const { Cell::new(None) };
}

/// What waits for an answer.
#[derive(Debug)]
pub(crate) enum Waiter {
    One(oneshot::Sender<AckData>),
    /// One of many: the answers to a broadcast. `None` says that the socket is gone.
    Many(SocketId, mpsc::UnboundedSender<(SocketId, Option<AckData>)>),
}

/// A client's answer, as it arrived.
#[derive(Debug)]
pub(crate) struct AckData {
    json: Json,
    attachments: Vec<Bytes>,
}

impl AckData {
    pub(crate) fn read<T: DeserializeOwned + Send + 'static>(&self) -> serde_json::Result<T> {
        let json = if self.json.is_empty() { "[]" } else { &*self.json };
        read_args(json, &self.attachments, false).map_err(ArgsError::into_error)
    }
}

impl Acks {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock()
    }

    /// Answers whether the entry was made: not if the socket is closed.
    pub(crate) fn insert(&self, id: u64, waiter: Waiter) -> bool {
        let mut table = self.table();
        if !table.closed {
            let spare = || SPARE.try_with(Cell::take).ok().flatten().unwrap_or_default();
            table.waiting.get_or_insert_with(spare).insert(id, waiter);
        }
        !table.closed
    }

    /// Takes an entry out, which is to be dropped while no lock is held.
    pub(crate) fn remove(&self, id: u64) -> Option<Waiter> {
        let mut table = self.table();
        let waiting = table.waiting.as_mut()?;
        let waiter = waiting.remove(&id);
        if waiting.is_empty() {
            let empty = table.waiting.take().filter(|empty| empty.capacity() <= SPARE_CAPACITY);
            // A thread that ends has no spare table any more.
            let _ = SPARE.try_with(|spare| empty.into_iter().for_each(|empty| spare.set(Some(empty))));
        }
        waiter
    }

    /// The client has answered. An id that nobody waits for is ignored.
    pub(crate) fn resolve(&self, id: u64, json: Json, attachments: Vec<Bytes>) {
        let data = AckData { json, attachments };
        match self.remove(id) {
            Some(Waiter::One(sender)) => drop(sender.send(data)),
            Some(Waiter::Many(socket, sender)) => drop(sender.send((socket, Some(data)))),
            None => {}
        }
    }

    /// Nobody will answer any more.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut table = self.table();
            table.closed = true;
            table.waiting.take()
        };
        for (_, waiter) in waiting.into_iter().flat_map(|waiting| *waiting) {
            match waiter {
                Waiter::One(sender) => drop(sender),
                Waiter::Many(socket, sender) => drop(sender.send((socket, None))),
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table().waiting.as_ref().map_or(0, |waiting| waiting.len())
    }
}
