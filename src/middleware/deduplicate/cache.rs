use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{event::EventResponse, util::Mutex};

/// The events of one socket or user, and their responses.
#[derive(Debug, Default)]
pub(super) struct ResponseCache {
    entries: Mutex<CacheEntries>,
    /// The size of all users' caches of the layer. `None` for the cache of a socket.
    total: Option<Arc<AtomicUsize>>,
}

#[derive(Debug, Default)]
struct CacheEntries {
    by_key: HashMap<Arc<str>, CacheEntry>,
    /// The cost of all entries.
    bytes: usize,
    /// All entries, oldest first. An entry is stale if its number differs from the current one of its key.
    order: VecDeque<(Instant, u64, Arc<str>)>,
    next: u64,
}

#[derive(Debug)]
struct CacheEntry {
    number: u64,
    state: EntryState,
    cost: usize,
}

/// The cost of an entry in bytes, without its key and response.
const OVERHEAD: usize = 192;

#[derive(Debug)]
enum EntryState {
    Running(PendingResponse),
    Answered(EventResponse),
}

/// The response of an event that is being handled. The channel is closed without a response if handling was aborted.
pub(super) type PendingResponse = watch::Receiver<Option<EventResponse>>;

/// The limits of a cache.
#[derive(Debug, Clone, Copy)]
pub(super) struct CacheLimits {
    pub(super) capacity: usize,
    pub(super) max_age: Duration,
    /// The maximum cost of all entries.
    pub(super) max_bytes: usize,
}

/// The result of [`ResponseCache::look_up`].
pub(super) enum Lookup {
    /// The event is new and must be handled.
    Handle(Arc<Ticket>),
    /// The event is being handled.
    Wait(PendingResponse),
    Answered(EventResponse),
}

impl ResponseCache {
    /// Creates the cache of a user, whose size is added to `total`.
    pub(super) fn of_user(total: &Arc<AtomicUsize>) -> Self {
        Self { entries: Mutex::default(), total: Some(total.clone()) }
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries.lock().bytes
    }

    /// Changes the entries, and updates the total.
    fn change<R>(&self, change: impl FnOnce(&mut CacheEntries) -> R) -> R {
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

    pub(super) fn look_up(self: &Arc<Self>, key: &Arc<str>, limits: CacheLimits, now: Instant) -> Lookup {
        let new = self.change(|entries| {
            entries.forget_old(limits.max_age, now);
            match entries.by_key.get(key).map(|entry| &entry.state) {
                Some(EntryState::Running(answer)) => return Err(Lookup::Wait(answer.clone())),
                Some(EntryState::Answered(response)) => return Err(Lookup::Answered(response.clone())),
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
        let (cache, key, max_bytes) = (self.clone(), key.clone(), limits.max_bytes);
        Lookup::Handle(Arc::new(Ticket { cache, key, number, max_bytes, sender, settled, handled }))
    }

    /// Stores the response of an event. Removes the event if there is no response, or if it is larger than the cache.
    fn settle(&self, key: &str, number: u64, answer: Option<EventResponse>, max_bytes: usize) {
        // Dropped without a lock if it is too large.
        let answer = answer.filter(|answer| OVERHEAD + key.len() + answer.len() <= max_bytes);
        self.change(|entries| {
            let Some(entry) = entries.by_key.get_mut(key).filter(|entry| entry.number == number) else {
                return;
            };
            match answer {
                Some(response) => {
                    entry.cost += response.len();
                    entries.bytes += response.len();
                    entry.state = EntryState::Answered(response);
                    entries.make_room(usize::MAX, max_bytes);
                }
                None => entries.forget(key, number),
            }
        });
    }
}

impl Drop for ResponseCache {
    fn drop(&mut self) {
        if let Some(total) = &self.total {
            total.fetch_sub(self.entries.get_mut().bytes, Ordering::Relaxed);
        }
    }
}

impl CacheEntries {
    fn add(&mut self, key: Arc<str>, answer: PendingResponse, now: Instant) -> u64 {
        let number = self.next;
        self.next += 1;
        let cost = OVERHEAD + key.len();
        self.bytes += cost;
        self.order.push_back((now, number, key.clone()));
        self.by_key.insert(key, CacheEntry { number, state: EntryState::Running(answer), cost });
        number
    }

    /// Evicts the oldest entries until the limits are met.
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
        // `order` is sorted by number.
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

/// An event that is being handled. Shared by all that may respond to it.
///
/// If it is dropped without a response, the event is removed, so that a retry is handled; unless the handler has finished, which
/// means that the event has no response.
#[derive(Debug)]
pub(super) struct Ticket {
    cache: Arc<ResponseCache>,
    key: Arc<str>,
    number: u64,
    max_bytes: usize,
    sender: watch::Sender<Option<EventResponse>>,
    settled: AtomicBool,
    handled: AtomicBool,
}

impl Ticket {
    /// Stores the response, unless it is an error, and sends it to retries that wait.
    pub(super) fn answer(&self, response: &EventResponse) {
        if !self.settled.swap(true, Ordering::Relaxed) {
            let remembered = response.error().is_none().then(|| response.detached());
            self.cache.settle(&self.key, self.number, remembered, self.max_bytes);
            self.sender.send_replace(Some(response.clone()));
        }
    }

    /// Records that the handler has finished without a response. An `AckSender` may still send one.
    pub(super) fn handled(&self) {
        self.handled.store(true, Ordering::Release);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if *self.handled.get_mut() {
            self.answer(&EventResponse::none());
        } else if !*self.settled.get_mut() {
            self.cache.settle(&self.key, self.number, None, self.max_bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ack, EventError, event::IntoEventResponse};

    const LIMITS: CacheLimits = CacheLimits { capacity: 2, max_age: Duration::from_secs(60), max_bytes: 10_000 };

    fn look_up(cache: &Arc<ResponseCache>, key: &str, now: Instant) -> Lookup {
        cache.look_up(&key.into(), LIMITS, now)
    }

    fn handle(cache: &Arc<ResponseCache>, key: &str, now: Instant) -> Arc<Ticket> {
        match look_up(cache, key, now) {
            Lookup::Handle(ticket) => ticket,
            Lookup::Wait(_) | Lookup::Answered(_) => panic!("`{key}` is not new"),
        }
    }

    fn answered(cache: &Arc<ResponseCache>, key: &str, now: Instant) -> bool {
        matches!(look_up(cache, key, now), Lookup::Answered(_))
    }

    #[test]
    fn responses_are_cached_up_to_the_capacity_and_the_age() {
        let (cache, now) = (Arc::new(ResponseCache::default()), Instant::now());
        for key in ["a", "b"] {
            handle(&cache, key, now).answer(&Ack(1).into_event_response());
        }
        assert!(answered(&cache, "a", now) && answered(&cache, "b", now));
        handle(&cache, "c", now).answer(&Ack(1).into_event_response());
        assert!(answered(&cache, "b", now) && answered(&cache, "c", now));
        let later = now + LIMITS.max_age;
        drop(handle(&cache, "c", later));
        let entries = cache.entries.lock();
        assert_eq!((entries.by_key.len(), entries.order.len(), entries.bytes), (0, 0, 0));
    }

    #[test]
    fn failed_and_aborted_events_are_removed() {
        let (cache, now) = (Arc::new(ResponseCache::default()), Instant::now());
        for _ in 0..10 {
            drop(handle(&cache, "a", now));
            handle(&cache, "a", now).answer(&EventError::new("no").into());
        }
        assert!(cache.entries.lock().order.len() <= 2);
        let ticket = handle(&cache, "a", now);
        ticket.handled();
        assert!(matches!(look_up(&cache, "a", now), Lookup::Wait(_)));
        drop(ticket);
        assert!(answered(&cache, "a", now));
    }

    #[test]
    fn an_evicted_event_does_not_respond_for_its_successor() {
        let (cache, now) = (Arc::new(ResponseCache::default()), Instant::now());
        let first = handle(&cache, "a", now);
        let _others = [handle(&cache, "b", now), handle(&cache, "c", now)];
        let _second = handle(&cache, "a", now);
        first.answer(&Ack(1).into_event_response());
        assert!(matches!(look_up(&cache, "a", now), Lookup::Wait(_)));
    }

    #[test]
    fn the_cache_is_limited_in_bytes() {
        let (total, now) = (Arc::default(), Instant::now());
        let cache = Arc::new(ResponseCache::of_user(&total));
        let limits = CacheLimits { capacity: 1000, ..LIMITS };
        let answer = |key: &str, length: usize| {
            let Lookup::Handle(ticket) = cache.look_up(&key.into(), limits, now) else { panic!("`{key}` is not new") };
            ticket.answer(&Ack("x".repeat(length)).into_event_response());
            let bytes = cache.entries.lock().bytes;
            assert!(bytes <= limits.max_bytes && total.load(Ordering::Relaxed) == bytes, "{bytes}");
        };
        let remembered = |key: &str| {
            let entries = cache.entries.lock();
            matches!(entries.by_key.get(key), Some(CacheEntry { state: EntryState::Answered(_), .. }))
        };
        answer("a", 4000);
        answer("b", 4000);
        assert!(remembered("a") && remembered("b"));
        answer("c", 4000);
        assert!(!remembered("a") && remembered("b") && remembered("c"));
        // A response that is larger than the cache evicts nothing.
        answer("d", 10_000);
        assert!(remembered("b") && remembered("c") && !remembered("d"));
        // Keys count too.
        for number in 0..1000 {
            answer(&format!("{number:0400}"), 0);
        }
        assert!(!remembered("c") && cache.entries.lock().order.len() < 20);
        drop(cache);
        assert_eq!(total.load(Ordering::Relaxed), 0);
    }
}
