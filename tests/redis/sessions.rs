//! Sessions that the nodes of a cluster share.

use serde_json::json as value;
use tower_socketio::{
    Ack, Namespace, SocketIoConfig,
    cluster::redis::{RedisAdapter, RedisConfig, RedisStreamsAdapter, ShardedRedisAdapter},
    extract::Data,
};

use crate::{
    brokers::{Broker, Redis},
    support::*,
};

fn config() -> SocketIoConfig {
    let echo = Namespace::new().on("echo", async |Data(text): Data<String>| Ack(text));
    SocketIoConfig::new().share_sessions(true).namespace("/", echo)
}

/// Requests of one session arrive at both nodes in turn.
async fn a_client_polls_at_any_node(a: TestServer, b: TestServer) {
    retry(async || (a.io.node_count().await.ok()? == 2 && b.io.node_count().await.ok()? == 2).then_some(())).await;
    let at_a = Polling::open(a.address).await;
    let at_b = Polling { address: b.address, sid: at_a.sid.clone(), open: at_a.open.clone() };
    at_b.say("40").await;
    assert!(at_b.poll().await.text().starts_with("40{"));
    for number in 0..10 {
        let (one, other) = if number % 2 == 0 { (&at_a, &at_b) } else { (&at_b, &at_a) };
        let text = value!("x".repeat(number * 5_000));
        one.say(&format!(r#"42{number}["echo",{text}]"#)).await;
        other.expect(&format!("43{number}[{text}]")).await;
    }
    assert_eq!((a.io.stats().connections, b.io.stats().connections), (1, 0));
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn sessions_are_shared_over_each_adapter() {
    let broker = Broker::start(Redis::default()).await;
    let url = || RedisConfig::new(broker.url());
    let pair = async || RedisAdapter::connect(url()).await.unwrap();
    let (a, b) = (config().adapter(pair().await), config().adapter(pair().await));
    a_client_polls_at_any_node(serve_config(a).await, serve_config(b).await).await;
    let pair = async || ShardedRedisAdapter::connect(url().prefix("sharded")).await.unwrap();
    let (a, b) = (config().adapter(pair().await), config().adapter(pair().await));
    a_client_polls_at_any_node(serve_config(a).await, serve_config(b).await).await;
    let pair = async || RedisStreamsAdapter::connect(url().prefix("streams")).await.unwrap();
    let (a, b) = (config().adapter(pair().await), config().adapter(pair().await));
    a_client_polls_at_any_node(serve_config(a).await, serve_config(b).await).await;
}
