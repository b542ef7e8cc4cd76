//! The upgrade from long-polling to WebSocket.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
};
use tokio_tungstenite::tungstenite::Message;
use tower_socketio::{Args, Namespace, SocketIoConfig, SocketRef, Transport, extract::Data};

use crate::support::*;

async fn server() -> TestServer {
    server_with(SocketIoConfig::new()).await
}

async fn server_with(config: SocketIoConfig) -> TestServer {
    let namespace = Namespace::new().on("echo", |socket: SocketRef, Data(args): Data<Args>| async move {
        socket.emit("echo", &args).unwrap();
    });
    serve_config(config.namespace("/", namespace)).await
}

/// Opens a WebSocket for a session that uses long-polling.
async fn probe(client: &Polling) -> WebSocket {
    let target = format!("/socket.io/?EIO=4&transport=websocket&sid={}", client.sid);
    WebSocket::raw(client.address, &target, &[]).await.expect("the session may be upgraded")
}

#[tokio::test]
async fn a_session_moves_to_websocket() {
    let server = server().await;
    let client = Polling::join(server.address).await;
    assert_eq!(server.io.sockets()[0].transport(), Transport::Polling);
    let mut websocket = probe(&client).await;
    websocket.say("2probe").await;
    websocket.expect("3probe").await;
    client.expect("6").await;
    websocket.say("5").await;
    websocket.say(r#"42["echo",1]"#).await;
    websocket.expect(r#"42["echo",1]"#).await;
    assert_eq!(server.io.sockets()[0].transport(), Transport::WebSocket);
    client.poll().await.refused(400, 3, "Bad request");
    client.post("42[\"echo\"]").await.refused(400, 3, "Bad request");
    websocket.is_quiet().await;
    drop(websocket);
    server.is_empty().await;
}

#[tokio::test]
async fn a_poll_that_is_pending_is_released_by_the_probe() {
    let server = server().await;
    let client = Polling::join(server.address).await;
    let mut websocket = probe(&client).await;
    let (poll, ()) = tokio::join!(client.poll(), async {
        let socket = server.io.sockets()[0].clone();
        until(move || socket.is_writable()).await;
        websocket.say("2probe").await;
        websocket.expect("3probe").await;
    });
    poll.is(200, "6");
}

#[tokio::test]
async fn polling_continues_during_a_probe() {
    let server = server().await;
    let client = Polling::join(server.address).await;
    let mut websocket = probe(&client).await;
    websocket.say("2probe").await;
    websocket.expect("3probe").await;
    client.say(r#"42["echo",1]"#).await;
    client.expect(r#"42["echo",1]"#).await;
    client.say(r#"42["echo",2]"#).await;
    websocket.say("5").await;
    websocket.expect(r#"42["echo",2]"#).await;
}

#[tokio::test]
async fn the_upgrade_packet_may_follow_the_probe_at_once_or_stand_alone() {
    let server = server().await;
    let client = Polling::join(server.address).await;
    let mut websocket = probe(&client).await;
    websocket.say("2probe").await;
    websocket.say("5").await;
    websocket.expect("3probe").await;
    websocket.say(r#"42["echo",1]"#).await;
    websocket.expect(r#"42["echo",1]"#).await;

    let client = Polling::join(server.address).await;
    let mut websocket = probe(&client).await;
    websocket.say("5").await;
    websocket.say(r#"42["echo",1]"#).await;
    websocket.expect(r#"42["echo",1]"#).await;
}

#[tokio::test]
async fn a_probe_that_fails_leaves_the_session_as_it_was() {
    let server = server().await;
    let client = Polling::join(server.address).await;
    for nonsense in ["4hello", "2wrong", "3", "x", ""] {
        let mut websocket = probe(&client).await;
        websocket.say(nonsense).await;
        websocket.expect_close().await;
        client.say(r#"42["echo",1]"#).await;
        client.expect(r#"42["echo",1]"#).await;
    }
    // One that is dropped without a close frame.
    drop(probe(&client).await);
    // The server notices the end of the connection a moment later.
    let target = format!("/socket.io/?EIO=4&transport=websocket&sid={}", client.sid);
    let mut websocket = retry(async || WebSocket::raw(client.address, &target, &[]).await.ok()).await;
    websocket.say("2probe").await;
    websocket.expect("3probe").await;
}

#[tokio::test]
async fn a_probe_that_falls_silent_is_closed_and_the_session_lives() {
    let config = SocketIoConfig::new().upgrade_timeout(PATIENCE).ping_interval(100 * PATIENCE);
    let server = server_with(config).await;
    let client = Polling::join(server.address).await;
    let mut websocket = probe(&client).await;
    websocket.say("2probe").await;
    websocket.expect("3probe").await;
    skip(PATIENCE).await;
    websocket.expect_close().await;
    client.say(r#"42["echo",1]"#).await;
    client.expect(r#"42["echo",1]"#).await;
}

#[tokio::test]
async fn a_second_websocket_is_refused_while_the_first_one_probes_and_closed_after_the_upgrade() {
    let server = server().await;
    let client = Polling::join(server.address).await;
    let mut websocket = probe(&client).await;
    let target = format!("/socket.io/?EIO=4&transport=websocket&sid={}", client.sid);
    assert!(WebSocket::raw(server.address, &target, &[]).await.is_err());
    websocket.say("5").await;
    websocket.is_quiet().await;
    // The response is 101, as with Node.js. The session ignores the second WebSocket, whatever it sends.
    for said in [None, Some("2probe"), Some("5"), Some("1")] {
        let mut second = WebSocket::raw(server.address, &target, &[]).await.expect("it is answered 101");
        if let Some(said) = said {
            second.try_send(Message::text(said)).await;
        }
        second.expect_close().await;
        websocket.is_quiet().await;
    }
    // The same for a WebSocket that names a session which was opened over WebSocket.
    let (mut first, _) = WebSocket::join(server.address, "40").await;
    let mut second = WebSocket::raw(server.address, &target.replace(&client.sid, &first.sid), &[]).await.unwrap();
    second.expect_close().await;
    first.is_quiet().await;
}

#[tokio::test]
async fn the_end_of_a_session_ends_its_probe() {
    let server = server().await;
    let client = Polling::join(server.address).await;
    let mut websocket = probe(&client).await;
    websocket.say("2probe").await;
    websocket.expect("3probe").await;
    client.say("1").await;
    websocket.expect_close().await;
    server.is_empty().await;
}

#[tokio::test]
async fn upgrades_can_be_switched_off() {
    let server = server_with(SocketIoConfig::new().allow_upgrades(false)).await;
    let client = Polling::join(server.address).await;
    assert_eq!(client.open["upgrades"], serde_json::json!([]));
    let target = format!("/socket.io/?EIO=4&transport=websocket&sid={}", client.sid);
    assert!(WebSocket::raw(server.address, &target, &[]).await.is_err());
    WebSocket::open(server.address).await;
}

#[tokio::test]
async fn an_upgrade_under_load_loses_and_reorders_nothing() {
    let server = server().await;
    let client = Polling::join(server.address).await;
    let socket = server.io.sockets()[0].clone();
    let sender = tokio::spawn(async move {
        for number in 0..500 {
            socket.emit("n", &number).unwrap();
            tokio::task::yield_now().await;
        }
    });
    let mut received = Vec::new();
    let mut websocket = probe(&client).await;
    websocket.say("2probe").await;
    websocket.expect("3probe").await;
    for _ in 0..3 {
        let reply = client.poll().await;
        received.extend(reply.text().split('\x1e').filter(|packet| *packet != "6").map(str::to_owned));
    }
    websocket.say("5").await;
    while received.len() < 500 {
        received.push(websocket.text().await);
    }
    let expected: Vec<_> = (0..500).map(|number| format!(r#"42["n",{number}]"#)).collect();
    assert_eq!(received, expected);
    sender.await.unwrap();
}

#[tokio::test]
async fn a_post_that_an_upgrade_overtakes_is_answered() {
    let server = server().await;
    let client = Polling::join(server.address).await;
    let mut post = TcpStream::connect(server.address).await.unwrap();
    let head = format!("POST {} HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\n42", client.target());
    post.write_all(head.as_bytes()).await.unwrap();
    let mut websocket = probe(&client).await;
    websocket.say("2probe").await;
    websocket.expect("3probe").await;
    websocket.say("5").await;
    websocket.is_quiet().await;
    post.write_all(b"[\"abc\"]").await.unwrap();
    let mut answer = [0; 12];
    soon(post.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 400");
    websocket.is_quiet().await;
}

#[tokio::test]
async fn a_probe_whose_client_does_not_read_times_out() {
    let server = server_with(SocketIoConfig::new().upgrade_timeout(Duration::from_secs(2))).await;
    let client = Polling::join(server.address).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    let head = format!(
        "GET /socket.io/?EIO=4&transport=websocket&sid={} HTTP/1.1\r\nhost: h\r\nupgrade: websocket\r\n\
         connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        client.sid
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // Pings fill every buffer with their pongs. Then the probe cannot be answered.
    let mut ping = vec![0x89, 0x80 | 125, 0, 0, 0, 0];
    ping.extend_from_slice(&[b'x'; 125]);
    let mut flood = ping.repeat(50_000);
    flood.extend_from_slice(b"\x81\x86\0\0\0\x002probe");
    let _ = tokio::time::timeout(Duration::from_secs(2), stream.write_all(&flood)).await;
    let target = format!("/socket.io/?EIO=4&transport=websocket&sid={}", client.sid);
    let mut again = retry(async || WebSocket::raw(server.address, &target, &[]).await.ok()).await;
    again.say("2probe").await;
    again.expect("3probe").await;
}

/// A POST that is pending after the upgrade does not carry the connection: emits wake the WebSocket.
#[tokio::test]
async fn events_emitted_during_a_post_are_sent_over_the_upgraded_websocket() {
    let gate = Arc::new(Semaphore::new(0));
    let started = Arc::new(AtomicUsize::new(0));
    let (waiting, count) = (gate.clone(), started.clone());
    let namespace = Namespace::new().on("wait", move || {
        let (gate, started) = (waiting.clone(), count.clone());
        async move {
            started.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
        }
    });
    let server = serve_config(SocketIoConfig::new().max_concurrent_events(1).namespace("/", namespace)).await;
    let client = Arc::new(Polling::join(server.address).await);
    let posting = client.clone();
    let post = tokio::spawn(async move { posting.post(["42[\"wait\"]"; 3].join("\u{1e}")).await });
    until(|| started.load(Ordering::SeqCst) == 1).await;
    let mut websocket = probe(&client).await;
    websocket.say("2probe").await;
    websocket.expect("3probe").await;
    websocket.say("5").await;
    let socket = server.io.sockets()[0].clone();
    until(|| socket.transport() == Transport::WebSocket).await;
    for number in 1..=3 {
        until(|| started.load(Ordering::SeqCst) == number).await;
        socket.emit("meanwhile", &number).unwrap();
        websocket.expect(&format!(r#"42["meanwhile",{number}]"#)).await;
        gate.add_permits(1);
    }
    post.await.unwrap();
    websocket.is_quiet().await;
}
