//! What `yardstick` measures: an ordinary server. `bench_server [typed] [main] PORT`: with `typed`, events are read into a struct instead of
//! a `serde_json::Value`; with `main`, connections are accepted in `main` instead of on a worker.

use axum::{Router, serve::ListenerExt};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpListener;
use tower_socketio::{Ack, Namespace, SocketIo, SocketIoConfig, SocketIoLayer, SocketRef, extract::Data};

async fn echo(Data(argument): Data<Value>) -> Ack<Value> {
    Ack(argument)
}

/// The argument of an `echo`.
#[derive(Deserialize, Serialize)]
struct Message {
    c: u64,
    n: u64,
    t: String,
}

async fn echo_typed(Data(message): Data<Message>) -> Ack<Message> {
    Ack(message)
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
    let has = |option: &str| std::env::args().any(|argument| argument == option);
    let namespace =
        if has("typed") { Namespace::new().on("echo", echo_typed) } else { Namespace::new().on("echo", echo) };
    let namespace = namespace.on("echo-bin", echo_bin).on("join", join).on("broadcast", broadcast);
    let config = SocketIoConfig::new().max_payload(10_000_000).namespace("/", namespace);
    let app = Router::new().layer(SocketIoLayer::new(config));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?.tap_io(|tcp| {
        tcp.set_nodelay(true).ok();
    });
    let serving = async move { axum::serve(listener, app).await };
    // On a worker, as docs/performance.md advises.
    if has("main") { serving.await } else { tokio::spawn(serving).await? }
}
