use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::EventResponse;

/// The events of one socket, or of one user, and how they were answered.
#[derive(Debug, Default)]
pub(super) struct Memory {
    entries: Mutex<Entries>,
    /// What all users' memories of the layer take together; `None` for that of a socket.
    total: Option<Arc<AtomicUsize>>,
}

#[derive(Debug, Default)]
struct Entries {
    by_key: HashMap<Arc<str>, Entry>,
    /// What all entries cost.
    bytes: usize,
    /// Every entry once, the oldest first. One whose number is not that of its key any more is out of date.
    order: VecDeque<(Instant, u64, Arc<str>)>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    state: State,
    cost: usize,
}

/// What an entry costs besides its key and its answer, in bytes.
const OVERHEAD: usize = 192;

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
    /// Of keys and answers, and what each entry costs besides.
    pub(super) max_bytes: usize,
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
    /// The memory of a user, which is counted in this total.
    pub(super) fn of_user(total: &Arc<AtomicUsize>) -> Self {
        Self { entries: Mutex::default(), total: Some(total.clone()) }
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries.lock().bytes
    }

    /// Changes the entries, and counts what that changes in the total.
    fn change<R>(&self, change: impl FnOnce(&mut Entries) -> R) -> R {
        let mut entries = self.entries.lock();
        let before = entries.bytes;
        let result = change(&mut entries);
        let after = entries.bytes;
        drop(entries);
        if let Some(total) = &self.total {
            total.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        }
        result
    }

    pub(super) fn claim(self: &Arc<Self>, key: &Arc<str>, limits: Limits, now: Instant) -> Claim {
        let new = self.change(|entries| {
            entries.forget_old(limits.max_age, now);
            match entries.by_key.get(key).map(|entry| &entry.state) {
                Some(State::Running(answer)) => return Err(Claim::Wait(answer.clone())),
                Some(State::Answered(response)) => return Err(Claim::Answered(response.clone())),
                None => {}
            }
            entries.make_room(limits.capacity - 1, limits.max_bytes);
            let (sender, answer) = watch::channel(None);
            Ok((entries.add(key.clone(), answer, now), sender))
        });
        let (number, sender) = match new {
            Ok(new) => new,
            Err(known) => return known,
        };
        let (settled, handled) = (AtomicBool::new(false), AtomicBool::new(false));
        let (memory, key, max_bytes) = (self.clone(), key.clone(), limits.max_bytes);
        Claim::Handle(Arc::new(Ticket { memory, key, number, max_bytes, sender, settled, handled }))
    }

    /// Keeps the answer of an event, or forgets the event: also if the answer alone is larger than the memory.
    fn settle(&self, key: &str, number: u64, answer: Option<EventResponse>, max_bytes: usize) {
        // What is forgotten is dropped while nothing is locked.
        let answer = answer.filter(|answer| OVERHEAD + key.len() + answer.len() <= max_bytes);
        self.change(|entries| {
            let Some(entry) = entries.by_key.get_mut(key).filter(|entry| entry.number == number) else {
                return;
            };
            match answer {
                Some(response) => {
                    entry.cost += response.len();
                    entries.bytes += response.len();
                    entry.state = State::Answered(response);
                    entries.make_room(usize::MAX, max_bytes);
                }
                None => entries.forget(key, number),
            }
        });
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(total) = &self.total {
            total.fetch_sub(self.entries.get_mut().bytes, Ordering::Relaxed);
        }
    }
}

impl Entries {
    fn add(&mut self, key: Arc<str>, answer: Answer, now: Instant) -> u64 {
        let number = self.next;
        self.next += 1;
        let cost = OVERHEAD + key.len();
        self.bytes += cost;
        self.order.push_back((now, number, key.clone()));
        self.by_key.insert(key, Entry { number, state: State::Running(answer), cost });
        number
    }

    /// Forgets the oldest entries, until there are no more than these, and no more bytes.
    fn make_room(&mut self, entries: usize, bytes: usize) {
        while !self.order.is_empty() && (self.order.len() > entries || self.bytes > bytes) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, number, key)) = self.order.pop_front() {
            self.remove(&key, number);
        }
    }

    fn forget(&mut self, key: &str, number: u64) {
        self.remove(key, number);
        // They stand in the order of their numbers.
        if let Ok(place) = self.order.binary_search_by_key(&number, |(_, number, _)| *number) {
            self.order.remove(place);
        }
    }

    fn remove(&mut self, key: &str, number: u64) {
        if self.by_key.get(key).is_some_and(|entry| entry.number == number)
            && let Some(entry) = self.by_key.remove(key)
        {
            self.bytes -= entry.cost;
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
    max_bytes: usize,
    sender: watch::Sender<Option<EventResponse>>,
    settled: AtomicBool,
    handled: AtomicBool,
}

impl Ticket {
    /// The event has been answered. Those that wait get any answer; one that is an error is not remembered.
    pub(super) fn answer(&self, response: &EventResponse) {
        if !self.settled.swap(true, Ordering::Relaxed) {
            let remembered = response.error().is_none().then(|| response.detached());
            self.memory.settle(&self.key, self.number, remembered, self.max_bytes);
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
            self.memory.settle(&self.key, self.number, None, self.max_bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ack, EventError, IntoEventResponse};

    const LIMITS: Limits = Limits { capacity: 2, max_age: Duration::from_secs(60), max_bytes: 10_000 };

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
        let entries = memory.entries.lock();
        assert_eq!((entries.by_key.len(), entries.order.len(), entries.bytes), (0, 0, 0));
    }

    #[test]
    fn what_failed_or_was_given_up_is_forgotten() {
        let (memory, now) = (Arc::new(Memory::default()), Instant::now());
        for _ in 0..10 {
            drop(handle(&memory, "a", now));
            handle(&memory, "a", now).answer(&EventError::new("no").into());
        }
        assert!(memory.entries.lock().order.len() <= 2);
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

    #[test]
    fn what_is_remembered_is_bounded_by_bytes() {
        let (total, now) = (Arc::default(), Instant::now());
        let memory = Arc::new(Memory::of_user(&total));
        let limits = Limits { capacity: 1000, ..LIMITS };
        let answer = |key: &str, length: usize| {
            let Claim::Handle(ticket) = memory.claim(&key.into(), limits, now) else { panic!("`{key}` is not new") };
            ticket.answer(&Ack("x".repeat(length)).into_event_response());
            let bytes = memory.entries.lock().bytes;
            assert!(bytes <= limits.max_bytes && total.load(Ordering::Relaxed) == bytes, "{bytes}");
        };
        let remembered = |key: &str| {
            let entries = memory.entries.lock();
            matches!(entries.by_key.get(key), Some(Entry { state: State::Answered(_), .. }))
        };
        answer("a", 4000);
        answer("b", 4000);
        assert!(remembered("a") && remembered("b"));
        answer("c", 4000);
        assert!(!remembered("a") && remembered("b") && remembered("c"));
        // One that is larger than the memory pushes nothing out.
        answer("d", 10_000);
        assert!(remembered("b") && remembered("c") && !remembered("d"));
        // Keys count too.
        for number in 0..1000 {
            answer(&format!("{number:0400}"), 0);
        }
        assert!(!remembered("c") && memory.entries.lock().order.len() < 20);
        drop(memory);
        assert_eq!(total.load(Ordering::Relaxed), 0);
    }
}
