//! A [Socket.IO] server as a [tower] layer.
//!
//! [`SocketIoLayer`] adds Socket.IO to an axum router or to any other tower service. Clients and server exchange named events, with
//! acknowledgements, over WebSocket or HTTP long-polling. Namespaces take the same middleware as HTTP routes.
//!
//! # Contents
//!
//! * [Installation](#installation)
//! * [Quick start](#quick-start)
//! * [Events](#events)
//! * [Extractors](#extractors)
//! * [Namespaces](#namespaces)
//! * [Middleware](#middleware)
//! * [Rooms and broadcasts](#rooms-and-broadcasts)
//! * [Acknowledgements](#acknowledgements)
//! * [Errors](#errors)
//! * [State](#state)
//! * [Recovery](#recovery)
//! * [Clusters](#clusters)
//! * [Testing](#testing)
//! * [Features](#features)
//! * [Examples](#examples)
//! * [Protocol versions](#protocol-versions)
//!
//! The [guide] begins with a [tutorial](guide::getting_started), and has [recipes](guide::recipes) and pages about errors, middleware,
//! deployment, limits and more. The module [`engine`] is an
//! Engine.IO server without Socket.IO.
//!
//! # Installation
//!
//! Add the following to `Cargo.toml`:
//!
//! ```toml
//! [dependencies]
//! axum = "0.8"
//! serde = { version = "1", features = ["derive"] }
//! tokio = { version = "1", features = ["full"] }
//! tower-socketio = "0.1"
//! ```
//!
//! # Quick start
//!
//! This server sends each message to all other clients and acknowledges it:
//!
//! ```no_run
//! use axum::Router;
//! use tower_socketio::{Ack, Namespace, SocketIoConfig, SocketIoLayer, SocketRef, extract::Data};
//!
//! async fn message(socket: SocketRef, Data(text): Data<String>) -> Ack<&'static str> {
//!     socket.broadcast().emit("message", &text).ok();
//!     Ack("delivered")
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let chat = Namespace::new().on("message", message);
//!     let layer = SocketIoLayer::new(SocketIoConfig::new().namespace("/", chat));
//!     let app = Router::new().layer(layer);
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     axum::serve(listener, app).await
//! }
//! ```
//!
//! A client in JavaScript, with the package `socket.io-client`:
//!
//! ```js
//! import { io } from "socket.io-client";
//!
//! const socket = io("http://127.0.0.1:3000");
//! socket.on("message", (text) => console.log(text));
//! console.log(await socket.emitWithAck("message", "hello")); // "delivered"
//! ```
//!
//! The server also serves the client as a script, under `/socket.io/socket.io.min.js`. Pages of other origins can connect if
//! [`SocketIoConfig::origins`] allows them.
//!
//! # Events
//!
//! [`Namespace::on`] adds a handler for an event. A handler is an async function or closure. Its arguments are
//! [extractors](#extractors), and its result is `()`, an [`Ack`], or a `Result`. The events of a socket start in the order of
//! arrival, and a pending handler does not delay later events.
//!
//! [`SocketRef::emit`] sends an event to a client. It does not wait: events are queued, up to
//! [`max_buffered_bytes`](SocketIoConfig::max_buffered_bytes).
//!
//! ```
//! use tower_socketio::{DisconnectReason, Namespace, SocketRef, extract::Data};
//!
//! async fn joined(socket: SocketRef) {
//!     socket.emit("welcome", &socket.id()).ok();
//! }
//!
//! async fn moved(socket: SocketRef, Data((x, y)): Data<(f64, f64)>) {
//!     socket.broadcast().emit("moved", &(socket.id(), x, y)).ok();
//! }
//!
//! async fn left(socket: SocketRef, reason: DisconnectReason) {
//!     println!("{} left: {reason}", socket.id());
//! }
//!
//! let board = Namespace::new().on_connect(joined).on("move", moved).on_disconnect(left);
//! # let _: Namespace = board;
//! ```
//!
//! Arguments are any types that implement serde's traits. Binary data is sent as attachments. [`Value`] represents any argument,
//! and [`Args`] all arguments of an event. With the feature `typed`, events are declared once for Rust and TypeScript.
//!
//! # Extractors
//!
//! The arguments of a handler are extractors, as in axum: the socket, the arguments of the event, the state, and others. If an
//! extractor rejects an event, the handler does not run, and the client gets an error if it requested an ack. See [`extract`] for
//! a list.
//!
//! ```
//! use axum::{extract::Query, http::HeaderMap};
//! use tower_socketio::{Namespace, SocketRef, extract::{Data, FromHandshake}};
//!
//! #[derive(serde::Deserialize)]
//! struct Message { room: String, text: String }
//!
//! async fn message(socket: SocketRef, FromHandshake(headers): FromHandshake<HeaderMap>, Data(message): Data<Message>) {
//!     println!("from {:?}", headers.get("user-agent"));
//!     socket.to(message.room).emit("message", &message.text).ok();
//! }
//! # let _: Namespace = Namespace::new().on("message", message);
//! ```
//!
//! # Namespaces
//!
//! A client joins one or more namespaces over one connection. A [`Namespace`] is configured with a name, or with a pattern as in
//! axum's routes. Its [`on_connect`](Namespace::on_connect) handler is an axum handler: the response accepts or rejects the client,
//! and axum's extractors read the client's `auth` payload, its headers, and the parameters of the pattern.
//!
//! ```
//! use axum::{Json, extract::Path, http::StatusCode};
//! use tower_socketio::{Namespace, SocketIoConfig, SocketRef};
//!
//! #[derive(serde::Deserialize)]
//! struct Auth { token: String }
//!
//! async fn joined(socket: SocketRef, Path(id): Path<u32>, Json(auth): Json<Auth>) -> Result<(), StatusCode> {
//!     if auth.token != "secret" {
//!         return Err(StatusCode::UNAUTHORIZED);
//!     }
//!     println!("{} joined document {id}", socket.id());
//!     Ok(())
//! }
//!
//! let config = SocketIoConfig::new().namespace("/documents/{id}", Namespace::new().on_connect(joined));
//! # let _ = config;
//! ```
//!
//! # Middleware
//!
//! [`Namespace::layer`] adds a tower layer around CONNECT, the packet by which a client joins. Each layer for an axum `Router` works:
//! sessions, authentication, timeouts, tracing. [`Namespace::event_layer`] adds a layer around events, and [`middleware`] contains
//! layers such as limits of rates and connections.
//!
//! ```
//! use std::time::Duration;
//! use axum::{extract::Request, middleware::{Next, from_fn}, response::Response};
//! use tower_socketio::{Namespace, middleware::EventRateLimitLayer};
//!
//! async fn log(request: Request, next: Next) -> Response {
//!     println!("CONNECT to {}", request.uri().path());
//!     next.run(request).await
//! }
//!
//! let chat: Namespace = Namespace::new()
//!     .layer(from_fn(log))
//!     .event_layer(EventRateLimitLayer::new(20, Duration::from_secs(1)));
//! # let _ = chat;
//! ```
//!
//! # Rooms and broadcasts
//!
//! A socket can [join](SocketRef::join) rooms. A [`BroadcastOperator`](operators::BroadcastOperator) selects the sockets of rooms and emits to all of them. Each
//! socket is also in the room of its own id. [`SocketIo`] is a handle to the server, which emits from anywhere: it is returned by
//! [`SocketIoLayer::io`], and an extractor in event handlers and in axum handlers.
//!
//! ```
//! use tower_socketio::{SocketIo, SocketRef, extract::Data};
//!
//! async fn join(socket: SocketRef, Data(room): Data<String>) {
//!     socket.join(room.clone());
//!     socket.to(room).emit("joined", &socket.id()).ok();
//! }
//!
//! async fn announce(io: SocketIo) {
//!     io.emit("announcement", "tea is ready").ok();
//!     io.to(["red", "blue"]).except("spectators").emit("start", &()).ok();
//! }
//! # let _: tower_socketio::Namespace = tower_socketio::Namespace::new().on("join", join);
//! # let _: axum::Router = axum::Router::new().route("/", axum::routing::post(announce));
//! ```
//!
//! # Acknowledgements
//!
//! A client may request an ack for an event. The handler sends it by returning an [`Ack`], or later through an
//! [`AckSender`](extract::AckSender). The server requests acks with [`SocketRef::emit_with_ack`], and for broadcasts with
//! [`BroadcastOperator::emit_with_ack`](operators::BroadcastOperator::emit_with_ack).
//!
//! ```
//! use std::time::Duration;
//! use tower_socketio::{AckError, SocketRef};
//!
//! async fn confirm(socket: &SocketRef) -> Result<bool, AckError> {
//!     socket.timeout(Duration::from_secs(10)).emit_with_ack("confirm", "delete the file?").await
//! }
//! # let _ = confirm;
//! ```
//!
//! # Errors
//!
//! A handler can return a `Result`. If the client requested an ack, it gets the [`EventError`] as the ack:
//! `{"error":{"message":"the name is taken"}}`. Other errors, also those of `anyhow`, are converted by `?`. They are
//! [logged](guide::observability) with their causes, and the client gets the message "internal error". A panic in a handler ends only
//! that event.
//!
//! ```
//! use tower_socketio::{Ack, EventError, extract::Data};
//!
//! async fn rename(Data(name): Data<String>) -> Result<Ack<()>, EventError> {
//!     if name == "admin" {
//!         return Err(EventError::new("the name is taken"));
//!     }
//!     tokio::fs::write("name.txt", name).await?;
//!     Ok(Ack(()))
//! }
//! # let _: tower_socketio::Namespace = tower_socketio::Namespace::new().on("rename", rename);
//! ```
//!
//! [`EmitError`] and [`AckError`] are the errors of emitting and of waiting for acks.
//!
//! # State
//!
//! Handlers share state through axum's `State` extractor. Values that belong to one socket are its
//! [extensions](SocketRef::extensions), which layers may set too. [`SocketRef::spawn`] starts a task that ends with its socket.
//!
//! ```
//! use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
//! use tower_socketio::{Ack, Namespace, extract::State};
//!
//! async fn count(State(counter): State<Arc<AtomicU64>>) -> Ack<u64> {
//!     Ack(counter.fetch_add(1, Ordering::Relaxed))
//! }
//!
//! let counter = Arc::new(AtomicU64::new(0));
//! let namespace: Namespace = Namespace::new().on("count", count).with_state(counter);
//! # let _ = namespace;
//! ```
//!
//! # Recovery
//!
//! With [`SocketIoConfig::recovery`], a client that loses its connection for a short time returns as the same socket, with its id,
//! rooms and data, and gets the events that it missed. See the [guide](guide::recovery).
//!
//! # Clusters
//!
//! [`SocketIoConfig::adapter`] connects several servers to a cluster, so that broadcasts, requests for sockets and events between
//! servers reach all of them. An adapter carries the messages, for example over Redis. See the [guide](guide::clusters).
//!
//! # Testing
//!
//! With the feature `test-util`, `test::TestClient` connects to a server in the same process. It opens no port, and timeouts can be
//! tested with tokio's paused clock.
//!
//! ```
//! # #[cfg(feature = "test-util")]
//! # mod tests {
//! use tower_socketio::{Ack, Namespace, SocketIoConfig, SocketIoLayer, extract::Data, test::{TestClient, TestError}};
//!
//! #[tokio::test]
//! async fn echo_returns_its_argument() -> Result<(), TestError> {
//!     let echo = Namespace::new().on("echo", async |Data(text): Data<String>| Ack(text));
//!     let io = SocketIoLayer::new(SocketIoConfig::new().namespace("/", echo)).io();
//!     let client = TestClient::connect(&io).await?;
//!     let reply: String = client.emit_with_ack("echo", "hello").await?;
//!     assert_eq!(reply, "hello");
//!     Ok(())
//! }
//! # }
//! ```
//!
//! # Features
//!
//! | feature | default | effect |
//! |---|---|---|
//! | `admin-ui` | no | adds the module `admin`, to which the [admin UI](guide::admin_ui) of Socket.IO connects |
//! | `asyncapi` | no | adds `typed::AsyncApi`, which generates documents of typed events; implies `typed` |
//! | `client` | yes | embeds the JavaScript client, and serves it |
//! | `client-directory` | no | serves the JavaScript client from a directory |
//! | `client-source-maps` | no | embeds and serves the source maps of the JavaScript client |
//! | `compression` | no | compresses responses to polls with gzip or deflate |
//! | `http2` | no | enables HTTP/2, and WebSockets over it if the [server supports them](SocketIoService#http2) |
//! | `macros` | no | adds `debug_handler`, an attribute that points to the mistakes of a handler that does not compile |
//! | `metrics` | no | records [metrics](guide::observability) through the `metrics` crate |
//! | `msgpack` | no | adds `parser::MsgpackParser`, for clients with `socket.io-msgpack-parser` |
//! | `nats` | no | adds `cluster::nats`, for clusters over NATS, encrypted or not |
//! | `permessage-deflate` | no | adds `per_message_deflate`, which [compresses](guide::compression) WebSocket messages |
//! | `postgres` | no | adds `cluster::postgres`, for clusters over Postgres, with Node's servers |
//! | `postgres-tls` | no | encrypts the connections to Postgres |
//! | `redis` | no | adds `cluster::redis`, for clusters over Redis |
//! | `redis-tls` | no | adds TLS to `redis`, with rustls |
//! | `test-util` | no | adds the module `test`, with a client in the same process |
//! | `tracing` | yes | records [spans and events](guide::observability) through the `tracing` crate |
//! | `typed` | no | adds the module `typed`: events that are declared once for Rust and TypeScript |
//! | `webtransport` | no | adds a [server for WebTransport](guide::webtransport), over QUIC |
//!
//! # Examples
//!
//! The repository contains examples. Each is a package:
//!
//! | command | content |
//! |---|---|
//! | `cargo run -p example-echo` | an echo server |
//! | `cargo run -p example-chat` | a chat with rooms, history, sessions and a page |
//! | `cargo run -p example-tickets` | a small product: database, migrations, users, routes, two namespaces, tests |
//! | `cargo run -p example-validation` | arguments that are validated by garde or validator |
//! | `cargo run -p example-private-messaging` | private messages, also for users who are offline |
//! | `cargo run -p example-auth` | authentication with axum-login |
//! | `cargo run -p example-recovery` | recovery of clients that reconnect |
//! | `cargo run -p example-typed-events` | typed events with a TypeScript client |
//! | `cargo run -p example-metrics` | metrics for Prometheus |
//! | `cargo run -p example-admin-ui` | the admin UI of Socket.IO |
//! | `cargo run -p example-webtransport` | WebTransport beside other transports, with a new certificate |
//! | `cargo run -p example-hyper` | a server without axum |
//! | `cargo run -p example-engine-echo` | Engine.IO without Socket.IO |
//!
//! # Protocol versions
//!
//! | client | Socket.IO protocol | Engine.IO protocol | |
//! |---|---|---|---|
//! | 3.x, 4.x | 5 | 4 | supported |
//! | 1.x, 2.x | 3, 4 | 3 | supported with [`allow_eio3`](SocketIoConfig::allow_eio3) |
//!
//! Clients of all versions can use the same namespaces and rooms. Recovery requires a client of version 4.6 or later. The
//! [comparison](guide::comparison) lists the features of Node's server and their equivalents.
//!
//! [Socket.IO]: https://socket.io
//! [tower]: https://docs.rs/tower

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "admin-ui")]
pub mod admin;
mod client_bundle;
pub mod cluster;
mod config;
pub mod engine;
pub mod event;
pub mod extract;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
pub mod guide;
pub mod handler;
mod io;
mod layer;
pub mod middleware;
pub mod namespace;
mod observe;
pub mod observer;
mod packet;
pub mod parser;
mod recovery;
pub mod room;
mod server;
mod service;
mod socket;
#[cfg(feature = "test-util")]
pub mod test;
#[cfg(feature = "typed")]
pub mod typed;
mod util;

/// A client, its connection, and its handshake.
///
/// [`SocketRef`] has methods that return these types.
pub mod client {
    pub use crate::socket::{Client, Conn, FetchSocketsError, Handshake, RemoteSocket, SocketExtensions};
}

/// Futures that handles and services return.
pub mod future {
    pub use crate::{
        event::{future::EventFuture, route::RouteFuture},
        namespace::connect_route::ConnectFuture,
        service::ResponseFuture,
        socket::{AckFuture, AckResponsesFuture},
    };
}

#[cfg(feature = "macros")]
pub use tower_socketio_macros::debug_handler;

/// Operators, which emit to one socket with options, or to many sockets.
///
/// Methods of [`SocketRef`], [`SocketIo`] and [`NamespaceRef`] create operators.
pub mod operators {
    pub use crate::{
        io::PatternRef,
        socket::{AckResponses, AckSource, AckStream, BroadcastOperator, EmitOperator, EmitReport},
    };
}

/// Events between the servers of a cluster. Clients do not get them.
///
/// See [`SocketIo::server_side_emit`] and [`SocketIoConfig::on_server_side`].
pub mod server_side {
    pub use crate::io::{ServerSideAcks, ServerSideEvent, ServerSideResponses};
}

/// Arguments of any type.
///
/// [`Value`] is one argument, and [`Args`] are all arguments of an event.
pub mod value {
    pub use crate::packet::value::{BinaryInJson, Index, IntoIter, Iter, IterMut, Map, Number, Value};
}

#[doc(inline)]
pub use self::{
    config::SocketIoConfig,
    engine::{Origins, Transport},
    event::{Ack, EventError},
    io::{NamespaceRef, SocketIo, Stats},
    layer::SocketIoLayer,
    namespace::Namespace,
    packet::{Args, Value},
    recovery::RecoveryConfig,
    room::{Room, SocketId},
    server::{DisconnectReason, EmitError, SlowClientPolicy},
    service::SocketIoService,
    socket::{AckError, SocketRef},
};

#[cfg(any(test, tower_socketio_locks))]
#[doc(hidden)]
pub use self::util::{LockUse, take_lock_report};

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
