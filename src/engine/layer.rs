use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use futures_sink::Sink;
use http::{Request, Response, request::Parts};
use http_body::Body;
use pin_project::pin_project;
use tower_http::cors;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    Answer, Engine, EngineIoConfig, Handler, NotFound, OwnBody, Packet, ResponseBody, TransportError, handler::Adapter,
};

/// A layer that serves Engine.IO, for a protocol of one's own.
///
/// ```
/// use axum::{Router, routing::get};
/// use tower_socketio::engine::{EngineIoConfig, EngineIoLayer, EngineSocket, Message, SessionHandler};
///
/// struct Echo(EngineSocket);
///
/// impl SessionHandler for Echo {
///     fn message(&mut self, message: Message) {
///         self.0.send(message).ok();
///     }
/// }
///
/// let layer = EngineIoLayer::new(EngineIoConfig::new(), Echo);
/// let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(layer);
/// # let _ = app;
/// ```
#[derive(Clone)]
pub struct EngineIoLayer {
    engine: Arc<Engine>,
}

impl EngineIoLayer {
    /// Creates a server. Services that are made by clones of the layer share it.
    #[must_use]
    pub fn new(config: EngineIoConfig, handler: impl Handler) -> Self {
        Self { engine: Engine::new(config, Box::new(Adapter(handler))) }
    }

    /// Returns the handle to the server.
    #[must_use]
    pub fn io(&self) -> EngineIo {
        EngineIo(self.engine.clone())
    }
}

impl<S> Layer<S> for EngineIoLayer {
    type Service = EngineIoService<S>;

    fn layer(&self, inner: S) -> EngineIoService<S> {
        EngineIoService { inner, engine: self.engine.clone() }
    }
}

impl fmt::Debug for EngineIoLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineIoLayer").field("engine", &self.engine).finish()
    }
}

/// Serves Engine.IO, and passes all other requests to the inner service.
///
/// Made by [`EngineIoLayer`], or by [`new`](Self::new) without an inner service.
#[derive(Clone)]
pub struct EngineIoService<S = NotFound> {
    inner: S,
    engine: Arc<Engine>,
}

impl EngineIoService {
    /// Creates a server that responds with 404 to requests that are not for Engine.IO.
    #[must_use]
    pub fn new(config: EngineIoConfig, handler: impl Handler) -> Self {
        EngineIoLayer::new(config, handler).layer(NotFound)
    }
}

impl<S> EngineIoService<S> {
    /// Returns the handle to the server.
    #[must_use]
    pub fn io(&self) -> EngineIo {
        EngineIo(self.engine.clone())
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for EngineIoService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ReqBody: Body,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = EngineIoFuture<S::Future, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        if self.engine.config.file_of(request.uri().path()).is_none() {
            return EngineIoFuture(Repr::Inner(self.inner.call(request)));
        }
        EngineIoFuture(match &self.engine.cors {
            None => Repr::Engine(self.engine.handle(request)),
            Some(cors) => Repr::Cors(cors.layer(Requests(self.engine.clone())).call(request)),
        })
    }
}

impl<S> fmt::Debug for EngineIoService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineIoService").field("engine", &self.engine).finish_non_exhaustive()
    }
}

/// Answers requests under the path. tower-http's CORS middleware wraps it.
#[derive(Clone)]
struct Requests(Arc<Engine>);

impl<B: Body> Service<Request<B>> for Requests {
    type Response = Response<OwnBody>;
    type Error = Infallible;
    type Future = Answer<B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answer<B> {
        self.0.handle(request)
    }
}

/// The future of an [`EngineIoService`].
#[pin_project]
pub struct EngineIoFuture<F, ReqBody>(#[pin] Repr<F, ReqBody>);

#[pin_project(project = ReprProjection)]
enum Repr<F, ReqBody> {
    Inner(#[pin] F),
    Engine(#[pin] Answer<ReqBody>),
    Cors(#[pin] cors::ResponseFuture<Answer<ReqBody>>),
}

impl<F, ReqBody, ResBody, E> Future for EngineIoFuture<F, ReqBody>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ReqBody: Body,
{
    type Output = Result<Response<ResponseBody<ResBody>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match self.project().0.project() {
            ReprProjection::Inner(future) => {
                return future.poll(cx).map_ok(|response| response.map(ResponseBody::inner));
            }
            ReprProjection::Engine(answer) => ready!(answer.poll(cx)),
            ReprProjection::Cors(answer) => ready!(answer.poll(cx)),
        };
        let response = answer.unwrap_or_else(|never| match never {});
        Poll::Ready(Ok(response.map(ResponseBody::own)))
    }
}

impl<F, ReqBody> fmt::Debug for EngineIoFuture<F, ReqBody> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineIoFuture").finish_non_exhaustive()
    }
}

/// A handle to an Engine.IO server. Cloning is cheap.
///
/// Made by [`EngineIoLayer::io`] and [`EngineIoService::io`].
#[derive(Debug, Clone)]
pub struct EngineIo(Arc<Engine>);

impl EngineIo {
    /// The number of sessions that exist now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.sessions.len()
    }

    /// The number of times so far that a handler or a callback panicked.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.0.panics()
    }

    /// The [path](EngineIoConfig::path) that is served, with a slash at its end.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0.config.path
    }

    /// Opens a session over a transport of the caller's, and carries it until its end. See
    /// [`SocketIo::accept`](crate::SocketIo::accept).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the session ends.
    pub async fn accept<T>(&self, request: Parts, transport: T)
    where
        T: Stream<Item = Result<Packet, TransportError>> + Sink<Packet, Error = TransportError>,
    {
        if let Some(session) = self.0.accept(request, transport) {
            session.await;
        }
    }

    /// Closes all sessions: what is queued is sent first. The future is ready when all have ended, but after five seconds at the
    /// latest; then what is left is aborted. New sessions may open.
    ///
    /// # Cancel safety
    ///
    /// All sessions are closed even if the future is dropped after its first poll.
    pub async fn close(&self) {
        self.0.close().await;
    }

    /// Opens no session any more, and closes all sessions, spread evenly over the duration. New ones are refused with 503 and code
    /// 4. The future is ready at most five seconds after the duration.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the sessions that are left stay, but no new ones are opened.
    pub async fn drain(&self, duration: Duration) {
        self.0.drain(duration).await;
    }
}
