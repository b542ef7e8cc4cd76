//! Streams over outages of the broker and of connections.

use std::time::Duration;

use tower_socketio::cluster::Emitter;

use super::{
    streams::{STREAM, impatient, impatient_pair, pair},
    *,
};
use crate::brokers::{Broker, Redis, RedisCluster, proxy::Proxy, redis::command};

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

/// Both nodes emit numbers, about one in a millisecond, while something happens.
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
async fn outages(kind: Kind, outages: u32, time: Duration) {
    let mut broker = Broker::start(Redis::default()).await;
    let (a, b) = pair(kind, broker.url()).await;
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
    println!("{kind:?}: {next} events of each of two nodes");
    assert!(next > 100);
    assert!(a.has_reported(ClusterErrorKind::Disconnected) && b.has_reported(ClusterErrorKind::Disconnected));
    for node in [&a, &b] {
        assert!(!node.has_reported(ClusterErrorKind::Missed));
        assert_eq!(node.lost(), 0);
    }
    // Everything works as before.
    a.sees(2).await;
    assert_eq!(soon(a.io.fetch_sockets()).await.unwrap().len(), 2);
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn each_event_arrives_once_and_in_order_over_restarts_of_the_broker() {
    for kind in [Kind::Streams, Kind::FourStreams, Kind::Journal] {
        outages(kind, 3, Duration::from_secs(1)).await;
    }
}

#[tokio::test]
#[ignore = "a drill: takes a minute"]
async fn drill_ten_seconds_without_the_broker() {
    for kind in [Kind::Streams, Kind::Journal] {
        outages(kind, 2, Duration::from_secs(10)).await;
    }
}

/// Entries were added, but their confirmation does not arrive.
#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn entries_whose_confirmation_is_lost_are_not_added_again() {
    for recovers in [false, true] {
        let broker = Broker::start(Redis::default()).await;
        let proxy = Proxy::start(broker.port()).await;
        let (a, b) = impatient_pair(proxy.url(), recovers).await;
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
        assert_eq!(command(broker.port(), &["XLEN", STREAM]).await, format!(":{}", 2 * next));
        assert_eq!((a.lost(), b.lost()), (0, 0));
    }
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn a_broker_that_has_lost_its_data_is_used_again() {
    for kind in [Kind::Streams, Kind::Journal] {
        let mut broker = Broker::start(Redis::default()).await;
        let (a, b) = pair(kind, broker.url()).await;
        let mut client = Memory::join(&b.io).await;
        a.io.emit("n", &1).unwrap();
        assert!(client.text().await.starts_with(r#"42["n",1"#));
        broker.kill().await;
        until(|| a.has_reported(ClusterErrorKind::Disconnected)).await;
        a.io.emit("n", &2).unwrap();
        broker.restart_empty().await;
        assert!(client.text().await.starts_with(r#"42["n",2"#));
        a.io.emit("n", &3).unwrap();
        assert!(client.text().await.starts_with(r#"42["n",3"#));
        // They were gone before they were read, or not.
        until(|| b.has_reported(ClusterErrorKind::Missed)).await;
        assert_eq!((a.lost(), b.lost()), (0, 0));
    }
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn errors_of_the_broker_are_reported_and_tried_again() {
    let broker = Broker::start(Redis::default()).await;
    let port = broker.port();
    let (a, b) = pair(Kind::Streams, broker.url()).await;
    let mut client = Memory::join(&b.io).await;
    assert_eq!(command(port, &["CONFIG", "SET", "maxmemory", "1"]).await, "+OK");
    a.io.emit("n", &1).unwrap();
    a.io.emit("n", &2).unwrap();
    until(|| a.has_reported(ClusterErrorKind::Rejected)).await;
    a.io.emit("n", &3).unwrap();
    assert_eq!(command(port, &["CONFIG", "SET", "maxmemory", "0"]).await, "+OK");
    for number in 1..=3 {
        client.expect(&format!(r#"42["n",{number}]"#)).await;
    }
    assert_eq!(a.lost(), 0);
}

/// Several emitters have the same sender, and emit the same.
#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn emitters_add_each_event_once() {
    let mut broker = Broker::start(Redis::default()).await;
    let config = RedisConfig::new(broker.url()).health_check(Duration::from_millis(500));
    let node = Node::start(Kind::Journal, config.clone()).await.unwrap();
    let mut client = Memory::join(&node.io).await;
    let mut emitters = Vec::new();
    for _ in 0..3 {
        emitters.push(Emitter::new(RedisStreamsAdapter::connect(config.clone()).await.unwrap()));
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
    retry(async || (command(broker.port(), &["XLEN", STREAM]).await == format!(":{count}")).then_some(())).await;
    for _ in 0..count {
        assert!(client.text().await.starts_with(r#"42["tick","#));
    }
    emitters[0].to("nobody").emit("n", &1).unwrap();
    emitters[0].of("other").emit("n", &1).unwrap();
    emitters[0].emit("last", &1).unwrap();
    assert!(client.text().await.starts_with(r#"42["last",1,"#));
}

/// Returns the numbers of the connections that have sent XADD last, in order.
async fn adding(port: u16) -> Vec<u64> {
    let mut list = tokio::process::Command::new("redis-cli");
    let list = list.args(["-p", &port.to_string(), "CLIENT", "LIST"]).output().await.unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let adding = list.lines().filter(|line| line.contains(" cmd=xadd "));
    let id = |line: &str| line.strip_prefix("id=")?.split(' ').next()?.parse().ok();
    adding.map(|line| id(line).unwrap()).collect()
}

/// Commands that Redis has received, but executes only after their sender has given up waiting and has connected again.
#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn commands_of_a_lost_connection_are_not_executed_late() {
    let broker = Broker::start(Redis::default()).await;
    let port = broker.port();
    let proxy = Proxy::start(port).await;
    let node = impatient(proxy.url(), true, 10_000).await;
    let mut client = Memory::join(&node.io).await;
    assert_eq!(command(port, &["CLIENT", "PAUSE", "60000", "WRITE"]).await, "+OK");
    node.io.emit("n", &1).unwrap();
    let first = retry(async || adding(port).await.last().copied()).await;
    // The connection stays open on the other side.
    proxy.freeze();
    retry(async || adding(port).await.iter().any(|connection| *connection > first).then_some(())).await;
    assert_eq!(command(port, &["CLIENT", "UNPAUSE"]).await, "+OK");
    for number in 1..=2 {
        let event = client.text().await;
        assert!(event.starts_with(&format!(r#"42["n",{number},"#)), "{event}");
        node.io.emit("n", &(number + 1)).unwrap();
    }
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn streams_of_a_redis_cluster_survive_a_restart_of_each_master() {
    let mut cluster = RedisCluster::start().await;
    let hosts: Vec<_> = cluster.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
    let config = RedisConfig::new(format!("redis://{}", hosts.join(","))).health_check(Duration::from_millis(500));
    for kind in [Kind::FourStreams, Kind::Journal] {
        let (a, b) = Node::pair(kind, &config).await;
        let mut clients = [Checked::join(&a).await, Checked::join(&b).await];
        let mut next = 0;
        for place in 0..3 {
            both_emit_during(&a, &b, &mut next, async {
                cluster.nodes[place].kill().await;
                tokio::time::sleep(Duration::from_millis(500)).await;
                cluster.nodes[place].restart().await;
            })
            .await;
            cluster.is_complete().await;
            for client in &mut clients {
                client.read_to([next; 2]).await;
            }
        }
        assert!(!a.has_reported(ClusterErrorKind::Missed) && !b.has_reported(ClusterErrorKind::Missed));
    }
}
