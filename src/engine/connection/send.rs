use std::{sync::atomic::Ordering, task::Waker};

use crate::engine::{Packet, PacketQueue, PacketType};

use super::shared::Connection;

/// The result of a send that did not fail.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Whether the packets have been queued. `false` if they were volatile and have been dropped.
    pub(crate) queued: bool,
    /// The waker that the caller must call, once no lock is held.
    pub(crate) waker: Option<Waker>,
}

/// Why a packet cannot be queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendError {
    /// The connection or the socket is closed.
    Closed,
    /// The queue is full, because the client is too slow.
    Full,
}

impl Connection {
    /// Queues packets. With `volatile`, drops them without an error unless they can be written at once.
    ///
    /// `is_open` is called under the lock. If it returns `false`, the result is [`SendError::Closed`].
    #[inline(always)]
    pub(crate) fn send(
        &self,
        packets: &[Packet],
        volatile: bool,
        is_open: impl FnOnce() -> bool,
    ) -> Result<Sent, SendError> {
        let mut state = self.state();
        if !state.session.is_open() || !is_open() {
            return Err(SendError::Closed);
        }
        if volatile && !state.session.is_writable() {
            return Ok(Sent::default());
        }
        state.session.send(packets).map_err(|_| SendError::Full)?;
        Ok(Sent { queued: true, waker: self.driver_waker(&mut state) })
    }

    /// Like [`send`](Self::send), for packets that `add` moves into the queue. `cost` is their [`Outbox::cost`].
    #[inline(always)]
    pub(crate) fn send_with(
        &self,
        cost: usize,
        volatile: bool,
        is_open: impl FnOnce() -> bool,
        add: impl FnOnce(&mut PacketQueue),
    ) -> Result<Sent, SendError> {
        let mut state = self.state();
        if !state.session.is_open() || !is_open() {
            return Err(SendError::Closed);
        }
        if volatile && !state.session.is_writable() {
            return Ok(Sent::default());
        }
        state.session.send_with(cost, add).map_err(|_| SendError::Full)?;
        Ok(Sent { queued: true, waker: self.driver_waker(&mut state) })
    }

    /// Queues packets regardless of the limit. `first` is called under the lock, before the packets are queued. Returns the waker to
    /// call.
    pub(crate) fn send_unlimited<'a>(
        &self,
        packets: impl Iterator<Item = &'a [Packet]>,
        first: impl FnOnce(),
    ) -> Option<Waker> {
        let mut state = self.state();
        first();
        for packets in packets {
            state.session.send_unlimited(packets);
        }
        self.driver_waker(&mut state)
    }

    /// Tells the protocol above that a transport has taken a packet, if it observes them.
    #[inline]
    pub(crate) fn note_sent(&self, packet: &Packet) {
        if self.engine.is_observed {
            self.tell_sent(packet);
        }
    }

    /// Like [`note_sent`](Self::note_sent), for a message that bypasses the outbox.
    #[inline]
    pub(crate) fn note_bypassed(&self, text: &[u8], attachments: &[Packet]) {
        if self.engine.is_observed {
            self.tell_sent(&Packet::encoded(text.to_vec()));
            attachments.iter().for_each(|packet| self.tell_sent(packet));
        }
    }

    #[cold]
    fn tell_sent(&self, packet: &Packet) {
        if packet.packet_type() == PacketType::Message
            && let Some(peer) = self.peer()
        {
            peer.sent(packet);
        }
    }

    /// Returns `true` if a WebSocket carries the connection.
    #[inline]
    pub(crate) fn is_websocket(&self) -> bool {
        self.is_websocket.load(Ordering::Relaxed)
    }
}
