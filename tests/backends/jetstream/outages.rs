//! Events over outages of the broker and of connections.

use tower_socketio::cluster::{ClusterErrorKind, Emitter};

use super::*;
use crate::brokers::proxy::Proxy;

/// A client that expects the numbers of two nodes, each in order, from 1.
struct Checked {
    client: Memory,
    seen: [u64; 2],
}

impl Checked {
    async fn join(node: &Node) -> Self {
        Self { client: Memory::join(&node.io).await, seen: [0, 0] }
    }

    async fn read_to(&mut self, last: [u64; 2]) {
        while self.seen != last {
            let text = self.client.text().await;
            if text == "2" {
                self.client.say("3");
                continue;
            }
            let event = json(&text);
            let node = usize::from(event[0] == "b");
            self.seen[node] += 1;
            assert_eq!(event[1].as_u64(), Some(self.seen[node]), "of {} after {:?}", event[0], self.seen);
        }
    }
}

/// Both nodes emit numbers, about two in a millisecond, while something happens.
async fn both_emit_during(a: &Node, b: &Node, next: &mut u64, happens: impl Future<Output = ()>) {
    let mut happens = std::pin::pin!(happens);
    loop {
        for _ in 0..2 {
            *next += 1;
            a.io.emit("a", &*next).unwrap();
            b.io.emit("b", &*next).unwrap();
        }
        tokio::select! {
            () = &mut happens => return,
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
}

/// The broker is killed again and again, for some time each, and keeps its data.
async fn outages(recovers: bool, outages: u32, time: Duration) {
    let mut broker = Broker::start(Nats::default()).await;
    let (a, b) = pair(&broker.url(), recovers).await;
    let mut clients = [Checked::join(&a).await, Checked::join(&b).await];
    let mut next = 0;
    for _ in 0..outages {
        both_emit_during(&a, &b, &mut next, tokio::time::sleep(Duration::from_millis(50))).await;
        both_emit_during(&a, &b, &mut next, async {
            broker.kill().await;
            tokio::time::sleep(time).await;
            broker.restart().await;
        })
        .await;
        for client in &mut clients {
            client.read_to([next; 2]).await;
        }
    }
    println!("{next} events of each of two nodes, with recovery: {recovers}");
    assert!(next > 100);
    for node in [&a, &b] {
        assert!(node.has_reported(ClusterErrorKind::Disconnected) && !node.has_reported(ClusterErrorKind::Missed));
        assert_eq!(node.lost(), 0);
    }
    // Everything works as before, when both are connected.
    b.sees(2).await;
    a.sees(2).await;
    assert_eq!(soon(a.io.fetch_sockets()).await.unwrap().len(), 2);
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn each_event_arrives_once_and_in_order_over_restarts_of_the_broker() {
    for recovers in [false, true] {
        outages(recovers, 3, Duration::from_secs(1)).await;
    }
}

#[tokio::test]
#[ignore = "a drill: takes a minute"]
async fn drill_ten_seconds_without_the_broker() {
    for recovers in [false, true] {
        outages(recovers, 2, Duration::from_secs(10)).await;
    }
}

/// Batches were stored, but their confirmation does not arrive. NATS recognizes their ids for two minutes, or for a time that is over when
/// the nodes have connected again.
#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn batches_whose_confirmation_is_lost_are_not_stored_again() {
    for (recovers, remembers) in [(false, Duration::from_secs(120)), (true, Duration::from_millis(100))] {
        let broker = Broker::start(Nats::default()).await;
        let proxy = Proxy::start(broker.port()).await;
        let (a, b) = pair(&proxy.url().replace("redis", "nats"), recovers).await;
        let nanoseconds = u64::try_from(remembers.as_nanos()).unwrap();
        Admin::connect(&broker).await.configure("duplicate_window", value!(nanoseconds)).await;
        let mut clients = [Checked::join(&a).await, Checked::join(&b).await];
        let mut next = 0;
        for _ in 0..5 {
            both_emit_during(&a, &b, &mut next, tokio::time::sleep(Duration::from_millis(100))).await;
            proxy.freeze();
            both_emit_during(&a, &b, &mut next, tokio::time::sleep(Duration::from_millis(100))).await;
            for client in &mut clients {
                client.read_to([next; 2]).await;
            }
        }
        assert_eq!((a.lost(), b.lost()), (0, 0));
    }
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn a_broker_that_has_lost_its_data_is_used_again() {
    for recovers in [false, true] {
        let mut broker = Broker::start(Nats::default()).await;
        let (a, b) = pair(&broker.url(), recovers).await;
        let mut client = Memory::join(&b.io).await;
        a.io.emit("n", &1).unwrap();
        assert!(client.text().await.starts_with(r#"42["n",1"#));
        broker.kill().await;
        a.reports(ClusterErrorKind::Disconnected).await;
        a.io.emit("n", &2).unwrap();
        broker.restart_empty().await;
        assert!(client.text().await.starts_with(r#"42["n",2"#));
        a.io.emit("n", &3).unwrap();
        assert!(client.text().await.starts_with(r#"42["n",3"#));
        b.reports(ClusterErrorKind::Missed).await;
        assert_eq!((a.lost(), b.lost()), (0, 0));
    }
}

/// The broker has the data of an older backup, and gets other events at the positions that nodes have read.
#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn a_broker_that_is_rolled_back_is_noticed() {
    for others in [0, 5] {
        let mut broker = Broker::start(Nats::default()).await;
        let (a, b) = pair(&broker.url(), true).await;
        let mut client = Memory::join(&b.io).await;
        a.io.emit("n", &1).unwrap();
        assert!(client.text().await.starts_with(r#"42["n",1"#));
        broker.kill().await;
        let backup = tempfile::tempdir().unwrap();
        copy(&broker.folder().join("jetstream"), &backup.path().join("jetstream")).await;
        broker.restart().await;
        for number in 2..=4 {
            a.io.emit("n", &number).unwrap();
            assert!(client.text().await.starts_with(&format!(r#"42["n",{number}"#)));
        }
        broker.kill().await;
        std::fs::remove_dir_all(broker.folder().join("jetstream")).unwrap();
        copy(&backup.path().join("jetstream"), &broker.folder().join("jetstream")).await;
        for node in [&a, &b] {
            node.errors.lock().unwrap().clear();
        }
        // Those of another program come first.
        broker.restart().await;
        let emitter = Emitter::new(NatsJetStreamAdapter::connect(NatsConfig::new(broker.url())).await.unwrap());
        let admin = Admin::connect(&broker).await;
        for _ in 0..others {
            let before = admin.batches().await;
            emitter.emit("other", &()).unwrap();
            retry(async || (admin.batches().await > before).then_some(())).await;
        }
        b.reports(ClusterErrorKind::Missed).await;
        a.io.emit("last", &()).unwrap();
        while !client.text().await.starts_with(r#"42["last","#) {}
    }
}

async fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").args([from, to]).status().await.unwrap();
    assert!(copied.success());
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn errors_of_the_broker_are_reported_and_tried_again() {
    let broker = Broker::start(Nats::default()).await;
    let (a, b) = pair(&broker.url(), false).await;
    let admin = Admin::connect(&broker).await;
    let mut client = Memory::join(&b.io).await;
    a.io.emit("n", &0).unwrap();
    client.expect(r#"42["n",0]"#).await;
    // The stream is full, and does not remove what it has.
    admin.configure("discard", value!("new")).await;
    admin.configure("max_msgs", value!(1)).await;
    a.io.emit("n", &1).unwrap();
    a.io.emit("n", &2).unwrap();
    a.reports(ClusterErrorKind::Rejected).await;
    a.io.emit("n", &3).unwrap();
    admin.configure("max_msgs", value!(-1)).await;
    for number in 1..=3 {
        client.expect(&format!(r#"42["n",{number}]"#)).await;
    }
    assert_eq!(a.lost(), 0);
}

/// Several emitters have the same sender, and emit the same.
#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn emitters_add_each_event_once() {
    let mut broker = Broker::start(Nats::default()).await;
    let node = node(impatient(&broker.url()), true).await;
    let mut client = Memory::join(&node.io).await;
    let mut emitters = Vec::new();
    for _ in 0..3 {
        emitters.push(Emitter::new(NatsJetStreamAdapter::connect(impatient(&broker.url())).await.unwrap()));
    }
    let mut count = 0;
    for _ in 0..3 {
        let outage = async {
            broker.kill().await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            broker.restart().await;
        };
        let mut outage = std::pin::pin!(outage);
        loop {
            for emitter in &emitters {
                emitter.emit("tick", &()).unwrap();
                count += 1;
            }
            tokio::select! {
                () = &mut outage => break,
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
        }
    }
    for emitter in &emitters {
        emitter.emit("last", &()).unwrap();
    }
    let (mut ticks, mut last) = (0, 0);
    while last < emitters.len() {
        let text = client.text().await;
        ticks += u32::from(text.starts_with(r#"42["tick","#));
        last += usize::from(text.starts_with(r#"42["last","#));
    }
    assert_eq!(ticks, count);
}
