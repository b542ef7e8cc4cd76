//! A [Socket.IO] server as a [tower] layer: it adds real-time events to any axum or tower service, and its namespaces take
//! the same middleware as the routes beside them.
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
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     axum::serve(listener, Router::new().layer(layer)).await
//! }
//! ```
//!
//! ```js
//! const socket = io("http://127.0.0.1:3000");
//! socket.on("message", (text) => console.log(text));
//! console.log(await socket.emitWithAck("message", "hello")); // delivered
//! ```
//!
//! It speaks Engine.IO 4 and Socket.IO 5, the protocols of the clients of the 3.x and 4.x generation, over long-polling,
//! WebSocket and the upgrade between them; and those of the clients of 1.x and 2.x, if
//! [`allow_eio3`](SocketIoConfig::allow_eio3) is set.
//!
//! # Where to begin
//!
//! * [`SocketIoLayer`] goes on a router, [`SocketIoService`] stands alone; [`SocketIoConfig`] has the settings and limits.
//! * A [`Namespace`] says who is admitted, by an axum handler behind tower layers, and what handles its events.
//! * [Extractors](extract) are the arguments of event handlers.
//! * [`SocketRef`] and [`SocketIo`] emit, to one client or to many.
//! * [`event`], [`handler`] and [`namespace`] have further types, for layers and generic code; [`client`] and [`operators`]
//!   have what methods of [`SocketRef`] and [`SocketIo`] return.
//! * [`engine`] serves Engine.IO without Socket.IO; [`cluster`] connects the servers of several nodes.
//! * The [guide] explains middleware, limits, recovery and testing at length; the layers that come with the crate are in
//!   [`middleware`].
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `client` | yes | the JavaScript client, which the server hands out |
//! | `client-directory` | no | [`client_directory`](SocketIoConfig::client_directory): the JavaScript client from a directory |
//! | `client-source-maps` | no | its source maps, for the developer tools of browsers |
//! | `compression` | no | answers to polls compressed with gzip or deflate |
//! | `http2` | no | HTTP/2, and WebSocket over it where the [server allows it](SocketIoService#http2) |
//! | `metrics` | no | [figures](guide::observability) through the `metrics` crate: connections, events, bytes, latencies |
//! | `msgpack` | no | `parser::MsgpackParser`, for clients with `socket.io-msgpack-parser` |
//! | `test-util` | no | `test::TestClient`: a client in the same process, to test handlers without a network |
//! | `tracing` | no | [spans and events](guide::observability) of the `tracing` crate: connections, events, refusals |
//! | `typed` | no | [typed events](guide), and their TypeScript |
//!
//! [Socket.IO]: https://socket.io
//! [tower]: https://docs.rs/tower

#![cfg_attr(docsrs, feature(doc_cfg))]

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

/// A client, its connection, and how a socket came to be.
///
/// [`SocketRef`] has methods that return these types.
pub mod client {
    pub use crate::socket::{Client, Conn, Handshake, RemoteSocket, SocketExtensions};
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

/// What emits to sockets: to one with options, or to many.
///
/// Methods of [`SocketRef`], [`SocketIo`] and [`NamespaceRef`] make operators.
pub mod operators {
    pub use crate::{
        io::PatternRef,
        socket::{AckResponses, AckSource, AckStream, BroadcastOperator, EmitOperator, EmitReport},
    };
}

/// Events among the servers of a cluster, which clients do not see.
///
/// See [`SocketIo::server_side_emit`] and [`SocketIoConfig::on_server_side`].
pub mod server_side {
    pub use crate::io::{ServerSideAcks, ServerSideEvent, ServerSideResponses};
}

/// Arguments of any type.
///
/// [`Value`] is one argument, and [`Args`] are all of an event.
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

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
