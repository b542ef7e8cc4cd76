use std::time::{Duration, Instant};

use super::{
    Outbox, Packet, PacketType,
    heartbeat::{Heartbeat, HeartbeatAction},
    outbox::{OutboxFull, PacketQueue},
    query::ProtocolVersion,
    transport::Transport,
};

/// How long a graceful close waits for the client to fetch the queued packets.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// The response to a poll ends after the packet that reaches this size.
const MAX_BYTES_PER_POLL: usize = 1_000_000;

/// The same in revision 3: clients of 1.x fail in browsers at some 100 kB.
const MAX_BYTES_PER_POLL_V3: usize = 50_000;

/// The state machine of an Engine.IO session, without IO.
///
/// ```text
///                 ┌──────────── Open ──────────────┐
///   handshake ──▶ │ Polling ──probe, `5`──▶ Stream │ ◀── direct handshake
///                 └───┬───────────────────────┬────┘
///             close() │                       │ peer closes, error, timeout, discard
///                     ▼                       │
///                  Closing ── outbox sent ──▶ Closed
/// ```
///
/// A transport calls, in this order: the `handle_*` and `poll_*` methods with its input, [`handle_timeout`] when [`deadline`]
/// has passed, [`poll_answer`] (long-polling) or [`pop`] (a stream) until there is no more output, then [`closed`]. No method
/// blocks or performs IO.
///
/// [`handle_timeout`]: Self::handle_timeout
/// [`deadline`]: Self::deadline
/// [`poll_answer`]: Self::poll_answer
/// [`pop`]: Self::pop
/// [`closed`]: Self::closed
#[derive(Debug)]
pub(crate) struct Session {
    carrier: Carrier,
    state: SessionState,
    heartbeat: Heartbeat,
    outbox: Outbox,
}

/// The transport that carries the session.
#[derive(Debug)]
enum Carrier {
    Polling(Polling),
    Stream {
        /// Whether all packets taken from the outbox have been written.
        flushed: bool,
    },
}

#[derive(Debug)]
struct Polling {
    poll: Poll,
    posting: bool,
    /// The probes by WebSocket and by WebTransport. A client may begin both; the one that completes first carries the session.
    probes: [Probe; 2],
    /// The maximum number of packets in one response.
    max_packets: u32,
}

impl Polling {
    fn probe(&mut self, transport: Transport) -> &mut Probe {
        &mut self.probes[transport.probe_index()]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Poll {
    Absent,
    /// A GET waits for a packet.
    Pending,
    /// The response to the pending GET is due at once, with a noop if no packet is queued.
    Released,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    None,
    /// A stream has been opened for the upgrade.
    Opened,
    /// The client's `2probe` has arrived on it.
    Confirmed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SessionState {
    Open,
    /// The server has closed the session; queued packets are still being sent.
    Closing {
        until: Instant,
        cause: CloseCause,
    },
    Closed {
        cause: CloseCause,
        /// The packet that a pending poll gets.
        final_packet: FinalPacket,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FinalPacket {
    Close,
    Noop,
}

/// Why a session has ended. The texts describe the details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseCause {
    /// No pong (in revision 3, no ping) arrived in time.
    PingTimeout,
    /// The client closed the session or the connection.
    TransportClose,
    /// The transport failed, or the client violated its rules.
    TransportError(&'static str),
    /// The client sent data that is not an Engine.IO packet.
    ParseError(&'static str),
    /// The server closed the session.
    Forced(&'static str),
    /// The client reads too slowly.
    SlowClient,
    /// The server is shutting down.
    ShuttingDown,
}

impl CloseCause {
    /// Returns the reason in the words of Node's server.
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

/// The result of [`Session::handle_packet`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PacketOutcome {
    /// The packet is a message for the protocol above.
    Forward,
    /// The session has handled the packet.
    Handled,
}

/// What the probing WebSocket does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ProbeAction {
    /// It sends this packet and continues to probe.
    Send(Packet),
    /// It carries the session from now on.
    Upgrade,
    /// It is closed. The session stays on long-polling.
    Close,
}

/// The intervals and limits of a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionConfig {
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
    pub(crate) max_buffered_bytes: usize,
    /// The maximum number of packets in the response to one poll.
    pub(crate) max_poll_packets: u32,
}

impl Session {
    /// Creates a session on long-polling.
    pub(crate) fn polling(protocol: ProtocolVersion, now: Instant, config: SessionConfig) -> Self {
        let polling = Polling {
            poll: Poll::Absent,
            posting: false,
            probes: [Probe::None; 2],
            max_packets: config.max_poll_packets.max(1),
        };
        Self::new(protocol, now, config, Carrier::Polling(polling))
    }

    /// Creates a session on a WebSocket or another stream.
    pub(crate) fn websocket(protocol: ProtocolVersion, now: Instant, config: SessionConfig) -> Self {
        Self::new(protocol, now, config, Carrier::Stream { flushed: true })
    }

    fn new(protocol: ProtocolVersion, now: Instant, config: SessionConfig, carrier: Carrier) -> Self {
        Self {
            carrier,
            state: SessionState::Open,
            heartbeat: Heartbeat::new(protocol, now, config.ping_interval, config.ping_timeout),
            outbox: Outbox::new(config.max_buffered_bytes),
        }
    }

    // Methods for the protocol above.

    /// Queues a packet with its attachments. Drops them if the session is closing.
    #[inline]
    pub(crate) fn send(&mut self, packets: &[Packet]) -> Result<(), OutboxFull> {
        self.send_with(Outbox::cost(packets), |queue| match packets {
            [packet] => queue.push(packet.clone()),
            packets => queue.extend(packets.iter().cloned()),
        })
    }

    /// Like [`send`](Self::send), for packets that `add` pushes. `cost` is their [`Outbox::cost`].
    #[inline]
    pub(crate) fn send_with(&mut self, cost: usize, add: impl FnOnce(&mut PacketQueue)) -> Result<(), OutboxFull> {
        match self.state {
            SessionState::Open => self.outbox.push(cost, add),
            SessionState::Closing { .. } | SessionState::Closed { .. } => Ok(()),
        }
    }

    /// Queues a packet regardless of the limit, because it was checked when it was buffered. It does not count against the limit.
    pub(crate) fn send_unlimited(&mut self, packets: &[Packet]) {
        if self.state == SessionState::Open {
            self.outbox.push_unlimited(packets);
        }
    }

    /// Queues a control packet, regardless of the limit.
    pub(crate) fn send_control(&mut self, packet: Packet) {
        if self.state == SessionState::Open {
            self.outbox.push_control(packet);
        }
    }

    /// Returns `true` if a packet that is sent now is written at once. Volatile packets are dropped otherwise.
    pub(crate) fn is_writable(&self) -> bool {
        self.state == SessionState::Open
            && self.outbox.is_empty()
            && match &self.carrier {
                Carrier::Polling(polling) => polling.poll != Poll::Absent,
                Carrier::Stream { flushed } => *flushed,
            }
    }

    /// Returns `true` if all packets have been written.
    pub(crate) fn is_drained(&self) -> bool {
        self.outbox.is_empty() && !matches!(self.carrier, Carrier::Stream { flushed: false })
    }

    /// Returns the number of queued bytes.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.outbox.bytes()
    }

    /// Iterates over the queued packets.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Packet> {
        self.outbox.packets()
    }

    /// Returns `true` if a GET is pending.
    pub(crate) fn has_poll(&self) -> bool {
        matches!(&self.carrier, Carrier::Polling(polling) if polling.poll != Poll::Absent)
    }

    /// Closes the session after the queued packets. Returns whether the close packet can be sent at once.
    pub(crate) fn close(&mut self, now: Instant, cause: CloseCause) -> bool {
        if self.state != SessionState::Open {
            return false;
        }
        let at_once = match &self.carrier {
            Carrier::Polling(polling) => polling.poll != Poll::Absent && self.outbox.is_empty(),
            Carrier::Stream { .. } => true,
        };
        if at_once && self.is_polling() {
            self.end(cause, FinalPacket::Close);
        } else {
            // The client may be gone: do not wait for longer than the heartbeat does.
            let until = self.heartbeat.expiry().min(now + CLOSE_TIMEOUT);
            self.state = SessionState::Closing { until, cause };
        }
        at_once
    }

    /// Closes the session at once. Drops queued packets.
    pub(crate) fn abort(&mut self, cause: CloseCause) {
        self.outbox.clear();
        self.end(cause, FinalPacket::Close);
    }

    // Methods for all transports.

    pub(crate) fn is_polling(&self) -> bool {
        matches!(self.carrier, Carrier::Polling(_))
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state == SessionState::Open
    }

    /// Returns why the session has ended, or `None` if it has not.
    pub(crate) fn closed(&self) -> Option<CloseCause> {
        match self.state {
            SessionState::Closed { cause, .. } => Some(cause),
            SessionState::Open | SessionState::Closing { .. } => None,
        }
    }

    /// Returns the time at which [`handle_timeout`](Self::handle_timeout) must be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.state {
            SessionState::Open => Some(self.heartbeat.deadline()),
            SessionState::Closing { until, .. } => Some(until),
            SessionState::Closed { .. } => None,
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            SessionState::Open => match self.heartbeat.handle_timeout(now) {
                HeartbeatAction::Nothing => {}
                HeartbeatAction::Ping => self.outbox.push_heartbeat(Packet::ping()),
                HeartbeatAction::Timeout => self.abort(CloseCause::PingTimeout),
            },
            SessionState::Closing { until, cause } if now >= until => self.abort(cause),
            SessionState::Closing { .. } | SessionState::Closed { .. } => {}
        }
    }

    /// Defers the heartbeat's timeout if it is due, and queues a packet instead. Called while the server does not read from the
    /// connection, and so cannot know whether the client is silent.
    pub(crate) fn defer_timeout(&mut self, now: Instant) {
        if self.state == SessionState::Open && self.heartbeat.defer_timeout(now) {
            // In revision 3 the server has no ping.
            let sign = if self.heartbeat.is_client_driven() { Packet::noop() } else { Packet::ping() };
            self.outbox.push_heartbeat(sign);
        }
    }

    /// Restarts the heartbeat's timeout: the server reads again after a pause, or part of a message has arrived.
    pub(crate) fn extend_heartbeat(&mut self, now: Instant) {
        self.heartbeat.extend(now);
    }

    /// Fast path of [`handle_packet`](Self::handle_packet): returns `true` if the packet is a message that does not change the
    /// session.
    pub(crate) fn is_forwarded(&mut self, packet: &Packet) -> bool {
        packet.packet_type() == PacketType::Message && self.state == SessionState::Open && !self.heartbeat.note_packet()
    }

    /// Handles a packet from the transport that carries the session. `now` is called only if the time is needed.
    pub(crate) fn handle_packet(&mut self, now: impl FnOnce() -> Instant, packet: &Packet) -> PacketOutcome {
        if self.state != SessionState::Open {
            return PacketOutcome::Handled;
        }
        let kind = packet.packet_type();
        match kind {
            PacketType::Ping if self.heartbeat.is_client_driven() => {
                self.heartbeat.pinged(now());
                self.outbox.push_heartbeat(Packet::pong());
            }
            PacketType::Pong if !self.heartbeat.is_client_driven() => self.heartbeat.pong(now()),
            PacketType::Ping | PacketType::Pong => {
                self.abort(CloseCause::TransportError("invalid heartbeat direction"));
            }
            PacketType::Close => self.end(CloseCause::TransportClose, FinalPacket::Noop),
            PacketType::Message | PacketType::Open | PacketType::Upgrade | PacketType::Noop => {
                if self.heartbeat.note_packet() {
                    self.heartbeat.extend(now());
                }
            }
        }
        if kind == PacketType::Message { PacketOutcome::Forward } else { PacketOutcome::Handled }
    }

    // Long-polling.

    /// Begins a poll. Returns whether the GET may wait. If another one is pending, the session ends.
    pub(crate) fn poll_begin(&mut self) -> bool {
        let Carrier::Polling(polling) = &mut self.carrier else {
            return false;
        };
        if polling.poll != Poll::Absent {
            self.abort(CloseCause::TransportError("overlap from client"));
            return false;
        }
        // The client is about to leave long-polling: an empty poll must not wait.
        polling.poll = if polling.probes.contains(&Probe::Confirmed) { Poll::Released } else { Poll::Pending };
        true
    }

    /// Returns `true` if the response to the pending GET is due.
    pub(crate) fn poll_is_due(&self) -> bool {
        match &self.carrier {
            Carrier::Polling(polling) => match polling.poll {
                Poll::Absent => false,
                Poll::Released => true,
                Poll::Pending => self.has_output(),
            },
            Carrier::Stream { .. } => true,
        }
    }

    /// Returns the packets for the pending GET, or `None` if its response is not due.
    pub(crate) fn poll_answer(&mut self) -> Option<Vec<Packet>> {
        if let SessionState::Closed { final_packet, .. } = self.state {
            return Some(vec![match final_packet {
                FinalPacket::Close => Packet::close(),
                FinalPacket::Noop => Packet::noop(),
            }]);
        }
        let (released, max_packets) = match &self.carrier {
            Carrier::Polling(polling) => (polling.poll == Poll::Released, polling.max_packets as usize),
            Carrier::Stream { .. } => return Some(vec![Packet::noop()]),
        };
        let mut packets = Vec::new();
        let mut bytes = 0;
        let max_bytes = if self.heartbeat.is_client_driven() { MAX_BYTES_PER_POLL_V3 } else { MAX_BYTES_PER_POLL };
        while packets.len() < max_packets
            && bytes < max_bytes
            && let Some(packet) = self.outbox.pop()
        {
            bytes += packet.len();
            packets.push(packet);
        }
        if packets.is_empty() {
            if let SessionState::Closing { cause, .. } = self.state {
                self.end(cause, FinalPacket::Close);
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

    /// Handles the abort of the pending GET by the client.
    pub(crate) fn poll_aborted(&mut self) {
        if self.is_polling() {
            self.abort(CloseCause::TransportError("poll connection closed prematurely"));
        }
    }

    /// Begins a POST. Returns whether it may proceed. If another one is in progress, the session ends.
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

    /// Begins a probe by a stream of `transport`. Returns whether it may proceed.
    pub(crate) fn probe_begin(&mut self, transport: Transport) -> bool {
        let Carrier::Polling(polling) = &mut self.carrier else {
            return false;
        };
        let probe = polling.probe(transport);
        let is_first = *probe == Probe::None;
        if is_first {
            *probe = Probe::Opened;
        }
        is_first && !matches!(self.state, SessionState::Closed { .. })
    }

    /// Handles a packet from the probing stream. After `2probe`, empty polls are released.
    pub(crate) fn probe_packet(&mut self, transport: Transport, packet: &Packet) -> ProbeAction {
        let Carrier::Polling(polling) = &mut self.carrier else {
            return ProbeAction::Close;
        };
        match packet.packet_type() {
            PacketType::Ping if packet.data() == b"probe" => {
                *polling.probe(transport) = Probe::Confirmed;
                if polling.poll == Poll::Pending {
                    polling.poll = Poll::Released;
                }
                ProbeAction::Send(Packet::pong_probe())
            }
            PacketType::Upgrade if !matches!(self.state, SessionState::Closed { .. }) => {
                self.carrier = Carrier::Stream { flushed: true };
                ProbeAction::Upgrade
            }
            _ => ProbeAction::Close,
        }
    }

    /// Ends the probe. The session stays on long-polling.
    pub(crate) fn probe_end(&mut self, transport: Transport) {
        if let Carrier::Polling(polling) = &mut self.carrier {
            *polling.probe(transport) = Probe::None;
        }
    }

    // Streams.

    /// Takes the next packet to write. A closing session ends after the last one.
    pub(crate) fn pop(&mut self) -> Option<Packet> {
        let Carrier::Stream { flushed } = &mut self.carrier else {
            return None;
        };
        let packet = self.outbox.pop();
        if packet.is_some() {
            *flushed = false;
        } else if let SessionState::Closing { cause, .. } = self.state {
            self.end(cause, FinalPacket::Close);
        }
        packet
    }

    /// Returns `true` if a packet may bypass the outbox, because the outbox is empty. Counts the packet as taken.
    pub(crate) fn try_bypass(&mut self) -> bool {
        let passes = self.state == SessionState::Open && self.outbox.is_empty();
        if let Carrier::Stream { flushed } = &mut self.carrier {
            *flushed &= !passes;
        }
        passes
    }

    pub(crate) fn has_output(&self) -> bool {
        !self.outbox.is_empty() || matches!(self.state, SessionState::Closing { .. })
    }

    /// Records that all packets taken from the outbox have been written.
    pub(crate) fn flushed(&mut self) {
        if let Carrier::Stream { flushed } = &mut self.carrier {
            *flushed = true;
        }
    }

    fn end(&mut self, cause: CloseCause, final_packet: FinalPacket) {
        if !matches!(self.state, SessionState::Closed { .. }) {
            self.state = SessionState::Closed { cause, final_packet };
            self.outbox.clear();
        }
    }
}

#[cfg(test)]
mod tests;
