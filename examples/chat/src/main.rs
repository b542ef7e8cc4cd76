//! A chat with rooms: `cargo run -p example-chat [-- ADDRESS]`, then open the address in two browsers.
//!
//! A form sets the user's name in the session, and layers of the namespace `/chat` read it from there.

use std::collections::BTreeSet;

use axum::{
    Extension, Json, Router,
    extract::Request,
    http::StatusCode,
    middleware::{Next, from_fn},
    response::{Html, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tower_sessions::{MemoryStore, Session, SessionManagerLayer};
use tower_socketio::{
    Ack, EventError, Namespace, SocketIoConfig, SocketIoLayer, SocketRef, extract::Data, operators::BroadcastOperator,
};

/// The name of the user. [`require_name`] sets it on the socket.
#[derive(Clone, Serialize, Deserialize)]
struct Name(String);

/// The room of a socket, which is in one room at a time.
#[derive(Clone)]
struct CurrentRoom(String);

const ROOMS: [&str; 3] = ["lobby", "garden", "kitchen"];
const MAX_NAME: usize = 24;
const MAX_MESSAGE: usize = 2_000;

// HTTP: the page and the login.

async fn page() -> Html<&'static str> {
    Html(include_str!("../index.html"))
}

async fn login(session: Session, Json(Name(name)): Json<Name>) -> Result<Json<Name>, (StatusCode, &'static str)> {
    let name = Name(name.trim().to_owned());
    if name.0.is_empty() || name.0.chars().count() > MAX_NAME {
        return Err((StatusCode::UNPROCESSABLE_ENTITY, "a name has 1 to 24 characters"));
    }
    let saved = session.insert("name", &name).await;
    saved.map(|()| Json(name)).map_err(|_| (StatusCode::INTERNAL_SERVER_ERROR, "the session was not saved"))
}

async fn whoami(session: Session) -> Json<Option<Name>> {
    Json(session.get("name").await.ok().flatten())
}

async fn logout(session: Session) -> StatusCode {
    match session.flush().await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A layer that rejects clients without a name. It works on HTTP routes, too.
async fn require_name(
    session: Session,
    mut request: Request,
    next: Next,
) -> Result<Response, (StatusCode, &'static str)> {
    let name: Option<Name> = session.get("name").await.ok().flatten();
    request.extensions_mut().insert(name.ok_or((StatusCode::UNAUTHORIZED, "choose a name first"))?);
    Ok(next.run(request).await)
}

// The namespace.

async fn joined(socket: SocketRef) {
    socket.emit("rooms", &ROOMS).ok();
    enter(&socket, ROOMS[0]);
}

async fn join(socket: SocketRef, Data(room): Data<String>) -> Result<Ack<()>, EventError> {
    if !ROOMS.contains(&room.as_str()) {
        return Err(EventError::new("there is no such room"));
    }
    leave(&socket);
    enter(&socket, &room);
    Ok(Ack(()))
}

async fn message(
    socket: SocketRef,
    Extension(Name(name)): Extension<Name>,
    Data(text): Data<String>,
) -> Result<Ack<()>, EventError> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_MESSAGE {
        return Err(EventError::new("a message has 1 to 2000 bytes"));
    }
    if let Some(CurrentRoom(room)) = socket.extensions().get() {
        socket.within(room).emit("message", &(name, text))?;
    }
    Ok(Ack(()))
}

async fn typing(socket: SocketRef, Extension(Name(name)): Extension<Name>, Data(is_typing): Data<bool>) {
    if let Some(CurrentRoom(room)) = socket.extensions().get() {
        // Volatile: slow clients need not get it.
        socket.to(room).volatile().emit("typing", &(name, is_typing)).ok();
    }
}

async fn leaving(socket: SocketRef) {
    leave(&socket);
}

fn enter(socket: &SocketRef, room: &str) {
    socket.join(room);
    socket.extensions().insert(CurrentRoom(room.to_owned()));
    announce(&socket.within(room));
}

fn leave(socket: &SocketRef) {
    if let Some(CurrentRoom(room)) = socket.extensions().remove() {
        socket.leave(room.as_str());
        announce(&socket.to(room));
    }
}

/// Emits the names of the users in a room to all of them.
fn announce(room: &BroadcastOperator) {
    let name = |socket: &SocketRef| socket.extensions().get().map(|Name(name)| name);
    let names: BTreeSet<String> = room.sockets().iter().filter_map(name).collect();
    room.emit("names", &names).ok();
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let sessions = SessionManagerLayer::new(MemoryStore::default()).with_secure(false);
    let chat = Namespace::new()
        .on_connect(joined)
        .on("join", join)
        .on("message", message)
        .on("typing", typing)
        .on_disconnecting(leaving)
        .layer(from_fn(require_name))
        .layer(sessions.clone());
    let layer = SocketIoLayer::new(SocketIoConfig::new().namespace("/chat", chat));
    let app = Router::new()
        .route("/", get(page))
        .route("/name", get(whoami).post(login))
        .route("/logout", post(logout))
        .layer(sessions)
        .layer(layer);

    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:3000".into());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await
}
