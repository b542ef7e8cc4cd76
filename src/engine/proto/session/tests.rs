//! Tests of the state machine with a virtual clock, without a runtime or a network.

use super::*;

const INTERVAL: Duration = Duration::from_secs(25);
const TIMEOUT: Duration = Duration::from_secs(20);
const CONFIG: SessionConfig = SessionConfig {
    ping_interval: INTERVAL,
    ping_timeout: TIMEOUT,
    max_buffered_bytes: 1000,
    max_poll_packets: u32::MAX,
};

/// A session and a clock.
struct Bench {
    now: Instant,
    session: Session,
}

impl Bench {
    fn polling() -> Self {
        let now = Instant::now();
        Self { now, session: Session::polling(ProtocolVersion::V4, now, CONFIG) }
    }

    fn polling_in_pieces(max_poll_packets: u32) -> Self {
        let now = Instant::now();
        Self { now, session: Session::polling(ProtocolVersion::V4, now, SessionConfig { max_poll_packets, ..CONFIG }) }
    }

    fn websocket() -> Self {
        let now = Instant::now();
        Self { now, session: Session::websocket(ProtocolVersion::V4, now, CONFIG) }
    }

    /// Sessions of revision 3, whose clients ping.
    fn of_revision_3() -> [Self; 2] {
        let now = Instant::now();
        let sessions =
            [Session::polling(ProtocolVersion::V3, now, CONFIG), Session::websocket(ProtocolVersion::V3, now, CONFIG)];
        sessions.map(|session| Self { now, session })
    }

    /// Advances the clock, and runs the timers.
    fn after(&mut self, time: Duration) -> &mut Self {
        let end = self.now + time;
        while let Some(deadline) = self.session.deadline().filter(|deadline| *deadline <= end) {
            self.now = deadline;
            self.session.handle_timeout(deadline);
        }
        self.now = end;
        self
    }

    fn receive(&mut self, packet: &'static str) -> PacketOutcome {
        let now = self.now;
        self.session.handle_packet(|| now, &text(packet))
    }

    /// Returns the response to the pending poll.
    fn answer(&mut self) -> Option<Vec<String>> {
        self.session.poll_answer().map(|packets| packets.iter().map(show).collect())
    }

    /// Polls, and returns the response if it is due at once.
    fn poll(&mut self) -> Option<Vec<String>> {
        assert!(self.session.poll_begin(), "the poll may wait");
        self.answer()
    }

    /// Returns all packets that the WebSocket sends.
    fn sent(&mut self) -> Vec<String> {
        let sent = std::iter::from_fn(|| self.session.pop()).map(|packet| show(&packet)).collect();
        self.session.flushed();
        sent
    }

    fn send(&mut self, packet: &'static str) {
        self.session.send(&[text(packet)]).expect("there is room");
    }

    fn closed(&self) -> Option<CloseCause> {
        self.session.closed()
    }

    fn close(&mut self) -> bool {
        self.session.close(self.now, CloseCause::Forced("test"))
    }
}

fn text(packet: &'static str) -> Packet {
    Packet::from_text(packet).expect("a packet")
}

fn show(packet: &Packet) -> String {
    String::from_utf8(packet.text().expect("text").to_vec()).expect("text")
}

fn list(packets: &[&str]) -> Option<Vec<String>> {
    Some(packets.iter().map(|packet| (*packet).to_owned()).collect())
}

const FORCED: Option<CloseCause> = Some(CloseCause::Forced("test"));

#[test]
fn a_ping_is_sent_an_interval_after_the_last_pong() {
    let mut bench = Bench::websocket();
    assert!(bench.after(INTERVAL - Duration::from_millis(1)).sent().is_empty());
    assert_eq!(bench.after(Duration::from_millis(1)).sent(), ["2"]);
    bench.after(Duration::from_secs(5)).receive("3");
    assert!(bench.after(INTERVAL - Duration::from_millis(1)).sent().is_empty());
    assert_eq!(bench.after(Duration::from_millis(1)).sent(), ["2"]);
}

#[test]
fn without_a_pong_the_session_ends_after_interval_and_timeout() {
    for mut bench in [Bench::websocket(), Bench::polling()] {
        bench.after(INTERVAL + TIMEOUT - Duration::from_millis(1));
        assert_eq!(bench.closed(), None);
        assert_eq!(bench.after(Duration::from_millis(1)).closed(), Some(CloseCause::PingTimeout));
        assert_eq!(bench.session.deadline(), None);
    }
}

#[test]
fn every_packet_extends_the_wait_for_a_pong() {
    let mut bench = Bench::websocket();
    bench.after(INTERVAL + TIMEOUT - Duration::from_secs(1));
    assert_eq!(bench.receive("4upload"), PacketOutcome::Forward);
    bench.after(TIMEOUT - Duration::from_secs(1));
    assert_eq!(bench.closed(), None);
    bench.receive("4more");
    bench.after(TIMEOUT - Duration::from_secs(1));
    assert_eq!(bench.closed(), None);
    // Part of a message.
    bench.session.extend_heartbeat(bench.now);
    assert_eq!(bench.after(TIMEOUT - Duration::from_millis(1)).closed(), None);
    assert_eq!(bench.after(Duration::from_millis(1)).closed(), Some(CloseCause::PingTimeout));
}

#[test]
fn the_timeout_is_deferred_while_the_server_does_not_read() {
    let mut bench = Bench::websocket();
    assert_eq!(bench.after(INTERVAL).sent(), ["2"]);
    for _ in 0..3 {
        bench.after(TIMEOUT - Duration::from_secs(1));
        bench.session.defer_timeout(bench.now);
        assert!(bench.sent().is_empty(), "not before the time is up");
        bench.now += Duration::from_secs(1);
        bench.session.defer_timeout(bench.now);
        assert_eq!(bench.sent(), ["2"], "writing it tells whether the connection is broken");
    }
    // The server reads again: the client gets another timeout for its pong.
    bench.after(TIMEOUT - Duration::from_secs(1));
    bench.session.extend_heartbeat(bench.now);
    assert_eq!(bench.after(TIMEOUT - Duration::from_secs(1)).closed(), None);
    assert_eq!(bench.after(Duration::from_secs(1)).closed(), Some(CloseCause::PingTimeout));
}

#[test]
fn in_revision_3_the_timeout_is_deferred_while_the_server_does_not_read() {
    for mut bench in Bench::of_revision_3() {
        bench.after(INTERVAL);
        bench.now += TIMEOUT;
        bench.session.defer_timeout(bench.now);
        let sign = if bench.session.is_polling() { bench.poll().unwrap() } else { bench.sent() };
        assert_eq!(sign, ["6"]);
        assert_eq!(bench.after(TIMEOUT).closed(), Some(CloseCause::PingTimeout));
    }
}

#[test]
fn an_unsolicited_pong_delays_the_next_ping() {
    let mut bench = Bench::websocket();
    bench.after(Duration::from_secs(20)).receive("3");
    assert!(bench.after(Duration::from_secs(24)).sent().is_empty());
    assert_eq!(bench.after(Duration::from_secs(1)).sent(), ["2"]);
}

#[test]
fn a_ping_from_the_client_ends_the_session() {
    let mut bench = Bench::websocket();
    assert_eq!(bench.receive("2"), PacketOutcome::Handled);
    assert_eq!(bench.closed(), Some(CloseCause::TransportError("invalid heartbeat direction")));
}

#[test]
fn open_upgrade_and_noop_from_the_client_are_ignored() {
    let mut bench = Bench::websocket();
    for packet in ["0{}", "5", "6"] {
        assert_eq!(bench.receive(packet), PacketOutcome::Handled);
    }
    assert_eq!(bench.closed(), None);
}

#[test]
fn a_poll_waits_until_there_is_something_to_send() {
    let mut bench = Bench::polling();
    assert_eq!(bench.poll(), None);
    assert!(!bench.session.poll_is_due());
    bench.send("4a");
    assert!(bench.session.poll_is_due());
    assert_eq!(bench.answer(), list(&["4a"]));
    assert!(!bench.session.poll_is_due());
}

#[test]
fn a_poll_gets_all_queued_packets_up_to_a_number_of_bytes() {
    let mut bench = Bench::polling();
    for _ in 0..20 {
        bench.send("4a");
    }
    assert_eq!(bench.poll().map(|packets| packets.len()), Some(20));
    for _ in 0..3 {
        bench.session.send_control(Packet::binary(vec![0; MAX_BYTES_PER_POLL / 2]));
    }
    assert!(bench.session.poll_begin());
    assert_eq!(bench.session.poll_answer().map(|packets| packets.len()), Some(2));
    assert!(bench.session.poll_begin());
    assert_eq!(bench.session.poll_answer().map(|packets| packets.len()), Some(1));
}

#[test]
fn a_poll_gets_no_more_packets_than_its_client_accepts() {
    let mut bench = Bench::polling_in_pieces(16);
    for _ in 0..20 {
        bench.send("4a");
    }
    assert_eq!(bench.poll().map(|packets| packets.len()), Some(16));
    assert_eq!(bench.poll().map(|packets| packets.len()), Some(4));
}

#[test]
fn a_heartbeat_precedes_queued_packets() {
    for mut bench in [Bench::websocket(), Bench::polling()] {
        bench.send("4a");
        bench.send("4b");
        bench.after(INTERVAL);
        let sent = if bench.session.is_polling() { bench.poll().unwrap() } else { bench.sent() };
        assert_eq!(sent, ["2", "4a", "4b"]);
    }
    for mut bench in Bench::of_revision_3() {
        bench.send("4a");
        bench.receive("2");
        let sent = if bench.session.is_polling() { bench.poll().unwrap() } else { bench.sent() };
        assert_eq!(sent, ["3", "4a"]);
    }
}

#[test]
fn a_second_poll_ends_the_session_and_releases_the_first() {
    let mut bench = Bench::polling();
    assert_eq!(bench.poll(), None);
    assert!(!bench.session.poll_begin());
    assert_eq!(bench.closed(), Some(CloseCause::TransportError("overlap from client")));
    assert_eq!(bench.answer(), list(&["1"]));
}

#[test]
fn a_second_post_ends_the_session() {
    let mut bench = Bench::polling();
    assert!(bench.session.post_begin());
    bench.session.post_end();
    assert!(bench.session.post_begin());
    assert!(!bench.session.post_begin());
    assert_eq!(bench.closed(), Some(CloseCause::TransportError("data request overlap from client")));
}

#[test]
fn a_close_from_the_client_releases_its_poll_with_a_noop() {
    let mut bench = Bench::polling();
    assert_eq!(bench.poll(), None);
    bench.receive("1");
    assert_eq!(bench.closed(), Some(CloseCause::TransportClose));
    assert_eq!(bench.answer(), list(&["6"]));
}

#[test]
fn a_close_with_a_pending_poll_is_sent_at_once() {
    let mut bench = Bench::polling();
    assert_eq!(bench.poll(), None);
    assert!(bench.close());
    assert_eq!(bench.closed(), FORCED);
    assert_eq!(bench.answer(), list(&["1"]));
}

#[test]
fn a_close_without_a_poll_waits_for_the_next_one() {
    let mut bench = Bench::polling();
    assert!(!bench.close());
    assert_eq!(bench.closed(), None);
    assert_eq!(bench.poll(), list(&["6", "1"]));
    assert_eq!(bench.closed(), FORCED);
}

#[test]
fn a_close_follows_the_queued_packets() {
    let mut bench = Bench::polling();
    bench.send("4a");
    assert!(!bench.close());
    bench.send("4dropped");
    assert_eq!(bench.poll(), list(&["4a"]));
    assert_eq!(bench.poll(), list(&["6", "1"]));
    assert_eq!(bench.closed(), FORCED);
}

#[test]
fn a_close_that_is_not_fetched_ends_after_thirty_seconds() {
    let mut bench = Bench::polling();
    bench.close();
    assert_eq!(bench.after(Duration::from_secs(29)).closed(), None);
    assert_eq!(bench.after(Duration::from_secs(1)).closed(), FORCED);
}

#[test]
fn a_close_does_not_wait_for_a_client_whose_heartbeat_has_stopped() {
    let mut bench = Bench::polling();
    bench.after(INTERVAL + TIMEOUT - Duration::from_secs(2));
    bench.close();
    assert_eq!(bench.after(Duration::from_secs(1)).closed(), None);
    assert_eq!(bench.after(Duration::from_secs(1)).closed(), FORCED);
    for mut bench in Bench::of_revision_3() {
        bench.send("4a");
        bench.after(INTERVAL + TIMEOUT - Duration::from_secs(2));
        bench.close();
        assert_eq!(bench.after(Duration::from_secs(2)).closed(), FORCED);
    }
}

#[test]
fn a_closing_websocket_sends_queued_packets_and_ends() {
    let mut bench = Bench::websocket();
    bench.send("4a");
    assert!(bench.close());
    assert_eq!(bench.closed(), None);
    assert_eq!(bench.sent(), ["4a"]);
    assert_eq!(bench.closed(), FORCED);
}

#[test]
fn an_abort_drops_queued_packets() {
    let mut bench = Bench::websocket();
    bench.send("4a");
    bench.session.abort(CloseCause::SlowClient);
    assert!(bench.sent().is_empty());
    assert_eq!(bench.closed(), Some(CloseCause::SlowClient));
    bench.session.abort(CloseCause::PingTimeout);
    assert_eq!(bench.closed(), Some(CloseCause::SlowClient), "the first cause stays");
}

#[test]
fn an_upgrade_moves_the_session_and_its_queued_packets() {
    let mut bench = Bench::polling();
    assert_eq!(bench.poll(), None);
    assert!(bench.session.probe_begin(Transport::WebSocket));
    assert_eq!(bench.session.probe_packet(Transport::WebSocket, &text("2probe")), ProbeAction::Send(text("3probe")));
    assert_eq!(bench.answer(), list(&["6"]), "the pending poll is released");
    bench.send("4a");
    assert_eq!(bench.session.probe_packet(Transport::WebSocket, &text("5")), ProbeAction::Upgrade);
    bench.session.probe_end(Transport::WebSocket);
    assert!(!bench.session.is_polling());
    assert_eq!(bench.sent(), ["4a"]);
    assert!(!bench.session.poll_begin());
}

#[test]
fn two_streams_may_be_probed_and_the_first_upgrade_wins() {
    const BOTH: [Transport; 2] = [Transport::WebSocket, Transport::WebTransport];
    for (first, second) in [(BOTH[0], BOTH[1]), (BOTH[1], BOTH[0])] {
        let mut bench = Bench::polling();
        for transport in BOTH {
            assert!(bench.session.probe_begin(transport));
            assert!(!bench.session.probe_begin(transport), "one of each");
            assert_eq!(bench.session.probe_packet(transport, &text("2probe")), ProbeAction::Send(text("3probe")));
        }
        assert_eq!(bench.session.probe_packet(first, &text("5")), ProbeAction::Upgrade);
        assert_eq!(bench.session.probe_packet(second, &text("5")), ProbeAction::Close);
        bench.session.probe_end(second);
        assert!(!bench.session.is_polling() && bench.session.is_open());
    }
}

#[test]
fn a_probe_that_ends_does_not_affect_the_other_one() {
    let mut bench = Bench::polling();
    assert!(bench.session.probe_begin(Transport::WebSocket) && bench.session.probe_begin(Transport::WebTransport));
    bench.session.probe_packet(Transport::WebTransport, &text("2probe"));
    bench.session.probe_end(Transport::WebSocket);
    assert!(bench.session.poll_begin() && bench.session.poll_is_due(), "the other one is confirmed");
    assert_eq!(bench.session.probe_packet(Transport::WebTransport, &text("5")), ProbeAction::Upgrade);
}

#[test]
fn polling_continues_during_a_probe() {
    let mut bench = Bench::polling();
    bench.session.probe_begin(Transport::WebSocket);
    assert_eq!(bench.poll(), None);
    assert_eq!(bench.answer(), None, "an unconfirmed probe releases nothing");
    bench.session.probe_packet(Transport::WebSocket, &text("2probe"));
    bench.send("4a");
    assert_eq!(bench.answer(), list(&["4a"]), "a poll that has something delivers it");
    assert_eq!(bench.receive("4b"), PacketOutcome::Forward);
    assert_eq!(bench.poll(), list(&["6"]), "the next poll does not wait: the client shall leave");
}

#[test]
fn after_a_failed_probe_another_one_may_begin() {
    let mut bench = Bench::polling();
    assert!(bench.session.probe_begin(Transport::WebSocket));
    assert!(!bench.session.probe_begin(Transport::WebSocket), "one at a time");
    assert_eq!(bench.session.probe_packet(Transport::WebSocket, &text("4nonsense")), ProbeAction::Close);
    bench.session.probe_end(Transport::WebSocket);
    assert!(bench.session.probe_begin(Transport::WebSocket));
    assert_eq!(
        bench.session.probe_packet(Transport::WebSocket, &text("5")),
        ProbeAction::Upgrade,
        "a probe packet is not required"
    );
    assert!(!bench.session.probe_begin(Transport::WebSocket), "and then never again");
}

#[test]
fn an_upgrade_keeps_the_deadline_of_a_pending_pong() {
    let mut bench = Bench::polling();
    bench.after(INTERVAL);
    assert_eq!(bench.poll(), list(&["2"]));
    bench.session.probe_begin(Transport::WebSocket);
    bench.session.probe_packet(Transport::WebSocket, &text("5"));
    assert_eq!(bench.after(TIMEOUT).closed(), Some(CloseCause::PingTimeout));
}

#[test]
fn an_upgrade_of_a_closing_session_sends_queued_packets_and_ends() {
    let mut bench = Bench::polling();
    bench.send("4a");
    bench.session.probe_begin(Transport::WebSocket);
    bench.close();
    assert_eq!(bench.session.probe_packet(Transport::WebSocket, &text("5")), ProbeAction::Upgrade);
    assert_eq!(bench.sent(), ["4a"]);
    assert_eq!(bench.closed(), FORCED);
}

#[test]
fn a_probe_of_a_session_that_has_ended_fails() {
    let mut bench = Bench::polling();
    bench.session.probe_begin(Transport::WebSocket);
    bench.session.abort(CloseCause::TransportClose);
    assert_eq!(bench.session.probe_packet(Transport::WebSocket, &text("5")), ProbeAction::Close);
}

#[test]
fn volatile_packets_leave_at_once_or_not_at_all() {
    let mut bench = Bench::polling();
    assert!(!bench.session.is_writable(), "no poll is pending");
    bench.poll();
    assert!(bench.session.is_writable());
    bench.send("4a");
    assert!(!bench.session.is_writable(), "something is on its way");

    let mut bench = Bench::websocket();
    assert!(bench.session.is_writable());
    bench.send("4a");
    assert!(!bench.session.is_writable());
    bench.session.pop();
    assert!(!bench.session.is_writable(), "not yet in the kernel");
    assert!(!bench.session.is_drained());
    bench.session.flushed();
    assert!(bench.session.is_writable() && bench.session.is_drained());
}

#[test]
fn a_poll_that_the_client_aborts_ends_the_session() {
    let mut bench = Bench::polling();
    bench.poll();
    bench.session.poll_aborted();
    assert_eq!(bench.closed(), Some(CloseCause::TransportError("poll connection closed prematurely")));
}

#[test]
fn in_revision_3_the_client_pings() {
    for mut bench in Bench::of_revision_3() {
        bench.after(INTERVAL + TIMEOUT - Duration::from_millis(1));
        assert_eq!(bench.receive("2"), PacketOutcome::Handled);
        let answer = if bench.session.is_polling() { bench.poll().unwrap() } else { bench.sent() };
        assert_eq!(answer, ["3"]);
        bench.after(INTERVAL + TIMEOUT - Duration::from_millis(1));
        assert_eq!(bench.closed(), None);
        bench.after(Duration::from_millis(1));
        assert_eq!(bench.closed(), Some(CloseCause::PingTimeout));
    }
}

#[test]
fn in_revision_3_other_packets_extend_the_timeout() {
    for mut bench in Bench::of_revision_3() {
        bench.after(INTERVAL);
        let packet = text("4a");
        assert!(bench.session.is_forwarded(&packet));
        bench.after(TIMEOUT);
        assert_eq!(bench.closed(), None);
        assert_eq!(bench.after(TIMEOUT).closed(), Some(CloseCause::PingTimeout));
    }
}

#[test]
fn in_revision_3_a_pong_from_the_client_ends_the_session() {
    for mut bench in Bench::of_revision_3() {
        bench.receive("3");
        assert_eq!(bench.closed(), Some(CloseCause::TransportError("invalid heartbeat direction")));
    }
}

#[test]
fn in_revision_3_the_deadline_survives_an_upgrade() {
    let [mut bench, _] = Bench::of_revision_3();
    bench.after(INTERVAL);
    assert!(bench.session.probe_begin(Transport::WebSocket));
    assert_eq!(bench.session.probe_packet(Transport::WebSocket, &text("2probe")), ProbeAction::Send(text("3probe")));
    assert_eq!(bench.session.probe_packet(Transport::WebSocket, &text("5")), ProbeAction::Upgrade);
    bench.after(TIMEOUT - Duration::from_millis(1));
    assert_eq!(bench.closed(), None);
    bench.after(Duration::from_millis(1));
    assert_eq!(bench.closed(), Some(CloseCause::PingTimeout));
}

#[test]
fn in_revision_3_the_response_to_a_poll_is_short_enough_for_old_browsers() {
    let [mut bench, _] = Bench::of_revision_3();
    for _ in 0..3 {
        bench.session.send_control(Packet::binary(vec![0; MAX_BYTES_PER_POLL_V3]));
    }
    assert!(bench.session.poll_begin());
    assert_eq!(bench.session.poll_answer().map(|packets| packets.len()), Some(1));
}
