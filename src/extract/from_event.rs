use std::{convert::Infallible, fmt, future::Future};

use crate::event::{EventRequest, IntoEventResponse};

/// A type that can be an argument of event handlers.
///
/// ```
/// use tower_socketio::{event::EventRequest, extract::FromEvent};
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
    /// Whether the extractor is one of those that read all arguments, of which a handler may have one.
    #[doc(hidden)]
    const READS_ARGUMENTS: bool = false;

    /// The rejection. If the client requested an ack, it is sent as the ack.
    type Rejection: IntoEventResponse + fmt::Display;

    /// Extracts the value from an event.
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
