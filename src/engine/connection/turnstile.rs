use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroU64,
    task::Waker,
    thread::available_parallelism,
    time::{Duration, Instant},
};

use crate::util::{Mutex, now};

/// Schedules connections that have more input than fits into one batch.
///
/// Only as many of them as there are processors are runnable at a time. So other tasks wait for a few turns, not for one turn of
/// each client that floods the server.
#[derive(Debug)]
pub(crate) struct Turnstile {
    places: usize,
    state: Mutex<TurnQueue>,
}

#[derive(Debug, Default)]
struct TurnQueue {
    last: u64,
    /// The turns that have begun and not ended, with the time of their beginning. Oldest first.
    admitted: VecDeque<(NonZeroU64, Instant)>,
    /// The turns that have not begun, in order of arrival.
    waiting: BTreeMap<NonZeroU64, Waker>,
}

/// A turn at the [`Turnstile`].
#[derive(Debug)]
pub(crate) struct Turn(NonZeroU64);

/// A turn that takes longer does not block others, because its future may never be polled again.
const LONGEST: Duration = Duration::from_secs(1);

impl Turnstile {
    pub(crate) fn new() -> Self {
        Self::with_places(available_parallelism().map_or(1, usize::from))
    }

    fn with_places(places: usize) -> Self {
        Self { places, state: Mutex::default() }
    }

    /// Ends a turn and queues for another one, after all that are queued already.
    pub(crate) fn again(&self, ended: Option<Turn>, waker: &Waker) -> Turn {
        self.change(|state| {
            if let Some(turn) = ended {
                state.remove(&turn);
            }
            state.last += 1;
            let number = NonZeroU64::new(state.last).expect("64 bits do not overflow");
            state.waiting.insert(number, waker.clone());
            Turn(number)
        })
    }

    /// Returns `true` if the turn has not begun. The waker is then called when it does.
    pub(crate) fn is_waiting(&self, turn: &Turn, waker: &Waker) -> bool {
        self.change(|state| {
            let known = state.waiting.get_mut(&turn.0);
            known.map(|known| known.clone_from(waker)).is_some()
        })
    }

    /// Ends a turn, or cancels one that has not begun.
    pub(crate) fn end(&self, turn: &Turn) {
        self.change(|state| state.remove(turn));
    }

    /// Changes the queue, and wakes the connection whose turn begins.
    fn change<R>(&self, change: impl FnOnce(&mut TurnQueue) -> R) -> R {
        let mut state = self.state.lock();
        let result = change(&mut state);
        // Each change frees one place at most.
        let next = if state.waiting.is_empty() { None } else { state.admit(self.places, now()) };
        drop(state);
        next.into_iter().for_each(Waker::wake);
        result
    }
}

impl TurnQueue {
    fn remove(&mut self, turn: &Turn) {
        if self.waiting.remove(&turn.0).is_none() {
            self.admitted.retain(|(number, _)| *number != turn.0);
        }
    }

    fn admit(&mut self, places: usize, now: Instant) -> Option<Waker> {
        let late = |since: Instant| now.saturating_duration_since(since) > LONGEST;
        while self.admitted.len() >= places && self.admitted.front().is_some_and(|(_, since)| late(*since)) {
            self.admitted.pop_front();
        }
        if self.admitted.len() >= places {
            return None;
        }
        let (number, waker) = self.waiting.pop_first()?;
        self.admitted.push_back((number, now));
        Some(waker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(turnstile: &Turnstile, turns: &[&Turn]) -> Vec<bool> {
        turns.iter().map(|turn| !turnstile.is_waiting(turn, Waker::noop())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_as_many_turns_as_places_and_the_others_follow_in_order() {
        let turnstile = Turnstile::with_places(2);
        let [a, b, c, d] = [(); 4].map(|()| turnstile.again(None, Waker::noop()));
        assert_eq!(begins(&turnstile, &[&a, &b, &c, &d]), [true, true, false, false]);
        let a = turnstile.again(Some(a), Waker::noop());
        assert_eq!(begins(&turnstile, &[&a, &b, &c, &d]), [false, true, true, false]);
        // One that waits cancels.
        turnstile.end(&d);
        assert_eq!(begins(&turnstile, &[&a, &b, &c]), [false, true, true]);
        turnstile.end(&b);
        assert_eq!(begins(&turnstile, &[&a, &c]), [true, true]);
        turnstile.end(&a);
        turnstile.end(&c);
        let state = turnstile.state.lock();
        assert_eq!((state.admitted.len(), state.waiting.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_never_ends_does_not_block_others() {
        let turnstile = Turnstile::with_places(1);
        let [a, b] = [(); 2].map(|()| turnstile.again(None, Waker::noop()));
        assert_eq!(begins(&turnstile, &[&a, &b]), [true, false]);
        tokio::time::sleep(2 * LONGEST).await;
        assert_eq!(begins(&turnstile, &[&a, &b]), [true, true]);
        turnstile.end(&a);
        turnstile.end(&b);
        assert!(turnstile.state.lock().admitted.is_empty());
    }
}
