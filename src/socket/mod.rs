//! Handles to a socket, and to many.

mod acks;
mod broadcast;
mod client;
mod deadline;
mod description;
mod emit;
mod error;
mod extensions;
mod flags;
mod handshake;
mod remote;
mod remote_acks;
mod remote_handshake;
mod socket_ref;

pub use self::{
    acks::{AckFuture, AckResponses, AckResponsesFuture, AckSource, AckStream},
    broadcast::{BroadcastOperator, EmitReport},
    client::{Client, Conn},
    emit::EmitOperator,
    error::AckError,
    extensions::SocketExtensions,
    handshake::Handshake,
    remote::{FetchSocketsError, RemoteSocket},
    socket_ref::{MissingSocket, SocketRef},
};

pub(crate) use self::description::describe;
