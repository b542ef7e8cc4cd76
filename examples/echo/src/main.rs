//! Acknowledges each event `echo` with its arguments: `cargo run -p example-echo [-- ADDRESS]`.

use axum::Router;
use tower_socketio::{Ack, Args, Namespace, SocketIoConfig, SocketIoLayer, extract::Data};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let echo = Namespace::new().on("echo", async |Data(args): Data<Args>| Ack(args));
    let layer = SocketIoLayer::new(SocketIoConfig::new().namespace("/", echo));
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:3000".into());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, Router::new().layer(layer)).await
}
