//! What ends with a socket: waiting for its end, and tasks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::http::StatusCode;
use tokio::{sync::mpsc, time::timeout};
use tower_socketio::{
    Ack, DisconnectReason, Namespace, RecoveryConfig, SocketIo, SocketIoConfig, SocketIoService, SocketRef,
    extract::Data, test::TestClient,
};

use crate::support::*;

fn serve_one(config: SocketIoConfig, namespace: Namespace) -> SocketIo {
    SocketIoService::new(config.namespace("/", namespace)).io()
}

/// Adds to a counter while it exists.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::SeqCst);
        Self(counter.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn closed_waits_for_every_kind_of_end() {
    let io = serve_one(SocketIoConfig::new(), Namespace::new());
    type End = fn(TestClient) -> std::pin::Pin<Box<dyn Future<Output = ()>>>;
    let ends: [End; 3] = [
        |client| Box::pin(client.disconnect()),
        |client| Box::pin(client.lose_connection()),
        |client| Box::pin(async move { client.socket().unwrap().disconnect() }),
    ];
    for end in ends {
        let client = TestClient::connect(&io).await.unwrap();
        let socket = client.socket().unwrap();
        socket.join("room");
        let (mut first, second) = (Box::pin(socket.closed()), socket.closed());
        assert!(futures_util::poll!(&mut first).is_pending());
        end(client).await;
        soon(first).await;
        soon(second).await;
        assert!(socket.rooms().is_empty() && io.to("room").socket_count() == 0);
        // It has ended before.
        soon(socket.closed()).await;
    }
}

#[tokio::test]
async fn closed_keeps_no_socket_alive() {
    let io = serve_one(SocketIoConfig::new(), Namespace::new());
    let client = TestClient::connect(&io).await.unwrap();
    let alive = Arc::new(());
    let socket = client.socket().unwrap();
    socket.on("event", {
        let alive = alive.clone();
        move || {
            let _ = &alive;
            async {}
        }
    });
    let closed = socket.closed();
    drop(socket);
    client.disconnect().await;
    until(|| Arc::strong_count(&alive) == 1).await;
    soon(closed).await;
}

#[tokio::test]
async fn a_task_of_a_socket_ends_with_it() {
    let running = Arc::new(AtomicUsize::new(0));
    let (send, mut seen) = mpsc::unbounded_channel();
    let namespace = Namespace::new()
        .on_connect({
            let running = running.clone();
            async move |socket: SocketRef| {
                let counted = Counted::new(&running);
                socket.spawn(async move {
                    let _counted = counted;
                    std::future::pending::<()>().await;
                });
            }
        })
        .on("task", async move |socket: SocketRef, Data(text): Data<String>| {
            let send = send.clone();
            socket.spawn(async move {
                tokio::task::yield_now().await;
                send.send(text).unwrap();
            });
            Ack(())
        });
    let io = serve_one(SocketIoConfig::new(), namespace);
    let client = TestClient::connect(&io).await.unwrap();
    let other = TestClient::connect(&io).await.unwrap();
    assert_eq!(running.load(Ordering::SeqCst), 2);
    client.emit_with_ack::<()>("task", "completed").await.unwrap();
    assert_eq!(seen.recv().await.unwrap(), "completed");
    let socket = client.socket().unwrap();
    client.disconnect().await;
    until(|| running.load(Ordering::SeqCst) == 1).await;
    // A task of a socket that has left does not run.
    let task = socket.spawn(std::future::pending());
    soon(task).await.unwrap();
    drop(other);
    until(|| running.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn a_task_ends_if_the_client_is_rejected() {
    let running = Arc::new(AtomicUsize::new(0));
    let joined = {
        let running = running.clone();
        async move |socket: SocketRef| {
            let counted = Counted::new(&running);
            socket.spawn(async move {
                let _counted = counted;
                std::future::pending::<()>().await;
            });
            StatusCode::FORBIDDEN
        }
    };
    let io = serve_one(SocketIoConfig::new(), Namespace::new().on_connect(joined));
    assert!(TestClient::connect(&io).await.unwrap_err().is_refused());
    until(|| running.load(Ordering::SeqCst) == 0).await;
}

/// A client that is recovered gets another socket.
#[tokio::test]
async fn a_lost_socket_is_closed_although_its_client_may_return() {
    let config = SocketIoConfig::new().recovery(RecoveryConfig::default());
    let io = serve_one(config, Namespace::new());
    let client = TestClient::connect(&io).await.unwrap();
    let socket = client.socket().unwrap();
    let closed = socket.closed();
    let client = client.reconnect().await.unwrap();
    assert!(client.is_recovered());
    soon(closed).await;
    let again = client.socket().unwrap();
    assert_eq!(again.id(), socket.id());
    timeout(Duration::from_millis(1), again.closed()).await.unwrap_err();
}

#[tokio::test]
async fn closed_does_not_wait_for_on_disconnect() {
    let (go, mut gone) = mpsc::channel::<()>(1);
    let left = async move |_: DisconnectReason| {
        go.send(()).await.unwrap();
        std::future::pending::<()>().await;
    };
    let io = serve_one(SocketIoConfig::new(), Namespace::new().on_disconnect(left));
    let client = TestClient::connect(&io).await.unwrap();
    let closed = client.socket().unwrap().closed();
    client.disconnect().await;
    soon(closed).await;
    soon(gone.recv()).await.unwrap();
}
