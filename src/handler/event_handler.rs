use std::{
    convert::Infallible,
    fmt,
    future::Future,
    marker::PhantomData,
    task::{Context, Poll},
};

use axum::BoxError;
use tower::ServiceExt;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    event::{EventFuture, EventRequest, EventResponse, EventRoute, IntoEventResponse, RouteFuture},
    extract::FromEvent,
};

/// An async function that handles events.
///
/// Implemented for functions and closures with up to sixteen arguments. The arguments are [extractors](crate::extract), and the
/// result is an [`IntoEventResponse`]: `()`, [`Ack`](crate::Ack), or a `Result` of these.
///
/// ```
/// use tower_socketio::{Ack, Namespace, SocketRef, extract::{Data, State}};
///
/// async fn echo(Data(text): Data<String>) -> Ack<String> {
///     Ack(text)
/// }
/// async fn add(State(limit): State<u32>, Data((a, b)): Data<(u32, u32)>) -> Result<Ack<u32>, &'static str> {
///     match a.checked_add(b) {
///         Some(sum) if sum <= limit => Ok(Ack(sum)),
///         _ => Err("too large"),
///     }
/// }
/// let namespace: Namespace = Namespace::new().on("echo", echo).on("add", add).with_state(100);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event handler",
    label = "not an event handler",
    note = "an event handler is an async fn of at most 16 extractors (`SocketRef`, `Data<T>`, `State<T>`, ...; see \
            `tower_socketio::extract`) that returns `()`, `Ack<T>`, or a `Result` of these",
    note = "the event's arguments are one extractor, `Data<A>` or `Data<(A, B)>`; what axum extracts from a request is \
            `FromHandshake<E>` here",
    note = "the error of a `Result` is `EventError` (any `std::error::Error` becomes one with `?`), a string, or your own \
            type with `IntoEventResponse`",
    note = "`Data<T>` needs `T: DeserializeOwned`, `Ack<T>` needs `T: Serialize`, and the future must be `Send`",
    note = "the type of `State<T>` must be the type given to `with_state`, or implement `FromRef` for it",
    note = "`#[tower_socketio::debug_handler]` on the function points to the mistake (feature `macros`)"
)]
pub trait EventHandler<T, S>: Clone + Send + Sync + Sized + 'static {
    /// How many of the arguments are extractors that read all arguments of the event.
    #[doc(hidden)]
    const ARGUMENT_READERS: usize;

    /// Calls the handler.
    fn call(self, request: EventRequest, state: S) -> EventFuture;

    /// Applies a layer to this handler only.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower::timeout::TimeoutLayer;
    /// use tower_socketio::{Namespace, handler::EventHandler};
    ///
    /// async fn slow() {}
    /// let namespace = Namespace::<()>::new().on("slow", slow.layer(TimeoutLayer::new(Duration::from_secs(1))));
    /// # let _ = namespace;
    /// ```
    fn layer<L>(self, layer: L) -> Layered<L, Self, T, S>
    where
        L: Layer<HandlerService<Self, T, S>>,
        L::Service: Service<EventRequest>,
    {
        Layered::new(layer, self)
    }

    /// Converts the handler to a service by providing its state.
    fn with_state(self, state: S) -> HandlerService<Self, T, S> {
        HandlerService::new(self, state)
    }

    /// Converts the handler to a route.
    #[doc(hidden)]
    fn into_route(self, state: S) -> EventRoute
    where
        S: Clone + Send + Sync + 'static,
    {
        EventRoute::handler(move |request| self.clone().call(request, state.clone()))
    }
}

/// Checks at compile time that a handler has only one `Data` or `Typed`.
pub(crate) const fn assert_reads_arguments_once<H: EventHandler<T, S>, T, S>() {
    assert!(
        H::ARGUMENT_READERS <= 1,
        "an event handler has two `Data` or `Typed` extractors, which would both begin with the first argument: extract several \
         arguments as a tuple, `Data<(A, B)>`"
    );
}

macro_rules! impl_handler {
    ($($ty:ident),*) => {
        #[diagnostic::do_not_recommend]
        #[allow(non_snake_case, unused_mut, unused_variables)]
        impl<F, Fut, S, Res, $($ty,)*> EventHandler<($($ty,)*), S> for F
        where
            F: FnOnce($($ty,)*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = Res> + Send,
            S: Send + Sync + 'static,
            Res: IntoEventResponse,
            $($ty: FromEvent<S> + Send,)*
        {
            const ARGUMENT_READERS: usize = 0 $(+ <$ty as FromEvent<S>>::READS_ARGUMENTS as usize)*;

            fn call(self, mut request: EventRequest, state: S) -> EventFuture {
                EventFuture::handler(async move {
                    $(
                        let $ty = match $ty::from_event(&mut request, &state).await {
                            Ok(value) => value,
                            Err(rejection) => return request.reject(rejection),
                        };
                    )*
                    if !request.is_well_formed() {
                        return EventResponse::none();
                    }
                    let ack_taken = request.is_ack_taken();
                    drop(request);
                    let response = self($($ty,)*).await.into_event_response();
                    response.unless_answered(ack_taken)
                })
            }
        }
    };
}

impl_handler!();
impl_handler!(T1);
impl_handler!(T1, T2);
impl_handler!(T1, T2, T3);
impl_handler!(T1, T2, T3, T4);
impl_handler!(T1, T2, T3, T4, T5);
impl_handler!(T1, T2, T3, T4, T5, T6);
impl_handler!(T1, T2, T3, T4, T5, T6, T7);
impl_handler!(T1, T2, T3, T4, T5, T6, T7, T8);
impl_handler!(T1, T2, T3, T4, T5, T6, T7, T8, T9);
impl_handler!(T1, T2, T3, T4, T5, T6, T7, T8, T9, T10);
impl_handler!(T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11);
impl_handler!(T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12);
impl_handler!(T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13);
impl_handler!(T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13, T14);
impl_handler!(T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13, T14, T15);
impl_handler!(T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11, T12, T13, T14, T15, T16);

/// An event handler with its state, as a service. Created by [`EventHandler::with_state`].
pub struct HandlerService<H, T, S> {
    handler: H,
    state: S,
    marker: PhantomData<fn() -> T>,
}

impl<H, T, S> HandlerService<H, T, S> {
    fn new(handler: H, state: S) -> Self {
        Self { handler, state, marker: PhantomData }
    }
}

impl<H: Clone, T, S: Clone> Clone for HandlerService<H, T, S> {
    fn clone(&self) -> Self {
        Self::new(self.handler.clone(), self.state.clone())
    }
}

impl<H, T, S> fmt::Debug for HandlerService<H, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerService").finish_non_exhaustive()
    }
}

impl<H, T, S> Service<EventRequest> for HandlerService<H, T, S>
where
    H: EventHandler<T, S>,
    S: Clone,
{
    type Response = EventResponse;
    type Error = Infallible;
    type Future = RouteFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: EventRequest) -> RouteFuture {
        RouteFuture::new(self.handler.clone().call(request, self.state.clone()))
    }
}

/// An event handler with a layer. Created by [`EventHandler::layer`].
pub struct Layered<L, H, T, S> {
    layer: L,
    handler: H,
    marker: PhantomData<fn() -> (T, S)>,
}

impl<L, H, T, S> Layered<L, H, T, S> {
    fn new(layer: L, handler: H) -> Self {
        Self { layer, handler, marker: PhantomData }
    }
}

impl<L: Clone, H: Clone, T, S> Clone for Layered<L, H, T, S> {
    fn clone(&self) -> Self {
        Self::new(self.layer.clone(), self.handler.clone())
    }
}

impl<L, H, T, S> fmt::Debug for Layered<L, H, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layered").finish_non_exhaustive()
    }
}

#[diagnostic::do_not_recommend]
impl<L, H, T, S> EventHandler<T, S> for Layered<L, H, T, S>
where
    L: Layer<HandlerService<H, T, S>> + Clone + Send + Sync + 'static,
    L::Service: Service<EventRequest> + Clone + Send + Sync + 'static,
    <L::Service as Service<EventRequest>>::Response: IntoEventResponse + 'static,
    <L::Service as Service<EventRequest>>::Error: Into<BoxError> + 'static,
    <L::Service as Service<EventRequest>>::Future: Send + 'static,
    H: EventHandler<T, S>,
    S: Send + 'static,
    T: 'static,
{
    const ARGUMENT_READERS: usize = H::ARGUMENT_READERS;

    /// Applies the layer for each call, so calls do not share its state. A namespace applies it only once instead.
    fn call(self, request: EventRequest, state: S) -> EventFuture {
        let route = EventRoute::new(self.layer.layer(self.handler.with_state(state)));
        EventFuture::new(async move { route.oneshot(request).await.unwrap_or_else(|never| match never {}) })
    }

    fn into_route(self, state: S) -> EventRoute
    where
        S: Clone + Send + Sync + 'static,
    {
        EventRoute::new(self.layer.layer(self.handler.with_state(state)))
    }
}
