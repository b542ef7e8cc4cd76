use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use serde_json::{Value, json};

use crate::{SocketRef, engine::generate_id};

use super::{config::Credentials, state::Admin};

/// The maximum length of the id of a session.
const MAX_SESSION_ID: usize = 64;

/// The UI recognizes this message.
const REFUSED: (StatusCode, &str) = (StatusCode::UNAUTHORIZED, "invalid credentials");

/// Admits an admin.
///
/// What is emitted here follows the CONNECT packet. Node emits the session before it, and the UI misses it.
pub(super) async fn admit(
    State(admin): State<Arc<Admin>>,
    socket: SocketRef,
) -> Result<(), (StatusCode, &'static str)> {
    if let Some(credentials) = &admin.config.auth.0 {
        let auth: Value = socket.handshake().auth().unwrap_or_default();
        if !has_session(&admin, &auth).await {
            if !has_password(&admin, credentials, &auth).await {
                return Err(REFUSED);
            }
            let id = generate_id();
            admin.config.sessions.add(&id).await;
            // Fails only if the admin has left.
            socket.emit("session", &*id).ok();
        }
    }
    socket.emit("config", &json!({"supportedFeatures": admin.features()})).ok();
    Ok(())
}

async fn has_session(admin: &Admin, auth: &Value) -> bool {
    match auth["sessionId"].as_str() {
        Some(id) if !id.is_empty() && id.len() <= MAX_SESSION_ID => admin.config.sessions.contains(id).await,
        _ => false,
    }
}

/// Checks the password also if the name is wrong, so that the time does not tell which of them is.
async fn has_password(admin: &Admin, credentials: &Credentials, auth: &Value) -> bool {
    let (Some(username), Some(password)) = (auth["username"].as_str(), auth["password"].as_str()) else {
        return false;
    };
    // Closed never.
    let Ok(turn) = admin.logins.clone().acquire_owned().await else { return false };
    let (password, hash) = (password.to_owned(), credentials.hash.clone());
    let verified = tokio::task::spawn_blocking(move || {
        let verified = bcrypt::verify(password, &hash);
        // Held until then, although the admin may have left.
        drop(turn);
        verified
    });
    matches!(verified.await, Ok(Ok(true))) && username == credentials.username
}
