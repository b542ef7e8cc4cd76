//! The shutdown of a server: `SocketIo::close` and `SocketIo::drain`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tower_socketio::{
    Ack, DisconnectReason, Namespace, SocketIo, SocketIoConfig, SocketIoLayer, SocketIoService, SocketRef,
    test::{Disconnected, TestClient},
};

use crate::{
    disconnect::{expect, noting},
    support::*,
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn closing_the_server_disconnects_all_clients_and_accepts_new_ones() {
    let (namespace, mut notes) = noting();
    let server = serve_namespace(namespace).await;
    let (mut websocket, id) = WebSocket::join(server.address, "40").await;
    let polling = Polling::join(server.address).await;
    server.io.socket(&id).unwrap().emit("last", &()).unwrap();
    let polls = async {
        polling.expect("41").await;
        polling.expect("6\x1e1").await;
    };
    tokio::join!(polls, server.io.close());
    websocket.expect(r#"42["last"]"#).await;
    websocket.expect("41").await;
    websocket.expect_close().await;
    expect(&mut notes, "server shutting down").await;
    expect(&mut notes, "server shutting down").await;
    server.is_empty().await;
    WebSocket::join(server.address, "40").await;
}

#[tokio::test]
async fn a_client_that_does_not_fetch_its_close_is_aborted() {
    let server = serve_config(SocketIoConfig::new()).await;
    let _polling = Polling::join(server.address).await;
    server.io.close().await;
    assert_eq!(server.io.stats().sockets, 0);
    server.is_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_draining_server_disconnects_gradually_and_rejects_new_clients() {
    let io = SocketIoService::new(SocketIoConfig::new()).io();
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Memory::join(&io).await);
    }
    let begin = tokio::time::Instant::now();
    let draining = tokio::spawn({
        let io = io.clone();
        async move { io.drain(Duration::from_secs(8)).await }
    });
    for seconds in [1, 3, 5, 7] {
        tokio::time::sleep_until(begin + Duration::from_secs(seconds)).await;
        assert_eq!(io.stats().connections, 4 - (seconds as usize).div_ceil(2));
    }
    draining.await.unwrap();
    for mut client in clients {
        // No DISCONNECT is sent, so that the client connects again, to another server.
        assert_eq!(client.packet().await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_when_all_have_left() {
    let io = SocketIoService::new(SocketIoConfig::new()).io();
    let clients = [Memory::join(&io).await, Memory::join(&io).await];
    let begin = tokio::time::Instant::now();
    let draining = tokio::spawn({
        let io = io.clone();
        async move { io.drain(Duration::MAX).await }
    });
    until(|| io.stats().connections == 1).await;
    drop(clients);
    draining.await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    // Connections by `accept` are refused as well.
    let mut late = Memory::open(&io);
    assert_eq!(late.packet().await, None);
    assert_eq!(io.stats().connections, 0);
}

#[tokio::test]
async fn a_drained_server_ends_with_axums_graceful_shutdown() {
    let layer = SocketIoLayer::new(SocketIoConfig::new());
    let io = layer.io();
    let app = axum::Router::new().route("/", axum::routing::get(|| async { "page" })).layer(layer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (begun, beginning) = tokio::sync::oneshot::channel();
    let (end, ending) = tokio::sync::oneshot::channel::<()>();
    let draining = {
        let io = io.clone();
        async move {
            stopped.await.unwrap();
            io.drain(Duration::ZERO).await;
            begun.send(()).unwrap();
            ending.await.unwrap();
        }
    };
    let serving = tokio::spawn(axum::serve(listener, app).with_graceful_shutdown(draining).into_future());
    let (mut websocket, _) = WebSocket::join(address, "40").await;
    stop.send(()).unwrap();
    websocket.expect_close().await;
    soon(beginning).await.unwrap();
    // Other routes still respond. Handshakes are refused.
    get(address, "/").await.is(200, "page");
    get(address, "/socket.io/?EIO=4&transport=polling").await.refused(503, 4, "The server is shutting down");
    assert!(WebSocket::raw(address, "/socket.io/?EIO=4&transport=websocket", &[]).await.is_err());
    end.send(()).unwrap();
    soon(serving).await.unwrap().unwrap();
    assert_eq!(io.stats().connections, 0);
}

fn serve(namespace: Namespace) -> SocketIo {
    SocketIoService::new(SocketIoConfig::new().namespace("/", namespace)).io()
}

/// Runs a test of `close`, and then of `drain`.
async fn end_each(test: impl AsyncFn(bool)) {
    test(true).await;
    test(false).await;
}

async fn end(io: &SocketIo, close: bool) {
    if close { io.close().await } else { io.drain(Duration::ZERO).await }
}

async fn expect_end(client: &mut TestClient, close: bool) {
    let expected = if close { Disconnected::ByServer } else { Disconnected::ConnectionClosed };
    assert_eq!(client.expect_disconnect().await, expected);
}

#[tokio::test(start_paused = true)]
async fn handlers_that_run_may_answer_before_their_connection_is_closed() {
    end_each(async |close| {
        let late_events = Arc::new(AtomicUsize::new(0));
        let count = late_events.clone();
        let io = serve(
            Namespace::new()
                .on("work", async || {
                    sleep(3 * SECOND).await;
                    Ack("done")
                })
                .on("ask", async |socket: SocketRef| {
                    let answer = socket.emit_with_ack::<String>("question", &()).await.unwrap();
                    Ack(answer)
                })
                .on("late", async move || {
                    count.fetch_add(1, Ordering::SeqCst);
                })
                .with_state(()),
        );
        let mut client = TestClient::connect(&io).await.unwrap();
        let (work, ask) = (client.emit_with_ack::<String>("work", &()), client.emit_with_ack::<String>("ask", &()));
        let question = client.next_event().await;
        assert_eq!(client.socket().unwrap().running_events(), 2);
        let ending = tokio::spawn({
            let io = io.clone();
            async move { end(&io, close).await }
        });
        sleep(SECOND).await;
        // New events are not handled, but acks are.
        client.emit("late", &()).await;
        question.ack("yes");
        assert_eq!(ask.await.unwrap(), "yes");
        assert_eq!(work.await.unwrap(), "done");
        expect_end(&mut client, close).await;
        ending.await.unwrap();
        assert_eq!((late_events.load(Ordering::SeqCst), io.stats().sockets, io.stats().panics), (0, 0, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn handlers_of_disconnections_are_waited_for() {
    end_each(async |close| {
        let finished = Arc::new(AtomicUsize::new(0));
        let finish = finished.clone();
        let handler = async move |_: DisconnectReason| {
            sleep(2 * SECOND).await;
            finish.fetch_add(1, Ordering::SeqCst);
        };
        let io = serve(Namespace::new().on_disconnect(handler).with_state(()));
        let _stays = TestClient::connect(&io).await.unwrap();
        // This client leaves before the shutdown, and its connection has ended by then.
        TestClient::connect(&io).await.unwrap().lose_connection().await;
        until(|| io.stats().connections == 1).await;
        let begin = Instant::now();
        end(&io, close).await;
        assert_eq!(finished.load(Ordering::SeqCst), 2);
        assert!(begin.elapsed() < 3 * SECOND, "{:?}", begin.elapsed());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn handlers_that_do_not_end_hold_a_server_up_for_a_bounded_time() {
    end_each(async |close| {
        let io = serve(
            Namespace::new()
                .on("wait", async || std::future::pending::<()>().await)
                .on_disconnect(async || std::future::pending::<()>().await)
                .with_state(()),
        );
        let mut client = TestClient::connect(&io).await.unwrap();
        client.emit("wait", &()).await;
        until(|| client.socket().is_some_and(|socket| socket.running_events() == 1)).await;
        let begin = Instant::now();
        end(&io, close).await;
        assert!((4 * SECOND..6 * SECOND).contains(&begin.elapsed()), "{:?}", begin.elapsed());
        expect_end(&mut client, close).await;
        assert_eq!(io.stats().sockets, 0);
    })
    .await;
}

/// A handler may close its own server.
#[tokio::test(start_paused = true)]
async fn a_handler_may_close_its_own_server_in_a_task() {
    let io = serve(
        Namespace::new()
            .on("stop", async |io: SocketIo| {
                tokio::spawn(async move { io.close().await });
                Ack("stopping")
            })
            .with_state(()),
    );
    let mut client = TestClient::connect(&io).await.unwrap();
    assert_eq!(client.emit_with_ack::<String>("stop", &()).await.unwrap(), "stopping");
    expect_end(&mut client, true).await;
}

/// Measures how long it takes to close a server with so many connections, each of which has joined a namespace.
async fn time_to_end(connections: usize, end: impl AsyncFn(&SocketIo)) -> Duration {
    let io = SocketIoService::new(SocketIoConfig::new()).io();
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(Memory::join(&io).await);
    }
    let begin = time_on_processor();
    end(&io).await;
    assert_eq!((io.stats().connections, io.stats().sockets), (0, 0));
    time_on_processor() - begin
}

/// Returns the CPU time of this thread.
fn time_on_processor() -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(statistics.split(' ').next().unwrap().parse().unwrap())
}

/// With quadratic time, the ratio would be 64.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_server_takes_time_in_proportion_to_its_connections() {
    let drain = async |io: &SocketIo| {
        let begin = tokio::time::Instant::now();
        io.drain(Duration::from_secs(2)).await;
        assert!(begin.elapsed() <= Duration::from_millis(2_010), "{:?}", begin.elapsed());
    };
    let close = async |io: &SocketIo| io.close().await;
    let few = time_to_end(2_500, drain).await + time_to_end(2_500, close).await;
    let many = time_to_end(20_000, drain).await + time_to_end(20_000, close).await;
    assert!(many < few * 8 * 3, "{few:?} for 2,500, and {many:?} for 20,000");
}

/// A server may be closed from a thread without a runtime.
#[test]
fn a_server_may_be_ended_on_a_thread_without_a_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let io = SocketIoService::new(SocketIoConfig::new()).io();
    // There is neither a connection nor a runtime yet.
    block_on(io.close());
    let mut client = runtime.block_on(Memory::join(&io));
    block_on(io.close());
    runtime.block_on(async { client.expect("41").await });
    let mut client = runtime.block_on(Memory::join(&io));
    block_on(io.drain(Duration::from_millis(10)));
    assert_eq!(runtime.block_on(client.packet()), None);
    assert_eq!(io.stats().connections, 0);
}
