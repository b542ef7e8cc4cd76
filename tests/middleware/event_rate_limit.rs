use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tower_socketio::{
    Ack, Namespace, SocketRef,
    handler::EventHandler,
    middleware::{EventRateLimitLayer, RateLimitPolicy},
};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const REJECTED: &str = r#"[{"error":{"message":"too many events"}}]"#;

fn echo(layer: EventRateLimitLayer) -> Namespace {
    Namespace::new().on("echo", || async { Ack(()) }).event_layer(layer)
}

/// Emits events with acks, and returns how many were handled.
async fn handled(client: &mut Memory, event: &str, times: usize) -> usize {
    let mut handled = 0;
    for id in 0..times {
        client.say(&format!(r#"42{id}["{event}"]"#));
        match client.text().await.strip_prefix(&format!("43{id}")).unwrap() {
            "[]" => handled += 1,
            other => assert_eq!(other, REJECTED),
        }
    }
    handled
}

#[tokio::test(start_paused = true)]
async fn each_socket_has_its_own_rate() {
    let io = server(echo(EventRateLimitLayer::new(4, MINUTE)));
    let (mut first, mut second) = (joined(&io, "").await, joined(&io, "").await);
    assert_eq!(handled(&mut first, "echo", 10).await, 4);
    assert_eq!(handled(&mut second, "echo", 10).await, 4);
    tokio::time::advance(MINUTE / 4).await;
    assert_eq!(handled(&mut first, "echo", 10).await, 1);
    // The server sends a ping after 25 seconds.
    tokio::time::advance(MINUTE / 4).await;
    second.expect("2").await;
    second.say("3");
    assert_eq!(handled(&mut second, "echo", 10).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_burst_may_be_smaller_or_larger_than_the_rate() {
    for burst in [1, 6] {
        let io = server(echo(EventRateLimitLayer::new(3, MINUTE).burst(burst)));
        let mut client = joined(&io, "").await;
        assert_eq!(handled(&mut client, "echo", 10).await, burst as usize);
        tokio::time::advance(MINUTE / 3).await;
        assert_eq!(handled(&mut client, "echo", 10).await, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_event_is_neither_handled_nor_answered() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let namespace = Namespace::new()
        .on("count", move || {
            counted.fetch_add(1, Ordering::SeqCst);
            async { Ack(()) }
        })
        .event_layer(EventRateLimitLayer::new(1, MINUTE).policy(RateLimitPolicy::Drop));
    let io = server(namespace.with_state(()));
    let mut client = joined(&io, "").await;
    for id in 0..5 {
        client.say(&format!(r#"42{id}["count"]"#));
    }
    client.expect("430[]").await;
    is_quiet(&mut client).await;
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_flood_may_end_the_socket() {
    let namespace = echo(EventRateLimitLayer::new(2, MINUTE).policy(RateLimitPolicy::Disconnect));
    let io = server(namespace);
    let mut client = joined(&io, "").await;
    for id in 0..3 {
        client.say(&format!(r#"42{id}["echo"]"#));
    }
    client.expect("430[]").await;
    client.expect("431[]").await;
    client.expect("41").await;
    is_quiet(&mut client).await;
    assert_eq!(io.stats().sockets, 0);
}

#[tokio::test(start_paused = true)]
async fn handlers_may_have_separate_or_shared_rates() {
    let both = EventRateLimitLayer::new(2, MINUTE);
    let namespace = Namespace::new()
        .on("a", (|| async { Ack(()) }).layer(both.clone()))
        .on("b", (|| async { Ack(()) }).layer(both))
        .on("c", (|| async { Ack(()) }).layer(EventRateLimitLayer::new(3, MINUTE)))
        .on("d", || async { Ack(()) });
    let io = server(namespace.with_state(()));
    let mut client = joined(&io, "").await;
    assert_eq!(handled(&mut client, "a", 1).await, 1);
    assert_eq!(handled(&mut client, "b", 5).await, 1);
    assert_eq!(handled(&mut client, "c", 5).await, 3);
    assert_eq!(handled(&mut client, "d", 5).await, 5);
}

#[tokio::test(start_paused = true)]
async fn a_disconnection_is_not_rationed() {
    let gone = Arc::new(AtomicUsize::new(0));
    let count = gone.clone();
    let left = move |_: SocketRef| {
        count.fetch_add(1, Ordering::SeqCst);
        async {}
    };
    let limit = EventRateLimitLayer::new(1, MINUTE);
    let namespace = Namespace::new()
        .on("echo", (|| async { Ack(()) }).layer(limit.clone()))
        .on_disconnecting(left.clone().layer(limit.clone()))
        .on_disconnect(left.layer(limit));
    let io = server(namespace.with_state(()));
    let mut client = joined(&io, "").await;
    assert_eq!(handled(&mut client, "echo", 3).await, 1);
    client.say("41");
    until(|| gone.load(Ordering::SeqCst) == 2).await;
}
