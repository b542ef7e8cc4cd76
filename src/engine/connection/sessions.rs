use std::{
    collections::HashSet,
    hash::BuildHasher,
    sync::{Arc, Weak},
};

use foldhash::fast::RandomState;

use crate::{
    engine::Peer,
    util::{ByName, Mutex, MutexGuard, Named},
};

/// The sessions of a server by id. Sharded, so that clients that connect do not contend for one lock.
pub(crate) struct Sessions<C> {
    shards: Box<[Mutex<Shard<C>>]>,
    hasher: RandomState,
    lingering: Mutex<Lingering<C>>,
}

/// Connections that have ended, but whose handlers still run.
struct Lingering<C> {
    connections: Vec<(Weak<C>, Weak<dyn Peer>)>,
    /// The length at which entries whose handlers have ended are removed.
    max: usize,
}

/// The minimum of `Lingering::max`.
const FEW: usize = 32;

/// Attackers cannot choose the ids: the server generates them, or the user's `generate_id`.
type Shard<C> = HashSet<ByName<Arc<C>>, RandomState>;

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

impl<C: Named> Sessions<C> {
    fn shard(&self, id: &str) -> MutexGuard<'_, Shard<C>> {
        let index = self.hasher.hash_one(id) as usize % SHARDS;
        self.shards[index].lock()
    }

    /// Returns `true` if the id was free. Otherwise nothing changes.
    pub(super) fn insert(&self, connection: &Arc<C>) -> bool {
        self.shard(connection.name()).insert(ByName(connection.clone()))
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<C>> {
        self.shard(id).get(id).map(|found| found.0.clone())
    }

    pub(crate) fn remove(&self, id: &str) {
        let mut shard = self.shard(id);
        let removed = shard.take(id);
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
    pub(super) fn linger(&self, connection: &Arc<C>, peer: &Arc<dyn Peer>) {
        let mut lingering = self.lingering.lock();
        lingering.connections.push((Arc::downgrade(connection), Arc::downgrade(peer)));
        if lingering.connections.len() > lingering.max {
            // Weak references only: dropping an `Arc` might run user code under the lock.
            lingering.connections.retain(|(_, peer)| peer.strong_count() > 0);
            lingering.max = lingering.connections.len() * 2 + FEW;
        }
    }

    /// Returns the connections that have ended but whose handlers still run, with their peers.
    pub(crate) fn lingering(&self) -> Vec<(Arc<C>, Arc<dyn Peer>)> {
        let lingering = self.lingering.lock();
        let connections = lingering.connections.iter();
        connections.filter_map(|(connection, peer)| Some((connection.upgrade()?, peer.upgrade()?))).collect()
    }

    /// Returns all connections.
    pub(crate) fn all(&self) -> Vec<Arc<C>> {
        let lock = |shard: &Mutex<Shard<C>>| -> Vec<_> { shard.lock().iter().map(|found| found.0.clone()).collect() };
        self.shards.iter().flat_map(lock).collect()
    }
}
