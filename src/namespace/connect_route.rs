use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
    response::{IntoResponse, Response},
};
use http::{Request, StatusCode};
use pin_project::pin_project;
use tower::util::BoxCloneSyncService;
use tower_service::Service;

use crate::{
    socket::{MissingSocket, SocketRef},
    util::{FromError, InfallibleService},
};

/// The inner service of a [`Namespace`](crate::Namespace)'s layers. It handles CONNECT requests.
///
/// Like axum's `Route` it accepts any type of body, so that layers may wrap the body, and it never fails.
///
/// ```
/// use axum::{body::Body, http::Request};
/// use tower::{Service, ServiceExt, layer::layer_fn, service_fn};
/// use tower_socketio::{Namespace, namespace::ConnectRoute};
///
/// let log = layer_fn(|inner: ConnectRoute| {
///     service_fn(move |request: Request<Body>| {
///         println!("CONNECT to {}", request.uri().path());
///         inner.clone().oneshot(request)
///     })
/// });
/// let chat: Namespace = Namespace::new().layer(log);
/// # let _ = chat;
/// ```
#[derive(Clone)]
pub struct ConnectRoute(Repr);

#[derive(Clone)]
enum Repr {
    /// There are neither layers nor `on_connect`.
    AcceptAll,
    Service(BoxCloneSyncService<Request<Body>, Response, Infallible>),
}

impl ConnectRoute {
    /// Erases the type of a service with layers. Errors become responses.
    pub(super) fn new<S>(service: S) -> Self
    where
        S: Service<Request<Body>> + Clone + Send + Sync + 'static,
        S::Response: IntoResponse + 'static,
        S::Error: Into<BoxError> + 'static,
        S::Future: Send + 'static,
    {
        Self(Repr::Service(BoxCloneSyncService::new(InfallibleService::new(service, IntoResponse::into_response))))
    }

    /// Creates the innermost service from the handler of the user.
    pub(super) fn on_connect<S>(handler: S) -> Self
    where
        S: Service<Request<Body>, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        Self::new(EnterOnCall(handler))
    }

    /// Creates the innermost service of a namespace without `on_connect`.
    pub(super) fn accept_all() -> Self {
        Self(Repr::AcceptAll)
    }

    /// Returns `true` if there are neither layers nor `on_connect`.
    pub(super) fn accepts_all(&self) -> bool {
        matches!(self.0, Repr::AcceptAll)
    }
}

/// The error of a layer rejects the client with the error's text.
impl FromError for Response {
    fn from_error(error: &BoxError) -> Self {
        (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response()
    }
}

impl<B> Service<Request<B>> for ConnectRoute
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = ConnectFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        match &mut self.0 {
            Repr::AcceptAll => Poll::Ready(Ok(())),
            Repr::Service(service) => service.poll_ready(cx),
        }
    }

    fn call(&mut self, request: Request<B>) -> ConnectFuture {
        let request = request.map(Body::new);
        ConnectFuture(match &mut self.0 {
            Repr::AcceptAll => Box::pin(EnterOnCall(tower::service_fn(ok)).call(request)),
            Repr::Service(service) => service.call(request),
        })
    }
}

impl fmt::Debug for ConnectRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectRoute").finish_non_exhaustive()
    }
}

fn ok(_: Request<Body>) -> std::future::Ready<Result<Response, Infallible>> {
    std::future::ready(Ok(StatusCode::OK.into_response()))
}

/// The future of [`ConnectRoute`]. It never fails.
pub struct ConnectFuture(Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>);

impl Future for ConnectFuture {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for ConnectFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectFuture").finish_non_exhaustive()
    }
}

/// Lets the socket enter the namespace before `on_connect` is called, and stores the request's extensions on it.
#[derive(Clone)]
struct EnterOnCall<S>(S);

impl<S> Service<Request<Body>> for EnterOnCall<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = futures_util::future::Either<Answered<S::Future>, std::future::Ready<Result<Response, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        use futures_util::future::Either;
        let Some(socket) = request.extensions().get::<SocketRef>() else {
            // A layer has replaced the request.
            return Either::Right(std::future::ready(Ok(MissingSocket.into_response())));
        };
        let mut extensions = request.extensions().clone();
        // Removed, because the socket must not hold a reference to itself.
        extensions.remove::<SocketRef>();
        let socket = socket.clone();
        if !socket.inner().enter_namespace(Some(extensions)) {
            return Either::Right(std::future::ready(Ok(StatusCode::SERVICE_UNAVAILABLE.into_response())));
        }
        Either::Left(Answered { future: self.0.call(request), socket })
    }
}

/// The future of `on_connect`. If the handler rejects the client, it records that the rejection does not come from a layer.
#[pin_project]
pub(super) struct Answered<F> {
    #[pin]
    pub(super) future: F,
    pub(super) socket: SocketRef,
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Answered<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let response = ready!(this.future.poll(cx))?;
        if !response.status().is_success() {
            this.socket.inner().decline();
        }
        Poll::Ready(Ok(response))
    }
}
