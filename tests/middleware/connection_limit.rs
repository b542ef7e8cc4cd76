use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use axum::http::{StatusCode, request::Parts};
use serde_json::json;
use tokio::sync::Notify;
use tower_socketio::{Namespace, SocketIo, SocketIoConfig, SocketRef, middleware::ConnectionLimitLayer};

use super::*;

fn user(request: &Parts) -> Option<String> {
    let query = request.uri.query()?;
    query.split('&').find_map(|pair| pair.strip_prefix("user=")).filter(|user| !user.is_empty()).map(str::to_owned)
}

fn limited(max: usize) -> Namespace {
    Namespace::new().layer(ConnectionLimitLayer::new(max, user))
}

fn full(limit: usize) -> Option<serde_json::Value> {
    Some(json!({ "message": "too many connections", "data": { "limit": limit } }))
}

/// Waits for a free place. The user's next client takes it.
async fn is_free(io: &SocketIo, user: &str) -> Memory {
    retry(async || {
        let mut client = open(io, user).await;
        connect(&mut client).await.is_none().then_some(client)
    })
    .await
}

#[tokio::test]
async fn sockets_are_limited_for_each_key() {
    let io = server(limited(2));
    let _first = joined(&io, "ann").await;
    let _second = joined(&io, "ann").await;
    let mut third = open(&io, "ann").await;
    assert_eq!(connect(&mut third).await, full(2));
    let _other = joined(&io, "bob").await;
    // Sockets without a key are not counted.
    for _ in 0..3 {
        joined(&io, "").await;
    }
    // The refused client may try again.
    drop(_first);
    retry(async || connect(&mut third).await.is_none().then_some(())).await;
}

#[tokio::test]
async fn a_permit_is_released_for_every_kind_of_disconnection() {
    let io = server(limited(1).on("leave", |socket: SocketRef| async move { socket.disconnect() }));
    let client = is_free(&io, "ann").await;
    client.say("41");
    let client = is_free(&io, "ann").await;
    client.say(r#"42["leave"]"#);
    let client = is_free(&io, "ann").await;
    client.say("1");
    drop(is_free(&io, "ann").await);
    let _client = is_free(&io, "ann").await;
    io.sockets()[0].disconnect_all();
    let _client = is_free(&io, "ann").await;
    io.close().await;
    let _client = is_free(&io, "ann").await;
}

#[tokio::test]
async fn a_reference_to_a_closed_socket_holds_no_permit() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = kept.clone();
    // The request is kept too.
    let namespace = Namespace::new()
        .on_connect(move |socket: SocketRef, request: axum::extract::Request| {
            keep.lock().unwrap().push((socket, request));
            async {}
        })
        .layer(ConnectionLimitLayer::new(1, user));
    let io = server(namespace.with_state(()));
    for _ in 0..3 {
        is_free(&io, "ann").await.say("41");
    }
    assert_eq!(kept.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_refusal_takes_no_place() {
    let admits = Arc::new(AtomicBool::new(false));
    let asked = admits.clone();
    let on_connect = move || {
        let admits = asked.load(Ordering::SeqCst);
        async move { if admits { StatusCode::OK } else { StatusCode::FORBIDDEN } }
    };
    let namespace = Namespace::new().on_connect(on_connect).layer(ConnectionLimitLayer::new(1, user));
    let io = server(namespace.with_state(()));
    for _ in 0..3 {
        let mut client = open(&io, "ann").await;
        assert_eq!(connect(&mut client).await, Some(json!({ "message": "Forbidden" })));
    }
    admits.store(true, Ordering::SeqCst);
    let _client = is_free(&io, "ann").await;
    assert_eq!(connect(&mut open(&io, "ann").await).await, full(1));
}

#[tokio::test]
async fn a_pending_admission_counts_until_its_client_leaves() {
    let gate = Arc::new(Notify::new());
    let waiting = gate.clone();
    let on_connect = move || {
        let gate = waiting.clone();
        async move { gate.notified().await }
    };
    let namespace = Namespace::new().on_connect(on_connect).layer(ConnectionLimitLayer::new(1, user));
    let io = server(namespace.with_state(()));
    let first = open(&io, "ann").await;
    first.say("40");
    until(|| io.stats().sockets == 1).await;
    assert_eq!(connect(&mut open(&io, "ann").await).await, full(1));
    drop(first);
    until(|| io.stats().sockets == 0).await;
    let mut next = open(&io, "ann").await;
    next.say("40");
    until(|| io.stats().sockets == 1).await;
    gate.notify_one();
    assert!(next.text().await.starts_with("40{"));
}

#[tokio::test]
async fn clones_of_a_layer_count_together() {
    let layer = ConnectionLimitLayer::new(1, user);
    let (a, b) = (Namespace::new().layer(layer.clone()), Namespace::new().layer(layer));
    let service = SocketIoService::new(SocketIoConfig::new().namespace("/", a).namespace("/b", b));
    let mut client = joined(&service.io(), "ann").await;
    client.say("40/b");
    client.expect(r#"44/b,{"message":"too many connections","data":{"limit":1}}"#).await;
    client.say("41");
    client.say("40/b");
    assert!(client.text().await.starts_with("40/b,"));
}

#[tokio::test]
async fn per_address_counts_the_sockets_of_a_host() {
    let server = serve_namespace(Namespace::new().layer(ConnectionLimitLayer::per_address(2))).await;
    let (mut first, _) = WebSocket::join(server.address, "40").await;
    let _second = Polling::join(server.address).await;
    let mut third = WebSocket::open(server.address).await;
    third.say("40").await;
    assert_eq!(Some(json(&third.text().await)), full(2));
    first.say("41").await;
    server.has_sockets(1).await;
    third.connect("40").await;
    // Sockets whose address is unknown are not counted.
    for _ in 0..3 {
        Memory::join(&server.io).await;
    }
}

#[tokio::test]
async fn outside_of_a_namespace_it_is_rejected() {
    let app = axum::Router::new().route("/", axum::routing::get(|| async {}));
    let server = serve_app(app.layer(ConnectionLimitLayer::per_address(1)), SocketIoConfig::new()).await;
    let reply = get(server.address, "/").await;
    reply.is(500, "a `SocketRef` exists only on the CONNECT request of a namespace");
}
