//! How sockets leave, and that no state of theirs remains.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::Body;
use hyper::{Request, StatusCode};
use tokio::sync::{Semaphore, mpsc};
use tower::ServiceExt;
use tower_socketio::{
    DisconnectReason, Namespace, SocketIo, SocketIoConfig, SocketIoService, SocketRef, test::TestClient,
};

use crate::support::*;

/// A namespace that records the end of its sockets, with their rooms.
pub fn noting() -> (Namespace, mpsc::UnboundedReceiver<String>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let note = move |what: &'static str| {
        let sender = sender.clone();
        move |socket: SocketRef, reason: DisconnectReason| {
            let mut rooms: Vec<_> = socket.rooms().iter().map(ToString::to_string).collect();
            rooms.retain(|room| room.as_str() != socket.id().as_str());
            let connected = socket.is_connected();
            sender.send(format!("{what} {reason} {rooms:?} {connected}")).unwrap();
            async {}
        }
    };
    let namespace = Namespace::new()
        .on_connect(|socket: SocketRef| async move { socket.join("room") })
        .on("bye", |socket: SocketRef| async move { socket.disconnect() })
        .on("bye all", |socket: SocketRef| async move { socket.disconnect_all() })
        .on_disconnecting(note("disconnecting"))
        .on_disconnect(note("disconnect"));
    (namespace.with_state(()), receiver)
}

pub async fn expect(notes: &mut mpsc::UnboundedReceiver<String>, reason: &str) {
    assert_eq!(soon(notes.recv()).await.unwrap(), format!(r#"disconnecting {reason} ["room"] false"#));
    assert_eq!(soon(notes.recv()).await.unwrap(), format!("disconnect {reason} [] false"));
}

#[tokio::test]
async fn a_client_leaves_its_namespace_and_keeps_its_connection() {
    let (namespace, mut notes) = noting();
    let server = serve_namespace(namespace).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.say("41").await;
    expect(&mut notes, "client namespace disconnect").await;
    client.is_quiet().await;
    assert_eq!(server.io.stats().sockets, 0);
    assert_eq!(server.io.stats().connections, 1);
}

#[tokio::test]
async fn the_server_disconnects_a_socket_from_its_namespace() {
    let (namespace, mut notes) = noting();
    let server = serve_namespace(namespace).await;
    let (mut client, id) = WebSocket::join(server.address, "40").await;
    let socket = server.io.socket(&id).unwrap();
    client.say(r#"42["bye"]"#).await;
    client.expect("41").await;
    expect(&mut notes, "server namespace disconnect").await;
    client.is_quiet().await;
    // Later calls return an error or have no effect.
    assert!(socket.emit("late", &()).unwrap_err().is_disconnected());
    socket.join("room");
    socket.disconnect();
    assert!(socket.rooms().is_empty());
    assert!(server.io.of("/").unwrap().rooms().is_empty());
    client.connect("40").await;
}

#[tokio::test]
async fn the_server_disconnects_all_namespaces_and_closes() {
    let (namespace, mut notes) = noting();
    let (other, mut other_notes) = noting();
    let config = SocketIoConfig::new().namespace("/", namespace).namespace("/a", other);
    let server = serve_config(config).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.connect("40/a").await;
    client.say(r#"42["bye all"]"#).await;
    let mut told = [client.text().await, client.text().await];
    told.sort();
    assert_eq!(told, ["41", "41/a,"]);
    client.expect_close().await;
    expect(&mut notes, "server namespace disconnect").await;
    expect(&mut other_notes, "server namespace disconnect").await;
    server.is_empty().await;

    let (namespace, mut notes) = noting();
    let server = serve_namespace(namespace).await;
    let client = Polling::join(server.address).await;
    client.say(r#"42["bye all"]"#).await;
    client.expect("41").await;
    client.expect("6\x1e1").await;
    expect(&mut notes, "server namespace disconnect").await;
    server.is_empty().await;
}

#[tokio::test]
async fn all_sockets_of_a_connection_leave_with_it() {
    let (namespace, mut notes) = noting();
    let (other, mut other_notes) = noting();
    let config = SocketIoConfig::new().namespace("/", namespace).namespace("/a", other);
    let server = serve_config(config).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.connect("40/a").await;
    drop(client);
    expect(&mut notes, "transport close").await;
    expect(&mut other_notes, "transport close").await;
    server.is_empty().await;
}

#[tokio::test]
async fn a_violation_disconnects_with_a_reason_that_names_the_rule() {
    let (sender, mut reasons) = mpsc::unbounded_channel();
    let namespace = Namespace::new().on_disconnect(move |reason: DisconnectReason| {
        let sender = sender.clone();
        async move { sender.send(reason).unwrap() }
    });
    let server = serve_namespace(namespace.with_state(())).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.say("4abc").await;
    client.expect_close().await;
    let rule = "unknown packet type";
    assert_eq!(detail(soon(reasons.recv()).await), ("forced close", Some(rule)));
    let client = Polling::join(server.address).await;
    client.say("4abc").await;
    client.expect("6\x1e1").await;
    assert_eq!(detail(soon(reasons.recv()).await), ("forced server close", Some(rule)));
}

#[tokio::test]
async fn a_leaving_socket_can_emit_to_its_rooms() {
    let namespace = Namespace::new()
        .on_connect(|socket: SocketRef| async move { socket.join("room") })
        .on_disconnecting(|socket: SocketRef| async move { socket.to("room").emit("left", socket.id()).unwrap() });
    let server = serve_namespace(namespace.with_state(())).await;
    let (mut a, _) = WebSocket::join(server.address, "40").await;
    let (b, id) = WebSocket::join(server.address, "40").await;
    drop(b);
    a.expect(&format!(r#"42["left","{id}"]"#)).await;
}

#[tokio::test]
async fn handlers_that_hang_or_panic_leak_nothing() {
    async fn hangs(_socket: SocketRef) {
        std::future::pending::<()>().await;
    }
    async fn panics() {
        panic!("on purpose");
    }
    let hanging = Namespace::new()
        .on_connect(|socket: SocketRef| async move { socket.join("room") })
        .on("hang", hangs)
        .on_disconnecting(hangs)
        .on_disconnect(hangs);
    let panicking = Namespace::new()
        .on_connect(|socket: SocketRef| async move { socket.join("room") })
        .on_disconnecting(panics)
        .on_disconnect(panics);
    let config = SocketIoConfig::new()
        .namespace("/hanging", hanging.with_state(()))
        .namespace("/panicking", panicking.with_state(()));
    let server = serve_config(config).await;
    let mut client = WebSocket::open(server.address).await;
    client.connect("40/hanging").await;
    client.connect("40/panicking").await;
    client.say(r#"42/hanging,["hang"]"#).await;
    let sockets = server.io.of("/hanging").unwrap().sockets();
    let ack = sockets[0].emit_with_ack::<()>("ask", &());
    drop(client);
    server.is_empty().await;
    assert!(soon(ack).await.unwrap_err().is_disconnected());
    assert_eq!(server.io.stats().panics, 2);
}

#[tokio::test]
async fn a_disconnection_handler_may_disconnect_all_sockets() {
    let namespace = Namespace::new()
        .on_connect(|socket: SocketRef| async move { socket.join("room") })
        .on_disconnecting(|io: SocketIo| async move { io.to("room").disconnect_sockets(false) })
        .on_disconnect(|io: SocketIo| async move { io.to("room").disconnect_sockets(true) });
    let server = serve_namespace(namespace.with_state(())).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(WebSocket::join(server.address, "40").await.0);
    }
    clients[0].say("41").await;
    for client in &mut clients[1..] {
        client.expect("41").await;
    }
    assert_eq!(server.io.stats().sockets, 0);
}

#[test]
fn a_runtime_that_ends_takes_everything_with_it() {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let log = notes.clone();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let io = runtime.block_on(async {
        let namespace = Namespace::new().on_disconnect(move |reason: DisconnectReason| {
            log.lock().unwrap().push(reason);
            async {}
        });
        let server = serve_namespace(namespace.with_state(())).await;
        let (_a, _) = WebSocket::join(server.address, "40").await;
        let _b = Polling::join(server.address).await;
        server.io.clone()
    });
    runtime.shutdown_timeout(PATIENCE);
    assert_eq!((io.stats().connections, io.stats().sockets), (0, 0));
    assert_eq!(notes.lock().unwrap().len(), 2);
}

#[test]
fn a_task_that_is_dropped_before_its_first_poll_ends_its_session() {
    let service = SocketIoService::new(SocketIoConfig::new());
    let io = service.io();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // The response is ready before the session's task is first polled. Then the runtime is dropped.
    let request = Request::get("/socket.io/?EIO=4&transport=polling").body(Body::empty()).unwrap();
    let response = runtime.block_on(service.oneshot(request)).unwrap();
    assert_eq!((response.status(), io.stats().connections), (StatusCode::OK, 1));
    drop(runtime);
    assert_eq!(io.stats().connections, 0);
}

#[tokio::test]
async fn a_websocket_connection_is_one_task() {
    let server = serve_config(SocketIoConfig::new()).await;
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = alive();
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(WebSocket::join(server.address, "40").await.0);
    }
    until(|| alive() == before + clients.len()).await;
    for client in &mut clients {
        client.is_quiet().await;
    }
    assert_eq!(alive(), before + clients.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disconnected_client_may_reconnect_at_once() {
    let slow = || async { std::thread::sleep(Duration::from_millis(200)) };
    let server = serve_namespace(Namespace::new().on_disconnecting(slow).with_state(())).await;
    let (mut client, id) = WebSocket::join(server.address, "40").await;
    let socket = server.io.socket(&id).unwrap();
    std::thread::spawn(move || socket.disconnect());
    client.expect("41").await;
    client.connect("40").await;
}

/// Packets that were in flight when the server closed a namespace are ignored, because the client could not know of it.
#[tokio::test]
async fn packets_for_a_namespace_that_the_server_has_closed_are_ignored() {
    let server = serve_config(SocketIoConfig::new().namespace("/chat", echo().0).namespace("/", echo().0)).await;
    let mut client = WebSocket::open(server.address).await;
    client.connect("40").await;
    for _ in 0..3 {
        client.connect("40/chat").await;
        server.io.of("/chat").unwrap().disconnect_sockets(false);
        client.expect("41/chat,").await;
        client.say(r#"42/chat,["echo",1]"#).await;
        client.say(r#"43/chat,7["answer"]"#).await;
        client.say(r#"452-/chat,["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#).await;
        client.say_binary(b"first").await;
        client.say_binary(b"second").await;
        client.say(r#"461-/chat,7[{"_placeholder":true,"num":0}]"#).await;
        client.say_binary(b"third").await;
        client.say("41/chat,").await;
        client.say(r#"421["ack",1]"#).await;
        client.expect("431[1]").await;
    }
    // After the client leaves by itself, such a packet violates the protocol.
    client.connect("40/chat").await;
    client.say("41/chat,").await;
    client.say(r#"42/chat,["echo",1]"#).await;
    client.expect_close().await;
}

#[tokio::test]
async fn text_between_the_attachments_of_an_ignored_packet_breaks_the_rules() {
    let server = serve_config(SocketIoConfig::new().namespace("/chat", echo().0)).await;
    let mut client = WebSocket::open(server.address).await;
    client.connect("40/chat").await;
    server.io.of("/chat").unwrap().disconnect_sockets(false);
    client.expect("41/chat,").await;
    client.say(r#"451-/chat,["echo",{"_placeholder":true,"num":0}]"#).await;
    client.say("40").await;
    client.expect_close().await;
}

/// A namespace whose `on_connect` joins a room and waits for a permit.
fn waiting() -> (Namespace, Arc<Semaphore>, mpsc::UnboundedReceiver<String>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let gate = Arc::new(Semaphore::new(0));
    let waits = gate.clone();
    let note = move |what: &'static str| {
        let sender = sender.clone();
        move |socket: SocketRef, reason: DisconnectReason| {
            let rooms = socket.rooms().iter().filter(|room| room.as_str() != socket.id().as_str()).count();
            sender.send(format!("{what} {reason} {rooms}")).unwrap();
            async {}
        }
    };
    let namespace = Namespace::new()
        .on_connect(async move |socket: SocketRef| {
            socket.join("room");
            waits.acquire().await.unwrap().forget();
            StatusCode::FORBIDDEN
        })
        .on_disconnecting(note("disconnecting"))
        .on_disconnect(note("disconnect"));
    (namespace.with_state(()), gate, receiver)
}

/// The disconnection handlers can undo what `on_connect` has done.
#[tokio::test]
async fn disconnection_handlers_run_for_a_client_that_leaves_during_on_connect() {
    async fn told(notes: &mut mpsc::UnboundedReceiver<String>, reason: &str) {
        assert_eq!(soon(notes.recv()).await.unwrap(), format!("disconnecting {reason} 1"));
        assert_eq!(soon(notes.recv()).await.unwrap(), format!("disconnect {reason} 0"));
    }
    let (namespace, gate, mut notes) = waiting();
    let config = SocketIoConfig::new().connect_timeout(PATIENCE).namespace("/", namespace);
    let server = serve_config(config).await;
    // The client closes its connection.
    let mut client = WebSocket::open(server.address).await;
    client.say("40").await;
    server.has_sockets(1).await;
    drop(client);
    told(&mut notes, "transport close").await;
    // The server disconnects the socket.
    let mut client = WebSocket::open(server.address).await;
    client.say("40").await;
    server.has_sockets(1).await;
    server.io.sockets()[0].disconnect();
    told(&mut notes, "server namespace disconnect").await;
    drop(client);
    // `on_connect` exceeds `connect_timeout`.
    let mut client = WebSocket::open(server.address).await;
    client.say("40").await;
    server.has_sockets(1).await;
    skip(PATIENCE).await;
    client.expect_close().await;
    told(&mut notes, "forced close").await;
    // `on_connect` refuses the socket: then no handler runs.
    gate.add_permits(1);
    let mut client = WebSocket::open(server.address).await;
    client.say("40").await;
    client.expect(r#"44{"message":"Forbidden"}"#).await;
    drop(client);
    server.is_empty().await;
    assert!(notes.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn disconnection_handlers_run_if_a_layer_cancels_on_connect() {
    let (namespace, _gate, mut notes) = waiting();
    let namespace = namespace.layer(tower::timeout::TimeoutLayer::new(Duration::from_secs(1)));
    let io = SocketIoService::new(SocketIoConfig::new().namespace("/", namespace)).io();
    assert!(TestClient::connect(&io).await.is_err());
    assert_eq!(notes.recv().await.unwrap(), "disconnecting server namespace disconnect 1");
    assert_eq!(notes.recv().await.unwrap(), "disconnect server namespace disconnect 0");
}

#[tokio::test]
async fn a_socket_that_holds_itself_is_dropped_with_its_connection() {
    #[derive(Clone)]
    struct Held {
        _socket: Arc<Mutex<Option<SocketRef>>>,
        _dropped: mpsc::UnboundedSender<()>,
    }
    let (sender, mut dropped) = mpsc::unbounded_channel::<()>();
    let keep = move |socket: SocketRef| {
        let held = Held { _socket: Arc::new(Mutex::new(Some(socket.clone()))), _dropped: sender.clone() };
        socket.extensions().insert(held);
        async {}
    };
    async fn slow(socket: SocketRef) {
        tokio::task::yield_now().await;
        assert!(socket.extensions().get::<Held>().is_some(), "the last handler still has them");
    }
    let namespace = Namespace::new().on_connect(keep).on_disconnect(slow);
    let server = serve_namespace(namespace.with_state(())).await;
    let (client, id) = WebSocket::join(server.address, "40").await;
    let late = server.io.socket(&id).unwrap();
    let held = late.extensions().get::<Held>().unwrap();
    drop(client);
    server.is_empty().await;
    until(|| late.extensions().get::<Held>().is_none()).await;
    // Extensions that are inserted after the end are dropped.
    late.extensions().insert(held);
    assert!(late.extensions().get::<Held>().is_none());
    drop(late);
    assert_eq!(server.io.stats().panics, 0);
    // The namespace and its sender are dropped with the server.
    drop(server);
    soon(async { while dropped.recv().await.is_some() {} }).await;
}

/// The layer disconnects the socket and then calls the inner service, so that the extensions are inserted after its end.
#[tokio::test]
async fn a_refused_socket_does_not_hold_itself_either() {
    #[derive(Clone)]
    struct Held {
        _socket: SocketRef,
        _dropped: mpsc::UnboundedSender<()>,
    }
    let (sender, mut dropped) = mpsc::unbounded_channel::<()>();
    let layer = axum::middleware::from_fn(
        move |socket: SocketRef, mut request: axum::extract::Request, next: axum::middleware::Next| {
            let held = Held { _socket: socket.clone(), _dropped: sender.clone() };
            async move {
                request.extensions_mut().insert(held);
                socket.disconnect();
                next.run(request).await
            }
        },
    );
    let server = serve_namespace(Namespace::new().on_connect(|| async {}).layer(layer).with_state(())).await;
    let mut client = WebSocket::open(server.address).await;
    client.say("40").await;
    client.expect(r#"44{"message":"disconnected by the server"}"#).await;
    drop(client);
    server.is_empty().await;
    drop(server);
    soon(async { while dropped.recv().await.is_some() {} }).await;
}

/// A server outlives the runtime of its first clients, because handlers run on the runtime that drives their connection.
#[test]
fn a_second_runtime_may_follow_the_first() {
    let (sender, mut ends) = mpsc::unbounded_channel();
    let namespace = Namespace::new()
        .on_connect(|| async { tokio::task::yield_now().await })
        .on("wait", || async {
            tokio::task::yield_now().await;
            tower_socketio::Ack(())
        })
        .on_disconnect(move |reason: DisconnectReason| {
            let sender = sender.clone();
            async move {
                tokio::task::yield_now().await;
                sender.send(reason).unwrap();
            }
        });
    let io = SocketIoService::new(SocketIoConfig::new().namespace("/", namespace.with_state(()))).io();
    for _ in 0..2 {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let client = TestClient::connect(&io).await.unwrap();
            client.emit_with_ack::<()>("wait", &()).await.unwrap();
            client.disconnect().await;
            assert_eq!(soon(ends.recv()).await, Some(DisconnectReason::ClientNamespaceDisconnect));
        });
        // From a thread without a runtime.
        let client = runtime.block_on(TestClient::connect(&io)).unwrap();
        let socket = client.socket().unwrap();
        socket.disconnect();
        let end = runtime.block_on(soon(ends.recv()));
        assert_eq!(end, Some(DisconnectReason::ServerNamespaceDisconnect));
    }
}
