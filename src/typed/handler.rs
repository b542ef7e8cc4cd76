//! Handlers of typed events.

use std::{
    future::Future,
    ops::{Deref, DerefMut},
};

use crate::{
    event::{Ack, EventRequest, IntoEventResponse},
    extract::{Data, FromEvent, rejection::DataRejection},
    handler::{EventHandler, Layered},
    namespace::Namespace,
};

use super::{ClientEvent, Fallible, NoAnswer};

/// An extractor for a typed event. It must be the last argument of a handler.
///
/// Rejects arguments that do not match, like [`Data`].
///
/// ```
/// use tower_socketio::{Namespace, SocketRef, typed::Typed};
///
/// tower_socketio::events! {
///     pub on ClientToServerEvents {
///         "join" => Join { room: String },
///     }
/// }
///
/// async fn join(socket: SocketRef, Typed(event): Typed<Join>) {
///     socket.join(event.room);
/// }
/// let namespace = Namespace::<()>::new().on_event(join);
/// # let _ = namespace;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Typed<E>(pub E);

impl<E> Deref for Typed<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.0
    }
}

impl<E> DerefMut for Typed<E> {
    fn deref_mut(&mut self) -> &mut E {
        &mut self.0
    }
}

impl<S: Sync, E: ClientEvent> FromEvent<S> for Typed<E> {
    const READS_ARGUMENTS: bool = true;

    type Rejection = DataRejection;

    async fn from_event(request: &mut EventRequest, state: &S) -> Result<Self, DataRejection> {
        let Data(args) = Data::<E::Args>::from_event(request, state).await?;
        Ok(Self(E::from_args(args)))
    }
}

/// An event handler whose last argument is [`Typed`].
///
/// This trait is sealed. It is implemented for async functions and closures, and for handlers with
/// [layers](crate::handler::EventHandler::layer).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler of the typed event `{E}`",
    label = "not a handler of this event",
    note = "it is an async fn of at most 16 extractors, the last of which is `Typed<{E}>`, and it returns what the event's \
            declaration says: `()` without an arrow, `Ack<T>` for `-> T`, `Result<Ack<T>, _>` for `-> Fallible<T>`"
)]
pub trait TypedHandler<E, T, S>: EventHandler<T, S> + sealed::Handler<E, T, S> {
    /// The return type of the handler.
    type Answer;
}

/// Seals the traits of this module: code outside of the crate cannot name them.
mod sealed {
    pub trait Handler<E, T, S> {}

    pub trait Answer<A> {}
}

impl<L, H, E, T, S> sealed::Handler<E, T, S> for Layered<L, H, T, S>
where
    H: TypedHandler<E, T, S>,
    Self: EventHandler<T, S>,
{
}

#[diagnostic::do_not_recommend]
impl<L, H, E, T, S> TypedHandler<E, T, S> for Layered<L, H, T, S>
where
    H: TypedHandler<E, T, S>,
    Self: EventHandler<T, S>,
{
    type Answer = H::Answer;
}

macro_rules! impl_typed_handler {
    ($($ty:ident),*) => {
        impl<F, Fut, S, E, $($ty,)*> sealed::Handler<E, ($($ty,)* Typed<E>,), S> for F where
            F: FnOnce($($ty,)* Typed<E>) -> Fut
        {
        }

        #[diagnostic::do_not_recommend]
        impl<F, Fut, S, E, $($ty,)*> TypedHandler<E, ($($ty,)* Typed<E>,), S> for F
        where
            F: FnOnce($($ty,)* Typed<E>) -> Fut + EventHandler<($($ty,)* Typed<E>,), S>,
            Fut: Future,
        {
            type Answer = Fut::Output;
        }
    };
}

impl_typed_handler!();
impl_typed_handler!(T1);
impl_typed_handler!(T1, T2);
impl_typed_handler!(T1, T2, T3);
impl_typed_handler!(T1, T2, T3, T4);
impl_typed_handler!(T1, T2, T3, T4, T5);
impl_typed_handler!(T1, T2, T3, T4, T5, T6);
impl_typed_handler!(T1, T2, T3, T4, T5, T6, T7);
impl_typed_handler!(T1, T2, T3, T4, T5, T6, T7, T8);
impl_typed_handler!(T1, T2, T3, T4, T5, T6, T7, T8, T9);
impl_typed_handler!(T1, T2, T3, T4, T5, T6, T7, T8, T9, T10);
impl_typed_handler!(T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11);
impl_typed_handler!(T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12);
impl_typed_handler!(T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13);
impl_typed_handler!(T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13, T14);
impl_typed_handler!(T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13, T14, T15);

/// The return type of a handler for an event whose [`Ack`](super::Event::Ack) is `A`.
///
/// This trait is sealed. It is implemented for `()` and `Result<(), E>` if the event has no response, for `Ack<T>`, and for
/// `Result<Ack<T>, E>` if the event is [`Fallible`].
#[diagnostic::on_unimplemented(
    message = "the event is declared with the answer `{A}`, and its handler returns `{Self}`",
    label = "returns `{Self}`",
    note = "return `()` or `Result<(), _>` for an event without an answer, `Ack<T>` for `-> T`, `Result<Ack<T>, _>` for \
            `-> Fallible<T>`"
)]
pub trait Answer<A>: sealed::Answer<A> {}

impl Answer<NoAnswer> for () {}
impl<E> Answer<NoAnswer> for Result<(), E> where Self: IntoEventResponse {}
impl<T> Answer<T> for Ack<T> {}
impl<T, E> Answer<Fallible<T>> for Result<Ack<T>, E> where Self: IntoEventResponse {}

impl sealed::Answer<NoAnswer> for () {}
impl<E> sealed::Answer<NoAnswer> for Result<(), E> {}
impl<T> sealed::Answer<T> for Ack<T> {}
impl<T, E> sealed::Answer<Fallible<T>> for Result<Ack<T>, E> {}

impl<S> Namespace<S>
where
    S: Clone + Send + Sync + 'static,
{
    /// Adds a handler for a typed event, which is determined by the handler's last argument, [`Typed`].
    ///
    /// The handler must return the response that the event declares:
    ///
    /// ```
    /// use tower_socketio::{Ack, EventError, Namespace, SocketRef, typed::{Fallible, Typed}};
    ///
    /// tower_socketio::events! {
    ///     pub on ClientToServerEvents {
    ///         "move" => Move { x: i32, y: i32 },
    ///         "count" => Count { text: String } -> usize,
    ///         "divide" => Divide { a: u32, b: u32 } -> Fallible<u32>,
    ///     }
    /// }
    ///
    /// async fn moved(socket: SocketRef, Typed(Move { x, y }): Typed<Move>) {}
    /// async fn count(Typed(Count { text }): Typed<Count>) -> Ack<usize> {
    ///     Ack(text.chars().count())
    /// }
    /// async fn divide(Typed(Divide { a, b }): Typed<Divide>) -> Result<Ack<u32>, EventError> {
    ///     a.checked_div(b).map(Ack).ok_or(EventError::new("division by zero"))
    /// }
    /// let namespace = Namespace::<()>::new().on_event(moved).on_event(count).on_event(divide);
    /// # let _ = namespace;
    /// ```
    ///
    /// A response that is sent later, by an [`AckSender`](crate::extract::AckSender), cannot be checked. For that, use
    /// [`on`](Self::on) with the event's name; [`Typed`] works there, too.
    ///
    /// # Panics
    ///
    /// See [`on`](Self::on).
    #[track_caller]
    pub fn on_event<E, H, T>(self, handler: H) -> Self
    where
        E: ClientEvent,
        H: TypedHandler<E, T, S>,
        H::Answer: Answer<E::Ack>,
        T: 'static,
    {
        self.on(E::NAME, handler)
    }
}
