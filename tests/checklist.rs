//! The deliberate differences from the Node.js server, item by item.

use std::sync::Arc;

use tokio::sync::Notify;
use tower_socketio::{
    AckError, DisconnectReason, Namespace, RecoveryConfig, SocketIoConfig, SocketRef, extract::AckSender,
};

use crate::support::*;

const UPGRADE: [(&str, &str); 4] = [
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

#[tokio::test]
async fn item_1_the_deadline_for_a_pong_survives_an_upgrade() {
    let (namespace, mut reasons) = echo();
    let config = SocketIoConfig::new().ping_interval(PATIENCE).ping_timeout(PATIENCE).namespace("/", namespace);
    let server = serve_config(config).await;
    let client = Polling::join(server.address).await;
    skip(PATIENCE).await;
    client.expect("2").await;
    let target = format!("/socket.io/?EIO=4&transport=websocket&sid={}", client.sid);
    let mut websocket = WebSocket::raw(server.address, &target, &[]).await.unwrap();
    websocket.say("2probe").await;
    websocket.expect("3probe").await;
    websocket.say("5").await;
    websocket.is_quiet().await;
    skip(PATIENCE).await;
    websocket.expect_close().await;
    assert_eq!(soon(reasons.recv()).await, Some(DisconnectReason::PingTimeout));
}

#[tokio::test]
async fn item_2_a_close_packet_over_a_websocket_closes_the_session() {
    let (namespace, mut reasons) = echo();
    let server = serve_namespace(namespace).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.say("1").await;
    client.expect_close().await;
    assert_eq!(soon(reasons.recv()).await, Some(DisconnectReason::TransportClose));
}

#[tokio::test]
async fn item_3_a_malformed_post_is_answered_400() {
    let server = serve_config(SocketIoConfig::new()).await;
    let client = Polling::join(server.address).await;
    client.post("abc").await.refused(400, 3, "Bad request");
    client.is_gone().await;
}

#[tokio::test]
async fn item_4_a_handshake_is_refused_before_the_101_with_a_reason() {
    let config = SocketIoConfig::new().origins("https://good.example").generate_id(|_| String::new());
    let server = serve_config(config).await;
    let open = async |query: &str, more: &[(&str, &str)]| {
        let headers: Vec<_> = UPGRADE.iter().chain(more).copied().collect();
        let target = format!("/socket.io/?transport=websocket&{query}");
        send(server.address, Method::GET, &target, &headers, "").await
    };
    open("EIO=3", &[]).await.refused(400, 5, "Unsupported protocol version");
    open("EIO=4", &[("origin", "https://bad.example")]).await.refused(403, 4, "Forbidden");
    // The function that generates ids returns an empty one.
    open("EIO=4", &[]).await.refused(400, 3, "Bad request");
    open("EIO=4&sid=abc", &[]).await.refused(400, 1, "Session ID unknown");
}

#[tokio::test]
async fn item_5_protocol_violations_are_refused() {
    let gate = Arc::new(Notify::new());
    let waiting = gate.clone();
    let slow = Namespace::new().on_connect(async move || waiting.notified().await);
    let config = SocketIoConfig::new().allow_eio3(true).namespace("/slow", slow.with_state(()));
    let server = serve_config(config).await;
    // A session keeps its protocol version.
    let client = Polling::join(server.address).await;
    get(server.address, &client.target().replace("EIO=4", "EIO=3")).await.refused(400, 3, "Bad request");
    // A binary event without attachments, an id that is not a number, and a second CONNECT while the first is pending.
    for packets in [&[r#"450-["a"]"#][..], &[r#"421e3["a"]"#], &["40/slow", "40/slow"]] {
        let (mut client, _) = WebSocket::join(server.address, "40").await;
        for packet in packets {
            client.say(packet).await;
        }
        client.expect_close().await;
    }
    gate.notify_waiters();
}

#[tokio::test]
async fn item_6_clients_of_revision_3_that_take_nothing_but_bytes_get_bytes() {
    let (namespace, _reasons) = echo();
    let server = serve_config(SocketIoConfig::new().allow_eio3(true).namespace("/", namespace)).await;
    let open = get(server.address, "/socket.io/?EIO=3&transport=polling&t=1428941345332-0").await;
    assert_eq!((open.header("content-type"), open.body[0]), (Some("application/octet-stream"), 0));
}

#[tokio::test]
async fn item_7_a_socket_that_has_left_emits_and_answers_nothing() {
    async fn leave(socket: SocketRef, ack: AckSender) {
        socket.disconnect();
        assert!(socket.emit("after", &1).unwrap_err().is_disconnected());
        assert!(ack.send(&()).unwrap_err().is_disconnected());
    }
    let server = serve_namespace(Namespace::new().on("leave", leave).with_state(())).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.say(r#"420["leave"]"#).await;
    client.expect("41").await;
    client.is_quiet().await;
}

#[tokio::test(start_paused = true)]
async fn item_8_acks_of_a_broadcast_are_waited_for_a_sane_time() {
    let io = tower_socketio::SocketIoService::new(SocketIoConfig::new()).io();
    let mut silent = Memory::join(&io).await;
    let begin = tokio::time::Instant::now();
    let answers = io.emit_with_ack::<()>("ask", &()).unwrap().responses().await;
    silent.expect(r#"420["ask"]"#).await;
    assert!(answers.missing[0].1.is_timeout(), "{:?}", answers.missing as Vec<(_, AckError)>);
    assert_eq!(begin.elapsed().as_secs(), 30);
}

#[tokio::test]
async fn item_9_a_recovered_session_is_claimed_once_and_its_predecessor_is_closed() {
    let io = tower_socketio::SocketIoService::new(SocketIoConfig::new().recovery(RecoveryConfig::new())).io();
    let mut first = Memory::open(&io);
    first.text().await;
    first.say("40");
    let ids = json(&first.text().await);
    let connect = format!("40{}", serde_json::json!({"pid": ids["pid"]}));
    // The first connection is half-open, and has received no event.
    let mut second = Memory::open(&io);
    second.text().await;
    second.say(&connect);
    assert_eq!(json(&second.text().await), ids);
    assert_eq!(first.packet().await, None);
    second.say("41");
    until(|| io.stats().sockets == 0).await;
    let mut third = Memory::open(&io);
    third.text().await;
    third.say(&connect);
    assert_ne!(json(&third.text().await)["sid"], ids["sid"]);
}

// Item 10 is about cluster adapters, none of which exists yet.

#[tokio::test]
async fn item_11_queues_are_bounded_and_reasons_have_details() {
    let (namespace, mut reasons) = echo();
    let config = SocketIoConfig::new().max_payload(100).max_buffered_bytes(1000).namespace("/", namespace);
    let server = serve_config(config).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.say(&format!(r#"42["echo","{}"]"#, "x".repeat(100))).await;
    let reason = soon(reasons.recv()).await.unwrap();
    assert_eq!((reason.as_str(), reason.detail()), ("transport error", Some("max payload size exceeded")));
    let _silent = Polling::join(server.address).await;
    let socket = server.io.sockets().remove(0);
    while socket.emit("n", &"x".repeat(100)).is_ok() {
        assert!(socket.buffered_bytes() <= 1000);
    }
    assert_eq!(soon(reasons.recv()).await, Some(DisconnectReason::SlowClient));
}

#[tokio::test]
async fn item_12_pages_of_foreign_origins_open_no_websocket() {
    let server = serve_config(SocketIoConfig::new().origins("https://good.example")).await;
    let target = "/socket.io/?EIO=4&transport=websocket";
    let open = async |origin: &str| WebSocket::raw(server.address, target, &[("origin", origin)]).await;
    assert!(open("https://good.example").await.is_ok());
    assert!(open("https://bad.example").await.is_err());
}
