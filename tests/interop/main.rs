//! Real clients against our server: JavaScript from npm, Python from PyPI, and two browsers that hold a chat.
//!
//! `make interop` installs what they need and runs this; plain `cargo test` does not.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[allow(dead_code, unused_imports)]
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use axum::{Json, http::StatusCode};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::process::Command;
use tower_socketio::{Ack, Args, Namespace, SocketIo, SocketIoConfig, SocketRef, extract::Data};

use crate::support::*;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop");

/// The server that the scripts know.
async fn server() -> TestServer {
    #[derive(Serialize, Deserialize)]
    struct File {
        name: String,
        content: Bytes,
        parts: Vec<Bytes>,
    }
    async fn ask(socket: SocketRef, Data(question): Data<String>) {
        tokio::spawn(async move {
            let answer = socket.timeout(Duration::from_secs(5)).emit_with_ack::<Args>("question", &question).await;
            socket.emit("answer", &answer.unwrap()).unwrap();
        });
    }
    let root = Namespace::new()
        .on("echo", |socket: SocketRef, Data(args): Data<Args>| async move { socket.emit("echo", &args).unwrap() })
        .on("ack", |Data(args): Data<Args>| async move { Ack(args) })
        .on("file", |Data(file): Data<File>| async move { Ack(file) })
        .on("number", |Data(number): Data<u8>| async move { Ack(number) })
        .on("ask", ask)
        .on("join", |socket: SocketRef, Data(room): Data<String>| async move {
            socket.join(room);
            Ack(())
        })
        .on("say", |io: SocketIo, Data((room, text)): Data<(String, String)>| async move {
            io.to(room).emit("said", &(text, Bytes::from_static(&[1, 2, 3]))).unwrap();
        })
        .on("whisper", |socket: SocketRef, Data((room, text)): Data<(String, String)>| async move {
            socket.to(room).emit("whispered", &text).unwrap();
        })
        .on("count", |socket: SocketRef, Data(count): Data<u32>| async move {
            for number in 0..count {
                socket.emit("n", &number).unwrap();
            }
        })
        .on("kick", |socket: SocketRef| async move { socket.disconnect() })
        .on("kick all", |socket: SocketRef| async move { socket.disconnect_all() })
        .with_state(());
    async fn guarded(Json(auth): Json<serde_json::Value>) -> Result<(), (StatusCode, Json<serde_json::Value>)> {
        match auth["token"].as_str() {
            Some("secret") => Ok(()),
            _ => Err((StatusCode::UNAUTHORIZED, Json(json!({"message": "no entry", "data": {"code": 7}})))),
        }
    }
    let guarded = Namespace::new()
        .on_connect(guarded)
        .on("ack", |Data(args): Data<Args>| async move { Ack(args) })
        .with_state(());
    let config = SocketIoConfig::new()
        .ping_interval(Duration::from_millis(300))
        .ping_timeout(Duration::from_secs(3))
        .namespace("/", root)
        .namespace("/guarded", guarded);
    serve_config(config).await
}

/// Runs a script of this folder, which succeeds or says what failed.
async fn run(program: &str, arguments: &[&str]) {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(FOLDER).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(240), command.output()).await;
    let output = output.expect("the script ends in time").expect("the program runs");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}:\n{text}");
    println!("{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn javascript_clients_of_each_generation_over_each_transport() {
    let server = server().await;
    run("node", &["clients.mjs", &format!("http://{}", server.address)]).await;
    until(|| server.io.stats().sockets == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_client_over_each_transport() {
    let server = server().await;
    run(".venv/bin/python", &["client.py", &format!("http://{}", server.address)]).await;
    until(|| server.io.stats().sockets == 0).await;
}

#[tokio::test]
async fn two_browsers_hold_a_chat() {
    let chat = Example::start("chat").await;
    run("node", &["browser.mjs", &format!("http://{}", chat.address)]).await;
}
