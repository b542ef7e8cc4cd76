//! The HTTP face: which requests are ours, and what answers them.

mod future;
mod serve;

use std::{
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tokio::net::{TcpListener, ToSocketAddrs};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    config::SocketIoConfig,
    engine::{Answer, NotFound, OwnBody, ResponseBody},
    io::{CURRENT, SocketIo},
    server::Server,
};

pub use self::future::ResponseFuture;

/// Serves Socket.IO, and hands all other requests to the service within.
///
/// Made by [`SocketIoLayer`](crate::SocketIoLayer), or by [`new`](Self::new) to stand alone:
///
/// ```
/// use tower_socketio::{SocketIoConfig, SocketIoService};
///
/// let service = SocketIoService::new(SocketIoConfig::new()); // 404 for everything else
/// let io = service.io();
/// ```
///
/// It works with any request and response body, on any HTTP server that supports hyper's upgrades.
///
/// # HTTP/2
///
/// Long-polling needs nothing but the server's own support, and a browser's polls and POSTs then share one connection.
/// WebSockets over HTTP/2 (RFC 8441) need the feature `http2` and a server that offers them: axum's does, hyper-util's if
/// it is told to. Browsers use them where they have an HTTP/2 connection already, which takes TLS.
///
/// ```
/// use hyper_util::{rt::TokioExecutor, server::conn::auto::Builder};
///
/// let mut http = Builder::new(TokioExecutor::new());
/// http.http2().enable_connect_protocol();
/// ```
///
/// They arrive as CONNECT requests: layers in front must let that method through, and proxies must pass it on. To a server
/// that does not offer them, browsers open a connection of HTTP/1.1 for the WebSocket.
#[derive(Clone)]
pub struct SocketIoService<S = NotFound> {
    inner: S,
    server: Arc<Server>,
}

impl SocketIoService {
    /// A service that answers 404 to everything that is not Socket.IO's.
    #[must_use]
    pub fn new(config: SocketIoConfig) -> Self {
        Self::wrap(NotFound, Server::new(config))
    }

    /// Serves Socket.IO alone on a port: `127.0.0.1:3000`, or anything that can be bound. See [`serve`](Self::serve).
    ///
    /// ```no_run
    /// # use tower_socketio::{SocketIoConfig, SocketIoService};
    /// # async fn doc() -> std::io::Result<()> {
    /// SocketIoService::new(SocketIoConfig::new()).listen("127.0.0.1:3000").await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the address cannot be bound.
    pub async fn listen(self, address: impl ToSocketAddrs) -> std::io::Result<()> {
        self.serve(TcpListener::bind(address).await?).await
    }

    /// Serves Socket.IO alone on a listener, until the future is dropped. Handshakes know their peer's address.
    ///
    /// It speaks HTTP/1.1, and HTTP/2 with the feature `http2`, sets `TCP_NODELAY` on each connection, and closes connections that are silent: see
    /// [`http_header_timeout`](SocketIoConfig::http_header_timeout), [`http_idle_timeout`](SocketIoConfig::http_idle_timeout)
    /// and [`http_write_timeout`](SocketIoConfig::http_write_timeout). The heads of requests are limited to
    /// [`max_head_bytes`](SocketIoConfig::max_head_bytes).
    ///
    /// Connections are accepted in a separate task, which runs on one of tokio's workers wherever this is called. When the
    /// future is dropped, nothing is accepted any more, idle connections are closed, and others once their requests have been
    /// answered. WebSockets live on, until [`SocketIo::close`] or [`SocketIo::drain`] ends them.
    ///
    /// # Errors
    ///
    /// If the runtime ends. (After an error of the listener, such as too many open files, it tries again every second.)
    pub async fn serve(self, listener: TcpListener) -> std::io::Result<()> {
        serve::serve(self, listener).await
    }
}

impl<S> SocketIoService<S> {
    pub(crate) fn wrap(inner: S, server: Arc<Server>) -> Self {
        Self { inner, server }
    }

    /// The handle to the server.
    #[must_use]
    pub fn io(&self) -> SocketIo {
        SocketIo::new(self.server.clone())
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for SocketIoService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ReqBody: Body,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        if self.server.engine.config.file_of(request.uri().path()).is_some() {
            return match &self.server.engine.cors {
                None => ResponseFuture::ours(handle(&self.server, request)),
                Some(cors) => ResponseFuture::cors(cors.layer(Ours(self.server.clone())).call(request)),
            };
        }
        let io = self.io();
        let future = CURRENT.sync_scope(io.clone(), || self.inner.call(request));
        ResponseFuture::inner(io, future)
    }
}

/// Answers a request under the path: with a file of the client bundle, or by the engine.
fn handle<B: Body>(server: &Arc<Server>, request: Request<B>) -> Answer<B> {
    let file = server.engine.config.file_of(request.uri().path());
    match file.and_then(|file| server.client_bundle.serve(file, &request)) {
        Some(response) => Answer::Other(response),
        None => server.engine.handle(request),
    }
}

/// Answers requests under the path. tower-http's CORS middleware wraps it.
#[derive(Clone)]
struct Ours(Arc<Server>);

impl<B: Body> Service<Request<B>> for Ours {
    type Response = Response<OwnBody>;
    type Error = Infallible;
    type Future = Answer<B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answer<B> {
        handle(&self.0, request)
    }
}

impl<S> fmt::Debug for SocketIoService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketIoService").field("path", &self.server.engine.config.path).finish_non_exhaustive()
    }
}
