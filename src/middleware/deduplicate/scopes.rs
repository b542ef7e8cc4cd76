use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::util::Mutex;

use super::cache::ResponseCache;

/// The caches of users, which outlive their sockets.
///
/// There are two generations. A cache that is used moves to the current one. When that is as old as the maximum age, or full by
/// number or by half of the bytes, it becomes the previous one, and caches that have not been used since the last change are
/// dropped.
#[derive(Debug, Default)]
pub(super) struct Scopes {
    generations: Mutex<Generations>,
    /// The size of all caches in bytes.
    total: Arc<AtomicUsize>,
}

/// The limits of all caches together.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScopeLimits {
    pub(super) capacity: usize,
    pub(super) max_age: Duration,
    pub(super) max_bytes: usize,
}

#[derive(Debug, Default)]
struct Generations {
    current: HashMap<String, Arc<ResponseCache>>,
    previous: HashMap<String, Arc<ResponseCache>>,
    /// The size of the previous generation in bytes, when it became the previous one.
    previous_bytes: usize,
    since: Option<Instant>,
}

impl Scopes {
    pub(super) fn cache(&self, scope: String, limits: ScopeLimits, now: Instant) -> Arc<ResponseCache> {
        let ScopeLimits { capacity, max_age, max_bytes } = limits;
        let mut forgotten = Vec::new();
        let cache = {
            let mut generations = self.generations.lock();
            let age = now.saturating_duration_since(*generations.since.get_or_insert(now));
            if age >= max_age.saturating_mul(2) {
                forgotten.push(mem::take(&mut generations.current));
            }
            if age >= max_age || generations.current_bytes(&self.total) > max_bytes / 2 {
                forgotten.push(generations.turn(now));
            }
            if let Some(cache) = generations.current.get(&scope) {
                cache.clone()
            } else {
                if generations.current.len() >= capacity {
                    forgotten.push(generations.turn(now));
                }
                let new = || Arc::new(ResponseCache::of_user(&self.total));
                let cache = generations.previous.remove(&scope).unwrap_or_else(new);
                generations.current.insert(scope, cache.clone());
                cache
            }
        };
        drop(forgotten);
        cache
    }
}

impl Generations {
    fn current_bytes(&self, total: &AtomicUsize) -> usize {
        total.load(Ordering::Relaxed).saturating_sub(self.previous_bytes)
    }

    /// Begins a new generation. Returns the caches that are dropped.
    fn turn(&mut self, now: Instant) -> HashMap<String, Arc<ResponseCache>> {
        self.since = Some(now);
        self.previous_bytes = self.current.values().map(|cache| cache.bytes()).sum();
        mem::replace(&mut self.previous, mem::take(&mut self.current))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::cache::Lookup, *};
    use crate::event::EventResponse;

    const AGE: Duration = Duration::from_secs(60);
    const LIMITS: ScopeLimits = ScopeLimits { capacity: 10, max_age: AGE, max_bytes: 10_000 };

    fn len(scopes: &Scopes) -> usize {
        let generations = scopes.generations.lock();
        generations.current.len() + generations.previous.len()
    }

    #[test]
    fn used_caches_stay_and_unused_ones_are_dropped() {
        let (scopes, start) = (Scopes::default(), Instant::now());
        let cache = |scope: &str, now| scopes.cache(scope.to_owned(), LIMITS, now);
        let used = cache("used", start);
        let _ = cache("unused", start);
        for step in 1..10 {
            assert!(Arc::ptr_eq(&cache("used", start + AGE / 2 * step), &used));
        }
        assert_eq!(len(&scopes), 1);
        assert!(!Arc::ptr_eq(&cache("used", start + AGE * 100), &used));
        assert_eq!(len(&scopes), 1);
    }

    #[test]
    fn there_are_at_most_twice_the_capacity() {
        let (scopes, now) = (Scopes::default(), Instant::now());
        for scope in 0..100 {
            let _ = scopes.cache(scope.to_string(), LIMITS, now);
            assert!(len(&scopes) <= 20);
        }
    }

    #[test]
    fn the_oldest_are_dropped_when_all_are_too_large_together() {
        let (scopes, now) = (Scopes::default(), Instant::now());
        let limits = super::super::cache::CacheLimits { capacity: 100, max_age: AGE, max_bytes: 2_000 };
        for scope in 0..100 {
            let cache = scopes.cache(scope.to_string(), ScopeLimits { capacity: 1_000, ..LIMITS }, now);
            for key in 0..10 {
                let Lookup::Handle(ticket) = cache.look_up(&key.to_string().into(), limits, now) else { panic!() };
                ticket.answer(&EventResponse::none());
            }
            // The limit, and the cache that has exceeded it.
            assert!(scopes.total.load(Ordering::Relaxed) <= 12_000, "{scopes:?}");
        }
    }
}
