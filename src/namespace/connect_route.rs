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

/// The service that answers a CONNECT, as the layers of a [`Namespace`](crate::Namespace) see it.
///
/// As axum's `Route`, it takes requests with any body, so that layers that wrap the body fit, and never fails.
#[derive(Clone)]
pub struct ConnectRoute(Repr);

#[derive(Clone)]
enum Repr {
    /// There is nobody to ask.
    AcceptAll,
    Service(BoxCloneSyncService<Request<Body>, Response, Infallible>),
}

impl ConnectRoute {
    /// Erases a layered service; its errors become answers.
    pub(super) fn new<S>(service: S) -> Self
    where
        S: Service<Request<Body>> + Clone + Send + Sync + 'static,
        S::Response: IntoResponse + 'static,
        S::Error: Into<BoxError> + 'static,
        S::Future: Send + 'static,
    {
        Self(Repr::Service(BoxCloneSyncService::new(InfallibleService::new(service, IntoResponse::into_response))))
    }

    /// The innermost service: the user's handler, behind the mark that it has been reached.
    pub(super) fn on_connect<S>(handler: S) -> Self
    where
        S: Service<Request<Body>, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        Self::new(EnterOnCall(handler))
    }

    /// The innermost service of a namespace without `on_connect`.
    pub(super) fn accept_all() -> Self {
        Self(Repr::AcceptAll)
    }

    /// Whether there is neither an `on_connect` nor a layer.
    pub(super) fn accepts_all(&self) -> bool {
        matches!(self.0, Repr::AcceptAll)
    }
}

/// A layer's error refuses the client with the error's text.
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

/// The future of [`ConnectRoute`].
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

/// Marks the socket as reached, and keeps on it what the layers put on the request.
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
        // The socket must not hold itself.
        extensions.remove::<SocketRef>();
        let socket = socket.clone();
        if !socket.inner().hold(Some(extensions)) {
            return Either::Right(std::future::ready(Ok(StatusCode::SERVICE_UNAVAILABLE.into_response())));
        }
        Either::Left(Answered { future: self.0.call(request), socket })
    }
}

/// The future of `on_connect`, which tells the socket if the client is refused by it, and not by a layer.
#[pin_project]
struct Answered<F> {
    #[pin]
    future: F,
    socket: SocketRef,
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
