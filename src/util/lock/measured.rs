//! Locks that measure how long they are held, and how often a thread finds them in use.
//!
//! Each thread counts in a table of its own, so that measuring does not make threads wait for each other.

use std::{
    any::type_name,
    collections::BTreeMap,
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
    time::{Duration, Instant},
};

/// What has happened to the locks that guard one type.
#[derive(Clone, Debug, Default)]
pub struct LockUse {
    /// How often a lock was acquired.
    pub acquisitions: u64,
    /// How often a thread found a lock in use, including calls of `try_lock` that failed.
    pub contended: u64,
    /// The longest time that a lock was held.
    pub longest: Duration,
    /// The number of times in each interval. There are 16 intervals between two powers of two nanoseconds.
    times: Vec<u64>,
}

impl LockUse {
    fn release(&mut self, time: Duration) {
        self.acquisitions += 1;
        self.longest = self.longest.max(time);
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let exponent = nanos.max(16).ilog2() - 4;
        let interval = exponent as usize * 16 + (nanos >> exponent) as usize;
        if self.times.len() <= interval {
            self.times.resize(interval + 1, 0);
        }
        self.times[interval] += 1;
    }

    /// Adds what has happened elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.acquisitions += other.acquisitions;
        self.contended += other.contended;
        self.longest = self.longest.max(other.longest);
        self.times.resize(self.times.len().max(other.times.len()), 0);
        self.times.iter_mut().zip(&other.times).for_each(|(count, more)| *count += more);
    }

    /// Returns the mean of a share of the times, the shortest ones, and the longest of them. Rounds down by up to 6 %.
    #[must_use]
    pub fn shortest(&self, share: f64) -> (Duration, Duration) {
        let count = (self.acquisitions as f64 * share).ceil() as u64;
        let (mut left, mut total, mut longest) = (count, 0, 0);
        for (interval, times) in self.times.iter().enumerate().filter(|(_, times)| **times > 0) {
            if left == 0 {
                break;
            }
            longest = if interval < 16 { interval as u64 } else { (interval as u64 % 16 + 16) << (interval / 16 - 1) };
            let taken = left.min(*times);
            total += taken * longest;
            left -= taken;
        }
        (Duration::from_nanos(total / count.max(1)), Duration::from_nanos(longest))
    }
}

/// A list, because there are few types, and `type_name` returns the same pointer for most uses of one type.
type Table = Arc<parking_lot::Mutex<Vec<(&'static str, LockUse)>>>;

static TABLES: parking_lot::Mutex<Vec<Table>> = parking_lot::Mutex::new(Vec::new());

thread_local! {
    static TABLE: Table = {
        let table = Table::default();
        TABLES.lock().push(table.clone());
        table
    };
}

/// Changes the table of this thread, unless it has been dropped because the thread ends.
fn record(name: &'static str, change: impl FnOnce(&mut LockUse)) {
    let _ = TABLE.try_with(|table| {
        let mut table = table.lock();
        let place = table.iter().position(|(known, _)| std::ptr::eq(*known, name)).unwrap_or_else(|| {
            table.push((name, LockUse::default()));
            table.len() - 1
        });
        change(&mut table[place].1);
    });
}

/// Returns what has happened to all locks since the last call, by the type that they guard.
pub fn take_lock_report() -> BTreeMap<String, LockUse> {
    let mut report = BTreeMap::<_, LockUse>::new();
    TABLES.lock().retain(|table| {
        let has_thread = Arc::strong_count(table) > 1;
        for (name, lock_use) in table.lock().drain(..) {
            report.entry(without_paths(name)).or_default().add(&lock_use);
        }
        has_thread
    });
    report
}

/// Returns `Option<Arc<T>>` for `core::option::Option<alloc::sync::Arc<path::T>>`.
fn without_paths(name: &str) -> String {
    let words = name.split_inclusive(|c: char| !c.is_alphanumeric() && !"_:".contains(c));
    words.filter_map(|word| word.rsplit("::").next()).collect()
}

#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(parking_lot::Mutex<T>);

pub(crate) type MutexGuard<'a, T> = Guard<parking_lot::MutexGuard<'a, T>>;

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(parking_lot::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        Guard::new(type_name::<T>(), self.0.try_lock(), || self.0.lock())
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        Guard::at_once(type_name::<T>(), self.0.try_lock())
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(parking_lot::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(parking_lot::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> Guard<parking_lot::RwLockReadGuard<'_, T>> {
        Guard::new(type_name::<T>(), self.0.try_read(), || self.0.read())
    }

    pub(crate) fn write(&self) -> Guard<parking_lot::RwLockWriteGuard<'_, T>> {
        Guard::new(type_name::<T>(), self.0.try_write(), || self.0.write())
    }
}

/// Holds a lock. Its fields are dropped in this order, so that the lock is free again when the table is changed.
pub(crate) struct Guard<G> {
    guard: G,
    held: Held,
}

struct Held {
    name: &'static str,
    since: Instant,
    time: Duration,
}

impl<G> Guard<G> {
    fn new(name: &'static str, at_once: Option<G>, wait: impl FnOnce() -> G) -> Self {
        Self::at_once(name, at_once).unwrap_or_else(|| Self::hold(name, wait()))
    }

    fn at_once(name: &'static str, guard: Option<G>) -> Option<Self> {
        if guard.is_none() {
            record(name, |lock_use| lock_use.contended += 1);
        }
        guard.map(|guard| Self::hold(name, guard))
    }

    fn hold(name: &'static str, guard: G) -> Self {
        Self { guard, held: Held { name, since: Instant::now(), time: Duration::ZERO } }
    }
}

impl<G: Deref> Deref for Guard<G> {
    type Target = G::Target;

    fn deref(&self) -> &Self::Target {
        &self.guard
    }
}

impl<G: DerefMut> DerefMut for Guard<G> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.guard
    }
}

impl<G: fmt::Debug> fmt::Debug for Guard<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.guard.fmt(f)
    }
}

impl<G> Drop for Guard<G> {
    fn drop(&mut self) {
        self.held.time = self.held.since.elapsed();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        record(self.name, |lock_use| lock_use.release(self.time));
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn the_longest_times_are_left_out() {
        let mut used = LockUse::default();
        (1..=100).for_each(|nanos| used.release(Duration::from_nanos(nanos)));
        let nanos = |share| {
            let (mean, longest) = used.shortest(share);
            (mean.as_nanos(), longest.as_nanos())
        };
        assert_eq!((nanos(0.01), nanos(0.03), nanos(0.31), used.longest.as_nanos()), ((1, 1), (2, 3), (16, 31), 100));
        assert_eq!((nanos(0.99), nanos(1.0)), ((49, 96), (49, 100)));
    }

    #[test]
    fn acquisitions_are_counted_for_all_threads() {
        #[derive(Default)]
        struct Guarded;
        let taken = || take_lock_report().remove("Option<Guarded>").unwrap_or_default();
        let counts = |used: &LockUse| (used.acquisitions, used.contended);
        let lock = Mutex::<Option<Guarded>>::default();
        drop(lock.lock());
        drop(lock.try_lock());
        assert_eq!(counts(&taken()), (2, 0));
        let (mut used, begin) = (LockUse::default(), Instant::now());
        thread::scope(|scope| {
            let held = lock.lock();
            assert!(lock.try_lock().is_none());
            scope.spawn(|| drop(lock.lock()));
            while used.contended < 2 {
                assert!(begin.elapsed() < PATIENCE, "the other thread does not wait");
                used.add(&taken());
            }
            drop(held);
        });
        while used.acquisitions < 2 {
            assert!(begin.elapsed() < PATIENCE, "the other thread does not lock");
            used.add(&taken());
        }
        assert_eq!(counts(&used), (2, 2));
        let lock = RwLock::<Option<Guarded>>::default();
        drop((lock.read(), lock.read()));
        drop(lock.write());
        assert_eq!(counts(&taken()), (3, 0));
    }
}
