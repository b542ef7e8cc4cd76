//! What `yardstick` measures: an ordinary server, on the port that the last argument names.

use axum::{Router, serve::ListenerExt};
use bytes::Bytes;
use serde_json::Value;
use tokio::net::TcpListener;
use tower_socketio::{Ack, Namespace, SocketIo, SocketIoConfig, SocketIoLayer, SocketRef, extract::Data};

async fn echo(Data(argument): Data<Value>) -> Ack<Value> {
    Ack(argument)
}

async fn echo_bin(Data(argument): Data<Bytes>) -> Ack<Bytes> {
    Ack(argument)
}

async fn join(socket: SocketRef, Data(room): Data<String>) -> Ack<()> {
    socket.join(room);
    Ack(())
}

async fn broadcast(io: SocketIo, Data(argument): Data<Value>) {
    io.to("r").emit("b", &argument).ok();
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().next_back().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let namespace =
        Namespace::new().on("echo", echo).on("echo-bin", echo_bin).on("join", join).on("broadcast", broadcast);
    let config = SocketIoConfig::new().max_payload(10_000_000).namespace("/", namespace);
    let app = Router::new().layer(SocketIoLayer::new(config));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?.tap_io(|tcp| {
        tcp.set_nodelay(true).ok();
    });
    // On a worker, as docs/performance.md advises.
    tokio::spawn(async move { axum::serve(listener, app).await }).await?
}
