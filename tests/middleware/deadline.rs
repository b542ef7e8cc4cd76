use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use axum::{
    Extension,
    extract::Request,
    middleware::{Next, from_fn},
    response::Response,
};
use serde_json::json;
use tower_socketio::{
    Ack, DisconnectReason, Namespace, SocketRef,
    extract::Data,
    middleware::{DeadlineHandle, DeadlineLayer, Expires},
};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// A token that expires after the number of seconds in the query, or never if there is none.
async fn token(mut request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let seconds = query.split('&').find_map(|pair| pair.strip_prefix("user="));
    if let Some(seconds) = seconds.and_then(|seconds| seconds.parse().ok()) {
        request.extensions_mut().insert(Expires::after(Duration::from_secs(seconds)));
    }
    next.run(request).await
}

async fn set(Extension(deadline): Extension<DeadlineHandle>, Data(seconds): Data<u64>) -> Ack<bool> {
    Ack(deadline.set(Expires::after(Duration::from_secs(seconds))))
}

async fn extend(Extension(deadline): Extension<DeadlineHandle>, Data(seconds): Data<u64>) -> Ack<bool> {
    Ack(deadline.extend_to(Expires::after(Duration::from_secs(seconds))))
}

async fn clear(Extension(deadline): Extension<DeadlineHandle>) -> Ack<bool> {
    deadline.clear();
    Ack(deadline.expires().is_none())
}

fn expiring(layer: DeadlineLayer) -> Namespace {
    let namespace = Namespace::new().on("set", set).on("extend", extend).on("clear", clear);
    namespace.layer(layer).layer(from_fn(token))
}

/// Waits for a packet other than a ping, and returns it with the elapsed seconds.
async fn next(client: &mut Memory) -> (u64, String) {
    let start = tokio::time::Instant::now();
    loop {
        let packet = client.packet().await.expect("the connection is open");
        let text = String::from_utf8(packet.data().to_vec()).unwrap();
        match packet.packet_type() {
            tower_socketio::engine::PacketType::Message => return (start.elapsed().as_secs(), text),
            _ => client.say("3"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_socket_is_notified_and_disconnected_when_its_token_expires() {
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let seen = reasons.clone();
    let namespace = expiring(DeadlineLayer::new()).on_disconnect(move |reason: DisconnectReason| {
        seen.lock().unwrap().push(reason);
        async {}
    });
    let io = server(namespace.with_state(()));
    let mut client = joined(&io, "100").await;
    assert_eq!(next(&mut client).await, (100, r#"2["expired"]"#.to_owned()));
    client.expect("41").await;
    assert_eq!(io.stats().sockets, 0);
    assert_eq!(*reasons.lock().unwrap(), [DisconnectReason::ServerNamespaceDisconnect]);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_event_may_be_renamed_or_disabled() {
    let io = server(expiring(DeadlineLayer::new().event("log in again")));
    let mut client = joined(&io, "10").await;
    assert_eq!(next(&mut client).await, (10, r#"2["log in again"]"#.to_owned()));
    let io = server(expiring(DeadlineLayer::new().without_event()));
    let mut client = joined(&io, "10").await;
    assert_eq!(next(&mut client).await, (10, "1".to_owned()));
}

#[tokio::test]
#[should_panic(expected = "`disconnect` is reserved by the protocol")]
async fn a_reserved_event_is_refused_at_once() {
    let _ = DeadlineLayer::new().event("disconnect");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_has_expired_is_refused() {
    let io = server(expiring(DeadlineLayer::new()));
    let mut client = open(&io, "0").await;
    assert_eq!(connect(&mut client).await, Some(json!({ "message": "expired" })));
}

#[tokio::test(start_paused = true)]
async fn a_handler_moves_the_deadline() {
    let io = server(expiring(DeadlineLayer::new()));
    let mut client = joined(&io, "10").await;
    tokio::time::advance(Duration::from_secs(9)).await;
    client.say(r#"420["extend",100]"#);
    client.expect("430[true]").await;
    // `extend` never moves the deadline to an earlier time, but `set` does.
    client.say(r#"421["extend",5]"#);
    client.expect("431[true]").await;
    tokio::time::advance(Duration::from_secs(10)).await;
    client.say(r#"422["set",7]"#);
    client.expect("432[true]").await;
    assert_eq!(next(&mut client).await, (7, r#"2["expired"]"#.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_may_be_removed_and_set_again() {
    let io = server(expiring(DeadlineLayer::new()));
    let mut client = joined(&io, "10").await;
    client.say(r#"420["clear"]"#);
    client.expect("430[true]").await;
    tokio::time::advance(Duration::from_secs(20)).await;
    is_quiet(&mut client).await;
    client.say(r#"421["extend",12]"#);
    client.expect("431[true]").await;
    assert_eq!(next(&mut client).await, (12, r#"2["expired"]"#.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn on_connect_may_set_the_deadline() {
    let namespace = Namespace::new()
        .on_connect(|Extension(deadline): Extension<DeadlineHandle>| async move {
            assert!(deadline.set(SystemTime::now() + MINUTE));
        })
        .layer(DeadlineLayer::new());
    let io = server(namespace.with_state(()));
    let mut client = joined(&io, "").await;
    let (seconds, event) = next(&mut client).await;
    assert_eq!(event, r#"2["expired"]"#);
    // The paused clock does not affect the system clock.
    assert!((50..=60).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_expires_during_on_connect_is_rejected() {
    let namespace = Namespace::new()
        .on_connect(|| tokio::time::sleep(MINUTE / 6))
        .layer(DeadlineLayer::new())
        .layer(from_fn(token));
    let io = server(namespace.with_state(()));
    let mut client = open(&io, "5").await;
    assert_eq!(connect(&mut client).await, Some(json!({ "message": "disconnected by the server" })));
}

#[tokio::test]
async fn only_sockets_with_a_deadline_have_a_timer() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let kept: Arc<Mutex<Vec<SocketRef>>> = Arc::default();
    let keep = kept.clone();
    let namespace = Namespace::new()
        .on_connect(move |socket: SocketRef| {
            keep.lock().unwrap().push(socket);
            async {}
        })
        .layer(DeadlineLayer::new())
        .layer(from_fn(token));
    let io = server(namespace.with_state(()));
    let without = [joined(&io, "").await, joined(&io, "").await];
    let before = tasks();
    let with = joined(&io, "3600").await;
    // The connection is a task too.
    assert_eq!(tasks(), before + 2);
    let deadline: DeadlineHandle = kept.lock().unwrap()[2].extensions().get().unwrap();
    assert!(deadline.expires().is_some());
    with.say("41");
    until(|| tasks() == before + 1).await;
    assert!(!deadline.extend_to(Expires::after(MINUTE)) && deadline.expires().is_none());
    drop((with, without));
    until(|| tasks() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_panicking_observer_does_not_prevent_a_disconnection() {
    let io = server(expiring(DeadlineLayer::new()));
    let mut client = joined(&io, "10").await;
    io.sockets()[0].on_any_outgoing(|_| panic!("on purpose"));
    assert_eq!(next(&mut client).await.0, 10);
    until(|| io.stats().sockets == 0).await;
}
