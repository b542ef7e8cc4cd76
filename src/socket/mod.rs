//! A client in a namespace: what it is, and what can be done to it.

mod acks;
mod broadcast;
mod client;
mod emit;
mod error;
mod extensions;
mod handshake;
mod kept;
mod listeners;
mod reason;
mod remote;
mod socket_ref;
mod state;

pub use self::{
    acks::{AckFuture, AckResponses, AckStream},
    broadcast::{BroadcastOperator, EmitReport},
    client::{Client, Conn},
    emit::EmitOperator,
    error::{AckError, EmitError},
    extensions::SocketExtensions,
    handshake::Handshake,
    listeners::{ListenerId, OutgoingEvent},
    reason::DisconnectReason,
    remote::RemoteSocket,
    socket_ref::SocketRef,
};
pub(crate) use self::{
    kept::LayerId,
    listeners::Found,
    state::{EMPTY_AUTH, EventStart, Socket},
};
pub use crate::room::SocketId;
