//! A client that does not read costs what it may cost, and nobody else notices.

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
    sync::mpsc,
};
use tower_socketio::{DisconnectReason, Namespace, Recovery, SlowClientPolicy, SocketIoConfig};

use crate::support::*;

const LIMIT: usize = 100_000;

/// A client that joins and then reads nothing.
async fn deaf(server: &TestServer) -> TcpStream {
    let before = server.io.stats().sockets;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    let head = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: h\r\nupgrade: websocket\r\nconnection: \
                upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // The text "40", masked with zeros.
    stream.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'4', b'0']).await.unwrap();
    until(|| server.io.stats().sockets > before).await;
    stream
}

#[tokio::test]
async fn a_client_that_stops_reading_is_disconnected_and_the_others_do_not_notice() {
    let (sender, mut reasons) = mpsc::unbounded_channel();
    let told = Arc::new(AtomicUsize::new(0));
    let count = told.clone();
    let namespace = Namespace::new().on_disconnect(move |reason: DisconnectReason| {
        let sender = sender.clone();
        async move { sender.send(reason).unwrap() }
    });
    let config = SocketIoConfig::new()
        .max_buffered_bytes(LIMIT)
        .on_slow_client(move |socket| {
            assert!(!socket.id().is_empty());
            count.fetch_add(1, Ordering::SeqCst);
        })
        .namespace("/", namespace.with_state(()));
    let server = serve_config(config).await;
    let _stream = deaf(&server).await;
    let slow = server.io.sockets()[0].clone();
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    let payload = "x".repeat(1000);
    let mut sent = 0;
    while slow.connected() {
        server.io.emit("data", &payload).unwrap();
        assert!(slow.buffered_bytes() <= LIMIT + 1000);
        sent += 1;
        assert!(sent < 100_000, "the client is never let go");
        client.expect(&format!(r#"42["data","{payload}"]"#)).await;
    }
    assert_eq!(soon(reasons.recv()).await, Some(DisconnectReason::SlowClient));
    assert_eq!(server.io.stats().slow_clients, 1);
    assert_eq!(told.load(Ordering::SeqCst), 1);
    client.is_quiet().await;
    drop(client);
    server.is_empty().await;
}

#[tokio::test]
async fn packets_can_be_dropped_instead_and_the_caller_is_told() {
    let config = SocketIoConfig::new().max_buffered_bytes(LIMIT).slow_client_policy(SlowClientPolicy::DropPacket);
    let server = serve_config(config).await;
    let mut stream = deaf(&server).await;
    let socket = server.io.sockets()[0].clone();
    let payload = "x".repeat(1000);
    let mut taken = 0;
    let error = loop {
        match socket.emit("data", &(taken, &payload)) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        tokio::task::yield_now().await;
        assert!(taken < 100_000, "nothing is ever dropped");
    };
    assert!(error.is_slow_client());
    assert!(socket.connected());
    // What was taken arrives.
    let last = format!(r#"42["data",{},"#, taken - 1);
    let mut received = Vec::new();
    let mut buffer = vec![0; 65536];
    while memchr::memmem::rfind(&received, last.as_bytes()).is_none() {
        let read = soon(stream.read(&mut buffer)).await.unwrap();
        assert!(read > 0);
        received.extend_from_slice(&buffer[..read]);
    }
    let mut rest = &received[..];
    for number in 0..taken {
        let event = format!(r#"42["data",{number},"#);
        let found = memchr::memmem::find(rest, event.as_bytes());
        rest = &rest[found.unwrap_or_else(|| panic!("{number} of {taken} is missing or out of order"))..];
    }
}

#[tokio::test]
async fn a_producer_that_waits_for_drained_never_outruns_its_client() {
    let server = serve_config(SocketIoConfig::new().max_buffered_bytes(LIMIT)).await;
    let (mut client, id) = WebSocket::join(server.address, "40").await;
    let socket = server.io.socket(&id).unwrap();
    let producer = tokio::spawn(async move {
        let payload = "x".repeat(10_000);
        for _ in 0..500 {
            socket.emit("data", &payload).unwrap();
            socket.drained().await;
        }
        socket.emit("end", &()).unwrap();
    });
    let mut received = 0;
    while client.text().await != r#"42["end"]"# {
        received += 1;
    }
    assert_eq!(received, 500);
    producer.await.unwrap();
}

#[tokio::test]
async fn drained_ends_with_the_connection() {
    let server = serve_config(SocketIoConfig::new()).await;
    let stream = deaf(&server).await;
    let socket = server.io.sockets()[0].clone();
    for _ in 0..100 {
        socket.emit("data", &"x".repeat(10_000)).unwrap();
    }
    let waiting = tokio::spawn({
        let socket = socket.clone();
        async move { socket.drained().await }
    });
    until(|| socket.buffered_bytes() > 0).await;
    drop(stream);
    soon(waiting).await.unwrap();
    soon(socket.drained()).await;
}

#[tokio::test]
async fn a_polling_client_that_does_not_poll_is_bounded_too() {
    let config = SocketIoConfig::new().max_buffered_bytes(LIMIT).ping_interval(Duration::from_secs(1));
    let server = serve_config(config).await;
    let client = Polling::join(server.address).await;
    let socket = server.io.sockets()[0].clone();
    let mut error = None;
    for _ in 0..200 {
        error = socket.emit("data", &"x".repeat(1000)).err();
        if error.is_some() {
            break;
        }
    }
    assert!(error.unwrap().is_slow_client());
    client.is_gone().await;
    server.is_empty().await;
}

#[tokio::test]
async fn a_broadcast_reports_who_was_slow() {
    for config in [SocketIoConfig::new().recovery(Recovery::new()), SocketIoConfig::new()]
        .map(|with| with.max_buffered_bytes(1000).slow_client_policy(SlowClientPolicy::DropPacket))
    {
        let server = serve_config(config).await;
        // It polls once, for its CONNECT, and then no more.
        let slow = Polling::join(server.address).await;
        let slow_id = server.io.sockets()[0].id().clone();
        let (mut fast, _) = WebSocket::join(server.address, "40").await;
        let everyone = server.io.except("nobody");
        let report = everyone.emit_and_report("fill", &"x".repeat(900)).unwrap();
        assert_eq!((report.recipients, report.slow.len()), (2, 0));
        fast.text().await;
        until(|| server.io.sockets().iter().all(|socket| *socket.id() == slow_id || socket.writable())).await;
        let report = everyone.emit_and_report("more", &"x".repeat(200)).unwrap();
        assert_eq!((report.recipients, report.slow), (2, vec![slow_id]));
        drop(slow);
    }
}
