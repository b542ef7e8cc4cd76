use std::{collections::HashMap, hash::Hash, sync::Arc};

use super::{Mutex, MutexGuard};

/// Counts permits by key.
#[derive(Debug)]
pub(crate) struct Counts<K>(Arc<Mutex<HashMap<K, usize>>>);

impl<K> Clone for Counts<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Hash + Eq + Clone> Counts<K> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.0.lock()
    }

    /// Acquires a permit for a key, unless the key has `max` already.
    pub(crate) fn acquire(&self, key: K, max: usize) -> Option<Permit<K>> {
        let mut counts = self.lock();
        let taken = counts.get(&key).copied().unwrap_or_default();
        if taken >= max {
            return None;
        }
        counts.insert(key.clone(), taken + 1);
        drop(counts);
        Some(Permit { counts: self.clone(), key })
    }
}

/// A permit of a key. Released when dropped.
#[derive(Debug)]
pub(crate) struct Permit<K: Hash + Eq + Clone> {
    counts: Counts<K>,
    key: K,
}

impl<K: Hash + Eq + Clone> Drop for Permit<K> {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
                if counts.capacity() > 64 && counts.len() < counts.capacity() / 4 {
                    let wanted = counts.len() * 2;
                    counts.shrink_to(wanted);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_has_nothing_is_forgotten() {
        let counts = Counts::default();
        let first = counts.acquire("a", 2);
        let second = counts.acquire("a", 2);
        assert!(first.is_some() && second.is_some() && counts.acquire("a", 2).is_none());
        drop(first);
        assert!(counts.acquire("a", 2).is_some());
        drop(second);
        assert!(counts.lock().is_empty());
    }
}
