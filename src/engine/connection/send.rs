use std::{sync::atomic::Ordering, task::Waker};

use crate::engine::{Packet, PacketQueue};

use super::shared::Connection;

/// What became of packets that were to be sent.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// They will leave, in order.
    pub(crate) queued: bool,
    /// The task that carries them, if it waits for that.
    pub(crate) waker: Option<Waker>,
}

/// Why a packet has not been queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendError {
    /// The connection or the socket is closed.
    Closed,
    /// The client is too slow: the packet found no room.
    Full,
}

impl Connection {
    /// Queues packets. `volatile` drops them, without an error, unless they would leave at once. The caller wakes the waker.
    #[inline(always)]
    pub(crate) fn send(&self, packets: &[Packet], volatile: bool) -> Result<Sent, SendError> {
        let mut state = self.state();
        if !state.session.is_open() {
            return Err(SendError::Closed);
        }
        if volatile && !state.session.is_writable() {
            return Ok(Sent::default());
        }
        state.session.send(packets).map_err(|_| SendError::Full)?;
        Ok(Sent { queued: true, waker: self.carrier_of(&mut state) })
    }

    /// As [`send`](Self::send), for packets that are moved into the outbox: `cost` is what they cost there.
    #[inline(always)]
    pub(crate) fn send_with(
        &self,
        cost: usize,
        volatile: bool,
        add: impl FnOnce(&mut PacketQueue),
    ) -> Result<Sent, SendError> {
        let mut state = self.state();
        if !state.session.is_open() {
            return Err(SendError::Closed);
        }
        if volatile && !state.session.is_writable() {
            return Ok(Sent::default());
        }
        state.session.send_costly(cost, add).map_err(|_| SendError::Full)?;
        Ok(Sent { queued: true, waker: self.carrier_of(&mut state) })
    }

    /// Queues packets whatever the limit says. `first` is called before they can be seen. Returns the waker to wake.
    pub(crate) fn send_unlimited<'a>(
        &self,
        packets: impl Iterator<Item = &'a [Packet]>,
        first: impl FnOnce(),
    ) -> Option<Waker> {
        let mut state = self.state();
        first();
        for packets in packets {
            state.session.release(packets);
        }
        self.carrier_of(&mut state)
    }

    /// Whether a WebSocket carries the connection.
    #[inline]
    pub(crate) fn is_websocket(&self) -> bool {
        self.is_websocket.load(Ordering::Relaxed)
    }
}
