//! A namespace that requires a login, with the layers of axum-login: `cargo run -p example-auth [-- ADDRESS]`.
//!
//! `POST /login` with `{"name":"ada","password":"lovelace"}` sets a cookie, with which clients can join `/members`.

use axum::{Json, Router, http::StatusCode, routing::post};
use axum_login::{AuthManagerLayerBuilder, AuthSession, AuthUser, AuthnBackend, login_required};
use serde::Deserialize;
use tower_sessions::{MemoryStore, SessionManagerLayer};
use tower_socketio::{Ack, Namespace, SocketIoConfig, SocketIoLayer, SocketRef, extract::FromHandshake};

#[derive(Debug, Clone)]
struct Member {
    id: u64,
    name: &'static str,
    password: &'static str,
}

impl AuthUser for Member {
    type Id = u64;

    fn id(&self) -> u64 {
        self.id
    }

    fn session_auth_hash(&self) -> &[u8] {
        self.password.as_bytes()
    }
}

/// Checks passwords. A real application would compare hashes from a database.
#[derive(Debug, Clone)]
struct Members;

const MEMBERS: [Member; 2] =
    [Member { id: 1, name: "ada", password: "lovelace" }, Member { id: 2, name: "grace", password: "hopper" }];

#[derive(Deserialize)]
struct Credentials {
    name: String,
    password: String,
}

impl AuthnBackend for Members {
    type User = Member;
    type Credentials = Credentials;
    type Error = std::convert::Infallible;

    async fn authenticate(&self, given: Credentials) -> Result<Option<Member>, Self::Error> {
        Ok(MEMBERS.into_iter().find(|member| member.name == given.name && member.password == given.password))
    }

    async fn get_user(&self, id: &u64) -> Result<Option<Member>, Self::Error> {
        Ok(MEMBERS.into_iter().find(|member| member.id == *id))
    }
}

async fn login(mut auth: AuthSession<Members>, Json(credentials): Json<Credentials>) -> StatusCode {
    let Ok(Some(member)) = auth.authenticate(credentials).await else {
        return StatusCode::UNAUTHORIZED;
    };
    match auth.login(&member).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

async fn joined(socket: SocketRef, auth: AuthSession<Members>) {
    if let Some(member) = auth.user {
        socket.emit("welcome", member.name).ok();
    }
}

async fn who_am_i(FromHandshake(auth): FromHandshake<AuthSession<Members>>) -> Ack<Option<&'static str>> {
    Ack(auth.user.map(|member| member.name))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let sessions = SessionManagerLayer::new(MemoryStore::default()).with_secure(false);
    let auth = AuthManagerLayerBuilder::new(Members, sessions).build();

    // The same two layers as on a router: the login check is inside of the session.
    let members = Namespace::new()
        .on_connect(joined)
        .on("who am i?", who_am_i)
        .layer(login_required!(Members))
        .layer(auth.clone());
    let layer = SocketIoLayer::new(SocketIoConfig::new().namespace("/members", members));
    let app = Router::new().route("/login", post(login)).layer(auth).layer(layer);

    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:3000".into());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await
}
