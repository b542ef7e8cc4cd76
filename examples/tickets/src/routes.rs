//! The routes.

use axum::{Extension, Json, Router, extract::State, http::StatusCode, middleware::from_fn_with_state, routing::get};
use serde::{Deserialize, Serialize};
use tower_http::trace::TraceLayer;
use tower_socketio::{SocketIo, SocketIoLayer};

use crate::{
    db::Db,
    error::Error,
    sockets,
    tickets::{self, Ticket},
    users::{User, require_user},
};

/// Returns the application and the handle to its sockets.
pub(crate) fn app(db: Db) -> (Router, SocketIo) {
    let layer = SocketIoLayer::new(sockets::config(&db));
    let io = layer.io();
    let app = Router::new()
        .route("/tickets", get(list).post(open))
        .layer(from_fn_with_state(db.clone(), require_user))
        .route("/health", get(async || "ok"))
        .with_state(db)
        .layer(layer)
        .layer(TraceLayer::new_for_http());
    (app, io)
}

#[derive(Serialize, Deserialize)]
pub(crate) struct NewTicket {
    pub(crate) title: String,
}

async fn list(State(db): State<Db>, Extension(user): Extension<User>) -> Result<Json<Vec<Ticket>>, Error> {
    db.run(move |connection| tickets::list(connection, &user)).await.map(Json)
}

async fn open(
    io: SocketIo,
    State(db): State<Db>,
    Extension(user): Extension<User>,
    Json(new): Json<NewTicket>,
) -> Result<(StatusCode, Json<Ticket>), Error> {
    let ticket = db.run(move |connection| tickets::open(connection, &user, &new.title)).await?;
    sockets::opened(&io, &ticket);
    Ok((StatusCode::CREATED, Json(ticket)))
}
