use std::{
    collections::{HashMap, hash_map::Entry},
    hash::BuildHasher,
    sync::{Arc, Weak},
};

use foldhash::fast::RandomState;
use parking_lot::{Mutex, MutexGuard};

use crate::engine::seam::Peer;

use super::Connection;

/// The sessions of a server by id. Sharded, so that clients that connect do not contend for one lock.
pub(crate) struct Sessions {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    lingering: Mutex<Lingering>,
}

/// Connections that have ended, but whose handlers still run.
#[derive(Default)]
struct Lingering {
    connections: Vec<(Weak<Connection>, Weak<dyn Peer>)>,
    /// The length at which entries whose handlers have ended are removed.
    max: usize,
}

/// The minimum of `Lingering::max`.
const FEW: usize = 32;

/// Attackers cannot choose the ids: the server generates them, or the user's `generate_id`.
type Shard = HashMap<Arc<str>, Arc<Connection>, RandomState>;

const SHARDS: usize = 32;

impl Default for Sessions {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
            lingering: Mutex::default(),
        }
    }
}

impl Sessions {
    fn shard(&self, id: &str) -> MutexGuard<'_, Shard> {
        let index = self.hasher.hash_one(id) as usize % SHARDS;
        self.shards[index].lock()
    }

    /// Returns `true` if the id was free. Otherwise nothing changes.
    pub(crate) fn insert(&self, connection: Arc<Connection>) -> bool {
        match self.shard(&connection.id).entry(connection.id.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(connection);
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Connection>> {
        self.shard(id).get(id).cloned()
    }

    pub(crate) fn remove(&self, id: &str) {
        let mut shard = self.shard(id);
        let removed = shard.remove(id);
        if shard.capacity() > 64 && shard.len() < shard.capacity() / 4 {
            let wanted = shard.len() * 2;
            shard.shrink_to(wanted);
        }
        drop(shard);
        drop(removed);
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Keeps track of a connection that has ended until its handlers have ended.
    pub(super) fn linger(&self, connection: &Arc<Connection>, peer: &Arc<dyn Peer>) {
        let mut lingering = self.lingering.lock();
        lingering.connections.push((Arc::downgrade(connection), Arc::downgrade(peer)));
        if lingering.connections.len() > lingering.max {
            // Weak references only: dropping an `Arc` might run user code under the lock.
            lingering.connections.retain(|(_, peer)| peer.strong_count() > 0);
            lingering.max = lingering.connections.len() * 2 + FEW;
        }
    }

    /// Returns all connections, and those that have ended but whose handlers still run, with their peers.
    pub(crate) fn all_with_peers(&self) -> Vec<(Arc<Connection>, Arc<dyn Peer>)> {
        let peer = |connection: Arc<Connection>| Some((connection.clone(), connection.peer()?));
        let mut all: Vec<_> = self.all().into_iter().filter_map(peer).collect();
        let lingering = self.lingering.lock();
        all.extend(
            lingering
                .connections
                .iter()
                .filter_map(|(connection, peer)| Some((connection.upgrade()?, peer.upgrade()?))),
        );
        all
    }

    /// Returns all connections.
    pub(crate) fn all(&self) -> Vec<Arc<Connection>> {
        let lock = |shard: &Mutex<Shard>| -> Vec<_> { shard.lock().values().cloned().collect() };
        self.shards.iter().flat_map(lock).collect()
    }
}
