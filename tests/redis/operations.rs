use std::time::Duration;

use tower_socketio::engine::Packet;

use super::*;
use crate::brokers::{Broker, Redis, redis::command};

/// Everything that selects sockets, on both nodes.
async fn everything(kind: Kind) {
    let broker = Broker::start(Redis::default()).await;
    let (a, b) = Node::pair(kind, &RedisConfig::new(broker.url())).await;
    let mut first = member(&b, &a, "one").await;
    let mut second = member(&b, &a, "two").await;

    a.io.emit("all", &1).unwrap();
    first.expect(r#"42["all",1]"#).await;
    second.expect(r#"42["all",1]"#).await;
    a.io.to("one").emit("to", &2).unwrap();
    a.io.except("one").emit("except", &3).unwrap();
    first.expect(r#"42["to",2]"#).await;
    second.expect(r#"42["except",3]"#).await;
    let id = b.io.to("one").sockets()[0].id().clone();
    a.io.to(id.to_string()).emit("id", &4).unwrap();
    a.io.to(["one", "two"]).emit("binary", &bytes::Bytes::from_static(&[1, 2])).unwrap();
    first.expect(r#"42["id",4]"#).await;
    for client in [&mut first, &mut second] {
        client.expect(r#"451-["binary",{"_placeholder":true,"num":0}]"#).await;
        assert_eq!(client.packet().await, Some(Packet::binary(&[1u8, 2][..])));
    }

    a.io.to("two").sockets_join("three");
    until(|| b.io.to("three").socket_count() == 1).await;
    retry(async || {
        a.io.to("three").emit("joined", &5).unwrap();
        let received = tokio::time::timeout(Duration::from_millis(50), second.expect(r#"42["joined",5]"#));
        received.await.ok()
    })
    .await;
    a.io.sockets_leave("three");
    until(|| b.io.to("three").socket_count() == 0).await;

    let sockets = a.io.to("one").fetch_sockets().await.unwrap();
    assert_eq!(sockets.iter().map(|socket| socket.id().to_string()).collect::<Vec<_>>(), [id.to_string()]);
    let mut acks = a.io.to("one").timeout(PATIENCE).emit_with_ack::<u32>("ask", &6).unwrap();
    let question = first.text().await;
    let number = question.trim_start_matches("42").split('[').next().unwrap().to_owned();
    assert_eq!(question, format!(r#"42{number}["ask",6]"#));
    first.say(&format!("43{number}[7]"));
    let (_, ack) = soon(futures_util::StreamExt::next(&mut acks)).await.unwrap();
    assert_eq!(ack.unwrap(), 7);
    assert!(soon(futures_util::StreamExt::next(&mut acks)).await.is_none());
    let sums = a.io.server_side_emit_with_ack::<u32>("sum", &(8, 9), PATIENCE).unwrap();
    let sums = soon(sums.responses()).await;
    assert_eq!((sums.answers, sums.missing), (vec![17], 0));

    a.io.to("two").disconnect_sockets(false);
    until(|| b.io.socket_count() == 1).await;
    assert_eq!((a.lost(), b.lost()), (0, 0));
    assert!(a.reports.lock().unwrap().is_empty() && b.reports.lock().unwrap().is_empty());

    soon(b.io.close()).await;
    a.sees(1).await;
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn everything_that_selects_sockets_reaches_the_other_node() {
    for kind in KINDS {
        eprintln!("{kind:?}");
        everything(kind).await;
    }
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn subscriptions_come_and_go_with_namespaces_and_rooms() {
    let broker = Broker::start(Redis::default()).await;
    let (port, url) = (broker.port(), broker.url());
    for (kind, question, channel) in [
        (Kind::Classic, "NUMSUB", "socket.io-request#/room-1#"),
        (Kind::Sharded(SubscriptionMode::Dynamic), "SHARDNUMSUB", "socket.io#/room-1#"),
    ] {
        let (a, b) = Node::pair(kind, &RedisConfig::new(&*url)).await;
        let count = async |channel: &str| {
            let script = format!("\"return redis.call('PUBSUB','{question}',ARGV[1])[2]\"");
            command(port, &["EVAL", &script, "0", channel]).await
        };
        assert_eq!(count(channel).await, ":0");
        let client = tower_socketio::test::TestClient::builder(&b.io).namespace("/room-1").connect().await.unwrap();
        retry(async || (count(channel).await == ":1").then_some(())).await;
        let other = tower_socketio::test::TestClient::builder(&a.io).namespace("/room-1").connect().await.unwrap();
        retry(async || (count(channel).await == ":2").then_some(())).await;
        drop((client, other));
        retry(async || (count(channel).await == ":0").then_some(())).await;

        let room = "socket.io#/#a#";
        let client = member(&b, &a, "a").await;
        let other = member(&b, &a, "a").await;
        let in_room = if matches!(kind, Kind::Sharded(_)) { ":1" } else { ":0" };
        assert_eq!(count(room).await, in_room);
        drop(client);
        until(|| b.io.to("a").socket_count() == 1).await;
        assert_eq!(count(room).await, in_room);
        drop(other);
        retry(async || (count(room).await == ":0").then_some(())).await;
    }
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn garbage_is_reported_and_ignored() {
    let broker = Broker::start(Redis::default()).await;
    let port = broker.port();
    for (kind, publish, channels) in [
        (Kind::Classic, "PUBLISH", &["socket.io#/#", "socket.io-request#/#", "socket.io-response#/#"][..]),
        (Kind::Sharded(SubscriptionMode::Dynamic), "SPUBLISH", &["socket.io#/#"]),
    ] {
        let (a, b) = Node::pair(kind, &RedisConfig::new(broker.url())).await;
        let mut client = member(&b, &a, "room").await;
        for garbage in [
            "",
            "{",
            "null",
            "\\xc0",
            "\\xdd\\xff\\xff\\xff\\xff",
            "{}",
            "{\\\"type\\\":5,\\\"requestId\\\":\\\"a\\\"}",
        ] {
            for channel in channels {
                assert!(command(port, &[publish, channel, &format!("\"{garbage}\"")]).await.starts_with(':'));
            }
        }
        a.io.emit("n", &1).unwrap();
        client.expect(r#"42["n",1]"#).await;
        assert!(b.has_reported(ClusterErrorKind::Malformed));
        assert_eq!(a.io.node_count().await.unwrap(), 2);
    }
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn two_clusters_share_a_broker_with_different_prefixes() {
    let broker = Broker::start(Redis::default()).await;
    let config = RedisConfig::new(broker.url());
    let (a, b) = Node::pair(Kind::Classic, &config).await;
    let (c, _) = Node::pair(Kind::Classic, &config.prefix("other")).await;
    let mut client = member(&b, &a, "room").await;
    c.io.emit("n", &1).unwrap();
    soon(c.io.fetch_sockets()).await.unwrap();
    a.io.emit("n", &2).unwrap();
    client.expect(r#"42["n",2]"#).await;
}

/// Messages of old versions of Node's adapter, which expect a response.
#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn requests_in_a_legacy_form_are_answered_by_the_node_of_the_socket() {
    let broker = Broker::start(Redis::default()).await;
    let (a, b) = Node::pair(Kind::Classic, &RedisConfig::new(broker.url())).await;
    let _client = member(&b, &a, "room").await;
    let id = b.io.sockets()[0].id().to_string();
    let mut responses = Listener::open(broker.port(), "socket.io-response#/#").await;
    let request = format!(r#""{{\"requestId\":\"r1\",\"type\":2,\"sid\":\"{id}\",\"room\":\"late\"}}""#);
    assert_eq!(command(broker.port(), &["PUBLISH", "socket.io-request#/#", &request]).await, ":2");
    assert_eq!(responses.message().await, r#"{"requestId":"r1"}"#);
    assert_eq!(b.io.to("late").socket_count(), 1);
}

/// A subscriber that reads raw replies.
struct Listener(tokio::io::BufReader<tokio::net::TcpStream>);

impl Listener {
    async fn open(port: u16, channel: &str) -> Self {
        use tokio::io::AsyncWriteExt;
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(format!("SUBSCRIBE {channel}\r\n").as_bytes()).await.unwrap();
        let mut listener = Self(tokio::io::BufReader::new(stream));
        // The confirmation: an array of a name, the channel and a number.
        for _ in 0..6 {
            listener.line().await;
        }
        listener
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        soon(tokio::io::AsyncBufReadExt::read_line(&mut self.0, &mut line)).await.unwrap();
        line.trim_end().to_owned()
    }

    /// Returns the next message of one line: the last of an array of three.
    async fn message(&mut self) -> String {
        for _ in 0..6 {
            self.line().await;
        }
        self.line().await
    }
}
