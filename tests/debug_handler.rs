//! Handlers are not changed by `#[debug_handler]`, whatever they extract and return.

use std::collections::HashMap;

use axum::{
    Json,
    extract::{FromRef, Query, Request, State},
    http::{HeaderMap, StatusCode},
};
use tower_socketio::{
    Ack, EventError, Namespace, SocketIoConfig, SocketIoService, SocketRef, debug_handler,
    extract::{AckSender, Data, FromHandshake},
    test::TestClient,
};

#[derive(Clone)]
struct App {
    limit: u32,
}

impl FromRef<App> for u32 {
    fn from_ref(app: &App) -> Self {
        app.limit
    }
}

#[debug_handler]
async fn nothing() {}

#[debug_handler]
async fn double(State(app): State<App>, Data(number): Data<u32>) -> Result<Ack<u32>, EventError> {
    if number > app.limit { Err(EventError::new("too large")) } else { Ok(Ack(number * 2)) }
}

#[debug_handler(state = App)]
async fn later(ack: Option<AckSender>, State(limit): State<u32>, _: FromHandshake<HeaderMap>, mut _socket: SocketRef) {
    if let Some(ack) = ack {
        ack.send(&limit).unwrap();
    }
}

#[debug_handler(on_connect)]
async fn joined(
    _: SocketRef,
    _: Query<Vec<(String, String)>>,
    Json(auth): Json<HashMap<String, u8>>,
) -> Result<(), StatusCode> {
    if auth["open"] == 1 { Ok(()) } else { Err(StatusCode::FORBIDDEN) }
}

#[debug_handler(on_connect, state = App)]
async fn _any(_: State<u32>, _: Request) -> impl axum::response::IntoResponse {
    StatusCode::OK
}

#[tokio::test]
async fn what_handlers_accept() {
    let namespace = Namespace::new().on_connect(joined).on("nothing", nothing).on("double", double).on("later", later);
    let namespace = namespace.with_state(App { limit: 10 });
    let io = SocketIoService::new(SocketIoConfig::new().namespace("/", namespace)).io();
    assert!(TestClient::builder(&io).auth(serde_json::json!({ "open": 0 })).connect().await.is_err());
    let client = TestClient::builder(&io).auth(serde_json::json!({ "open": 1 })).connect().await.unwrap();
    assert_eq!(client.emit_with_ack::<u32>("double", &4).await.unwrap(), 8);
    assert_eq!(client.emit_with_ack::<u32>("double", &40).await.unwrap_err().message(), "too large");
    assert_eq!(client.emit_with_ack::<u32>("later", &()).await.unwrap(), 10);
}
