use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use crate::EventResponse;

/// The events of one socket, or of one user, and how they were answered.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    by_key: HashMap<Arc<str>, Entry>,
    /// Every entry once, the oldest first. One whose number is not that of its key any more is out of date.
    order: VecDeque<(Instant, u64, Arc<str>)>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Running(Answer),
    Answered(EventResponse),
}

/// The answer of an event that is being handled. If its sender is gone without one, it was given up.
pub(super) type Answer = watch::Receiver<Option<EventResponse>>;

/// How much is remembered, and how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) capacity: usize,
    pub(super) max_age: Duration,
}

/// What is to be done with an event.
pub(super) enum Claim {
    /// It is new.
    Handle(Arc<Ticket>),
    /// It is being handled.
    Wait(Answer),
    Answered(EventResponse),
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock()
    }

    pub(super) fn claim(self: &Arc<Self>, key: &Arc<str>, limits: Limits, now: Instant) -> Claim {
        let mut entries = self.lock();
        entries.forget_old(limits.max_age, now);
        match entries.by_key.get(key).map(|entry| &entry.state) {
            Some(State::Running(answer)) => return Claim::Wait(answer.clone()),
            Some(State::Answered(response)) => return Claim::Answered(response.clone()),
            None => {}
        }
        while entries.order.len() >= limits.capacity {
            entries.forget_first();
        }
        let (sender, answer) = watch::channel(None);
        let number = entries.add(key.clone(), answer, now);
        drop(entries);
        let (settled, handled) = (AtomicBool::new(false), AtomicBool::new(false));
        Claim::Handle(Arc::new(Ticket { memory: self.clone(), key: key.clone(), number, sender, settled, handled }))
    }

    /// Keeps the answer of an event, or forgets the event.
    fn settle(&self, key: &str, number: u64, answer: Option<EventResponse>) {
        let mut entries = self.lock();
        let Some(entry) = entries.by_key.get_mut(key).filter(|entry| entry.number == number) else {
            return;
        };
        match answer {
            Some(response) => entry.state = State::Answered(response),
            None => {
                entries.by_key.remove(key);
                // They stand in the order of their numbers.
                if let Ok(place) = entries.order.binary_search_by_key(&number, |(_, number, _)| *number) {
                    entries.order.remove(place);
                }
            }
        }
    }
}

impl Entries {
    fn add(&mut self, key: Arc<str>, answer: Answer, now: Instant) -> u64 {
        let number = self.next;
        self.next += 1;
        self.order.push_back((now, number, key.clone()));
        self.by_key.insert(key, Entry { number, state: State::Running(answer) });
        number
    }

    fn forget_first(&mut self) {
        if let Some((_, number, key)) = self.order.pop_front()
            && self.by_key.get(&key).is_some_and(|entry| entry.number == number)
        {
            self.by_key.remove(&key);
        }
    }

    fn forget_old(&mut self, max_age: Duration, now: Instant) {
        while self.order.front().is_some_and(|(time, ..)| now.saturating_duration_since(*time) >= max_age) {
            self.forget_first();
        }
    }
}

/// An event that is being handled, held by whoever may still answer it.
///
/// Dropped without an answer it is forgotten, so that the next one to come is handled; unless it was handled to its end: then
/// it is one that is not answered.
#[derive(Debug)]
pub(super) struct Ticket {
    memory: Arc<Memory>,
    key: Arc<str>,
    number: u64,
    sender: watch::Sender<Option<EventResponse>>,
    settled: AtomicBool,
    handled: AtomicBool,
}

impl Ticket {
    /// The event has been answered. Those that wait get any answer; one that is an error is not remembered.
    pub(super) fn answer(&self, response: &EventResponse) {
        if !self.settled.swap(true, Ordering::Relaxed) {
            let remembered = response.error().is_none().then(|| response.clone());
            self.memory.settle(&self.key, self.number, remembered);
            self.sender.send_replace(Some(response.clone()));
        }
    }

    /// The handler has ended without an answer. An `AckSender` may still give one.
    pub(super) fn handled(&self) {
        self.handled.store(true, Ordering::Release);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if *self.handled.get_mut() {
            self.answer(&EventResponse::none());
        } else if !*self.settled.get_mut() {
            self.memory.settle(&self.key, self.number, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ack, EventError, IntoEventResponse};

    const LIMITS: Limits = Limits { capacity: 2, max_age: Duration::from_secs(60) };

    fn claim(memory: &Arc<Memory>, key: &str, now: Instant) -> Claim {
        memory.claim(&key.into(), LIMITS, now)
    }

    fn handle(memory: &Arc<Memory>, key: &str, now: Instant) -> Arc<Ticket> {
        match claim(memory, key, now) {
            Claim::Handle(ticket) => ticket,
            Claim::Wait(_) | Claim::Answered(_) => panic!("`{key}` is not new"),
        }
    }

    fn answered(memory: &Arc<Memory>, key: &str, now: Instant) -> bool {
        matches!(claim(memory, key, now), Claim::Answered(_))
    }

    #[test]
    fn what_was_answered_is_remembered_up_to_the_capacity_and_the_age() {
        let (memory, now) = (Arc::new(Memory::default()), Instant::now());
        for key in ["a", "b"] {
            handle(&memory, key, now).answer(&Ack(1).into_event_response());
        }
        assert!(answered(&memory, "a", now) && answered(&memory, "b", now));
        handle(&memory, "c", now).answer(&Ack(1).into_event_response());
        assert!(answered(&memory, "b", now) && answered(&memory, "c", now));
        let later = now + LIMITS.max_age;
        drop(handle(&memory, "c", later));
        let entries = memory.lock();
        assert_eq!((entries.by_key.len(), entries.order.len()), (0, 0));
    }

    #[test]
    fn what_failed_or_was_given_up_is_forgotten() {
        let (memory, now) = (Arc::new(Memory::default()), Instant::now());
        for _ in 0..10 {
            drop(handle(&memory, "a", now));
            handle(&memory, "a", now).answer(&EventError::new("no").into());
        }
        assert!(memory.lock().order.len() <= 2);
        let ticket = handle(&memory, "a", now);
        ticket.handled();
        assert!(matches!(claim(&memory, "a", now), Claim::Wait(_)));
        drop(ticket);
        assert!(answered(&memory, "a", now));
    }

    #[test]
    fn an_event_that_was_crowded_out_does_not_answer_for_its_successor() {
        let (memory, now) = (Arc::new(Memory::default()), Instant::now());
        let first = handle(&memory, "a", now);
        let _others = [handle(&memory, "b", now), handle(&memory, "c", now)];
        let _second = handle(&memory, "a", now);
        first.answer(&Ack(1).into_event_response());
        assert!(matches!(claim(&memory, "a", now), Claim::Wait(_)));
    }
}
