use std::{fmt, iter::FusedIterator, slice, vec};

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{Entry, Map, Value};

/// Up to this number of entries, duplicates are found by comparing all keys.
const FEW: usize = 16;

impl Map {
    /// Creates an empty map. Does not allocate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a map from entries. Duplicate keys have the semantics of JavaScript. Frees the spare capacity of the vector.
    pub(crate) fn from_entries(mut entries: Vec<Entry>) -> Self {
        if entries.len() > FEW || has_duplicate(&entries) {
            unify(&mut entries);
        }
        Self { entries: entries.into_boxed_slice() }
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns `true` if there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn position(&self, key: &str) -> Option<usize> {
        self.entries.iter().position(|(known, _)| **known == *key)
    }

    /// Returns `true` if the map contains a key.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.position(key).is_some()
    }

    /// Returns the value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.position(key).map(|place| &self.entries[place].1)
    }

    /// Returns a mutable reference to the value of a key.
    #[must_use]
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.position(key).map(|place| &mut self.entries[place].1)
    }

    /// Sets the value of a key. Returns the previous value. A new key is added at the end.
    pub fn insert(&mut self, key: impl Into<Box<str>>, value: impl Into<Value>) -> Option<Value> {
        let (key, value) = (key.into(), value.into());
        if let Some(known) = self.get_mut(&key) {
            return Some(std::mem::replace(known, value));
        }
        self.change(|entries| {
            entries.reserve_exact(1);
            entries.push((key, value));
        });
        None
    }

    pub(super) fn get_or_insert(&mut self, key: &str) -> &mut Value {
        let place = self.position(key).unwrap_or_else(|| {
            self.insert(key, Value::Null);
            self.len() - 1
        });
        &mut self.entries[place].1
    }

    /// Removes a key and returns its value. Keeps the order of the others.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let place = self.position(key)?;
        Some(self.change(|entries| entries.remove(place)).1)
    }

    /// Keeps only the entries for which the function returns `true`.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &mut Value) -> bool) {
        self.change(|entries| entries.retain_mut(|(key, value)| keep(key, value)));
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        self.entries = Box::default();
    }

    fn change<R>(&mut self, change: impl FnOnce(&mut Vec<Entry>) -> R) -> R {
        let mut entries = std::mem::take(&mut self.entries).into_vec();
        let result = change(&mut entries);
        self.entries = entries.into_boxed_slice();
        result
    }

    /// Iterates over the entries, in order.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.entries.iter())
    }

    /// Iterates over the entries with mutable values, in order.
    pub fn iter_mut(&mut self) -> IterMut<'_> {
        IterMut(self.entries.iter_mut())
    }

    /// Iterates over the keys, in order.
    #[must_use]
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.entries.iter().map(|(key, _)| &**key)
    }

    /// Iterates over the values, in order.
    #[must_use]
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Value> + ExactSizeIterator {
        self.entries.iter().map(|(_, value)| value)
    }

    /// Iterates over mutable values, in order.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Value> + ExactSizeIterator {
        self.entries.iter_mut().map(|(_, value)| value)
    }

    /// Returns the entries sorted by their keys.
    fn sorted(&self) -> Vec<&Entry> {
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        entries
    }
}

fn has_duplicate(entries: &[Entry]) -> bool {
    entries.iter().enumerate().any(|(place, (key, _))| entries[..place].iter().any(|(other, _)| other == key))
}

/// Removes duplicate keys: each keeps its first position and its last value. Takes O(n log n) for any keys.
fn unify(entries: &mut Vec<Entry>) {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_unstable_by(|one, other| entries[*one].0.cmp(&entries[*other].0).then(one.cmp(other)));
    let same_key = |one: &usize, other: &usize| entries[*one].0 == entries[*other].0;
    let mut last_places = Vec::new();
    let mut repeated: Vec<usize> = Vec::new();
    for same in order.chunk_by(same_key) {
        if let [first, others @ .., last] = same {
            last_places.push((*first, *last));
            repeated.extend(others.iter().chain([last]));
        }
    }
    for (first, last) in last_places {
        entries[first].1 = entries[last].1.take();
    }
    repeated.sort_unstable();
    let mut repeated = repeated.into_iter().peekable();
    let mut place = 0..;
    entries.retain(|_| repeated.next_if_eq(&place.next().unwrap_or_default()).is_none());
}

impl Clone for Map {
    fn clone(&self) -> Self {
        let mut copies = Vec::with_capacity(self.entries.len());
        for (key, value) in &self.entries {
            copies.push((key.clone(), value.clone()));
        }
        Self { entries: copies.into_boxed_slice() }
    }
}

impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        if self.len() != other.len() {
            return false;
        }
        if self.keys().eq(other.keys()) {
            for place in 0..self.len() {
                if self.entries[place].1 != other.entries[place].1 {
                    return false;
                }
            }
            return true;
        }
        let (one, other) = (self.sorted(), other.sorted());
        for place in 0..one.len() {
            if one[place].0 != other[place].0 || one[place].1 != other[place].1 {
                return false;
            }
        }
        true
    }
}

impl Eq for Map {}

impl std::hash::Hash for Map {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_usize(self.len());
        for (key, value) in self.sorted() {
            key.hash(state);
            value.hash(state);
        }
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl Serialize for Map {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (key, value) in &self.entries {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<K: Into<Box<str>>, V: Into<Value>> FromIterator<(K, V)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self::from_entries(entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl<K: Into<Box<str>>, V: Into<Value>, const N: usize> From<[(K, V); N]> for Map {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K: Into<Box<str>>, V: Into<Value>> Extend<(K, V)> for Map {
    /// Sets the values of keys. New keys are added at the end.
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, more: I) {
        let more = more.into_iter().map(|(key, value)| (key.into(), value.into()));
        *self = Self::from_entries(std::mem::take(self).into_iter().chain(more).collect());
    }
}

impl std::ops::Index<&str> for Map {
    type Output = Value;

    /// # Panics
    ///
    /// Panics if the map does not contain the key.
    fn index(&self, key: &str) -> &Value {
        self.get(key).expect("no entry with this key")
    }
}

impl std::ops::IndexMut<&str> for Map {
    /// # Panics
    ///
    /// Panics if the map does not contain the key.
    fn index_mut(&mut self, key: &str) -> &mut Value {
        self.get_mut(key).expect("no entry with this key")
    }
}

macro_rules! iterator {
    ($name:ident <$($lifetime:lifetime)?> $inner:ty, $item:ty, $map:expr, $what:literal) => {
        #[doc = $what]
        #[derive(Debug)]
        pub struct $name<$($lifetime)?>($inner);

        impl<$($lifetime)?> Iterator for $name<$($lifetime)?> {
            type Item = $item;

            fn next(&mut self) -> Option<$item> {
                self.0.next().map($map)
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                self.0.size_hint()
            }
        }

        impl<$($lifetime)?> DoubleEndedIterator for $name<$($lifetime)?> {
            fn next_back(&mut self) -> Option<$item> {
                self.0.next_back().map($map)
            }
        }

        impl<$($lifetime)?> ExactSizeIterator for $name<$($lifetime)?> {}

        impl<$($lifetime)?> FusedIterator for $name<$($lifetime)?> {}
    };
}

iterator!(Iter<'a> slice::Iter<'a, Entry>, (&'a str, &'a Value), |(key, value)| (&**key, value), "An iterator over the entries of a [`Map`].");
iterator!(
    IterMut<'a> slice::IterMut<'a, Entry>,
    (&'a str, &'a mut Value),
    |(key, value)| (&**key, value),
    "An iterator over the entries of a [`Map`] with mutable values."
);
iterator!(IntoIter<> vec::IntoIter<Entry>, Entry, |entry| entry, "An owning iterator over the entries of a [`Map`].");

impl<'a> IntoIterator for &'a Map {
    type Item = (&'a str, &'a Value);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a mut Map {
    type Item = (&'a str, &'a mut Value);
    type IntoIter = IterMut<'a>;

    fn into_iter(self) -> IterMut<'a> {
        self.iter_mut()
    }
}

impl IntoIterator for Map {
    type Item = (Box<str>, Value);
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        IntoIter(self.entries.into_vec().into_iter())
    }
}
