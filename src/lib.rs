//! A Socket.IO server as a tower layer.

mod absorb;
mod client_bundle;
mod config;
mod connection;
mod engine;
pub mod extract;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod handler;
mod io;
mod layer;
mod macros;
mod namespace;
mod packet;
mod room;
mod server;
mod service;
mod socket;
mod transport;

pub use self::{
    config::{SlowClientPolicy, SocketIoConfig, Transport},
    engine::{Packet, PacketError, PacketKind, PacketPayload, Protocol},
    extract::SocketRef,
    handler::{
        Ack, EventError, EventFuture, EventHandler, EventResponse, EventRoute, HandlerService, IntoEventResponse,
        Layered, RouteFuture,
    },
    io::{NamespaceRef, NotBeneathALayer, SocketIo, Stats},
    layer::SocketIoLayer,
    namespace::{ConnectFuture, ConnectRoute, EventRequest, Namespace},
    packet::{Args, Value},
    room::{IntoRooms, Room},
    service::{NotFound, ResponseBody, ResponseFuture, SocketIoService},
    socket::{
        AckError, AckFuture, AckResponses, AckStream, BroadcastOperator, DisconnectReason, EmitError, EmitOperator,
        Handshake, RemoteSocket, SocketExtensions, SocketId,
    },
    transport::TransportError,
};
