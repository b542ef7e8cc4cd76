//! Extractors: the arguments of event handlers.
//!
//! | extractor | gives | rejects |
//! |---|---|---|
//! | [`SocketRef`] | the socket | never |
//! | [`SocketIo`](crate::SocketIo) | the server | never |
//! | [`NamespaceRef`](crate::NamespaceRef) | the namespace | never |
//! | [`Transport`](crate::Transport) | the transport that carries the connection now | never |
//! | [`ProtocolVersion`](crate::engine::ProtocolVersion) | the revision of Engine.IO that the client speaks | never |
//! | [`Data<T>`](Data) | the arguments: several as a tuple, otherwise the first; [`Rest`] takes the remaining ones | if they do not match `T` |
//! | [`State<T>`](State) | the state of the namespace, by `FromRef` | never |
//! | [`Extension<T>`](Extension) | a value that a layer set on the CONNECT request, or a handler on the socket | if it is missing |
//! | [`EventName`] | the name of the event | never |
//! | [`AckSender`] | the ack, to be sent later | if the client did not request one |
//! | [`DisconnectReason`](crate::DisconnectReason) | the reason of the disconnection | in handlers of other events |
//! | [`FromHandshake<E>`](FromHandshake) | any axum extractor of the request that opened the connection | if `E` rejects |
//! | `Option<E>` | `None` if `E` rejects | never |
//! | `Result<E, E::Rejection>` | the rejection if `E` rejects | never |
//!
//! `State` and `Extension` are axum's types.
//!
//! A rejection is logged, counted, passed to [`SocketIoConfig::on_rejection`](crate::SocketIoConfig::on_rejection), and, if
//! the client requested an ack, sent as an [`EventError`](crate::EventError).
//!
//! [`on_connect`](crate::Namespace::on_connect) is an axum handler: its arguments are axum's extractors, [`SocketRef`],
//! [`SocketIo`](crate::SocketIo), [`NamespaceRef`](crate::NamespaceRef), [`Transport`](crate::Transport) and
//! [`ProtocolVersion`](crate::engine::ProtocolVersion).

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
