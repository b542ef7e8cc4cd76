use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{Router, response::IntoResponse};
use futures_core::Stream;
use futures_sink::Sink;
use http::{Request, Response, request::Parts};
use http_body::Body;
use pin_project::pin_project;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_http::cors;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    AcceptError, Engine, EngineBody, EngineFuture, EngineIoConfig, Handler, NotFound, Packet, ResponseBody,
    TransportError, handler::Adapter,
};

/// A layer that serves a custom protocol over Engine.IO.
///
/// Requests under the configured [path](EngineIoConfig::path) are handled by the engine. All others pass to the inner service.
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
    /// Creates a server. All services of the layer and its clones share it.
    #[must_use]
    pub fn new(config: EngineIoConfig, handler: impl Handler) -> Self {
        Self { engine: Engine::new(config, Box::new(Adapter(handler))) }
    }

    /// Returns a router with the path of Engine.IO only, to be merged into the router of an application. It works in any order with
    /// fallbacks, unlike the layer. See [`SocketIoLayer::router`](crate::SocketIoLayer::router).
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        self.engine.config.routes(self.layer(NotFound))
    }

    /// Returns a handle to the server.
    #[must_use]
    pub fn io(&self) -> EngineIo {
        EngineIo(self.engine.clone())
    }
}

impl EngineIoConfig {
    /// Returns a router that passes the requests of the path to a service.
    pub(crate) fn routes<S, T>(&self, service: T) -> Router<S>
    where
        S: Clone + Send + Sync + 'static,
        T: Service<Request<axum::body::Body>, Error = Infallible> + Clone + Send + Sync + 'static,
        T::Response: IntoResponse,
        T::Future: Send + 'static,
    {
        let path = self.path.replace('{', "{{").replace('}', "}}");
        let router = Router::new()
            .without_v07_checks()
            .route_service(&path, service.clone())
            .route_service(&format!("{path}{{*file}}"), service.clone());
        match path.strip_suffix('/') {
            Some(path) if !self.trailing_slash => router.route_service(path, service),
            _ => router,
        }
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

/// A service that serves Engine.IO and passes all other requests to the inner service.
///
/// Created by [`EngineIoLayer`], or by [`new`](Self::new) without an inner service.
///
/// ```no_run
/// use tower_socketio::engine::{EngineIoConfig, EngineIoService, EngineSocket, Message, SessionHandler};
///
/// struct Echo(EngineSocket);
///
/// impl SessionHandler for Echo {
///     fn message(&mut self, message: Message) {
///         self.0.send(message).ok();
///     }
/// }
///
/// # async fn run() -> std::io::Result<()> {
/// let service = EngineIoService::new(EngineIoConfig::new(), Echo);
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// axum::serve(listener, axum::Router::new().fallback_service(service)).await
/// # }
/// ```
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
    /// Returns a handle to the server.
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
        if self.engine.config.strip_path(request.uri().path()).is_none() {
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

/// Handles requests under the path. tower-http's CORS service wraps it.
#[derive(Clone)]
struct Requests(Arc<Engine>);

impl<B: Body> Service<Request<B>> for Requests {
    type Response = Response<EngineBody>;
    type Error = Infallible;
    type Future = EngineFuture<B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> EngineFuture<B> {
        self.0.handle(request)
    }
}

/// The response future of [`EngineIoService`].
#[pin_project]
pub struct EngineIoFuture<F, ReqBody>(#[pin] Repr<F, ReqBody>);

#[pin_project(project = ReprProjection)]
enum Repr<F, ReqBody> {
    Inner(#[pin] F),
    Engine(#[pin] EngineFuture<ReqBody>),
    Cors(#[pin] cors::ResponseFuture<EngineFuture<ReqBody>>),
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
        Poll::Ready(Ok(response.map(ResponseBody::engine)))
    }
}

impl<F, ReqBody> fmt::Debug for EngineIoFuture<F, ReqBody> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineIoFuture").finish_non_exhaustive()
    }
}

/// A handle to an Engine.IO server. Cloning is cheap.
///
/// Returned by [`EngineIoLayer::io`] and [`EngineIoService::io`].
#[derive(Debug, Clone)]
pub struct EngineIo(Arc<Engine>);

impl EngineIo {
    /// Returns the number of open sessions.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.sessions.len()
    }

    /// Returns how often handlers and callbacks have panicked.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.0.panics()
    }

    /// Returns the [path](EngineIoConfig::path) of the server, with a trailing slash.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0.config.path
    }

    /// Opens a session over a custom transport, and drives it to its end. See
    /// [`SocketIo::accept`](crate::SocketIo::accept).
    ///
    /// # Errors
    ///
    /// Returns an error if the session is not opened.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the session ends.
    pub async fn accept<T>(&self, request: Parts, transport: T) -> Result<(), AcceptError>
    where
        T: Stream<Item = Result<Packet, TransportError>> + Sink<Packet, Error = TransportError>,
    {
        self.0.accept(request, transport)?.await;
        Ok(())
    }

    /// Serves a client on a stream of WebTransport, until the stream is not needed any more. See
    /// [`SocketIo::accept_webtransport`](crate::SocketIo::accept_webtransport).
    ///
    /// # Errors
    ///
    /// Returns an error if no session is opened or upgraded.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, a session on the stream ends.
    pub async fn accept_webtransport<Io>(&self, request: Parts, stream: Io) -> Result<(), AcceptError>
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        self.0.accept_webtransport(request, stream).await
    }

    /// Returns a configuration of QUIC for [`serve_webtransport`](Self::serve_webtransport). See
    /// [`SocketIo::webtransport_config`](crate::SocketIo::webtransport_config).
    ///
    /// # Errors
    ///
    /// Returns an error if TLS 1.3 is disabled.
    #[cfg(feature = "webtransport")]
    #[cfg_attr(docsrs, doc(cfg(feature = "webtransport")))]
    pub fn webtransport_config(
        &self,
        tls: rustls::ServerConfig,
    ) -> Result<quinn::ServerConfig, quinn::crypto::rustls::NoInitialCipherSuite> {
        self.0.webtransport_config(tls)
    }

    /// Serves WebTransport on an endpoint of QUIC. See [`SocketIo::serve_webtransport`](crate::SocketIo::serve_webtransport).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, new clients are not served any more. Sessions stay open.
    #[cfg(feature = "webtransport")]
    #[cfg_attr(docsrs, doc(cfg(feature = "webtransport")))]
    pub async fn serve_webtransport(&self, endpoint: quinn::Endpoint) {
        self.0.clone().serve_webtransport(endpoint).await;
    }

    /// Closes all sessions, after their queued packets, and waits until they have ended.
    ///
    /// Sessions that have not ended after five seconds are aborted. New sessions may open meanwhile.
    ///
    /// # Cancel safety
    ///
    /// All sessions are closed even if the future is dropped after its first poll.
    pub async fn close(&self) {
        self.0.close().await;
    }

    /// Rejects new sessions and closes all others, spread evenly over the duration.
    ///
    /// New sessions are rejected with status 503 and code 4. The future completes at most five seconds after the duration.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the remaining sessions stay open, and new ones are still rejected.
    pub async fn drain(&self, duration: Duration) {
        self.0.drain(duration).await;
    }
}
