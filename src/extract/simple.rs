use std::{any::type_name, convert::Infallible, ops::Deref};

use axum::{
    Extension,
    extract::{FromRef, State},
};

use crate::{
    engine::{ProtocolVersion, Transport},
    event::{EventError, EventRequest, EventResponse, IntoEventResponse},
    io::{NamespaceRef, SocketIo},
    server::DisconnectReason,
    socket::SocketRef,
};

use super::from_event::FromEvent;

impl<S: Sync> FromEvent<S> for SocketRef {
    type Rejection = Infallible;

    async fn from_event(request: &mut EventRequest, _: &S) -> Result<Self, Infallible> {
        Ok(request.socket().clone())
    }
}

impl<S: Sync> FromEvent<S> for NamespaceRef {
    type Rejection = Infallible;

    async fn from_event(request: &mut EventRequest, _: &S) -> Result<Self, Infallible> {
        Ok(request.socket().namespace())
    }
}

/// The transport that carries the connection now.
impl<S: Sync> FromEvent<S> for Transport {
    type Rejection = Infallible;

    async fn from_event(request: &mut EventRequest, _: &S) -> Result<Self, Infallible> {
        Ok(request.socket().transport())
    }
}

impl<S: Sync> FromEvent<S> for ProtocolVersion {
    type Rejection = Infallible;

    async fn from_event(request: &mut EventRequest, _: &S) -> Result<Self, Infallible> {
        Ok(request.socket().protocol())
    }
}

impl<S: Sync> FromEvent<S> for SocketIo {
    type Rejection = Infallible;

    async fn from_event(request: &mut EventRequest, _: &S) -> Result<Self, Infallible> {
        Ok(request.socket().io())
    }
}

impl<S: Sync, T: FromRef<S>> FromEvent<S> for State<T> {
    type Rejection = Infallible;

    async fn from_event(_: &mut EventRequest, state: &S) -> Result<Self, Infallible> {
        Ok(Self(T::from_ref(state)))
    }
}

/// Extracts the name of the event. Useful in [`on_any`](crate::Namespace::on_any).
///
/// ```
/// use tower_socketio::{Namespace, SocketRef, extract::EventName};
///
/// async fn log(socket: SocketRef, EventName(event): EventName) {
///     println!("{event} from {}", socket.id());
/// }
/// # let _: Namespace = Namespace::new().on_any(log);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventName(pub String);

impl Deref for EventName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<S: Sync> FromEvent<S> for EventName {
    type Rejection = Infallible;

    async fn from_event(request: &mut EventRequest, _: &S) -> Result<Self, Infallible> {
        Ok(Self(request.event().to_owned()))
    }
}

impl<S: Sync, T: Clone + Send + Sync + 'static> FromEvent<S> for Extension<T> {
    type Rejection = MissingExtension;

    async fn from_event(request: &mut EventRequest, _: &S) -> Result<Self, MissingExtension> {
        request.socket().extensions().get().map(Self).ok_or(MissingExtension(type_name::<T>()))
    }
}

/// The rejection of [`Extension`](super::Extension): the socket has no value of this type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no extension of type `{0}` on the socket: is the layer missing that adds it?")]
pub struct MissingExtension(&'static str);

impl IntoEventResponse for MissingExtension {
    fn into_event_response(self) -> EventResponse {
        EventError::internal_message().into()
    }

    /// A handler may require a value that only some sockets have.
    fn is_ordinary(&self) -> bool {
        true
    }
}

impl<S: Sync> FromEvent<S> for DisconnectReason {
    type Rejection = NotDisconnecting;

    async fn from_event(request: &mut EventRequest, _: &S) -> Result<Self, NotDisconnecting> {
        request.disconnect_reason().ok_or(NotDisconnecting)
    }
}

/// The rejection of [`DisconnectReason`](crate::DisconnectReason): the event is not a disconnection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`DisconnectReason` is only available in `on_disconnecting` and `on_disconnect`")]
pub struct NotDisconnecting;

impl IntoEventResponse for NotDisconnecting {
    fn into_event_response(self) -> EventResponse {
        EventError::internal_message().into()
    }
}
