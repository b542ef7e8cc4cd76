use std::net::SocketAddr;

use axum::{Router, serve::ListenerExt};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tower_socketio::{
    Ack, Args, DisconnectReason, Namespace, SocketIo, SocketIoConfig, SocketIoLayer, SocketRef, extract::Data,
};

/// A server on a port of its own, which ends when this value is dropped.
pub struct TestServer {
    pub address: SocketAddr,
    pub io: SocketIo,
    task: JoinHandle<()>,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TestServer {
    /// Waits until this many sockets are connected.
    pub async fn has_sockets(&self, sockets: usize) {
        super::until(|| self.io.stats().sockets == sockets).await;
    }

    /// Waits until all connections, sockets and rooms have ended.
    pub async fn is_empty(&self) {
        let io = self.io.clone();
        super::until(move || {
            let stats = io.stats();
            stats.connections == 0 && stats.sockets == 0 && io.namespaces().iter().all(|n| n.rooms().is_empty())
        })
        .await;
    }
}

/// Serves an app inside a layer.
pub async fn serve_app(app: Router, config: SocketIoConfig) -> TestServer {
    let layer = SocketIoLayer::new(config);
    let io = layer.io();
    serve(app.layer(layer), io).await
}

/// Serves an app that already has its layer.
pub async fn serve(app: Router, io: SocketIo) -> TestServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    let listener = listener.tap_io(|tcp| tcp.set_nodelay(true).expect("the connection is open"));
    let task = tokio::spawn(async move { axum::serve(listener, service).await.expect("the server runs") });
    TestServer { address, io, task }
}

pub async fn serve_config(config: SocketIoConfig) -> TestServer {
    serve_app(Router::new(), config).await
}

/// Serves one namespace, `/`.
pub async fn serve_namespace(namespace: Namespace) -> TestServer {
    serve_config(SocketIoConfig::new().namespace("/", namespace)).await
}

/// A namespace that echoes events, and reports why its sockets leave.
pub fn echo() -> (Namespace, mpsc::UnboundedReceiver<DisconnectReason>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let namespace = Namespace::new()
        .on("echo", |socket: SocketRef, Data(args): Data<Args>| async move { socket.emit("echo", &args).unwrap() })
        .on("ack", |Data(args): Data<Args>| async move { Ack(args) })
        .on_disconnect(move |reason: DisconnectReason| {
            let sender = sender.clone();
            async move { sender.send(reason).unwrap() }
        });
    (namespace.with_state(()), receiver)
}
