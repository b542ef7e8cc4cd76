//! The connections to which broadcasts are to be written.

use std::{collections::VecDeque, sync::Arc, task::Waker};

/// How many connections wait for one task. With more, another task begins.
const SHARE: usize = 1024;

/// The most tasks that write at a time.
const MAX_TASKS: usize = 64;

/// How many connections a task takes at a time.
const BATCH: usize = 16;

/// A connection whose driver is parked, and its driver's waker.
pub(super) type Waiting<C> = (Arc<C>, Waker);

/// The connections that wait to be written to, and the number of tasks that do so.
pub(crate) struct Gathering<C> {
    queue: VecDeque<Waiting<C>>,
    tasks: usize,
}

impl<C> Default for Gathering<C> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), tasks: 0 }
    }
}

impl<C> Gathering<C> {
    /// Adds connections. Returns how many tasks must begin.
    pub(super) fn add(&mut self, connections: Vec<Waiting<C>>) -> usize {
        self.queue.extend(connections);
        let begun = self.tasks;
        self.tasks = begun.max(self.queue.len().div_ceil(SHARE).min(MAX_TASKS));
        self.tasks - begun
    }

    /// Takes the next connections. All are `None` if no connection is left.
    pub(super) fn take(&mut self) -> [Option<Waiting<C>>; BATCH] {
        let count = self.queue.len().min(BATCH);
        let mut batch = [const { None }; BATCH];
        for (place, waiting) in batch.iter_mut().zip(self.queue.drain(..count)) {
            *place = Some(waiting);
        }
        if self.queue.is_empty() && self.queue.capacity() > SHARE {
            self.queue = VecDeque::new();
        }
        batch
    }

    /// Notes the end of a task. Returns the connections for which there is no task any more.
    pub(super) fn end_task(&mut self) -> VecDeque<Waiting<C>> {
        self.tasks -= 1;
        match self.tasks {
            0 => std::mem::take(&mut self.queue),
            _ => VecDeque::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(count: usize) -> Vec<Waiting<usize>> {
        (0..count).map(|number| (Arc::new(number), Waker::noop().clone())).collect()
    }

    #[test]
    fn tasks_begin_with_the_connections_that_wait() {
        let mut gathering = Gathering::default();
        assert_eq!(gathering.add(waiting(8)), 1);
        assert_eq!(gathering.add(waiting(SHARE)), 1);
        assert_eq!(gathering.add(waiting(SHARE - 8)), 0);
        assert_eq!(gathering.add(waiting(100 * SHARE)), MAX_TASKS - 2);
    }

    #[test]
    fn connections_are_taken_in_order_and_once() {
        let mut gathering = Gathering::default();
        gathering.add(waiting(BATCH + 1));
        let numbers = |gathering: &mut Gathering<usize>| {
            gathering.take().into_iter().flatten().map(|(number, _)| *number).collect::<Vec<_>>()
        };
        assert_eq!(numbers(&mut gathering), (0..BATCH).collect::<Vec<_>>());
        assert_eq!(numbers(&mut gathering), [BATCH]);
        assert!(numbers(&mut gathering).is_empty());
    }

    #[test]
    fn the_last_task_leaves_no_connection() {
        let mut gathering = Gathering::default();
        assert_eq!(gathering.add(waiting(2 * SHARE)), 2);
        assert_eq!(gathering.end_task().len(), 0);
        assert_eq!(gathering.end_task().len(), 2 * SHARE);
        assert_eq!(gathering.add(waiting(1)), 1);
    }
}
