//! A client that does not read has bounded cost, and does not affect other clients.

use std::{
    cell::Cell,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{Sink, Stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::{Semaphore, mpsc},
    time::Instant,
};
use tokio_util::sync::PollSemaphore;
use tower_socketio::{
    DisconnectReason, Namespace, RecoveryConfig, SlowClientPolicy, SocketIo, SocketIoConfig, SocketIoService,
    SocketRef,
    engine::{Packet, PacketType, TransportError},
    extract::Data,
    test::TestClient,
};

use crate::support::*;

const LIMIT: usize = 100_000;

/// Connects a client that joins a namespace and then reads nothing.
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
    while slow.is_connected() {
        server.io.emit("data", &payload).unwrap();
        assert!(slow.buffered_bytes() <= LIMIT + 1000);
        sent += 1;
        assert!(sent < 100_000, "the client is never let go");
        client.expect(&format!(r#"42["data","{payload}"]"#)).await;
    }
    assert_eq!(soon(reasons.recv()).await, Some(DisconnectReason::SlowClient));
    assert_eq!(server.io.stats().slow_clients, 1);
    until(|| told.load(Ordering::SeqCst) == 1).await;
    client.is_quiet().await;
    drop(client);
    server.is_empty().await;
}

#[tokio::test]
async fn packets_can_be_dropped_and_the_caller_gets_an_error() {
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
    assert!(socket.is_connected());
    // The packets that were accepted arrive.
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
async fn a_broadcast_reports_slow_recipients() {
    for config in [SocketIoConfig::new().recovery(RecoveryConfig::new()), SocketIoConfig::new()]
        .map(|with| with.max_buffered_bytes(1000).slow_client_policy(SlowClientPolicy::DropPacket))
    {
        let server = serve_config(config).await;
        // The client polls once, for its CONNECT, and then no more.
        let slow = Polling::join(server.address).await;
        let slow_id = server.io.sockets()[0].id().clone();
        let (mut fast, _) = WebSocket::join(server.address, "40").await;
        let everyone = server.io.except("nobody");
        let report = everyone.emit_with_report("fill", &"x".repeat(900)).unwrap();
        assert_eq!((report.recipients, report.slow.len()), (2, 0));
        fast.text().await;
        until(|| server.io.sockets().iter().all(|socket| *socket.id() == slow_id || socket.is_writable())).await;
        let report = everyone.emit_with_report("more", &"x".repeat(200)).unwrap();
        assert_eq!((report.recipients, report.slow), (2, vec![slow_id]));
        drop(slow);
    }
}

/// A namespace that emits a burst from one handler, before the transport can write any of it.
fn bursting() -> Namespace {
    async fn burst(socket: SocketRef, Data((count, size)): Data<(u32, usize)>) {
        let payload = "x".repeat(size);
        for number in 0..count {
            socket.emit("n", &(number, &payload)).unwrap();
        }
    }
    Namespace::new().on("burst", burst).with_state(())
}

#[tokio::test]
async fn a_burst_of_one_handler_arrives_whole() {
    let server = serve_namespace(bursting()).await;
    for (count, size) in [(10_000, 100), (5, 400_000)] {
        let payload = "x".repeat(size);
        let (mut client, _) = WebSocket::join(server.address, "40").await;
        client.say(&format!(r#"42["burst",{count},{size}]"#)).await;
        for number in 0..count {
            client.expect(&format!(r#"42["n",{number},"{payload}"]"#)).await;
        }
        let client = Polling::join(server.address).await;
        client.say(&format!(r#"42["burst",{count},{size}]"#)).await;
        let mut received = 0;
        while received < count {
            let reply = client.poll().await;
            for packet in reply.text().split('\u{1e}') {
                assert_eq!(packet, format!(r#"42["n",{received},"{payload}"]"#));
                received += 1;
            }
        }
    }
    assert_eq!(server.io.stats().slow_clients, 0);
}

#[tokio::test]
async fn a_burst_of_on_connect_arrives_whole() {
    let namespace = Namespace::new().on_connect(async |socket: SocketRef| {
        for number in 0..10_000 {
            socket.emit("n", &(number, "x".repeat(100))).unwrap();
        }
    });
    let server = serve_namespace(namespace.with_state(())).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    for number in 0..10_000 {
        client.expect(&format!(r#"42["n",{number},"{}"]"#, "x".repeat(100))).await;
    }
    assert_eq!(server.io.stats().slow_clients, 0);
}

/// With a round trip of 80 ms, 16 packets per poll would be 200 per second.
#[tokio::test]
async fn a_poll_carries_a_whole_backlog() {
    let server = serve_namespace(bursting()).await;
    let client = Polling::join(server.address).await;
    client.say(r#"42["burst",2000,100]"#).await;
    assert_eq!(client.poll().await.text().split('\u{1e}').count(), 2000);
    // The Python client refuses more than 16 packets.
    for agent in ["python-requests/2.32.3", "Python/3.11 aiohttp/3.9.5"] {
        let target = "/socket.io/?EIO=4&transport=polling";
        let open = send(server.address, Method::GET, target, &[("user-agent", agent)], "").await;
        let sid = json(open.text())["sid"].as_str().unwrap().to_owned();
        let client = Polling { sid, ..Polling::open(server.address).await };
        client.say("40").await;
        client.poll().await;
        client.say(r#"42["burst",20,1]"#).await;
        assert_eq!(client.poll().await.text().split('\u{1e}').count(), 16);
        assert_eq!(client.poll().await.text().split('\u{1e}').count(), 4);
    }
    let server = serve_config(SocketIoConfig::new().max_poll_packets(3).namespace("/", bursting())).await;
    let client = Polling::join(server.address).await;
    client.say(r#"42["burst",4,1]"#).await;
    assert_eq!(client.poll().await.text().split('\u{1e}').count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_ping_precedes_queued_packets() {
    let config = SocketIoConfig::new().slow_client_timeout(Duration::from_secs(60));
    let io = SocketIoService::new(config).io();
    let mut client = TestClient::builder(&io).answer_pings(false).connect().await.unwrap();
    client.stop_reading();
    for number in 0..100 {
        client.socket().unwrap().emit("n", &number).unwrap();
    }
    tokio::time::sleep(Duration::from_secs(26)).await;
    client.resume_reading();
    let mut before = 0;
    while client.next_raw().await.unwrap().packet_type() != PacketType::Ping {
        before += 1;
    }
    assert!(before <= 1, "{before} packets precede the ping");
}

/// A transport that writes one packet for each permit.
struct Drip {
    from_client: mpsc::UnboundedReceiver<Packet>,
    permits: PollSemaphore,
}

impl Stream for Drip {
    type Item = Result<Packet, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.from_client.poll_recv(cx).map(|packet| packet.map(Ok))
    }
}

impl Sink<Packet> for Drip {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        ready!(self.permits.poll_acquire(cx)).unwrap().forget();
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, _: Packet) -> Result<(), TransportError> {
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_is_slow_when_nothing_has_been_written_to_it_for_ten_seconds() {
    let (sender, mut reasons) = mpsc::unbounded_channel();
    let namespace = Namespace::new().on_disconnect(move |reason: DisconnectReason| {
        let sender = sender.clone();
        async move { sender.send((reason, Instant::now())).unwrap() }
    });
    let config = SocketIoConfig::new().ping_interval(Duration::from_secs(1000));
    let io = SocketIoService::new(config.namespace("/", namespace.with_state(()))).io();
    let permits = Arc::new(Semaphore::new(2));
    let (client, from_client) = mpsc::unbounded_channel();
    let (request, ()) = http::Request::new(()).into_parts();
    let transport = Drip { from_client, permits: PollSemaphore::new(permits.clone()) };
    let served = io.clone();
    tokio::spawn(async move { served.accept(request, transport).await });
    client.send(Packet::message("0")).unwrap();
    until(|| !io.sockets().is_empty()).await;
    let socket = io.sockets().remove(0);
    for number in 0..100 {
        socket.emit("n", &number).unwrap();
    }
    // Each written packet extends the timeout by ten seconds.
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert!(socket.is_connected());
        permits.add_permits(1);
    }
    tokio::task::yield_now().await;
    let last = Instant::now();
    let (reason, at) = reasons.recv().await.unwrap();
    assert_eq!((reason, (at - last).as_secs()), (DisconnectReason::SlowClient, 10));
    assert_eq!(io.stats().slow_clients, 1);
}

#[tokio::test]
async fn a_websocket_that_is_not_read_is_slow_although_little_waits() {
    let (namespace, mut reasons) = echo();
    let config = SocketIoConfig::new().slow_client_timeout(Duration::from_millis(50)).namespace("/", namespace);
    let server = serve_config(config).await;
    let _stream = deaf(&server).await;
    // More than the kernel's buffers hold, and less than the limit.
    for _ in 0..10 {
        server.io.emit("n", &"x".repeat(1_000_000)).unwrap();
    }
    assert_eq!(soon(reasons.recv()).await, Some(DisconnectReason::SlowClient));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_everything_is_never_slow() {
    let config = SocketIoConfig::new().slow_client_timeout(Duration::from_secs(1));
    let io = SocketIoService::new(config.ping_interval(Duration::from_secs(1000))).io();
    let mut client = TestClient::connect(&io).await.unwrap();
    for number in 0..10 {
        client.socket().unwrap().emit("n", &number).unwrap();
        assert_eq!(client.next::<i32>("n").await, number);
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    // A client that does not read is not slow while no packet waits for it.
    client.stop_reading();
    tokio::time::sleep(Duration::from_secs(10)).await;
    client.resume_reading();
    assert!(client.socket().unwrap().is_connected());
    assert_eq!(io.stats().slow_clients, 0);
}

#[tokio::test]
async fn a_polling_client_is_slow_when_it_does_not_poll_while_much_waits() {
    let (namespace, mut reasons) = echo();
    let config = SocketIoConfig::new().slow_client_timeout(Duration::from_millis(50)).namespace("/", namespace);
    let server = serve_config(config).await;
    // A small backlog may wait until the heartbeat closes the session.
    let little = Polling::join(server.address).await;
    server.io.emit("n", &"x".repeat(1000)).unwrap();
    let much = Polling::join(server.address).await;
    let much_id = server.io.sockets().iter().find(|socket| socket.buffered_bytes() == 0).unwrap().id().clone();
    server.io.to(&*much_id).emit("n", &"x".repeat(100_000)).unwrap();
    assert_eq!(soon(reasons.recv()).await, Some(DisconnectReason::SlowClient));
    much.is_gone().await;
    assert!(little.poll().await.text().starts_with("42"));
    assert_eq!(server.io.stats().slow_clients, 1);
}

#[tokio::test(start_paused = true)]
async fn on_slow_client_is_called_once_for_each_client_and_never_inside_of_an_emit() {
    let calls = Arc::new(AtomicUsize::new(0));
    let (count, io) = (calls.clone(), Arc::new(OnceLock::<SocketIo>::new()));
    let emits = io.clone();
    thread_local! {
        static EMITTING: Cell<bool> = const { Cell::new(false) };
    }
    let emit = |io: &SocketIo| {
        EMITTING.set(true);
        io.emit("n", &"x".repeat(500)).unwrap();
        EMITTING.set(false);
    };
    let config = SocketIoConfig::new()
        .max_buffered_bytes(1000)
        .slow_client_policy(SlowClientPolicy::DropPacket)
        .on_slow_client(move |_| {
            assert!(!EMITTING.get(), "the hook runs inside of an emit");
            count.fetch_add(1, Ordering::SeqCst);
            // Both clients are slow, so that this would recurse without end if it ran inside of the emit.
            emits.get().unwrap().emit("slow", &"x".repeat(500)).unwrap();
        });
    let io = io.get_or_init(|| SocketIoService::new(config).io());
    let clients = [TestClient::connect(io).await.unwrap(), TestClient::connect(io).await.unwrap()];
    for round in 1..=3 {
        clients.iter().for_each(TestClient::stop_reading);
        (0..100).for_each(|_| emit(io));
        until(|| calls.load(Ordering::SeqCst) == 2 * round).await;
        assert_eq!(io.stats().slow_clients, 2 * round as u64);
        clients.iter().for_each(TestClient::resume_reading);
        for client in &clients {
            client.socket().unwrap().drained().await;
        }
    }
    assert_eq!(io.stats().panics, 0);
}

#[tokio::test]
async fn on_slow_client_is_called_once_while_on_connect_runs() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let namespace = Namespace::new().on_connect(async |socket: SocketRef| {
        let failed = (0..20_000).filter(|number| socket.emit("n", number).is_err()).count();
        assert!(failed > 10_000);
    });
    let config = SocketIoConfig::new()
        .max_buffered_bytes(100_000)
        .on_slow_client(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        })
        .namespace("/", namespace.with_state(()));
    let server = serve_config(config).await;
    let mut client = WebSocket::open(server.address).await;
    client.say("40").await;
    client.expect_close().await;
    until(|| calls.load(Ordering::SeqCst) == 1).await;
    assert_eq!((server.io.stats().slow_clients, server.io.stats().panics), (1, 0));
}

/// The budget is shared by all clients. Those whose packets have waited for the longest time are closed first.
#[tokio::test(start_paused = true)]
async fn send_buffers_are_limited_together_and_the_slowest_are_closed_first() {
    let config = SocketIoConfig::new().memory_budget(2_000_000).slow_client_timeout(Duration::MAX);
    let io = SocketIoService::new(config).io();
    let mut clients = Vec::new();
    for _ in 0..20 {
        let client = TestClient::connect(&io).await.unwrap();
        client.stop_reading();
        clients.push(client);
    }
    // Data that clients share counts once.
    for _ in 0..5 {
        io.emit("n", &"x".repeat(150_000)).unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(io.stats().sockets, 20);
    let sockets: Vec<_> = clients.iter().map(|client| client.socket().unwrap()).collect();
    for socket in sockets.iter().rev() {
        socket.emit("n", &"x".repeat(100_000)).ok();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    until(|| io.stats().slow_clients > 0).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let connected = sockets.iter().filter(|socket| socket.is_connected()).count();
    assert!((1..=12).contains(&connected), "{connected} are left");
    // The closed clients are the first ones.
    assert!(sockets[20 - connected..].iter().all(|socket| socket.is_connected()));
}

/// One task writes a broadcast to many clients. It waits for none of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read_do_not_delay_a_broadcast_to_others() {
    let config = SocketIoConfig::new().max_buffered_bytes(LIMIT);
    let server = serve_config(config.namespace("/", Namespace::new())).await;
    let (mut readers, mut deaf_ones) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        deaf_ones.push(deaf(&server).await);
        readers.push(WebSocket::join(server.address, "40").await.0);
    }
    let text = "x".repeat(50_000);
    // More than the kernel's buffers and the outbox take.
    let mut round = 0;
    while server.io.stats().sockets > readers.len() {
        assert!(round < 1_000, "{} are left", server.io.stats().sockets);
        server.io.emit("n", &(round, &text)).unwrap();
        for reader in &mut readers {
            reader.expect(&format!(r#"42["n",{round},"{text}"]"#)).await;
        }
        round += 1;
    }
    assert!(round > 2);
}
