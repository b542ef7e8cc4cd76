use std::{
    collections::HashMap,
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::memory::Memory;

/// The memories of users, which outlive their sockets.
///
/// They lie in two generations. One that is used moves into the current one; when the generation is as old as an answer may
/// get, or full, it becomes the previous one, and what was not used since the change before is forgotten.
#[derive(Debug, Default)]
pub(super) struct Scopes(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    current: HashMap<String, Arc<Memory>>,
    previous: HashMap<String, Arc<Memory>>,
    since: Option<Instant>,
}

impl Scopes {
    pub(super) fn memory(&self, scope: String, capacity: usize, max_age: Duration, now: Instant) -> Arc<Memory> {
        let mut forgotten = Vec::new();
        let memory = {
            let mut generations = self.0.lock();
            let age = now.saturating_duration_since(*generations.since.get_or_insert(now));
            if age >= max_age.saturating_mul(2) {
                forgotten.push(mem::take(&mut generations.current));
            }
            if age >= max_age {
                forgotten.push(generations.turn(now));
            }
            if let Some(memory) = generations.current.get(&scope) {
                memory.clone()
            } else {
                if generations.current.len() >= capacity {
                    forgotten.push(generations.turn(now));
                }
                let memory = generations.previous.remove(&scope).unwrap_or_default();
                generations.current.insert(scope, memory.clone());
                memory
            }
        };
        drop(forgotten);
        memory
    }
}

impl Generations {
    /// Begins a new generation, and gives what is forgotten by that.
    fn turn(&mut self, now: Instant) -> HashMap<String, Arc<Memory>> {
        self.since = Some(now);
        mem::replace(&mut self.previous, mem::take(&mut self.current))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_secs(60);

    fn len(scopes: &Scopes) -> usize {
        let generations = scopes.0.lock();
        generations.current.len() + generations.previous.len()
    }

    #[test]
    fn a_memory_in_use_stays_and_one_out_of_use_goes() {
        let (scopes, start) = (Scopes::default(), Instant::now());
        let memory = |scope: &str, now| scopes.memory(scope.to_owned(), 10, AGE, now);
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
            let _ = scopes.memory(scope.to_string(), 10, AGE, now);
            assert!(len(&scopes) <= 20);
        }
    }
}
