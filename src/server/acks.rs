use std::{cell::Cell, collections::HashMap};

use bytes::Bytes;
use foldhash::fast::RandomState;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

use crate::{
    cluster::Payload,
    packet::{Args, ArgsError, Json, Value, read_args},
    room::SocketId,
    util::{Mutex, MutexGuard},
};

/// The acks that a client has not sent yet to one of its sockets.
///
/// Allocated with the first ack. An entry is removed when the client acknowledges, when the waiting task gives up, or when the
/// socket is closed.
#[derive(Debug, Default)]
pub(crate) struct Acks(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    waiting: Option<Waiting>,
    closed: bool,
}

/// Boxed, because most sockets wait for no ack.
type Waiting = Box<HashMap<u64, Waiter, RandomState>>;

/// Tables with more capacity are not reused.
const SPARE_CAPACITY: usize = 16;

thread_local! {
    /// An empty table to reuse, because most sockets wait for one ack at a time.
    static SPARE: Cell<Option<Waiting>> = const { Cell::new(None) };
}

/// The receiver of an ack.
#[derive(Debug)]
pub(crate) enum Waiter {
    One(oneshot::Sender<AckData>),
    /// One recipient of a broadcast. `None` means that the socket has been disconnected.
    Many(SocketId, mpsc::UnboundedSender<(SocketId, Option<AckData>)>),
}

/// An ack as it was received.
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

impl AckData {
    /// Returns the first argument, which is what other nodes of a cluster get.
    pub(crate) fn first(&self) -> Option<Payload> {
        let args: Args<Value> = self.read().ok()?;
        Payload::encode(args.first()?).ok()
    }
}

impl Acks {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock()
    }

    /// Adds an entry. Returns `false` if the socket is closed.
    pub(crate) fn insert(&self, id: u64, waiter: Waiter) -> bool {
        let mut table = self.table();
        if !table.closed {
            let spare = || SPARE.try_with(Cell::take).ok().flatten().unwrap_or_default();
            table.waiting.get_or_insert_with(spare).insert(id, waiter);
        }
        !table.closed
    }

    /// Removes an entry. The caller drops it without holding a lock.
    pub(crate) fn remove(&self, id: u64) -> Option<Waiter> {
        let mut table = self.table();
        let waiting = table.waiting.as_mut()?;
        let waiter = waiting.remove(&id);
        if waiting.is_empty() {
            let empty = table.waiting.take().filter(|empty| empty.capacity() <= SPARE_CAPACITY);
            // Fails while the thread ends.
            let _ = SPARE.try_with(|spare| empty.into_iter().for_each(|empty| spare.set(Some(empty))));
        }
        waiter
    }

    /// Completes the wait for an ack. Unknown ids are ignored.
    pub(crate) fn resolve(&self, id: u64, json: Json, attachments: Vec<Bytes>) {
        let data = AckData { json, attachments };
        match self.remove(id) {
            Some(Waiter::One(sender)) => drop(sender.send(data)),
            Some(Waiter::Many(socket, sender)) => drop(sender.send((socket, Some(data)))),
            None => {}
        }
    }

    /// Drops all entries, because no further ack arrives.
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
