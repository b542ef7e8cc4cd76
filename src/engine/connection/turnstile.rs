use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroU64,
    task::Waker,
    thread::available_parallelism,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::util::now;

/// Where connections wait that have more to handle than fits into a turn.
///
/// Only as many of them as there are processors are in the queue of the runtime at a time. All others are held up by those
/// turns, and not by one turn of each client that floods the server.
#[derive(Debug)]
pub(crate) struct Turnstile {
    places: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    /// Those that have been admitted and have not ended their turn, and since when. The first is the oldest.
    admitted: VecDeque<(NonZeroU64, Instant)>,
    /// In the order in which they came.
    waiting: BTreeMap<NonZeroU64, Waker>,
}

/// A place in the order of the [`Turnstile`].
#[derive(Debug)]
pub(crate) struct Turn(NonZeroU64);

/// A turn that takes longer does not hold the others up: its future may not be polled at all.
const LONGEST: Duration = Duration::from_secs(1);

impl Turnstile {
    pub(crate) fn new() -> Self {
        Self::with_places(available_parallelism().map_or(1, usize::from))
    }

    fn with_places(places: usize) -> Self {
        Self { places, state: Mutex::default() }
    }

    /// Ends a turn and waits for another one, behind all that wait already.
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

    /// Whether the turn has not begun. Then the waker is woken when it does.
    pub(crate) fn is_waiting(&self, turn: &Turn, waker: &Waker) -> bool {
        self.change(|state| {
            let known = state.waiting.get_mut(&turn.0);
            known.map(|known| known.clone_from(waker)).is_some()
        })
    }

    /// Ends a turn, or gives up waiting for it.
    pub(crate) fn end(&self, turn: &Turn) {
        self.change(|state| state.remove(turn));
    }

    /// Changes the order, and wakes the one whose turn it is.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock();
        let result = change(&mut state);
        // Each change leaves one place at most.
        let next = if state.waiting.is_empty() { None } else { state.admit(self.places, now()) };
        drop(state);
        next.into_iter().for_each(Waker::wake);
        result
    }
}

impl State {
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
    async fn as_many_as_there_are_places_have_a_turn_and_the_others_follow_in_order() {
        let turnstile = Turnstile::with_places(2);
        let [a, b, c, d] = [(); 4].map(|()| turnstile.again(None, Waker::noop()));
        assert_eq!(begins(&turnstile, &[&a, &b, &c, &d]), [true, true, false, false]);
        let a = turnstile.again(Some(a), Waker::noop());
        assert_eq!(begins(&turnstile, &[&a, &b, &c, &d]), [false, true, true, false]);
        // One that waits gives up.
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
    async fn a_turn_that_never_ends_holds_nobody_up() {
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
