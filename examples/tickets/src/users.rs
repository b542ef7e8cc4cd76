//! Users, who are identified by tokens.

use axum::{
    Extension,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use rusqlite::{Connection, OptionalExtension};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tower_socketio::SocketRef;

use crate::{db::Db, error::Error};

#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) is_agent: bool,
}

/// Creates a user. Returns the token, which is not stored.
pub(crate) fn invite(connection: &Connection, name: &str, is_agent: bool) -> Result<String, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| Error::Invalid("no random numbers"))?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    connection.execute(
        "INSERT INTO users (name, is_agent, token_hash) VALUES (?1, ?2, ?3)",
        (name, is_agent, hash(&token)),
    )?;
    Ok(token)
}

fn find(connection: &Connection, token: &str) -> Result<User, Error> {
    connection
        .query_row("SELECT id, name, is_agent FROM users WHERE token_hash = ?1", [hash(token)], |row| {
            Ok(User { id: row.get(0)?, name: row.get(1)?, is_agent: row.get(2)? })
        })
        .optional()?
        .ok_or(Error::Unauthorized)
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[derive(Deserialize)]
struct Auth {
    token: String,
}

/// A client of Socket.IO sends its token as `auth: { token }`, and other clients as a header.
fn token(request: &Request) -> Option<String> {
    if let Some(socket) = request.extensions().get::<SocketRef>() {
        return socket.handshake().auth().ok().map(|auth: Auth| auth.token);
    }
    let header = request.headers().get("authorization")?.to_str().ok()?;
    header.strip_prefix("Bearer ").map(str::to_owned)
}

/// A layer for routes and for namespaces. It provides the [`User`] as an extension.
pub(crate) async fn require_user(State(db): State<Db>, mut request: Request, next: Next) -> Result<Response, Error> {
    let token = token(&request).ok_or(Error::Unauthorized)?;
    let user = db.run(move |connection| find(connection, &token)).await?;
    request.extensions_mut().insert(user);
    Ok(next.run(request).await)
}

/// A layer inside of [`require_user`].
pub(crate) async fn require_agent(
    Extension(user): Extension<User>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    if user.is_agent { Ok(next.run(request).await) } else { Err(Error::Forbidden) }
}
