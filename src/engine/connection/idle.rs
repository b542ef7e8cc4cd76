use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Weak},
};

use crate::util::{Mutex, Order};

/// The sessions of a server that have not joined a namespace, or the streams that have not become a session, oldest first.
///
/// Their total number is limited, and the number for each address may be. Above a limit the oldest one is closed, in constant
/// time. The lock of a connection's state may be taken under this lock.
#[derive(Debug)]
pub(crate) struct IdleSessions<C> {
    max: usize,
    max_per_address: Option<usize>,
    queue: Mutex<Queue<C>>,
}

#[derive(Debug)]
struct Queue<C> {
    order: Order<Idle<C>>,
    /// For each address, the places of its sessions in `order`. Empty unless the number for each address is limited.
    by_address: HashMap<IpAddr, Order<u32>>,
}

#[derive(Debug)]
struct Idle<C> {
    connection: Weak<C>,
    /// The client's address, and the place among the sessions of that address.
    address: Option<(IpAddr, u32)>,
}

impl<C> IdleSessions<C> {
    pub(crate) fn new(max: usize, max_per_address: Option<usize>) -> Self {
        // The newest one always fits.
        Self {
            max: max.max(1),
            max_per_address: max_per_address.map(|max| max.max(1)),
            queue: Mutex::new(Queue { order: Order::default(), by_address: HashMap::new() }),
        }
    }

    /// Adds a new session, and returns those that must be closed to make room. `set_place` stores its place.
    pub(crate) fn add(
        &self,
        connection: &Arc<C>,
        address: Option<IpAddr>,
        set_place: impl FnOnce(u32),
    ) -> [Option<Weak<C>>; 2] {
        let mut queue = self.queue.lock();
        set_place(queue.push(connection, address.filter(|_| self.max_per_address.is_some())));
        let of_address = address.zip(self.max_per_address).and_then(|(address, max)| queue.pop_of(address, max));
        [of_address, queue.pop_past(self.max)]
    }

    /// Returns `true` if more than half of the places are taken.
    #[cfg(feature = "webtransport")]
    pub(crate) fn is_crowded(&self) -> bool {
        self.queue.lock().order.len() > self.max / 2
    }

    /// Removes a session that has joined a namespace or ended.
    pub(crate) fn remove(&self, place: u32, connection: &C) {
        let mut queue = self.queue.lock();
        // It may have been evicted meanwhile, and its place reused.
        if queue.order.get(place).is_some_and(|idle| std::ptr::eq(idle.connection.as_ptr(), connection)) {
            let removed = queue.remove(place);
            drop(queue);
            drop(removed);
        }
    }
}

impl<C> Queue<C> {
    fn push(&mut self, connection: &Arc<C>, address: Option<IpAddr>) -> u32 {
        let place = self.order.push(Idle { connection: Arc::downgrade(connection), address: None });
        if let Some(address) = address {
            let among = self.by_address.entry(address).or_default().push(place);
            if let Some(idle) = self.order.get_mut(place) {
                idle.address = Some((address, among));
            }
        }
        place
    }

    /// Removes the oldest session of an address that has more than `max`.
    fn pop_of(&mut self, address: IpAddr, max: usize) -> Option<Weak<C>> {
        let places = self.by_address.get(&address).filter(|places| places.len() > max)?;
        let place = *places.first()?;
        self.remove(place)
    }

    /// Removes the oldest session if there are more than `max`.
    fn pop_past(&mut self, max: usize) -> Option<Weak<C>> {
        let place = self.order.first_place().filter(|_| self.order.len() > max)?;
        self.remove(place)
    }

    fn remove(&mut self, place: u32) -> Option<Weak<C>> {
        let idle = self.order.remove(place)?;
        if let Some((address, among)) = idle.address
            && let Some(places) = self.by_address.get_mut(&address)
        {
            places.remove(among);
            if places.is_empty() {
                self.by_address.remove(&address);
            }
        }
        Some(idle.connection)
    }
}
