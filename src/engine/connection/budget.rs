//! Limits on the memory that all connections of a server use together.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::util::Mutex;

/// A connection that holds less than this is not counted. Nearly all connections are below it nearly all of the time.
pub(crate) const UNCOUNTED: usize = 64 * 1024;

/// A limit on the bytes that connections hold.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
    holders: Mutex<Holders>,
}

#[derive(Debug, Default)]
struct Holders {
    next: u64,
    /// The ids of sessions, in the order in which they were charged first.
    by_age: BTreeMap<u64, Arc<str>>,
}

/// The bytes that one connection holds of a [`Budget`]. Changed by [`Budget::set`] only.
#[derive(Debug)]
pub(super) struct Charge {
    number: u64,
    bytes: usize,
}

impl Charge {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0), holders: Mutex::default() }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Sets the bytes that a session holds. With 0 the session is removed from the holders. Returns the bytes that all hold.
    pub(super) fn set(&self, charge: &mut Option<Charge>, session: &Arc<str>, bytes: usize) -> usize {
        let before = charge.as_ref().map_or(0, |charge| charge.bytes);
        match charge {
            Some(known) if bytes == 0 => {
                self.holders.lock().by_age.remove(&known.number);
                *charge = None;
            }
            Some(known) => known.bytes = bytes,
            None if bytes == 0 => {}
            None => *charge = Some(Charge { number: self.register(session), bytes }),
        }
        if bytes >= before {
            self.used.fetch_add(bytes - before, Ordering::Relaxed) + (bytes - before)
        } else {
            self.used.fetch_sub(before - bytes, Ordering::Relaxed) - (before - bytes)
        }
    }

    fn register(&self, session: &Arc<str>) -> u64 {
        let mut holders = self.holders.lock();
        let number = holders.next;
        holders.next += 1;
        holders.by_age.insert(number, session.clone());
        number
    }

    /// Returns the session that was charged first.
    pub(super) fn oldest(&self) -> Option<Arc<str>> {
        self.holders.lock().by_age.first_key_value().map(|(_, session)| session.clone())
    }

    /// Returns all sessions that are charged, newest first.
    pub(super) fn newest_first(&self) -> Vec<Arc<str>> {
        self.holders.lock().by_age.values().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_add_up_and_the_oldest_holder_is_known() {
        let budget = Budget::new(100);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let (mut of_a, mut of_b) = (None, None);
        assert_eq!(budget.set(&mut of_a, &a, 0), 0);
        assert_eq!(budget.oldest(), None);
        assert_eq!(budget.set(&mut of_a, &a, 60), 60);
        assert_eq!(budget.set(&mut of_b, &b, 70), 130);
        assert_eq!(budget.set(&mut of_a, &a, 90), 160);
        assert_eq!(budget.oldest(), Some(a.clone()));
        assert_eq!(budget.newest_first(), [b.clone(), a.clone()]);
        assert_eq!(budget.set(&mut of_a, &a, 0), 70);
        assert_eq!(budget.oldest(), Some(b.clone()));
        assert_eq!(budget.set(&mut of_b, &b, 0), 0);
        assert_eq!((budget.used(), budget.oldest()), (0, None));
    }
}
