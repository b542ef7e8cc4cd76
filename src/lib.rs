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
mod cluster;
mod config;
pub mod engine;
mod event;
pub mod extract;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
pub mod guide;
mod handler;
mod io;
mod layer;
pub mod middleware;
mod namespace;
mod observe;
mod packet;
pub mod parser;
mod recovery;
mod room;
mod server;
mod service;
mod socket;
#[cfg(feature = "test-util")]
pub mod test;
#[cfg(feature = "typed")]
pub mod typed;
mod util;
/// Arguments of any type.
///
/// [`Value`] is one argument, and [`Args`] are all of an event.
pub mod value {
    pub use crate::packet::value::{BinaryInJson, Index, IntoIter, Iter, IterMut, Map, Number, Value};
}

pub use self::{
    cluster::{ClusterAdapter, ClusterCommand, ClusterError, ClusterMessage, ClusterNode, EventBody},
    config::SocketIoConfig,
    engine::{
        ClientAddress, ConnectionError, ConnectionRequest, Frame, NotFound, Origins, Packet, PacketError, PacketType,
        ProtocolVersion, ResponseBody, Transport, TransportError,
    },
    event::{
        Ack, EventError, EventFuture, EventRequest, EventResponse, EventRoute, IntoEventResponse, ListenerId,
        OutgoingEvent, RouteFuture,
    },
    handler::{EventHandler, HandlerService, Layered},
    io::{
        MissingSocketIo, NamespaceRef, PatternRef, ServerSideAcks, ServerSideEvent, ServerSideResponses, SocketIo,
        Stats,
    },
    layer::SocketIoLayer,
    namespace::{AddNamespaceError, ConnectFuture, ConnectRoute, Namespace},
    packet::{Args, Value},
    recovery::RecoveryConfig,
    room::{IntoRooms, Room, Rooms, SocketId},
    server::{DisconnectReason, EmitError, NamespaceRequest, SlowClientPolicy},
    service::{ResponseFuture, SocketIoService},
    socket::{
        AckError, AckFuture, AckResponses, AckResponsesFuture, AckSource, AckStream, BroadcastOperator, Client, Conn,
        EmitOperator, EmitReport, Handshake, RemoteSocket, SocketExtensions, SocketRef,
    },
};

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
