//! An Engine.IO server without Socket.IO: it sends each message back.
//!
//! `cargo run -p example-engine-echo`, then, with `npm install engine.io-client`:
//!
//! ```js
//! import { Socket } from "engine.io-client";
//!
//! const socket = new Socket("ws://127.0.0.1:3000");
//! socket.on("open", () => socket.send("hello"));
//! socket.on("message", (message) => console.log(message));
//! ```

use axum::Router;
use tower_socketio::engine::{CloseReason, EngineIoConfig, EngineIoLayer, EngineSocket, Message, SessionHandler};

struct Echo(EngineSocket);

impl SessionHandler for Echo {
    fn message(&mut self, message: Message) {
        self.0.send(message).ok();
    }

    fn closed(&mut self, reason: CloseReason) {
        println!("closed: {reason}");
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}/engine.io/", listener.local_addr()?);
    let config = EngineIoConfig::new().allow_eio3(true);
    axum::serve(listener, Router::new().layer(EngineIoLayer::new(config, Echo))).await
}
