use std::collections::VecDeque;

use super::{Packet, PacketType};

/// The packets that wait to be sent to one client, bounded by bytes.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: PacketQueue,
    bytes: usize,
    limit: usize,
    /// The part of `bytes` that does not count against `limit`.
    unlimited: usize,
}

/// A FIFO of packets. The first one is stored inline, so that an idle connection allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct PacketQueue {
    /// `None` if the queue is empty.
    first: Option<Packet>,
    rest: VecDeque<Packet>,
}

/// An empty queue with a larger capacity is deallocated: a burst must not keep memory.
const KEPT_CAPACITY: usize = 4;

impl PacketQueue {
    pub(crate) fn push(&mut self, packet: Packet) {
        match &self.first {
            None => self.first = Some(packet),
            Some(_) => self.rest.push_back(packet),
        }
    }

    fn push_front(&mut self, packet: Packet) {
        if let Some(second) = self.first.replace(packet) {
            self.rest.push_front(second);
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Packet> {
        self.first.iter().chain(&self.rest)
    }

    fn pop(&mut self) -> Option<Packet> {
        let packet = self.first.take()?;
        if self.rest.capacity() > 0 {
            self.first = self.rest.pop_front();
            if self.first.is_none() && self.rest.capacity() > KEPT_CAPACITY {
                self.rest = VecDeque::new();
            }
        }
        Some(packet)
    }

    fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

impl Extend<Packet> for PacketQueue {
    fn extend<I: IntoIterator<Item = Packet>>(&mut self, packets: I) {
        packets.into_iter().for_each(|packet| self.push(packet));
    }
}

impl Outbox {
    /// The cost of a packet's entry in the queue. It bounds the number of small packets.
    pub(crate) const OVERHEAD: usize = size_of::<Packet>();

    pub(crate) fn new(limit: usize) -> Self {
        Self { queue: PacketQueue::default(), bytes: 0, limit, unlimited: 0 }
    }

    /// Queues a packet and its attachments, all or none. `add` pushes them, and `cost` is their [cost](Self::cost).
    ///
    /// An empty outbox accepts any packet, even one larger than the limit.
    #[inline(always)]
    pub(crate) fn push(&mut self, cost: usize, add: impl FnOnce(&mut PacketQueue)) -> Result<(), OutboxFull> {
        if !self.queue.is_empty() && self.bytes - self.unlimited + cost > self.limit {
            return Err(OutboxFull);
        }
        self.bytes += cost;
        add(&mut self.queue);
        Ok(())
    }

    /// Queues a packet and its attachments without counting them against the limit.
    pub(crate) fn push_unlimited(&mut self, packets: &[Packet]) {
        let cost = Self::cost(packets);
        self.bytes += cost;
        self.unlimited += cost;
        self.queue.extend(packets.iter().cloned());
    }

    /// Returns the bytes that packets take in the queue, entries included.
    pub(crate) fn cost(packets: &[Packet]) -> usize {
        packets.iter().map(cost).sum()
    }

    /// Queues an Engine.IO control packet, regardless of the limit.
    pub(crate) fn push_control(&mut self, packet: Packet) {
        self.bytes += cost(&packet);
        self.queue.push(packet);
    }

    /// Queues a heartbeat before all packets but the handshake, so that a backlog does not delay it past the peer's timeout. Does
    /// nothing if a heartbeat is already queued.
    pub(crate) fn push_heartbeat(&mut self, packet: Packet) {
        match self.queue.first.as_ref().map(Packet::packet_type) {
            Some(PacketType::Ping | PacketType::Pong | PacketType::Noop) => {}
            Some(PacketType::Open) => self.push_control(packet),
            _ => {
                self.bytes += cost(&packet);
                self.queue.push_front(packet);
            }
        }
    }

    /// Iterates over the queued packets, in order.
    pub(crate) fn packets(&self) -> impl Iterator<Item = &Packet> {
        self.queue.iter()
    }

    pub(crate) fn pop(&mut self) -> Option<Packet> {
        let packet = self.queue.pop()?;
        self.bytes -= cost(&packet);
        // Unlimited packets are queued before all others but heartbeats.
        if self.unlimited > 0 && packet.packet_type() == PacketType::Message {
            self.unlimited = self.unlimited.saturating_sub(cost(&packet));
        }
        Some(packet)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Returns the number of queued bytes, queue entries included.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn clear(&mut self) {
        self.queue = PacketQueue::default();
        self.bytes = 0;
        self.unlimited = 0;
    }
}

/// The outbox has no room for a packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OutboxFull;

fn cost(packet: &Packet) -> usize {
    packet.len() + Outbox::OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVERHEAD: usize = Outbox::OVERHEAD;

    fn push(outbox: &mut Outbox, packets: &[Packet]) -> Result<(), OutboxFull> {
        outbox.push(Outbox::cost(packets), |queue| queue.extend(packets.iter().cloned()))
    }

    #[test]
    fn a_packet_over_the_limit_is_rejected_whole_and_control_packets_always_fit() {
        let mut outbox = Outbox::new(2 * OVERHEAD + 10);
        assert_eq!(push(&mut outbox, &[Packet::message("12345")]), Ok(()));
        let too_much = [Packet::message("1"), Packet::binary(&[0u8; 20][..])];
        assert_eq!(push(&mut outbox, &too_much), Err(OutboxFull));
        outbox.push_control(Packet::ping());
        assert_eq!(outbox.pop(), Some(Packet::message("12345")));
        assert_eq!(outbox.pop(), Some(Packet::ping()));
        assert_eq!(outbox.pop(), None);
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn at_most_one_heartbeat_is_queued_and_the_handshake_precedes_it() {
        let mut outbox = Outbox::new(1000);
        outbox.push_control(Packet::from_text("0{}").unwrap());
        outbox.push_heartbeat(Packet::pong());
        assert_eq!(outbox.pop(), Some(Packet::from_text("0{}").unwrap()));
        push(&mut outbox, &[Packet::message("a")]).unwrap();
        for _ in 0..1000 {
            outbox.push_heartbeat(Packet::pong());
        }
        assert_eq!(outbox.pop(), Some(Packet::pong()));
        assert_eq!(outbox.pop(), Some(Packet::message("a")));
        assert_eq!((outbox.pop(), outbox.bytes()), (None, 0));
    }

    #[test]
    fn an_empty_outbox_accepts_a_packet_larger_than_its_limit() {
        let mut outbox = Outbox::new(4);
        assert_eq!(push(&mut outbox, &[Packet::message("a long one")]), Ok(()));
        assert_eq!(push(&mut outbox, &[Packet::message("")]), Err(OutboxFull));
    }
}
