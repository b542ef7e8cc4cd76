//! Extractors: what the arguments of an event handler can be.
//!
//! | extractor | gives | rejects |
//! |---|---|---|
//! | [`SocketRef`] | the socket | never |
//! | [`SocketIo`](crate::SocketIo) | the server | never |
//! | [`NamespaceRef`](crate::NamespaceRef) | the namespace | never |
//! | [`Transport`](crate::Transport) | the transport that carries the connection now | never |
//! | [`ProtocolVersion`](crate::engine::ProtocolVersion) | the revision of Engine.IO that the client speaks | never |
//! | [`Data<T>`](Data) | the arguments; a tuple takes several, anything else the first; [`Rest`] takes what a tuple leaves | if they do not fit `T` |
//! | [`State<T>`](State) | the namespace's state, by `FromRef` | never |
//! | [`Extension<T>`](Extension) | what a layer put on the CONNECT request, or a handler on the socket | if there is none |
//! | [`EventName`] | the name of the event | never |
//! | [`AckSender`] | the ack, to be answered later | if the client does not wait for one |
//! | [`DisconnectReason`](crate::DisconnectReason) | why the socket was disconnected | on other events |
//! | [`FromHandshake<E>`](FromHandshake) | any axum extractor of the request that opened the connection | as `E` does |
//! | `Option<E>` | `None` where `E` rejects | never |
//! | `Result<E, E::Rejection>` | the rejection where `E` rejects | never |
//!
//! `State` and `Extension` are axum's own types.
//!
//! A rejection is never silent: it is logged, counted, shown to
//! [`SocketIoConfig::on_rejection`](crate::SocketIoConfig::on_rejection), and answered with an
//! [`EventError`](crate::EventError) if the client waits for an ack.
//!
//! In [`on_connect`](crate::Namespace::on_connect) axum's own extractors apply, and [`SocketRef`], [`SocketIo`](crate::SocketIo),
//! [`NamespaceRef`](crate::NamespaceRef), [`Transport`](crate::Transport) and [`ProtocolVersion`](crate::engine::ProtocolVersion) with
//! them.

mod ack_sender;
mod data;
mod from_event;
mod from_handshake;
mod simple;

/// Why extractors reject.
pub mod rejection {
    pub use super::{
        ack_sender::NoAckRequested,
        data::DataRejection,
        from_handshake::HandshakeRejection,
        simple::{MissingExtension, NotDisconnecting},
    };
    pub use crate::{io::MissingSocketIo, socket::MissingSocket};
}

pub use self::{
    ack_sender::AckSender, data::Data, from_event::FromEvent, from_handshake::FromHandshake, simple::EventName,
};
pub use crate::{packet::Rest, socket::SocketRef};
pub use axum::{Extension, extract::State};
