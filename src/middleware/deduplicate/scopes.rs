use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::memory::Memory;

/// The memories of users, which outlive their sockets.
///
/// They lie in two generations. One that is used moves into the current one; when the generation is as old as an answer may
/// get, or full, by number or by half of the bytes, it becomes the previous one, and what was not used since the change before is forgotten.
#[derive(Debug, Default)]
pub(super) struct Scopes {
    generations: Mutex<Generations>,
    /// What they take together, in bytes.
    total: Arc<AtomicUsize>,
}

/// How much the users' memories may be together, and how long they live.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScopeLimits {
    pub(super) capacity: usize,
    pub(super) max_age: Duration,
    pub(super) max_bytes: usize,
}

#[derive(Debug, Default)]
struct Generations {
    current: HashMap<String, Arc<Memory>>,
    previous: HashMap<String, Arc<Memory>>,
    /// What the previous ones took when the generation began, in bytes.
    previous_bytes: usize,
    since: Option<Instant>,
}

impl Scopes {
    pub(super) fn memory(&self, scope: String, limits: ScopeLimits, now: Instant) -> Arc<Memory> {
        let ScopeLimits { capacity, max_age, max_bytes } = limits;
        let mut forgotten = Vec::new();
        let memory = {
            let mut generations = self.generations.lock();
            let age = now.saturating_duration_since(*generations.since.get_or_insert(now));
            if age >= max_age.saturating_mul(2) {
                forgotten.push(mem::take(&mut generations.current));
            }
            if age >= max_age || generations.current_bytes(&self.total) > max_bytes / 2 {
                forgotten.push(generations.turn(now));
            }
            if let Some(memory) = generations.current.get(&scope) {
                memory.clone()
            } else {
                if generations.current.len() >= capacity {
                    forgotten.push(generations.turn(now));
                }
                let new = || Arc::new(Memory::of_user(&self.total));
                let memory = generations.previous.remove(&scope).unwrap_or_else(new);
                generations.current.insert(scope, memory.clone());
                memory
            }
        };
        drop(forgotten);
        memory
    }
}

impl Generations {
    fn current_bytes(&self, total: &AtomicUsize) -> usize {
        total.load(Ordering::Relaxed).saturating_sub(self.previous_bytes)
    }

    /// Begins a new generation, and gives what is forgotten by that.
    fn turn(&mut self, now: Instant) -> HashMap<String, Arc<Memory>> {
        self.since = Some(now);
        self.previous_bytes = self.current.values().map(|memory| memory.bytes()).sum();
        mem::replace(&mut self.previous, mem::take(&mut self.current))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::memory::Claim, *};
    use crate::EventResponse;

    const AGE: Duration = Duration::from_secs(60);
    const LIMITS: ScopeLimits = ScopeLimits { capacity: 10, max_age: AGE, max_bytes: 10_000 };

    fn len(scopes: &Scopes) -> usize {
        let generations = scopes.generations.lock();
        generations.current.len() + generations.previous.len()
    }

    #[test]
    fn a_memory_in_use_stays_and_one_out_of_use_goes() {
        let (scopes, start) = (Scopes::default(), Instant::now());
        let memory = |scope: &str, now| scopes.memory(scope.to_owned(), LIMITS, now);
        let used = memory("used", start);
        let _ = memory("unused", start);
        for step in 1..10 {
            assert!(Arc::ptr_eq(&memory("used", start + AGE / 2 * step), &used));
        }
        assert_eq!(len(&scopes), 1);
        assert!(!Arc::ptr_eq(&memory("used", start + AGE * 100), &used));
        assert_eq!(len(&scopes), 1);
    }

    #[test]
    fn there_are_at_most_twice_as_many_as_the_capacity() {
        let (scopes, now) = (Scopes::default(), Instant::now());
        for scope in 0..100 {
            let _ = scopes.memory(scope.to_string(), LIMITS, now);
            assert!(len(&scopes) <= 20);
        }
    }

    #[test]
    fn the_oldest_make_room_when_all_are_too_large_together() {
        let (scopes, now) = (Scopes::default(), Instant::now());
        let limits = super::super::memory::Limits { capacity: 100, max_age: AGE, max_bytes: 2_000 };
        for scope in 0..100 {
            let memory = scopes.memory(scope.to_string(), ScopeLimits { capacity: 1_000, ..LIMITS }, now);
            for key in 0..10 {
                let Claim::Handle(ticket) = memory.claim(&key.to_string().into(), limits, now) else { panic!() };
                ticket.answer(&EventResponse::none());
            }
            // The limit, and the memory that has gone past it.
            assert!(scopes.total.load(Ordering::Relaxed) <= 12_000, "{scopes:?}");
        }
    }
}
