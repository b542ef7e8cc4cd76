//! Checks the invariants of the session state machine under arbitrary calls.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::engine::{
    CloseCause, Packet, PacketOutcome, PacketType, ProtocolVersion, Session, SessionConfig, Transport,
};

const INTERVAL: Duration = Duration::from_secs(25);
const TIMEOUT: Duration = Duration::from_secs(20);
const MAX_BUFFERED: usize = 2000;

/// A session, and a model of it.
struct Bench {
    session: Session,
    now: Instant,
    /// The packets that were accepted, but not sent.
    waiting: VecDeque<u32>,
    next: u32,
    cause: Option<CloseCause>,
    /// The time of the last packet from the client.
    heard: Instant,
}

/// Runs a session. The first byte selects its kind, each further byte is a call.
///
/// * A closed session stays closed with the same reason, and neither accepts nor sends packets.
/// * While it is open, accepted packets are sent once, in order.
/// * Until it is closed it has a deadline, which is not later than that of the heartbeat.
/// * Without packets from the client, it ends after interval and timeout.
pub fn session(data: &[u8]) {
    let Some((form, calls)) = data.split_first() else {
        return;
    };
    let now = Instant::now();
    let protocol = if form & 1 == 0 { ProtocolVersion::V4 } else { ProtocolVersion::V3 };
    let timing = SessionConfig {
        ping_interval: INTERVAL,
        ping_timeout: TIMEOUT,
        max_buffered_bytes: MAX_BUFFERED,
        max_poll_packets: if form & 4 == 0 { u32::MAX } else { 3 },
    };
    let session = match form & 2 {
        0 => Session::polling(protocol, now, timing),
        _ => Session::websocket(protocol, now, timing),
    };
    let mut bench = Bench { session, now, waiting: VecDeque::new(), next: 0, cause: None, heard: now };
    for call in calls {
        bench.call(call & 0x1f, call >> 5);
        bench.check();
    }
}

fn number(packet: &Packet) -> Option<u32> {
    (packet.packet_type() == PacketType::Message).then(|| {
        let text = std::str::from_utf8(packet.data()).expect("our own text");
        text.trim_end_matches('x').parse().expect("our own number")
    })
}

impl Bench {
    fn call(&mut self, call: u8, argument: u8) {
        let now = self.now;
        let stream = if argument.is_multiple_of(2) { Transport::WebSocket } else { Transport::WebTransport };
        match call {
            0..=3 => self.send(argument),
            4..=7 => self.pass(Duration::from_secs(1 << argument)),
            8 => drop(self.session.close(now, CloseCause::Forced("fuzz"))),
            9 => self.session.abort(CloseCause::SlowClient),
            10 | 11 => self.receive(argument),
            12..=14 => drop(self.session.poll_begin()),
            15..=17 => self.answer(),
            18 => self.session.poll_aborted(),
            19 => drop(self.session.post_begin()),
            20 => self.session.post_end(),
            21 => drop(self.session.probe_begin(stream)),
            22 => drop(self.session.probe_packet(stream, &Packet::from_text("2probe").expect("a packet"))),
            23 => drop(self.session.probe_packet(stream, &Packet::from_text("5").expect("a packet"))),
            24 => self.session.probe_end(stream),
            25..=27 => {
                if let Some(packet) = self.session.pop() {
                    self.sent(&packet);
                }
            }
            28 => self.session.flushed(),
            29 => {
                if self.session.try_bypass() {
                    assert!(self.waiting.is_empty(), "a packet overtakes queued ones");
                }
            }
            30 => {
                self.session.defer_timeout(now);
                self.heard = now;
            }
            _ => {
                self.session.extend_heartbeat(now);
                self.heard = now;
            }
        }
    }

    fn send(&mut self, size: u8) {
        let text = format!("{}{}", self.next, "x".repeat(usize::from(size) * 40));
        let was_open = self.session.is_open();
        let sent = self.session.send(&[Packet::message(&text)]);
        if was_open && sent.is_ok() {
            self.waiting.push_back(self.next);
        }
        assert!(was_open || sent.is_ok(), "sending to a session that ends fails");
        self.next += 1;
    }

    /// Checks a packet that is sent.
    fn sent(&mut self, packet: &Packet) {
        if let Some(number) = number(packet) {
            assert_eq!(self.waiting.pop_front(), Some(number), "out of order, lost or repeated");
        }
    }

    fn answer(&mut self) {
        let due = self.session.poll_is_due();
        let closed = self.session.closed();
        let answer = self.session.poll_answer();
        assert!(!(due && answer.is_none()), "a poll is due and gets no answer");
        for packet in answer.iter().flatten() {
            assert!(closed.is_none() || packet.packet_type() != PacketType::Message, "a closed session sends");
            self.sent(packet);
        }
    }

    fn receive(&mut self, which: u8) {
        const PACKETS: [&str; 8] = ["4a", "3", "2", "4b", "6", "0{}", "1", "5"];
        let packet = Packet::from_text(PACKETS[usize::from(which)]).expect("a packet");
        let (now, was_open) = (self.now, self.session.is_open());
        let receipt = match self.session.is_forwarded(&packet) {
            true => PacketOutcome::Forward,
            false => self.session.handle_packet(|| now, &packet),
        };
        assert_eq!(receipt == PacketOutcome::Forward, was_open && packet.packet_type() == PacketType::Message);
        if was_open {
            self.heard = now;
        }
    }

    /// Advances the clock, and runs the timers.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..1000 {
            match self.session.deadline() {
                Some(deadline) if deadline <= end => {
                    self.now = self.now.max(deadline);
                    self.session.handle_timeout(self.now);
                }
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("the timers do not come to rest");
    }

    fn check(&mut self) {
        let closed = self.session.closed();
        if self.cause.is_some() {
            assert_eq!(closed, self.cause, "a closed session has changed");
        }
        self.cause = closed;
        match self.session.deadline() {
            Some(deadline) => {
                assert!(closed.is_none(), "a closed session has a deadline");
                assert!(deadline <= self.now + INTERVAL + TIMEOUT, "the deadline is too far away");
                let limit = INTERVAL + 2 * TIMEOUT;
                assert!(self.now <= self.heard + limit, "it outlives its heartbeat");
            }
            None => assert!(closed.is_some(), "a session that is not closed has no deadline"),
        }
        if closed.is_some() {
            assert!(!self.session.is_open() && !self.session.is_writable());
            assert_eq!(self.session.buffered_bytes(), 0, "a closed session keeps packets");
            self.waiting.clear();
        } else {
            assert!(self.session.buffered_bytes() <= 8 * MAX_BUFFERED, "more bytes are queued than allowed");
        }
    }
}
