//! A chat with rooms: `cargo run -p example-chat [-- ADDRESS]`, then open the address in two browsers. With the address
//! `0.0.0.0:3000`, phones in the same network can take part.
//!
//! A form sets the user's name in the session, and layers of the namespace `/chat` read it from there.

mod chat;
mod invite;
mod rooms;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    Json, Router,
    extract::Request,
    http::StatusCode,
    middleware::{Next, from_fn},
    response::{Html, Response},
    routing::{get, post},
};
use tower_sessions::{MemoryStore, Session, SessionManagerLayer};
use tower_socketio::{SocketIoConfig, SocketIoLayer};

use crate::rooms::{Rooms, User};

const MAX_NAME: usize = 24;

async fn page() -> Html<&'static str> {
    Html(include_str!("../index.html"))
}

async fn login(session: Session, Json(name): Json<String>) -> Result<Json<User>, (StatusCode, &'static str)> {
    static USERS: AtomicU64 = AtomicU64::new(0);
    let name = name.trim().to_owned();
    if name.is_empty() || name.chars().count() > MAX_NAME {
        return Err((StatusCode::UNPROCESSABLE_ENTITY, "a name has 1 to 24 characters"));
    }
    let user = User { id: USERS.fetch_add(1, Ordering::Relaxed), name };
    let saved = session.insert("user", &user).await;
    saved.map(|()| Json(user)).map_err(|_| (StatusCode::INTERNAL_SERVER_ERROR, "the session was not saved"))
}

async fn whoami(session: Session) -> Json<Option<User>> {
    Json(session.get("user").await.ok().flatten())
}

async fn logout(session: Session) -> StatusCode {
    match session.flush().await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A layer that rejects clients without a name. It works on HTTP routes, too.
async fn require_user(
    session: Session,
    mut request: Request,
    next: Next,
) -> Result<Response, (StatusCode, &'static str)> {
    let user: Option<User> = session.get("user").await.ok().flatten();
    request.extensions_mut().insert(user.ok_or((StatusCode::UNAUTHORIZED, "choose a name first"))?);
    Ok(next.run(request).await)
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:3000".into());
    let listener = tokio::net::TcpListener::bind(address).await?;

    let sessions = SessionManagerLayer::new(MemoryStore::default()).with_secure(false);
    let rooms = Arc::new(Rooms::new(["lobby", "garden", "kitchen"]));
    let chat = chat::namespace(rooms).layer(from_fn(require_user)).layer(sessions.clone());
    let app = Router::new()
        .route("/", get(page))
        .route("/user", get(whoami).post(login))
        .route("/logout", post(logout))
        .route("/invite", get(invite::invite))
        .with_state(listener.local_addr()?)
        .layer(sessions)
        .layer(SocketIoLayer::new(SocketIoConfig::new().namespace("/chat", chat)));

    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await
}
