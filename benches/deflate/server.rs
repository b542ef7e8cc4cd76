//! The server that `make bench-deflate` measures. The argument is the level of compression, or `off`. Prints its port.

use axum::{Router, serve::ListenerExt};
use serde_json::Value;
use tokio::net::TcpListener;
use tower_socketio::{
    Ack, Namespace, SocketIo, SocketIoConfig, SocketIoLayer, engine::PerMessageDeflate, extract::Data,
};

async fn echo(Data(argument): Data<Value>) -> Ack<Value> {
    Ack(argument)
}

async fn broadcast(io: SocketIo, Data(argument): Data<Value>) {
    io.emit("b", &argument).ok();
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let level = std::env::args().nth(1).and_then(|level| level.parse().ok());
    let mut config = SocketIoConfig::new().namespace("/", Namespace::new().on("echo", echo).on("broadcast", broadcast));
    if let Some(level) = level {
        config = config.per_message_deflate(PerMessageDeflate::new().level(level));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    let app = Router::new().layer(SocketIoLayer::new(config));
    let listener = listener.tap_io(|tcp| {
        tcp.set_nodelay(true).ok();
    });
    tokio::spawn(async move { axum::serve(listener, app).await }).await?
}
