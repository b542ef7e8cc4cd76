//! Sending to one socket.

use std::sync::{Arc, atomic::Ordering};

use crate::{
    engine::{Outbox, PacketQueue, SendError, Sent, Wakeups},
    packet::{Encoded, encode_simple},
};

use super::{
    socket::{ADMITTING, CLOSED, CONNECTED, LOST},
    state::Socket,
};

impl Socket {
    /// Shows an event to the listeners of outgoing events, and to observers.
    #[inline]
    pub(crate) fn observe(self: &Arc<Self>, packet: &Encoded) {
        if self.is_watched.load(Ordering::Acquire) {
            self.show(packet);
        }
    }

    #[inline(never)]
    fn show(self: &Arc<Self>, packet: &Encoded) {
        if self.application_data.get().is_some() {
            self.namespace.application().outgoing(self, packet);
        }
        self.tell_sent(packet);
    }

    /// Emits an event to this socket. With recovery, the event is also recorded.
    pub(crate) fn emit(self: &Arc<Self>, packet: Encoded, volatile: bool) -> Result<(), SendError> {
        if self.namespace.is_journaled()
            && !volatile
            && let Some(appended) = self.append(&packet)
        {
            return appended;
        }
        self.observe(&packet);
        let Some((memory, session)) = self.recovery() else {
            return self.deliver_owned(packet, volatile);
        };
        let emitted = memory.emit(self, session, &packet, volatile);
        self.namespace.clean_later();
        emitted
    }

    /// Queues a packet for the client, or buffers it until the socket is accepted.
    pub(crate) fn deliver(self: &Arc<Self>, packet: &Encoded, volatile: bool) -> Result<(), SendError> {
        self.finish_send(self.try_deliver(packet, volatile))
    }

    /// Like [`deliver`](Self::deliver), for a packet with one recipient. It is moved to the queue if possible.
    pub(crate) fn deliver_owned(self: &Arc<Self>, packet: Encoded, volatile: bool) -> Result<(), SendError> {
        let packets = self.client.packets_of(&packet);
        if !self.is_connected() || !std::ptr::eq(packets, packet.packets()) {
            return self.deliver(&packet, volatile);
        }
        let (kind, cost) = (self.namespace.meters().kind_of(&packet), Outbox::cost(packets));
        let add = |queue: &mut PacketQueue| packet.move_into(queue);
        let sent = self.client.connection.send_with(cost, volatile, || self.is_connected(), add);
        self.namespace.meters().sent(kind, &sent);
        self.finish_send(sent)
    }

    /// Like [`deliver`](Self::deliver), but does not wake the driver.
    pub(crate) fn deliver_later(
        self: &Arc<Self>,
        packet: &Encoded,
        volatile: bool,
        wakeups: &mut Wakeups,
    ) -> Result<(), SendError> {
        let sent = self.try_deliver(packet, volatile).inspect_err(|error| self.on_send_error(*error))?;
        wakeups.add(&self.client.connection, sent);
        Ok(())
    }

    /// Wakes the driver, or applies the slow-client policy.
    fn finish_send(self: &Arc<Self>, sent: Result<Sent, SendError>) -> Result<(), SendError> {
        let sent = sent.inspect_err(|error| self.on_send_error(*error))?;
        if let Some(waker) = sent.waker {
            waker.wake();
        }
        Ok(())
    }

    /// Like [`deliver`](Self::deliver), but wakes no driver and does not apply the slow-client policy. See
    /// [`on_send_error`](Self::on_send_error).
    #[inline]
    pub(crate) fn try_deliver(&self, packet: &Encoded, volatile: bool) -> Result<Sent, SendError> {
        let sent = match self.phase() {
            CONNECTED => self.send_connected(packet, volatile),
            CLOSED | LOST => Err(SendError::Closed),
            _ => self.buffer_packet(packet, volatile),
        };
        let meters = self.namespace.meters();
        meters.sent(meters.kind_of(packet), &sent);
        sent
    }

    /// Applies the slow-client policy if a packet did not fit.
    pub(crate) fn on_send_error(self: &Arc<Self>, error: SendError) {
        if error == SendError::Full {
            self.client.refuse_packet(self);
        }
    }

    /// Queues a packet, unless another thread has disconnected the socket: no event follows the DISCONNECT.
    fn send_connected(&self, packet: &Encoded, volatile: bool) -> Result<Sent, SendError> {
        // Before locking: this may run a parser.
        let packets = self.client.packets_of(packet);
        self.client.connection.send(packets, volatile, || self.is_connected())
    }

    // Not inlined, to keep the path of connected sockets short.
    #[inline(never)]
    fn buffer_packet(&self, packet: &Encoded, volatile: bool) -> Result<Sent, SendError> {
        // Before locking: this may run a parser.
        self.client.packets_of(packet);
        let mut buffer = self.buffer();
        match self.phase() {
            CONNECTED => {
                drop(buffer);
                return self.send_connected(packet, volatile);
            }
            CLOSED | LOST => return Err(SendError::Closed),
            _ => {}
        }
        if volatile {
            return Ok(Sent::default());
        }
        buffer.get_or_insert_default().push(packet, false, self.client.server.engine.config.max_buffered_bytes)
    }

    /// Buffers an event that is emitted before the socket has joined its namespace. It is stamped when the socket joins. Returns
    /// `None` if the socket has joined.
    pub(crate) fn buffer_unstamped(&self, packet: &Encoded, volatile: bool) -> Option<Result<Sent, SendError>> {
        let mut buffer = self.buffer();
        if self.phase() != ADMITTING {
            return None;
        }
        if volatile {
            return Some(Ok(Sent::default()));
        }
        Some(buffer.get_or_insert_default().push(packet, true, self.client.server.engine.config.max_buffered_bytes))
    }

    pub(crate) fn send_disconnect(&self) {
        if self.is_connected() || self.disconnect_due.swap(false, Ordering::AcqRel) {
            self.client.reply(&encode_simple(b'1', self.namespace.name(), ""));
        }
    }
}
