use std::{
    collections::{HashMap, hash_map::Entry},
    hash::BuildHasher,
    sync::{Arc, Weak},
};

use foldhash::fast::RandomState;
use parking_lot::{Mutex, MutexGuard};

use crate::engine::seam::Peer;

use super::Connection;

/// All sessions of a server by id, in shards, so that connecting clients do not wait for one another.
pub(crate) struct Sessions {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    lingering: Mutex<Lingering>,
}

/// Connections that have ended while their handlers ran.
#[derive(Default)]
struct Lingering {
    connections: Vec<(Weak<Connection>, Weak<dyn Peer>)>,
    /// When there are more, those whose handlers have ended are removed.
    max: usize,
}

/// As many are not worth a look.
const FEW: usize = 32;

/// The ids are the server's own, or those of its user's `generate_id`: an attacker cannot choose them, only ask for them.
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

    /// Answers whether the id was free; if not, nothing changes.
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

    /// Remembers a connection that ends, until its handlers have ended.
    pub(super) fn linger(&self, connection: &Arc<Connection>, peer: &Arc<dyn Peer>) {
        let mut lingering = self.lingering.lock();
        lingering.connections.push((Arc::downgrade(connection), Arc::downgrade(peer)));
        if lingering.connections.len() > lingering.max {
            // An `Arc` must not be dropped here: user code might run under the lock.
            lingering.connections.retain(|(_, peer)| peer.strong_count() > 0);
            lingering.max = lingering.connections.len() * 2 + FEW;
        }
    }

    /// All connections that exist now, and those that have ended, but whose handlers run; each with its client.
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

    /// All connections that exist now.
    pub(crate) fn all(&self) -> Vec<Arc<Connection>> {
        let lock = |shard: &Mutex<Shard>| -> Vec<_> { shard.lock().values().cloned().collect() };
        self.shards.iter().flat_map(lock).collect()
    }
}
