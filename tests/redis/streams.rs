use std::time::Duration;

use tower_socketio::cluster::{Emitter, PublishError};

use super::*;
use crate::brokers::proxy::Proxy;
use crate::brokers::{Broker, Redis, redis::command};

pub(super) const STREAM: &str = "socket.io";

/// Two nodes that notice quickly that a connection is lost.
pub(super) async fn pair(kind: Kind, url: String) -> (Node, Node) {
    Node::pair(kind, &RedisConfig::new(url).health_check(Duration::from_millis(500))).await
}

/// Nodes that also notice quickly that nothing more arrives.
pub(super) async fn impatient_pair(url: String, recovers: bool) -> (Node, Node) {
    let a = impatient(url.clone(), recovers, 10_000).await;
    let b = impatient(url, recovers, 10_000).await;
    a.sees(2).await;
    b.sees(2).await;
    (a, b)
}

/// A node that reads one stream, in small parts, and often looks whether it is still there.
pub(super) async fn impatient(url: String, recovers: bool, max_len: usize) -> Node {
    let redis = RedisConfig::new(url).health_check(Duration::from_millis(500));
    let config = RedisStreamsConfig::new(redis).block_time(Duration::from_millis(50)).read_count(10).max_len(max_len);
    let server = SocketIoConfig::new().adapter(RedisStreamsAdapter::connect(config).await.unwrap());
    Node::serve(if recovers { server.recovery(RecoveryConfig::new()) } else { server })
}

/// Adds an entry with fields as Redis reads them.
pub(super) async fn add(port: u16, id: &str, fields: &[&str]) {
    let reply = command(port, &[&["XADD", STREAM, id], fields].concat()).await;
    assert!(!reply.starts_with('-'), "{reply}");
}

/// A plain event of another node.
pub(super) fn event(data: &str) -> [String; 8] {
    let data = format!(r#"{{"packet":{{"type":2,"data":{data}}},"opts":{{"rooms":[],"except":[],"flags":{{}}}}}}"#);
    ["uid", "other", "nsp", "/", "type", "3", "data", &format!("'{data}'")].map(str::to_owned)
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn entries_that_are_garbage_are_reported_and_skipped() {
    let broker = Broker::start(Redis::default()).await;
    let port = broker.port();
    for kind in [Kind::Streams, Kind::Journal] {
        let (a, b) = pair(kind, broker.url()).await;
        let mut client = Memory::join(&b.io).await;
        let poison: &[&[&str]] = &[
            &["uid", "x", "nsp", "/", "type", "3"],
            &["uid", "x", "nsp", "/", "type", "3", "data", "{}"],
            &["uid", "x", "nsp", "/", "type", "4", "data", "{}"],
            &["uid", "x", "nsp", "/", "type", "5"],
            &["uid", "x", "nsp", "/", "type", "3", "data", r#"'{"packet":{"type":4,"data":{}},"opts":{}}'"#],
            &["uid", "x", "nsp", "/", "type", "3", "data", r#"'{"packet":{"type":2},"opts":{}}'"#],
            &["uid", "x", "nsp", "/", "type", "99", "data", "{}"],
            &["uid", "x", "nsp", "/", "type", "three", "data", "{}"],
            &["uid", "x", "nsp", "/", "type", "3", "data", "{"],
            &["uid", "x", "nsp", "/", "type", "3", "data", "not-base64"],
            &["uid", "x", "nsp", "/", "type", "3", "data", "3f////8="],
            &["uid", "x", "type", "3", "data", "{}"],
            &["other", "field"],
            &["uid", r#""\xff\xfe""#, "nsp", "/", "type", "3", "data", "{}"],
        ];
        for fields in poison {
            add(port, "*", fields).await;
        }
        a.io.emit("n", &1).unwrap();
        assert!(client.text().await.starts_with(r#"42["n",1"#));
        for node in [&a, &b] {
            let reports = node.reports.lock().unwrap();
            let malformed = reports.iter().filter(|kind| **kind == ClusterErrorKind::Malformed).count();
            assert_eq!(malformed, poison.len(), "{reports:?}");
        }
    }
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn a_stream_that_begins_again_with_smaller_ids_is_read() {
    let broker = Broker::start(Redis::default()).await;
    let port = broker.port();
    let node = impatient(broker.url(), false, 100).await;
    let mut client = Memory::join(&node.io).await;
    for number in 1..5 {
        add(port, "*", &event(r#"["n",1]"#).each_ref().map(|field| &**field)).await;
        client.expect(r#"42["n",1]"#).await;
        // At once, or after the node has seen that it is gone.
        assert_eq!(command(port, &["DEL", STREAM]).await, ":1");
        if number % 2 == 0 {
            until(|| node.has_reported(ClusterErrorKind::Missed)).await;
        }
        add(port, "1-1", &event(r#"["n",2]"#).each_ref().map(|field| &**field)).await;
        client.expect(r#"42["n",2]"#).await;
        assert!(node.has_reported(ClusterErrorKind::Missed));
        node.reports.lock().unwrap().clear();
    }
}

/// Returns how often nodes have looked whether their stream is still there.
async fn looks(port: u16) -> u64 {
    let mut info = tokio::process::Command::new("redis-cli");
    let info = info.args(["-p", &port.to_string(), "INFO", "commandstats"]).output().await.unwrap();
    let info = String::from_utf8(info.stdout).unwrap();
    let calls = |line: &str| line.strip_prefix("cmdstat_xinfo|stream:calls=")?.split(',').next()?.parse().ok();
    info.lines().find_map(calls).unwrap_or(0)
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn entries_that_are_removed_after_they_were_read_change_nothing() {
    let broker = Broker::start(Redis::default()).await;
    let port = broker.port();
    let node = impatient(broker.url(), false, 100).await;
    let mut client = Memory::join(&node.io).await;
    let mut number = 0;
    for remove in [
        &["EVAL", r#""return redis.call('XDEL','socket.io',redis.call('XREVRANGE','socket.io','+','-')[1][1])""#, "0"]
            [..],
        &["XTRIM", STREAM, "MAXLEN", "0"],
    ] {
        for _ in 0..3 {
            number += 1;
            add(port, "*", &event(&format!(r#"["n",{number}]"#)).each_ref().map(|field| &**field)).await;
            client.expect(&format!(r#"42["n",{number}]"#)).await;
        }
        assert_ne!(command(port, remove).await, ":0");
        let before = looks(port).await;
        retry(async || (looks(port).await > before + 1).then_some(())).await;
    }
    add(port, "*", &event(r#"["last"]"#).each_ref().map(|field| &**field)).await;
    client.expect(r#"42["last"]"#).await;
    assert!(node.reports.lock().unwrap().is_empty());
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn entries_that_are_removed_before_they_are_read_are_reported() {
    let broker = Broker::start(Redis::default()).await;
    let port = broker.port();
    let proxy = Proxy::start(port).await;
    let node = impatient(proxy.url(), false, 100).await;
    let mut client = Memory::join(&node.io).await;
    let emitter = Emitter::new(RedisStreamsAdapter::connect(RedisConfig::new(broker.url())).await.unwrap());
    emitter.emit("n", &0).unwrap();
    client.expect(r#"42["n",0]"#).await;
    proxy.freeze();
    for number in 1..=50 {
        emitter.emit("n", &number).unwrap();
    }
    retry(async || (command(port, &["XLEN", STREAM]).await == ":51").then_some(())).await;
    assert_eq!(command(port, &["XTRIM", STREAM, "MAXLEN", "10"]).await, ":41");
    for number in 41..=50 {
        client.expect(&format!(r#"42["n",{number}]"#)).await;
    }
    assert!(node.has_reported(ClusterErrorKind::Missed));
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn a_stream_is_trimmed() {
    let broker = Broker::start(Redis::default()).await;
    let port = broker.port();
    let node = impatient(broker.url(), false, 100).await;
    let mut client = Memory::join(&node.io).await;
    for number in 0..1000 {
        node.io.emit("n", &number).unwrap();
        client.expect(&format!(r#"42["n",{number}]"#)).await;
    }
    let length = retry(async || {
        let length: u32 = command(port, &["XLEN", STREAM]).await[1..].parse().ok()?;
        let last = command(port, &["EVAL", r#""return redis.call('XREVRANGE','socket.io','+','-')[1][2][8]""#, "0"]);
        last.await.contains("999").then_some(length)
    })
    .await;
    assert!((100..300).contains(&length), "{length}");
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn the_queue_of_entries_is_limited() {
    for kind in [Kind::Streams, Kind::Journal] {
        let mut broker = Broker::start(Redis::default()).await;
        let config = RedisConfig::new(broker.url()).queue_bytes(100_000).health_check(Duration::from_millis(500));
        let (a, b) = Node::pair(kind, &config).await;
        let mut client = Memory::join(&b.io).await;
        broker.kill().await;
        until(|| a.has_reported(ClusterErrorKind::Disconnected)).await;
        for number in 0..200 {
            a.io.emit("n", &(number, "x".repeat(1000))).unwrap();
        }
        let lost = a.lost();
        assert!((100..130).contains(&lost), "{lost}");
        broker.restart().await;
        for number in 0..200 - lost {
            assert!(client.text().await.starts_with(&format!(r#"42["n",{number},"#)));
        }
        a.io.emit("n", &200).unwrap();
        assert!(client.text().await.starts_with(r#"42["n",200"#));
        assert_eq!(a.lost(), lost);
    }
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn what_is_queued_is_added_before_the_adapter_closes() {
    let broker = Broker::start(Redis::default()).await;
    let (a, b) = pair(Kind::Streams, broker.url()).await;
    let mut client = Memory::join(&b.io).await;
    for number in 0..100 {
        a.io.emit("n", &number).unwrap();
    }
    soon(a.io.close()).await;
    for number in 0..100 {
        client.expect(&format!(r#"42["n",{number}]"#)).await;
    }
    b.sees(1).await;
    let emitter = Emitter::new(RedisStreamsAdapter::connect(RedisConfig::new(broker.url())).await.unwrap());
    for number in 100..200 {
        emitter.emit("n", &number).unwrap();
    }
    drop(emitter);
    for number in 100..200 {
        client.expect(&format!(r#"42["n",{number}]"#)).await;
    }
    b.sees(1).await;
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn what_cannot_be_added_before_the_adapter_closes_is_reported() {
    let mut broker = Broker::start(Redis::default()).await;
    let (a, _b) = pair(Kind::Streams, broker.url()).await;
    broker.kill().await;
    until(|| a.has_reported(ClusterErrorKind::Disconnected)).await;
    a.io.emit("n", &1).unwrap();
    a.io.emit("n", &2).unwrap();
    soon(a.io.close()).await;
    assert_eq!(a.lost(), 2);
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn an_emitter_refuses_what_is_too_large_for_its_queue() {
    let broker = Broker::start(Redis::default()).await;
    let config = RedisConfig::new(broker.url()).queue_bytes(1000);
    let emitter = Emitter::new(RedisStreamsAdapter::connect(config).await.unwrap());
    let error = emitter.emit("n", &"x".repeat(1000)).unwrap_err();
    assert!(matches!(error, tower_socketio::cluster::EmitterError::Publish(PublishError::Full)), "{error:?}");
}

/// Node.js adds to streams with negative numbers, too, which it does not read.
#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn namespaces_are_distributed_to_all_streams() {
    let broker = Broker::start(Redis::default()).await;
    let (a, b) = pair(Kind::FourStreams, broker.url()).await;
    for number in [1003, 1000, 1001, 3, 0, 1, 2] {
        let namespace = format!("/room-{number}");
        let client = |node: &Node| tower_socketio::test::TestClient::builder(&node.io).namespace(&namespace).connect();
        let (_own, mut other) = (client(&a).await.unwrap(), client(&b).await.unwrap());
        a.io.of(&namespace).unwrap().emit("n", &number).unwrap();
        assert_eq!(other.next::<u32>("n").await, number);
    }
    for stream in -3..=3 {
        let exists = command(broker.port(), &["EXISTS", &format!("{STREAM}-{stream}")]).await;
        assert_eq!(exists, ":1", "{stream}");
    }
    assert_eq!(command(broker.port(), &["EXISTS", STREAM]).await, ":0");
}
