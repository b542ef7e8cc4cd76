use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash},
};

/// Frees the spare capacity of a map after most of its entries have been removed.
pub(crate) fn shrink<K: Eq + Hash, V, S: BuildHasher>(map: &mut HashMap<K, V, S>) {
    if map.capacity() > 16 && map.len() < map.capacity() / 4 {
        map.shrink_to(map.len() * 2);
    }
}
