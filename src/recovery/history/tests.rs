use std::{sync::Arc, time::Duration};

use proptest::prelude::*;

use crate::{
    engine::ProtocolVersion,
    packet::{Target, encode_event},
    room::Selection,
};

use super::{Instant, *};

/// A history with a virtual clock.
struct Bench {
    history: History,
    now: Instant,
}

impl Bench {
    fn new(config: RecoveryConfig) -> Self {
        let config = config.max_disconnection(Duration::from_secs(60));
        Self { history: History::new(config, "tag".to_owned()), now: Instant::now() }
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn join(&mut self, name: &str) -> SessionKey {
        let name: Arc<str> = name.into();
        let id = SocketId::new(ProtocolVersion::V3, &name, "/");
        self.history.join(id, name, None).expect("it is new").0
    }

    /// Emits an event to a room with the given sessions.
    fn emit(&mut self, room: &str, recipients: &[SessionKey]) {
        let stamp = self.history.stamp(self.now, false);
        for key in recipients {
            self.history.cursor(*key).expect("it is there").sent(stamp);
        }
        let packet = encode_event(Target { namespace: "/", id: None }, "n", &stamp.offset).expect("a number is JSON");
        let stamped = self.history.stamped(stamp, &packet);
        let selection = Selection { rooms: vec![room.into()], except: Vec::new() };
        self.history.record(self.now, Scope::Selection { selection, sender: None }, stamped);
    }

    fn lose(&mut self, key: SessionKey) -> Garbage {
        self.history.lose(self.now, key, None, Extensions::new())
    }

    fn claim(&mut self, name: &str, offset: Option<u64>) -> Option<Restored> {
        let offset = offset.map(|offset| format!("tag.{offset:x}"));
        self.history.claim(self.now, name, offset.as_deref()).0
    }

    /// Recovers a session. Returns the new key and the number of missed events.
    fn come_back(&mut self, name: &str, offset: u64) -> Option<(SessionKey, usize)> {
        let restored = self.claim(name, Some(offset))?;
        let id = restored.saved.id.clone();
        let (key, missed) = self.history.join(id, name.into(), Some(&restored))?;
        Some((key, missed.len()))
    }
}

#[test]
fn the_first_events_after_a_silence_may_be_lost_on_the_way() {
    for [before, silence] in [[20, 20], [50, 50], [500, 500], [500, 70], [20, 70]] {
        let mut bench = Bench::new(RecoveryConfig::new());
        let key = bench.join("a");
        let talk = |bench: &mut Bench, seconds: u64| {
            (0..seconds / 5).for_each(|_| {
                bench.emit("others", &[]);
                bench.wait(5);
            });
        };
        // Events for the client are rare.
        for silence in [before, silence, silence] {
            bench.emit("a", &[key]);
            talk(&mut bench, silence);
        }
        let seen = bench.history.log.last() - silence / 5;
        // It gets no event from here on.
        (0..4).for_each(|_| {
            bench.emit("a", &[key]);
            talk(&mut bench, 10);
        });
        assert!(bench.lose(key).is_empty());
        let (key, missed) = bench.come_back("a", seen).expect("it is remembered");
        assert_eq!(missed, 4, "after {silence} seconds");
        // Eventually the first of them is evicted.
        talk(&mut bench, 20);
        bench.emit("a", &[key]);
        assert!(bench.lose(key).is_empty());
        bench.wait(30);
        assert!(bench.come_back("a", seen).is_none());
    }
}

#[test]
fn a_client_that_has_seen_everything_comes_back_however_old_that_is() {
    let mut bench = Bench::new(RecoveryConfig::new());
    let key = bench.join("a");
    bench.emit("a", &[key]);
    (0..100).for_each(|_| {
        bench.wait(50);
        bench.emit("others", &[]);
    });
    assert!(bench.lose(key).is_empty());
    bench.emit("a", &[]);
    bench.wait(60);
    assert_eq!(bench.come_back("a", 1).map(|(_, missed)| missed), Some(1));
}

#[test]
fn sessions_and_events_age_by_themselves() {
    let mut bench = Bench::new(RecoveryConfig::new());
    let (a, b) = (bench.join("a"), bench.join("b"));
    assert!(bench.lose(a).is_empty());
    bench.emit("b", &[b]);
    bench.wait(60);
    assert!(bench.history.is_away(bench.now, "a") && !bench.history.is_away(bench.now, "b"));
    assert!(bench.history.evict(bench.now).is_empty());
    bench.wait(1);
    assert!(!bench.history.is_away(bench.now, "a"));
    assert!(bench.history.is_awaited());
    assert_eq!(bench.history.evict(bench.now).len(), 1);
    assert!(!bench.history.is_awaited() && bench.history.is_empty());
}

#[test]
fn those_that_left_first_make_room_for_others_whoever_comes_and_goes() {
    let mut bench = Bench::new(RecoveryConfig::new().max_sessions(2));
    let (a, mut b) = (bench.join("a"), bench.join("b"));
    assert!(bench.lose(a).is_empty());
    for _ in 0..1000 {
        bench.wait(0);
        assert!(bench.lose(b).is_empty());
        b = bench.come_back("b", 0).expect("it is remembered").0;
    }
    let c = bench.join("c");
    assert!(bench.lose(b).is_empty());
    let garbage = bench.lose(c);
    assert_eq!(garbage.iter().map(|saved| &*saved.id).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn a_session_that_is_taken_back_is_as_old_as_it_was() {
    let mut bench = Bench::new(RecoveryConfig::new());
    let key = bench.join("a");
    assert!(bench.lose(key).is_empty());
    bench.wait(40);
    let restored = bench.claim("a", None).expect("it is remembered");
    assert!(bench.claim("a", None).is_none(), "it is claimed once");
    assert!(bench.history.take_back(bench.now, None, &restored).is_empty());
    bench.wait(20);
    assert!(bench.history.is_away(bench.now, "a"));
    bench.wait(1);
    assert!(bench.claim("a", None).is_none());
}

#[test]
fn rooms_that_were_left_are_forgotten_with_what_was_said_there() {
    let mut bench = Bench::new(RecoveryConfig::new());
    let key = bench.join("a");
    bench.history.enter(key, "x".into());
    (0..100).for_each(|_| bench.emit("x", &[key]));
    bench.history.exit(key, "x");
    let was_in = |bench: &Bench| bench.history.live[&key].memberships.contained("x", 100);
    bench.wait(60);
    assert!(bench.history.clean(bench.now).is_empty() && was_in(&bench));
    bench.wait(1);
    assert!(bench.history.clean(bench.now).is_empty() && !was_in(&bench));
    assert!(bench.history.is_empty());
}

#[test]
fn a_claim_in_vain_returns_the_session_as_garbage() {
    let mut bench = Bench::new(RecoveryConfig::new());
    let key = bench.join("a");
    assert!(bench.lose(key).is_empty());
    let (restored, garbage) = bench.history.claim(bench.now, "a", Some("no offset"));
    assert!(restored.is_none());
    assert_eq!(garbage.len(), 1);
}

#[test]
fn what_is_missed_is_bounded_by_bytes_and_packets() {
    for config in [RecoveryConfig::new().max_packets(3), RecoveryConfig::new().max_bytes(400)] {
        let mut bench = Bench::new(config);
        let key = bench.join("a");
        assert!(bench.lose(key).is_empty());
        (0..3).for_each(|_| bench.emit("a", &[]));
        let (key, missed) = bench.come_back("a", 0).expect("it is remembered");
        assert_eq!(missed, 3);
        assert!(bench.lose(key).is_empty());
        bench.emit("a", &[]);
        assert!(bench.come_back("a", 0).is_none());
    }
}

proptest! {
    #[test]
    fn each_client_gets_what_was_for_it_once_and_in_order_or_is_not_recovered(
        script in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        model::run(&script);
    }
}
