use std::collections::VecDeque;

use super::{Packet, PacketKind};

/// What waits to be sent to one client, bounded by bytes.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: PacketQueue,
    bytes: usize,
    limit: usize,
    /// How much of it does not count against the limit.
    released: usize,
}

/// Packets in their order. One alone takes no memory of its own: an idle connection has none.
#[derive(Debug, Default)]
pub(crate) struct PacketQueue {
    /// There is one unless the queue is empty.
    first: Option<Packet>,
    rest: VecDeque<Packet>,
}

/// A queue grown by a burst is given back once it has been emptied.
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
    /// Each packet costs its entry in the queue too: many small packets are bounded as well.
    pub(crate) const OVERHEAD: usize = size_of::<Packet>();

    pub(crate) fn new(limit: usize) -> Self {
        Self { queue: PacketQueue::default(), bytes: 0, limit, released: 0 }
    }

    /// Queues a packet and its attachments, which `add` adds and which [cost](Self::cost) so much, all or none.
    ///
    /// An empty outbox takes anything: one packet larger than the limit is the sender's own decision.
    pub(crate) fn push(&mut self, cost: usize, add: impl FnOnce(&mut PacketQueue)) -> Result<(), OutboxFull> {
        if !self.queue.is_empty() && self.bytes - self.released + cost > self.limit {
            return Err(OutboxFull);
        }
        self.bytes += cost;
        add(&mut self.queue);
        Ok(())
    }

    /// Queues a packet and its attachments that count against no limit.
    pub(crate) fn push_released(&mut self, packets: &[Packet]) {
        let cost = Self::cost(packets);
        self.bytes += cost;
        self.released += cost;
        self.queue.extend(packets.iter().cloned());
    }

    /// What packets cost while they wait: their bytes, and their entries in the queue.
    pub(crate) fn cost(packets: &[Packet]) -> usize {
        packets.iter().map(cost).sum()
    }

    /// Queues a packet of the protocol itself, whatever the limit says.
    pub(crate) fn push_control(&mut self, packet: Packet) {
        self.bytes += cost(&packet);
        self.queue.push(packet);
    }

    /// Queues a heartbeat in front of everything else but the handshake: a backlog must not delay it until the peer gives up. If one
    /// waits already, that is enough.
    pub(crate) fn push_heartbeat(&mut self, packet: Packet) {
        match self.queue.first.as_ref().map(Packet::kind) {
            Some(PacketKind::Ping | PacketKind::Pong | PacketKind::Noop) => {}
            Some(PacketKind::Open) => self.push_control(packet),
            _ => {
                self.bytes += cost(&packet);
                self.queue.push_front(packet);
            }
        }
    }

    /// The packets that wait, in their order.
    pub(crate) fn packets(&self) -> impl Iterator<Item = &Packet> {
        self.queue.iter()
    }

    pub(crate) fn pop(&mut self) -> Option<Packet> {
        let packet = self.queue.pop()?;
        self.bytes -= cost(&packet);
        // What was released stands in front of everything else but heartbeats.
        if self.released > 0 && packet.kind() == PacketKind::Message {
            self.released = self.released.saturating_sub(cost(&packet));
        }
        Some(packet)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes waiting, queue entries included.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn clear(&mut self) {
        self.queue = PacketQueue::default();
        self.bytes = 0;
        self.released = 0;
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
    fn a_packet_past_the_limit_is_refused_whole_and_control_packets_always_fit() {
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
    fn one_heartbeat_waits_at_most_and_the_handshake_precedes_it() {
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
    fn an_empty_outbox_takes_a_packet_larger_than_its_limit() {
        let mut outbox = Outbox::new(4);
        assert_eq!(push(&mut outbox, &[Packet::message("a long one")]), Ok(()));
        assert_eq!(push(&mut outbox, &[Packet::message("")]), Err(OutboxFull));
    }
}
