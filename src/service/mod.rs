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
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    config::SocketIoConfig,
    engine::{EngineBody, EngineFuture, NotFound, ResponseBody},
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
        Self::wrap(NotFound, config.build())
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
        if self.server.engine.config.strip_path(request.uri().path()).is_some() {
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
fn handle<B: Body>(server: &Arc<Server>, request: Request<B>) -> EngineFuture<B> {
    let file = server.engine.config.strip_path(request.uri().path());
    match file.and_then(|file| server.client_bundle.serve(file, &request)) {
        Some(response) => EngineFuture::Other(response),
        None => server.engine.handle(request),
    }
}

/// Handles requests under the path. tower-http's CORS service wraps it.
#[derive(Clone)]
struct Ours(Arc<Server>);

impl<B: Body> Service<Request<B>> for Ours {
    type Response = Response<EngineBody>;
    type Error = Infallible;
    type Future = EngineFuture<B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> EngineFuture<B> {
        handle(&self.0, request)
    }
}

impl<S> fmt::Debug for SocketIoService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketIoService").field("path", &self.server.engine.config.path).finish_non_exhaustive()
    }
}
