//! Events that are declared once: `cargo run -p example-typed-events [-- ADDRESS]`.
//!
//! With `--export` it prints the TypeScript that `client.ts` imports as `events.ts`, with `--asyncapi` the AsyncAPI document.

use axum::Router;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_socketio::{
    Ack, EventError, Namespace, SocketIoConfig, SocketIoLayer, SocketRef,
    typed::{AsyncApi, Fallible, TypeScript, Typed},
};
use ts_rs::TS;

/// Where a piece stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
struct Position {
    x: u8,
    y: u8,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, Serialize, TS, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Turn {
    White,
    Black,
}

tower_socketio::events! {
    /// Events that the server emits.
    pub(crate) emit ServerToClientEvents {
        /// A user has sat down at the board.
        "joined" => Joined { user: String },
        /// A piece has moved.
        "moved" => Moved { from: Position, to: Position, next: Turn },
        /// Asks for a name.
        "who are you" => WhoAreYou -> String,
    }
    /// Events that clients emit.
    pub(crate) on ClientToServerEvents {
        /// Sits down at the board; the server asks for the name.
        "join" => Join,
        /// Moves a piece, and answers whose turn it is.
        "move" => Move { from: Position, to: Position } -> Fallible<Turn>,
        /// Answers how far a piece would go.
        "distance" => Distance { from: Position, to: Position } -> u8,
    }
}

async fn join(socket: SocketRef, Typed(Join): Typed<Join>) {
    if let Ok(user) = socket.emit_event_with_ack(&WhoAreYou).await {
        socket.within("board").emit_event(&Joined { user }).ok();
    }
}

async fn on_move(socket: SocketRef, Typed(Move { from, to }): Typed<Move>) -> Result<Ack<Turn>, EventError> {
    if to.x > 7 || to.y > 7 {
        return Err(EventError::new("off the board"));
    }
    let next = if from.y < to.y { Turn::Black } else { Turn::White };
    socket.to("board").emit_event(&Moved { from, to, next })?;
    Ok(Ack(next))
}

async fn distance(Typed(Distance { from, to }): Typed<Distance>) -> Ack<u8> {
    Ack(from.x.abs_diff(to.x).max(from.y.abs_diff(to.y)))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("--export") {
        print!("{}", TypeScript::new().events::<ServerToClientEvents>().events::<ClientToServerEvents>());
        return Ok(());
    }
    if argument.as_deref() == Some("--asyncapi") {
        let document = AsyncApi::new("Board", "1.0.0").server("local", "ws://127.0.0.1:3000/socket.io/");
        print!("{}", document.events::<ServerToClientEvents>("/").events::<ClientToServerEvents>("/"));
        return Ok(());
    }
    let board = Namespace::new()
        .on_connect(async |socket: SocketRef| socket.join("board"))
        .on_event(join)
        .on_event(on_move)
        .on_event(distance);
    let layer = SocketIoLayer::new(SocketIoConfig::new().namespace("/", board));
    let listener = tokio::net::TcpListener::bind(argument.unwrap_or("127.0.0.1:3000".into())).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, Router::new().layer(layer)).await
}
