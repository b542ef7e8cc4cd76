//! Extractors: what the arguments of an event handler can be.
//!
//! | extractor | gives | rejects |
//! |---|---|---|
//! | [`SocketRef`] | the socket | never |
//! | [`SocketIo`](crate::SocketIo) | the server | never |
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
//! In [`on_connect`](crate::Namespace::on_connect) axum's own extractors apply, and [`SocketRef`] and
//! [`SocketIo`](crate::SocketIo) with them.

mod ack_sender;
mod connect;
mod data;
mod from_handshake;
mod rejection;
mod simple;

use std::{convert::Infallible, fmt, future::Future};

use crate::{handler::IntoEventResponse, namespace::EventRequest};

pub use self::{
    ack_sender::{AckSender, NoAck},
    connect::NotAConnect,
    data::{Data, DataRejection},
    from_handshake::{FromHandshake, HandshakeRejection},
    rejection::Rejected,
    simple::{EventName, MissingExtension, NotADisconnect},
};
pub use crate::{packet::Rest, socket::SocketRef};
pub use axum::{Extension, extract::State};

/// Something that an event handler can take as an argument.
///
/// ```
/// use tower_socketio::{EventRequest, extract::FromEvent};
///
/// /// How many rooms the socket is in.
/// struct RoomCount(usize);
///
/// impl<S: Sync> FromEvent<S> for RoomCount {
///     type Rejection = std::convert::Infallible;
///
///     async fn from_event(request: &mut EventRequest, _: &S) -> Result<Self, Self::Rejection> {
///         Ok(Self(request.socket().rooms().len()))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an extractor for event handlers",
    note = "see `tower_socketio::extract`; an axum extractor fits as `FromHandshake<E>`",
    note = "`State<T>` needs the namespace's state to be `T`, or `T: FromRef<State>`"
)]
pub trait FromEvent<S>: Sized {
    /// Why there is nothing to give. It answers the client if it waits for an ack.
    type Rejection: IntoEventResponse + fmt::Display;

    /// Takes what it needs from the event.
    fn from_event(request: &mut EventRequest, state: &S) -> impl Future<Output = Result<Self, Self::Rejection>> + Send;
}

impl<S: Sync, E: FromEvent<S>> FromEvent<S> for Option<E> {
    type Rejection = Infallible;

    async fn from_event(request: &mut EventRequest, state: &S) -> Result<Self, Infallible> {
        Ok(E::from_event(request, state).await.ok())
    }
}

impl<S: Sync, E: FromEvent<S>> FromEvent<S> for Result<E, E::Rejection> {
    type Rejection = Infallible;

    async fn from_event(request: &mut EventRequest, state: &S) -> Result<Self, Infallible> {
        Ok(E::from_event(request, state).await)
    }
}
