//! The chat of `docs/testing.md`, and its tests.

use std::time::Duration;

use axum::{Json, http::StatusCode};
use serde::Deserialize;
use serde_json::json;
use tower_socketio::{
    Ack, EventError, Namespace, SocketIo, SocketIoConfig, SocketIoLayer, SocketRef,
    extract::Data,
    test::{Disconnected, TestClient, TestError},
};

#[derive(Deserialize)]
struct Auth {
    #[serde(default)]
    name: String,
}

#[derive(Clone)]
struct Name(String);

async fn joined(socket: SocketRef, Json(Auth { name }): Json<Auth>) -> Result<(), (StatusCode, &'static str)> {
    if name.is_empty() {
        return Err((StatusCode::FORBIDDEN, "who are you?"));
    }
    socket.extensions().insert(Name(name.clone()));
    socket.join("lobby");
    socket.to("lobby").emit("joined", &name).ok();
    Ok(())
}

async fn message(socket: SocketRef, Data((room, text)): Data<(String, String)>) -> Result<Ack<bool>, EventError> {
    if text.is_empty() {
        return Err(EventError::new("say something"));
    }
    if !socket.is_in(&room) {
        return Err(EventError::new("you are not in this room"));
    }
    let name = socket.extensions().get().map(|Name(name)| name);
    socket.to(room).emit("message", &(name, text))?;
    Ok(Ack(true))
}

/// Disconnects a client that does not respond within ten seconds.
async fn are_you_there(socket: SocketRef) {
    let answer = socket.timeout(Duration::from_secs(10)).emit_with_ack::<bool>("are you there?", &()).await;
    if !answer.unwrap_or(false) {
        socket.disconnect();
    }
}

fn config() -> SocketIoConfig {
    let chat = Namespace::new().on_connect(joined).on("message", message).on("bored", are_you_there);
    SocketIoConfig::new().namespace("/chat", chat)
}

// Helpers for the tests: a server, and a client.

fn server() -> SocketIo {
    SocketIoLayer::new(config()).io()
}

async fn client(io: &SocketIo, name: &str) -> Result<TestClient, TestError> {
    TestClient::builder(io).namespace("/chat").auth(json!({ "name": name })).connect().await
}

#[tokio::test]
async fn a_message_reaches_the_others_in_the_room() -> Result<(), TestError> {
    let io = server();
    let mut ada = client(&io, "Ada").await?;
    let mut grace = client(&io, "Grace").await?;
    assert_eq!(ada.next::<String>("joined").await, "Grace");

    let delivered: bool = ada.emit_with_ack("message", &("lobby", "hello")).await?;
    assert!(delivered);
    let (name, text): (String, String) = grace.next("message").await;
    assert_eq!((&*name, &*text), ("Ada", "hello"));
    Ok(())
}

#[tokio::test]
async fn a_client_without_a_name_is_rejected() {
    let refused = TestClient::builder(&server()).namespace("/chat").connect().await.unwrap_err();
    assert_eq!(refused.message(), "who are you?");
}

#[tokio::test]
async fn an_invalid_message_gets_an_error() -> Result<(), TestError> {
    let ada = client(&server(), "Ada").await?;
    let answer: serde_json::Value = ada.emit_with_ack("message", &("lobby", "")).await?;
    assert_eq!(answer, json!({"error": {"message": "say something"}}));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_respond_is_disconnected() -> Result<(), TestError> {
    let io = server();
    let mut ada = client(&io, "Ada").await?;
    ada.emit("bored", &()).await;
    ada.next_event().await.ack(&true);
    ada.expect_silence(Duration::from_secs(60)).await;

    ada.emit("bored", &()).await;
    assert_eq!(ada.next_event().await.name(), "are you there?");
    // The paused clock advances by ten seconds.
    assert_eq!(ada.expect_disconnect().await, Disconnected::ByServer);
    Ok(())
}
