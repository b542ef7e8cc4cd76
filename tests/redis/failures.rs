use std::time::Duration;

use super::*;
use crate::brokers::proxy::Proxy;
use crate::brokers::{Broker, Redis};

/// Reads the numbers of the events that a client receives, up to the last.
async fn numbers(client: &mut Memory, last: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.last() != Some(&last) {
        let text = client.text().await;
        let number = text.strip_prefix(r#"42["n","#).and_then(|rest| rest.strip_suffix(']')).expect("an event `n`");
        numbers.push(number.parse().unwrap());
    }
    numbers
}

/// Emits numbers, one in a millisecond, while something happens. Returns the next.
async fn emit_during(node: &Node, from: u64, happens: impl Future<Output = ()>) -> u64 {
    let mut happens = std::pin::pin!(happens);
    let mut next = from;
    loop {
        node.io.emit("n", &next).unwrap();
        next += 1;
        tokio::select! {
            () = &mut happens => return next,
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
}

/// Emits until the other node receives something again. Returns the next number, and what was received.
async fn emit_until_received(node: &Node, from: u64, client: &mut Memory) -> (u64, Vec<u64>) {
    let mut received = Vec::new();
    let mut next = from;
    while received.last().is_none_or(|last| *last < from) {
        node.io.emit("n", &next).unwrap();
        next += 1;
        assert!(next < from + 60_000);
        if let Ok(text) = tokio::time::timeout(Duration::from_millis(1), client.text()).await {
            received.push(text[7..text.len() - 1].parse().unwrap());
        }
    }
    (next, received)
}

async fn restart(kind: Kind) {
    let mut broker = Broker::start(Redis::default()).await;
    let config = RedisConfig::new(broker.url()).health_check(Duration::from_millis(200));
    let (a, b) = Node::pair(kind, &config).await;
    let mut client = Memory::join(&b.io).await;
    // The nodes count one another at intervals.
    let mut next = emit_during(&a, 1, tokio::time::sleep(Duration::from_millis(500))).await;
    let mut received = numbers(&mut client, next - 1).await;
    assert_eq!(received.len() as u64, next - 1);
    for _ in 0..2 {
        next = emit_during(&a, next, async {
            broker.kill().await;
            tokio::time::sleep(Duration::from_millis(700)).await;
            broker.restart().await;
        })
        .await;
        let (then, again) = emit_until_received(&a, next, &mut client).await;
        received.extend(again);
        next = then;
    }
    a.io.emit("n", &next).unwrap();
    received.extend(numbers(&mut client, next).await);
    assert!(received.is_sorted_by(|a, b| a < b), "out of order, or twice");
    let missing = next - received.len() as u64;
    assert!(a.has_reported(ClusterErrorKind::Disconnected) && b.has_reported(ClusterErrorKind::Disconnected));
    assert!(missing > 100, "{missing}");
    assert!(missing <= a.lost(), "{missing} of {next} are missing, and {} are reported", a.lost());
    assert!(a.lost() < missing + 1000, "{missing} of {next} are missing, and {} are reported", a.lost());
    // Everything works as before.
    let mut member = member(&b, &a, "room").await;
    a.io.to("room").emit("again", &1).unwrap();
    loop {
        if member.text().await == r#"42["again",1]"# {
            break;
        }
    }
    assert_eq!(soon(a.io.fetch_sockets()).await.unwrap().len(), 2);
    assert_eq!(a.io.node_count().await.unwrap(), 2);
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn a_restart_of_the_broker_loses_no_message_uncounted() {
    for kind in [Kind::Classic, Kind::Sharded(SubscriptionMode::Dynamic)] {
        eprintln!("{kind:?}");
        restart(kind).await;
    }
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn connections_that_are_lost_without_notice_are_replaced() {
    let broker = Broker::start(Redis::default()).await;
    let proxy = Proxy::start(broker.port()).await;
    let config = RedisConfig::new(proxy.url()).health_check(Duration::from_millis(300));
    let (a, b) = Node::pair(Kind::Classic, &config).await;
    let mut client = Memory::join(&b.io).await;
    proxy.freeze();
    let (next, received) = soon(emit_until_received(&a, 1, &mut client)).await;
    assert!(a.has_reported(ClusterErrorKind::Disconnected) && b.has_reported(ClusterErrorKind::Disconnected));
    assert!(a.lost() > 0 && next > received[0]);
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn requests_fail_at_once_while_the_broker_is_away() {
    let mut broker = Broker::start(Redis::default()).await;
    let (a, _b) = Node::pair(Kind::Classic, &RedisConfig::new(broker.url())).await;
    broker.kill().await;
    until(|| a.has_reported(ClusterErrorKind::Disconnected)).await;
    let started = std::time::Instant::now();
    assert!(a.io.node_count().await.is_err());
    assert!(a.io.fetch_sockets().await.is_err());
    assert!(started.elapsed() < Duration::from_secs(8), "the time of requests is limited");
    // Local clients are served as before.
    let mut client = Memory::join(&a.io).await;
    a.io.emit("n", &1).unwrap();
    client.expect(r#"42["n",1]"#).await;
    soon(a.io.close()).await;
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn connect_fails_with_a_wrong_password_or_without_a_broker() {
    let mut broker = Broker::start(Redis { password: Some("secret") }).await;
    let port = broker.port();
    for kind in [Kind::Classic, Kind::Sharded(SubscriptionMode::Dynamic), Kind::Streams] {
        for credentials in ["", ":wrong@", "user:secret@"] {
            let config = RedisConfig::new(format!("redis://{credentials}127.0.0.1:{port}"));
            let error = Node::start(kind, config).await.err().unwrap();
            assert_eq!(error.kind(), ClusterErrorKind::Rejected, "{error:?}");
        }
        Node::start(kind, RedisConfig::new(broker.url())).await.unwrap();
    }
    let url = broker.url();
    broker.kill().await;
    let error = Node::start(Kind::Classic, RedisConfig::new(url)).await.err().unwrap();
    assert_eq!(error.kind(), ClusterErrorKind::Disconnected, "{error:?}");
    let error = Node::start(Kind::Classic, RedisConfig::new("http://localhost")).await.err().unwrap();
    assert_eq!(error.kind(), ClusterErrorKind::Config, "{error:?}");
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn the_queue_is_limited_and_what_it_drops_is_reported() {
    let broker = Broker::start(Redis::default()).await;
    let (a, b) = Node::pair(Kind::Classic, &RedisConfig::new(broker.url()).queue_bytes(100_000)).await;
    let mut client = Memory::join(&b.io).await;
    // The task that sends does not run meanwhile.
    for number in 0..200 {
        a.io.emit("n", &(number, "x".repeat(1000))).unwrap();
    }
    let lost = a.lost();
    assert!((100..120).contains(&lost), "{lost}");
    for number in 0..200 - lost {
        assert!(client.text().await.starts_with(&format!(r#"42["n",{number},"#)));
    }
    a.io.emit("n", &200).unwrap();
    client.expect(r#"42["n",200]"#).await;
    assert_eq!(a.lost(), lost);
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn what_is_queued_is_sent_before_the_adapter_closes() {
    let broker = Broker::start(Redis::default()).await;
    let (a, b) = Node::pair(Kind::Classic, &RedisConfig::new(broker.url())).await;
    let mut client = Memory::join(&b.io).await;
    a.io.emit("n", &1).unwrap();
    soon(a.io.close()).await;
    client.expect(r#"42["n",1]"#).await;
    b.sees(1).await;
    // An emitter that is dropped.
    let adapter = RedisAdapter::connect(RedisConfig::new(broker.url())).await.unwrap();
    let emitter = tower_socketio::cluster::Emitter::new(adapter);
    for number in 2..100 {
        emitter.emit("n", &number).unwrap();
    }
    drop(emitter);
    for number in 2..100 {
        client.expect(&format!(r#"42["n",{number}]"#)).await;
    }
    b.sees(1).await;
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn credentials_that_become_wrong_are_reported_and_tried_again() {
    let broker = Broker::start(Redis { password: Some("secret") }).await;
    let port = broker.port().to_string();
    let administer = async |password: &str, command: &str| {
        let mut cli = tokio::process::Command::new("redis-cli");
        cli.args(["-p", &port, "-a", password]).args(command.split(' '));
        let output = cli.output().await.unwrap();
        assert!(output.status.success());
    };
    let (a, b) = Node::pair(Kind::Classic, &RedisConfig::new(broker.url())).await;
    administer("secret", "CONFIG SET requirepass other").await;
    administer("other", "CLIENT KILL TYPE normal").await;
    administer("other", "CLIENT KILL TYPE pubsub").await;
    until(|| a.has_reported(ClusterErrorKind::Rejected) && b.has_reported(ClusterErrorKind::Rejected)).await;
    administer("other", "CONFIG SET requirepass secret").await;
    a.sees(2).await;
    member(&b, &a, "room").await;
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn what_is_not_confirmed_before_the_adapter_closes_is_reported() {
    let broker = Broker::start(Redis::default()).await;
    let proxy = Proxy::start(broker.port()).await;
    let config = RedisConfig::new(proxy.url()).health_check(Duration::from_millis(500));
    let (a, _b) = Node::pair(Kind::Classic, &config).await;
    proxy.freeze();
    a.io.emit("n", &1).unwrap();
    a.io.emit("n", &2).unwrap();
    soon(a.io.close()).await;
    assert_eq!(a.lost(), 2);
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn requests_fail_at_once_while_a_connection_is_being_opened() {
    let broker = Broker::start(Redis::default()).await;
    let proxy = Proxy::start(broker.port()).await;
    let day = Duration::from_secs(86_400);
    let config = RedisConfig::new(proxy.url()).health_check(Duration::from_millis(200)).request_timeout(day);
    let a = Node::start(Kind::Classic, config.connect_timeout(day)).await.unwrap();
    a.sees(1).await;
    proxy.mute();
    until(|| a.has_reported(ClusterErrorKind::Disconnected)).await;
    for _ in 0..10 {
        assert!(soon(a.io.node_count()).await.is_err());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Messages wait for a node that does not return, but those for which a node waits do not.
#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn responses_do_not_wait_for_nodes_that_have_not_returned() {
    let mut broker = Broker::start(Redis::default()).await;
    let config = RedisConfig::new(broker.url()).health_check(Duration::from_millis(200));
    let (a, b) = Node::pair(Kind::Classic, &config).await;
    // The nodes count one another at intervals.
    tokio::time::sleep(Duration::from_millis(500)).await;
    broker.kill().await;
    soon(b.io.close()).await;
    broker.restart().await;
    let c = Node::start(Kind::Classic, config.request_timeout(Duration::from_secs(4))).await.unwrap();
    c.sees(2).await;
    soon(c.io.fetch_sockets()).await.unwrap();
    drop(a);
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn emitters_are_told_of_what_is_lost() {
    let broker = Broker::start(Redis::default()).await;
    let proxy = Proxy::start(broker.port()).await;
    let config = RedisConfig::new(proxy.url()).health_check(Duration::from_millis(200));
    let errors = Arc::new(Mutex::new(Vec::new()));
    let reported = errors.clone();
    let emitter = tower_socketio::cluster::Emitter::new(RedisAdapter::connect(config).await.unwrap())
        .on_cluster_error(move |error| reported.lock().unwrap().push(error.kind()));
    proxy.freeze();
    emitter.emit("n", &1).unwrap();
    emitter.to("room").emit("n", &2).unwrap();
    until(|| errors.lock().unwrap().contains(&ClusterErrorKind::Lost { count: 2 })).await;
    assert!(errors.lock().unwrap().contains(&ClusterErrorKind::Disconnected));
}
