//! A counter whose clients recover missed ticks: `cargo run -p example-recovery [-- ADDRESS]`, then open the address, and cut the
//! connection with the button.
//!
//! A client that reconnects within two minutes keeps its socket and rooms, and gets the ticks that it missed.

use std::time::Duration;

use axum::{Router, response::Html, routing::get};
use tower_socketio::{Namespace, RecoveryConfig, SocketIo, SocketIoConfig, SocketIoLayer, SocketRef};

async fn joined(socket: SocketRef) {
    println!("{} recovered: {}", socket.id(), socket.is_recovered());
    // A recovered socket is still in its rooms.
    if !socket.is_recovered() {
        socket.join("counter");
    }
}

async fn count(io: SocketIo) {
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    for number in 1u64.. {
        every_second.tick().await;
        io.to("counter").emit("tick", &number).ok();
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let recovery = RecoveryConfig::new().max_disconnection(Duration::from_secs(120));
    let config = SocketIoConfig::new().recovery(recovery).namespace("/", Namespace::new().on_connect(joined));
    let layer = SocketIoLayer::new(config);
    tokio::spawn(count(layer.io()));
    let app = Router::new().route("/", get(|| async { Html(include_str!("../index.html")) })).layer(layer);

    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:3000".into());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await
}
