use std::{
    collections::{HashMap, hash_map::Entry},
    hash::BuildHasher,
    sync::{Arc, Weak},
};

use foldhash::fast::RandomState;
use parking_lot::{Mutex, MutexGuard};

use crate::engine::Peer;

/// All sessions of a server by id, in shards, so that connecting clients do not wait for one another.
pub(crate) struct Sessions<C> {
    shards: Box<[Mutex<Shard<C>>]>,
    hasher: RandomState,
    lingering: Mutex<Lingering<C>>,
}

/// Connections that have ended while their handlers ran.
struct Lingering<C> {
    connections: Vec<(Weak<C>, Weak<dyn Peer>)>,
    /// When there are more, those whose handlers have ended are removed.
    max: usize,
}

/// As many are not worth a look.
const FEW: usize = 32;

/// The ids are the server's own, or those of its user's `generate_id`: an attacker cannot choose them, only ask for them.
type Shard<C> = HashMap<Arc<str>, Arc<C>, RandomState>;

const SHARDS: usize = 32;

impl<C> Default for Sessions<C> {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
            lingering: Mutex::new(Lingering { connections: Vec::new(), max: 0 }),
        }
    }
}

impl<C> Sessions<C> {
    fn shard(&self, id: &str) -> MutexGuard<'_, Shard<C>> {
        let index = self.hasher.hash_one(id) as usize % SHARDS;
        self.shards[index].lock()
    }

    /// Answers whether the id was free; if not, nothing changes.
    pub(super) fn insert(&self, id: &Arc<str>, connection: &Arc<C>) -> bool {
        match self.shard(id).entry(id.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(connection.clone());
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<C>> {
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
    pub(super) fn linger(&self, connection: &Arc<C>, peer: &Arc<dyn Peer>) {
        let mut lingering = self.lingering.lock();
        lingering.connections.push((Arc::downgrade(connection), Arc::downgrade(peer)));
        if lingering.connections.len() > lingering.max {
            // An `Arc` must not be dropped here: user code might run under the lock.
            lingering.connections.retain(|(_, peer)| peer.strong_count() > 0);
            lingering.max = lingering.connections.len() * 2 + FEW;
        }
    }

    /// The connections that have ended, but whose handlers run.
    pub(crate) fn lingering(&self) -> Vec<(Arc<C>, Arc<dyn Peer>)> {
        let lingering = self.lingering.lock();
        let connections = lingering.connections.iter();
        connections.filter_map(|(connection, peer)| Some((connection.upgrade()?, peer.upgrade()?))).collect()
    }

    /// All connections that exist now.
    pub(crate) fn all(&self) -> Vec<Arc<C>> {
        let lock = |shard: &Mutex<Shard<C>>| -> Vec<_> { shard.lock().values().cloned().collect() };
        self.shards.iter().flat_map(lock).collect()
    }
}
