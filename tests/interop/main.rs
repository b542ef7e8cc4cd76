//! Clients in other languages against this server: JavaScript from npm, Python from PyPI, and two browsers in a chat.
//!
//! `make interop` installs the dependencies and runs these tests. Plain `cargo test` skips them.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[allow(dead_code, unused_imports)]
#[path = "../support/mod.rs"]
mod support;

mod json_parser;
mod proxy;
mod recovery;
#[cfg(feature = "webtransport")]
mod webtransport;

use std::{borrow::Cow, time::Duration};

use axum::{Json, Router, http::StatusCode, response::Html, routing::get};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::process::Command;
use tower_http::services::ServeDir;
use tower_socketio::{
    Ack, Args, Namespace, SocketId, SocketIo, SocketIoConfig, SocketRef,
    cluster::Local,
    engine::{EngineIoConfig, EngineIoLayer, EngineSocket, Message, SessionHandler},
    extract::{Data, EventName},
};

use crate::support::*;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop");

/// The server for the scripts.
fn config() -> SocketIoConfig {
    #[derive(Serialize, Deserialize)]
    struct File {
        name: String,
        content: Bytes,
        parts: Vec<Bytes>,
    }
    async fn ask(socket: SocketRef, Data(question): Data<String>) {
        tokio::spawn(async move {
            let answer = socket.timeout(PATIENCE).emit_with_ack::<Args>("question", &question).await;
            socket.emit("answer", &answer.unwrap()).unwrap();
        });
    }
    async fn echo(socket: SocketRef, EventName(event): EventName, Data(args): Data<Args>) {
        socket.emit(&event, &args).unwrap();
    }
    async fn id(socket: SocketRef) -> Ack<SocketId> {
        Ack(socket.id().clone())
    }
    let root = Namespace::new()
        .on("echo", echo)
        .on("événement €😀", echo)
        .on("id", id)
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
    // Clients of 1.0 and 1.3 do not send a query with a namespace. They use that of the connection.
    async fn guarded(socket: SocketRef, Json(auth): Json<Value>) -> Result<(), (StatusCode, Json<Value>)> {
        let of_connection = socket.handshake().query_param("token").map(Cow::into_owned);
        match auth["token"].as_str().or(of_connection.as_deref()) {
            Some("sé€ret & 😀") => Ok(()),
            _ => Err((StatusCode::UNAUTHORIZED, Json(json!({"message": "no entry", "data": {"code": 7}})))),
        }
    }
    async fn closed() -> (StatusCode, &'static str) {
        (StatusCode::FORBIDDEN, "héllo €😀 \u{2028} 日本語 \"\\\n")
    }
    let guarded = Namespace::new()
        .on_connect(guarded)
        .on("ack", |Data(args): Data<Args>| async move { Ack(args) })
        .on("id", id)
        .with_state(());
    SocketIoConfig::new()
        .ping_interval(Duration::from_millis(300))
        // Long enough for a busy machine. The heartbeat detects a script that ends without a close after at most twice that
        // time.
        .ping_timeout(Duration::from_secs(10))
        .namespace("/", root)
        .namespace("/guarded", guarded)
        .namespace("/closed", Namespace::new().on_connect(closed).with_state(()))
}

/// Runs a script of this folder, which must succeed.
async fn run(program: &str, arguments: &[&str]) {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(FOLDER).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE * 15, command.output()).await;
    let output = output.expect("the script ends in time").expect("the program runs");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}:\n{text}");
    println!("{text}");
}

struct EngineEcho(EngineSocket);

impl SessionHandler for EngineEcho {
    fn message(&mut self, message: Message) {
        self.0.send(message).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engine_io_clients_of_each_generation_over_each_transport() {
    let layer = EngineIoLayer::new(EngineIoConfig::new().allow_eio3(true), EngineEcho);
    let io = layer.io();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().layer(layer)).await.unwrap() });
    run("node", &["engine.mjs", &format!("http://{address}")]).await;
    until(|| io.connections() == 0).await;
    assert_eq!(io.panics(), 0);
}

/// Waits until all clients have left. A script over long-polling may end without a close. With protocol 3, the server
/// notices that after the ping interval and two timeouts.
async fn is_left(server: &TestServer) {
    let left = async {
        while server.io.stats().sockets > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(3 * PATIENCE, left).await.expect("the clients are gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn javascript_clients_of_each_generation_over_each_transport() {
    let server = serve_config(config().allow_eio3(true)).await;
    run("node", &["clients.mjs", &format!("http://{}", server.address)]).await;
    is_left(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn javascript_clients_of_each_generation_without_sticky_sessions() {
    let cluster = Local::new();
    let node = || serve_config(config().allow_eio3(true).adapter(cluster.node()).share_sessions(true));
    let servers = [node().await, node().await, node().await];
    let balancer = Balancer::start(servers.iter().map(|server| server.address)).await;
    // The ids of sessions also name their node.
    run("node", &["clients.mjs", "--session-id-length=31", &format!("http://{}", balancer.address)]).await;
    for server in &servers {
        is_left(server).await;
        assert_eq!(server.io.stats().panics, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_client_over_each_transport() {
    let server = serve_config(config().allow_eio3(true)).await;
    run(".venv/bin/python", &["client.py", &format!("http://{}", server.address)]).await;
    is_left(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_client_of_the_second_generation() {
    let config = config().allow_eio3(true).ping_interval(Duration::from_secs(5));
    let server = serve_config(config).await;
    run(".venv-eio3/bin/python", &["client_eio3.py", &format!("http://{}", server.address)]).await;
    is_left(&server).await;
}

/// The client with `socket.io-msgpack-parser`, which is in a folder of its own.
#[cfg(feature = "msgpack")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_javascript_client_with_msgpack_over_each_transport() {
    let server = serve_config(config().parser(tower_socketio::parser::MsgpackParser)).await;
    run("node", &["../msgpack/client.mjs", &format!("http://{}", server.address)]).await;
    is_left(&server).await;
}

/// The client with `socket.io-json-parser`, whose server is the parser of docs/parsers.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_javascript_client_with_a_parser_of_the_user() {
    let server = serve_config(config().parser(json_parser::JsonParser)).await;
    run("node", &["../msgpack/json.mjs", &format!("http://{}", server.address)]).await;
    is_left(&server).await;
}

/// Clients with and without the parser in the rooms of one server.
#[cfg(feature = "msgpack")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn javascript_clients_with_json_and_with_msgpack_share_a_server() {
    let server = serve_config(config().named_parser("msgpack", tower_socketio::parser::MsgpackParser)).await;
    run("node", &["../msgpack/client.mjs", "--mixed", &format!("http://{}", server.address)]).await;
    is_left(&server).await;
}

/// A page that polls by script elements and forms, as the oldest browsers do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_clients_poll_by_jsonp_from_a_browsers_page() {
    let echo = |socket: SocketRef, Data(args): Data<Args>| async move { socket.emit("echo", &args).unwrap() };
    let namespace = Namespace::new().on("echo", echo).on("ack", |Data(args): Data<Args>| async move { Ack(args) });
    let clients = ServeDir::new(format!("{FOLDER}/node_modules"));
    let page = get(|| async { Html("<!doctype html><meta charset=utf-8><title>JSONP</title><body>") });
    let app = Router::new().route("/", page).nest_service("/clients", clients);
    let server = serve_app(app, SocketIoConfig::new().allow_eio3(true).namespace("/", namespace)).await;
    run("node", &["jsonp.mjs", &format!("http://{}", server.address)]).await;
}

/// The admin UI watches the servers of a cluster.
#[cfg(feature = "admin-ui")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_ui_shows_two_servers() {
    use tower_socketio::admin::{AdminConfig, Auth, Mode, instrument, ui};

    let cluster = Local::new();
    let node = async |id: &str| {
        // The hash of `correct horse`.
        let auth = Auth::basic("admin", "$2a$04$0zXN5vzY.YIWJcPSgqmJ9OHy8uey2yxsXijLb2GAKOJeusAy8CG6C");
        let admin = AdminConfig::new(auth).mode(Mode::Development).server_id(id);
        let app =
            Router::new().nest_service("/admin-ui", ui(format!("{FOLDER}/node_modules/@socket.io/admin-ui/ui/dist")));
        serve_app(app, instrument(config().adapter(cluster.node()), admin)).await
    };
    let (first, second) = (node("node-1").await, node("node-2").await);
    let [first_url, second_url] = [&first, &second].map(|server| format!("http://{}", server.address));
    run("node", &["admin.mjs", &first_url, &second_url]).await;
    assert_eq!((first.io.stats().panics, second.io.stats().panics), (0, 0));
}

/// `ws` and Python's `websockets` with different offers, the JavaScript client, and a browser.
#[cfg(feature = "permessage-deflate")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_compress() {
    let deflate = tower_socketio::engine::PerMessageDeflate::new().threshold(100);
    let page = get(|| async { Html("<!doctype html><meta charset=utf-8><title>Compression</title><body>") });
    let config = config().ping_interval(Duration::from_secs(5)).per_message_deflate(deflate);
    let server = serve_app(Router::new().route("/page", page), config).await;
    let url = format!("http://{}", server.address);
    run("node", &["deflate.mjs", &url]).await;
    run(".venv/bin/python", &["deflate.py", &url]).await;
    is_left(&server).await;
    assert_eq!(server.io.stats().panics, 0);
}

#[tokio::test]
async fn two_browsers_exchange_private_messages() {
    let example = Example::start("private-messaging").await;
    run("node", &["private.mjs", &format!("http://{}", example.address)]).await;
}

#[tokio::test]
async fn two_browsers_hold_a_chat() {
    let chat = Example::start("chat").await;
    run("node", &["browser.mjs", &format!("http://{}", chat.address)]).await;
}
