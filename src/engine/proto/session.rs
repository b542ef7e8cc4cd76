use std::time::{Duration, Instant};

use super::{
    Outbox, Packet, PacketKind,
    heartbeat::{Beat, Heartbeat},
    outbox::{OutboxFull, PacketQueue},
    query::Protocol,
};

/// How long an orderly close waits for the client to fetch what is left.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// After this many bytes the answer to a poll is full.
const MAX_BYTES_PER_POLL: usize = 1_000_000;

/// The same in revision 3: browsers' clients of 1.x cannot read 100 kB at once.
const MAX_BYTES_PER_POLL_V3: usize = 50_000;

/// The Engine.IO session, without its IO.
///
/// ```text
///                 ┌──────────── Open ─────────────┐
///   handshake ──▶ │ Polling ──probe, `5`──▶ WebSocket │ ◀── direct handshake
///                 └───┬───────────────────────┬────┘
///             close() │                       │ peer closes, error, timeout, discard
///                     ▼                       │
///                  Closing ── outbox sent ──▶ Closed
/// ```
///
/// A transport calls, in this order: `handle_*` and `poll_*` methods with what arrived, [`handle_timeout`] when
/// [`deadline`] has passed, then [`poll_answer`] (long-polling) or [`pop`] (WebSocket) until nothing is left, then reads
/// [`closed`]. Nothing here waits, and nothing is sent from here.
///
/// [`handle_timeout`]: Self::handle_timeout
/// [`deadline`]: Self::deadline
/// [`poll_answer`]: Self::poll_answer
/// [`pop`]: Self::pop
/// [`closed`]: Self::closed
#[derive(Debug)]
pub(crate) struct Session {
    carrier: Carrier,
    state: State,
    heartbeat: Heartbeat,
    outbox: Outbox,
}

/// The transport that carries the session now.
#[derive(Debug)]
enum Carrier {
    Polling(Polling),
    WebSocket {
        /// All that was taken out of the outbox has reached the kernel.
        flushed: bool,
    },
}

#[derive(Debug)]
struct Polling {
    poll: Poll,
    posting: bool,
    probe: Probe,
    /// The most packets in one answer.
    max_packets: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Poll {
    Absent,
    /// A GET waits for something to be sent.
    Pending,
    /// A GET waits, and is to be answered at once, with a noop if there is nothing else.
    Released,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    None,
    /// A WebSocket has been opened for this session.
    Opened,
    /// It has proved that it works both ways.
    Confirmed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Closed by this side; what is left is still being sent.
    Closing {
        until: Instant,
        cause: CloseCause,
    },
    Closed {
        cause: CloseCause,
        /// What releases a poll that is still pending.
        farewell: Farewell,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Farewell {
    Close,
    Noop,
}

/// Why a session has ended: who began it, and for the transport's and the parser's faults, what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseCause {
    /// No pong, or no ping, in time.
    PingTimeout,
    /// The client closed the session or the connection.
    TransportClose,
    /// The transport failed, or its rules were broken.
    TransportError(&'static str),
    /// What arrived is no Engine.IO packet.
    ParseError(&'static str),
    /// This side closed it.
    Forced(&'static str),
    /// More waits to be sent to this client than it may have waiting.
    SlowClient,
    /// The whole server is closing.
    ShuttingDown,
}

impl CloseCause {
    /// The reason as Node's server names it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::PingTimeout => "ping timeout",
            Self::TransportClose => "transport close",
            Self::TransportError(_) => "transport error",
            Self::ParseError(_) => "parse error",
            Self::Forced(_) => "forced close",
            Self::SlowClient => "slow client",
            Self::ShuttingDown => "server shutting down",
        }
    }
}

/// What a packet means for the layer above.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// Hand the message on.
    Message,
    /// It concerned the session alone.
    Consumed,
}

/// What to do with a probing WebSocket after a packet of its own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ProbeStep {
    /// Send this, and go on.
    Reply(Packet),
    /// The WebSocket carries the session from now on.
    Upgraded,
    /// Close the WebSocket; the session stays where it is.
    Fail,
}

/// Intervals of a session, and what it may have waiting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
    pub(crate) max_buffered_bytes: usize,
    /// The most packets in the answer to one poll.
    pub(crate) max_poll_packets: u32,
}

impl Session {
    /// A session that begins with long-polling.
    pub(crate) fn polling(protocol: Protocol, now: Instant, timing: Timing) -> Self {
        let polling = Polling {
            poll: Poll::Absent,
            posting: false,
            probe: Probe::None,
            max_packets: timing.max_poll_packets.max(1),
        };
        Self::new(protocol, now, timing, Carrier::Polling(polling))
    }

    /// A session that begins with a WebSocket.
    pub(crate) fn websocket(protocol: Protocol, now: Instant, timing: Timing) -> Self {
        Self::new(protocol, now, timing, Carrier::WebSocket { flushed: true })
    }

    fn new(protocol: Protocol, now: Instant, timing: Timing, carrier: Carrier) -> Self {
        Self {
            carrier,
            state: State::Open,
            heartbeat: Heartbeat::new(protocol, now, timing.ping_interval, timing.ping_timeout),
            outbox: Outbox::new(timing.max_buffered_bytes),
        }
    }

    // What the layer above does.

    /// Queues a packet with its attachments. What is sent to a closing session is dropped.
    #[inline]
    pub(crate) fn send(&mut self, packets: &[Packet]) -> Result<(), OutboxFull> {
        self.send_costly(Outbox::cost(packets), |queue| match packets {
            [packet] => queue.push(packet.clone()),
            packets => queue.extend(packets.iter().cloned()),
        })
    }

    /// As [`send`](Self::send), of what `add` adds; `cost` is what [`Outbox::cost`] says.
    #[inline]
    pub(crate) fn send_costly(&mut self, cost: usize, add: impl FnOnce(&mut PacketQueue)) -> Result<(), OutboxFull> {
        match self.state {
            State::Open => self.outbox.push(cost, add),
            State::Closing { .. } | State::Closed { .. } => Ok(()),
        }
    }

    /// Queues a packet that was held back, whatever the limit says: it was checked before. It does not take the room of
    /// what follows.
    pub(crate) fn release(&mut self, packets: &[Packet]) {
        if self.state == State::Open {
            self.outbox.push_released(packets);
        }
    }

    /// Queues a packet of the protocol itself, which always fits.
    pub(crate) fn send_control(&mut self, packet: Packet) {
        if self.state == State::Open {
            self.outbox.push_control(packet);
        }
    }

    /// Whether a packet sent now would leave at once: what "volatile" asks.
    pub(crate) fn is_writable(&self) -> bool {
        self.state == State::Open
            && self.outbox.is_empty()
            && match &self.carrier {
                Carrier::Polling(polling) => polling.poll != Poll::Absent,
                Carrier::WebSocket { flushed } => *flushed,
            }
    }

    /// Whether everything sent so far has left this process.
    pub(crate) fn is_drained(&self) -> bool {
        self.outbox.is_empty() && !matches!(self.carrier, Carrier::WebSocket { flushed: false })
    }

    /// Bytes that wait to be sent.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.outbox.bytes()
    }

    /// The packets that wait to be sent.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Packet> {
        self.outbox.packets()
    }

    /// Whether a GET of long-polling is pending.
    pub(crate) fn has_poll(&self) -> bool {
        matches!(&self.carrier, Carrier::Polling(polling) if polling.poll != Poll::Absent)
    }

    /// Closes in order: what is queued is sent first. Answers whether the close can leave at once.
    pub(crate) fn close(&mut self, now: Instant, cause: CloseCause) -> bool {
        if self.state != State::Open {
            return false;
        }
        let at_once = match &self.carrier {
            Carrier::Polling(polling) => polling.poll != Poll::Absent && self.outbox.is_empty(),
            Carrier::WebSocket { .. } => true,
        };
        if at_once && self.is_polling() {
            self.end(cause, Farewell::Close);
        } else {
            // A client that has vanished is not waited for longer than its heartbeat would be.
            let until = self.heartbeat.expiry().min(now + CLOSE_TIMEOUT);
            self.state = State::Closing { until, cause };
        }
        at_once
    }

    /// Closes at once; what is queued is lost.
    pub(crate) fn abort(&mut self, cause: CloseCause) {
        self.outbox.clear();
        self.end(cause, Farewell::Close);
    }

    // What every transport does.

    pub(crate) fn is_polling(&self) -> bool {
        matches!(self.carrier, Carrier::Polling(_))
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Why the session has ended, once it has.
    pub(crate) fn closed(&self) -> Option<CloseCause> {
        match self.state {
            State::Closed { cause, .. } => Some(cause),
            State::Open | State::Closing { .. } => None,
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Open => Some(self.heartbeat.deadline()),
            State::Closing { until, .. } => Some(until),
            State::Closed { .. } => None,
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Open => match self.heartbeat.tick(now) {
                Beat::Nothing => {}
                Beat::Ping => self.outbox.push_heartbeat(Packet::ping()),
                Beat::Timeout => self.abort(CloseCause::PingTimeout),
            },
            State::Closing { until, cause } if now >= until => self.abort(cause),
            State::Closing { .. } | State::Closed { .. } => {}
        }
    }

    /// This side is not reading, and so does not know whether the client is silent.
    pub(crate) fn excuse_silence(&mut self, now: Instant) {
        if self.state == State::Open && self.heartbeat.excuse(now) {
            // In revision 3 the server has no ping.
            let sign = if self.heartbeat.is_clients() { Packet::noop() } else { Packet::ping() };
            self.outbox.push_heartbeat(sign);
        }
    }

    /// Gives the client another timeout: this side reads again after a pause, or part of a message has arrived.
    pub(crate) fn extend_heartbeat(&mut self, now: Instant) {
        self.heartbeat.extend(now);
    }

    /// Whether a packet concerns the layer above alone, so that [`handle_packet`](Self::handle_packet) would change nothing.
    pub(crate) fn hands_on(&mut self, packet: &Packet) -> bool {
        packet.kind() == PacketKind::Message && self.state == State::Open && !self.heartbeat.note_packet()
    }

    /// Takes a packet from the transport that carries the session. The time is asked for only if it matters.
    pub(crate) fn handle_packet(&mut self, now: impl FnOnce() -> Instant, packet: &Packet) -> Receipt {
        if self.state != State::Open {
            return Receipt::Consumed;
        }
        let kind = packet.kind();
        match kind {
            PacketKind::Ping if self.heartbeat.is_clients() => {
                self.heartbeat.pinged(now());
                self.outbox.push_heartbeat(Packet::pong());
            }
            PacketKind::Pong if !self.heartbeat.is_clients() => self.heartbeat.pong(now()),
            PacketKind::Ping | PacketKind::Pong => {
                self.abort(CloseCause::TransportError("invalid heartbeat direction"));
            }
            PacketKind::Close => self.end(CloseCause::TransportClose, Farewell::Noop),
            PacketKind::Message | PacketKind::Open | PacketKind::Upgrade | PacketKind::Noop => {
                if self.heartbeat.note_packet() {
                    self.heartbeat.extend(now());
                }
            }
        }
        if kind == PacketKind::Message { Receipt::Message } else { Receipt::Consumed }
    }

    // Long-polling.

    /// A GET has arrived. Answers whether it may wait; if another one is pending, the session is over.
    pub(crate) fn poll_begin(&mut self) -> bool {
        let Carrier::Polling(polling) = &mut self.carrier else {
            return false;
        };
        if polling.poll != Poll::Absent {
            self.abort(CloseCause::TransportError("overlap from client"));
            return false;
        }
        // The client shall leave long-polling: a poll that has nothing to deliver does not wait.
        polling.poll = if polling.probe == Probe::Confirmed { Poll::Released } else { Poll::Pending };
        true
    }

    /// Whether a GET is pending that can be answered now.
    pub(crate) fn poll_is_due(&self) -> bool {
        match &self.carrier {
            Carrier::Polling(polling) => match polling.poll {
                Poll::Absent => false,
                Poll::Released => true,
                Poll::Pending => self.has_output(),
            },
            Carrier::WebSocket { .. } => true,
        }
    }

    /// The packets that answer the pending GET, if it is to be answered.
    pub(crate) fn poll_answer(&mut self) -> Option<Vec<Packet>> {
        if let State::Closed { farewell, .. } = self.state {
            return Some(vec![match farewell {
                Farewell::Close => Packet::close(),
                Farewell::Noop => Packet::noop(),
            }]);
        }
        let (released, max_packets) = match &self.carrier {
            Carrier::Polling(polling) => (polling.poll == Poll::Released, polling.max_packets as usize),
            Carrier::WebSocket { .. } => return Some(vec![Packet::noop()]),
        };
        let mut packets = Vec::new();
        let mut bytes = 0;
        let max_bytes = if self.heartbeat.is_clients() { MAX_BYTES_PER_POLL_V3 } else { MAX_BYTES_PER_POLL };
        while packets.len() < max_packets
            && bytes < max_bytes
            && let Some(packet) = self.outbox.pop()
        {
            bytes += packet.len();
            packets.push(packet);
        }
        if packets.is_empty() {
            if let State::Closing { cause, .. } = self.state {
                self.end(cause, Farewell::Close);
                packets.extend([Packet::noop(), Packet::close()]);
            } else if released {
                packets.push(Packet::noop());
            } else {
                return None;
            }
        }
        if let Carrier::Polling(polling) = &mut self.carrier {
            polling.poll = Poll::Absent;
        }
        Some(packets)
    }

    /// The client has gone away while its GET was pending.
    pub(crate) fn poll_aborted(&mut self) {
        if self.is_polling() {
            self.abort(CloseCause::TransportError("poll connection closed prematurely"));
        }
    }

    /// A POST has arrived. Answers whether it may proceed; if another one is under way, the session is over.
    pub(crate) fn post_begin(&mut self) -> bool {
        let Carrier::Polling(polling) = &mut self.carrier else {
            return false;
        };
        if polling.posting {
            self.abort(CloseCause::TransportError("data request overlap from client"));
            return false;
        }
        polling.posting = true;
        true
    }

    pub(crate) fn post_end(&mut self) {
        if let Carrier::Polling(polling) = &mut self.carrier {
            polling.posting = false;
        }
    }

    // The upgrade. Engine.IO protocol 4, section "Upgrade".

    /// A WebSocket wants to carry this session. Answers whether it may try.
    pub(crate) fn probe_begin(&mut self) -> bool {
        match &mut self.carrier {
            Carrier::Polling(polling) if polling.probe == Probe::None => {
                polling.probe = Probe::Opened;
                !matches!(self.state, State::Closed { .. })
            }
            Carrier::Polling(_) | Carrier::WebSocket { .. } => false,
        }
    }

    /// Takes a packet from the probing WebSocket. Once that has proved that it works, polls that have nothing to deliver are
    /// released.
    pub(crate) fn probe_packet(&mut self, packet: &Packet) -> ProbeStep {
        let Carrier::Polling(polling) = &mut self.carrier else {
            return ProbeStep::Fail;
        };
        match packet.kind() {
            PacketKind::Ping if packet.data() == b"probe" => {
                polling.probe = Probe::Confirmed;
                if polling.poll == Poll::Pending {
                    polling.poll = Poll::Released;
                }
                ProbeStep::Reply(Packet::pong_probe())
            }
            PacketKind::Upgrade if !matches!(self.state, State::Closed { .. }) => {
                self.carrier = Carrier::WebSocket { flushed: true };
                ProbeStep::Upgraded
            }
            _ => ProbeStep::Fail,
        }
    }

    /// The probing WebSocket has gone; long-polling carries on.
    pub(crate) fn probe_end(&mut self) {
        if let Carrier::Polling(polling) = &mut self.carrier {
            polling.probe = Probe::None;
        }
    }

    // WebSocket.

    /// The next packet for the wire. A closing session ends when the last one has been taken.
    pub(crate) fn pop(&mut self) -> Option<Packet> {
        let Carrier::WebSocket { flushed } = &mut self.carrier else {
            return None;
        };
        let packet = self.outbox.pop();
        if packet.is_some() {
            *flushed = false;
        } else if let State::Closing { cause, .. } = self.state {
            self.end(cause, Farewell::Close);
        }
        packet
    }

    /// Whether something may be sent past the outbox. If so, it counts as taken.
    pub(crate) fn passes_outbox(&mut self) -> bool {
        let passes = self.state == State::Open && self.outbox.is_empty();
        if let Carrier::WebSocket { flushed } = &mut self.carrier {
            *flushed &= !passes;
        }
        passes
    }

    pub(crate) fn has_output(&self) -> bool {
        !self.outbox.is_empty() || matches!(self.state, State::Closing { .. })
    }

    /// Everything that was taken has reached the kernel.
    pub(crate) fn flushed(&mut self) {
        if let Carrier::WebSocket { flushed } = &mut self.carrier {
            *flushed = true;
        }
    }

    fn end(&mut self, cause: CloseCause, farewell: Farewell) {
        if !matches!(self.state, State::Closed { .. }) {
            self.state = State::Closed { cause, farewell };
            self.outbox.clear();
        }
    }
}

#[cfg(test)]
mod tests;
