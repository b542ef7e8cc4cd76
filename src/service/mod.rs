//! The HTTP service: passes requests to the engine, the client bundle or the inner service.

mod future;
mod serve;

use std::{
    convert::Infallible,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    config::SocketIoConfig,
    engine::{EngineBody, EngineFuture, NotFound, ResponseBody},
    io::{CURRENT_IO, SocketIo},
    server::Server,
    util::log,
};

pub use self::future::ResponseFuture;

/// Serves Socket.IO and passes all other requests to the inner service.
///
/// Created by [`SocketIoLayer`](crate::SocketIoLayer), or by [`new`](Self::new) without an inner service:
///
/// ```
/// use tower_socketio::{SocketIoConfig, SocketIoService};
///
/// let service = SocketIoService::new(SocketIoConfig::new()); // 404 for everything else
/// let io = service.io();
/// ```
///
/// It works with any type of request and response body, on any HTTP server that supports hyper's upgrades.
///
/// # HTTP/2
///
/// Long-polling works on any server that supports HTTP/2. The polls and POSTs of a browser then share one connection. WebSockets
/// over HTTP/2 (RFC 8441) require the feature `http2` and a server that enables the extended CONNECT protocol. axum's server
/// enables it. With hyper-util, enable it as follows. Browsers use it if they already have an HTTP/2 connection, which requires
/// TLS.
///
/// ```
/// use hyper_util::{rt::TokioExecutor, server::conn::auto::Builder};
///
/// let mut http = Builder::new(TokioExecutor::new());
/// http.http2().enable_connect_protocol();
/// ```
///
/// Such WebSockets arrive as CONNECT requests. Outer layers and proxies must let that method pass. If the server does not enable
/// the protocol, browsers open an HTTP/1.1 connection for the WebSocket.
#[derive(Clone)]
pub struct SocketIoService<S = NotFound> {
    inner: S,
    attached: Arc<Attached>,
}

/// The server, as the services of a layer share it.
pub(crate) struct Attached {
    server: Arc<Server>,
    /// Whether a service has got a request.
    used: AtomicBool,
}

impl Attached {
    pub(crate) fn new(server: Arc<Server>) -> Self {
        Self { server, used: AtomicBool::new(false) }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if !*self.used.get_mut() {
            log!(
                warn,
                "no service of a `SocketIoLayer` is left, and none has got a request: a fallback that is added after the layer replaces it"
            );
        }
    }
}

impl SocketIoService {
    /// Creates a service that responds with 404 to requests outside of the configured path.
    #[must_use]
    pub fn new(config: SocketIoConfig) -> Self {
        let attached = Attached::new(config.build());
        // A service that is not created by a layer cannot be replaced by a fallback.
        attached.used.store(true, Ordering::Relaxed);
        Self::wrap(NotFound, Arc::new(attached))
    }
}

impl<S> SocketIoService<S> {
    pub(crate) fn wrap(inner: S, attached: Arc<Attached>) -> Self {
        Self { inner, attached }
    }

    fn server(&self) -> &Arc<Server> {
        &self.attached.server
    }

    /// Returns a handle to the server.
    #[must_use]
    pub fn io(&self) -> SocketIo {
        SocketIo::new(self.server().clone())
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
        self.attached.used.store(true, Ordering::Relaxed);
        let server = self.server();
        if server.engine.config.strip_path(request.uri().path()).is_some() {
            return match &server.engine.cors {
                None => ResponseFuture::ours(handle(server, request)),
                Some(cors) => ResponseFuture::cors(cors.layer(Ours(server.clone())).call(request)),
            };
        }
        let io = self.io();
        let future = CURRENT_IO.sync_scope(io.clone(), || self.inner.call(request));
        ResponseFuture::inner(io, future)
    }
}

/// Handles a request under the path: returns a file of the client bundle, or passes the request to the engine.
fn handle<B: Body>(server: &Arc<Server>, request: Request<B>) -> EngineFuture<B> {
    let file = server.engine.config.strip_path(request.uri().path());
    match file.and_then(|file| server.client_bundle.serve(file, &request)) {
        Some(response) => EngineFuture::Other(response),
        None => server.engine.handle(request),
    }
}

/// Handles requests under the path. It is the inner service of tower-http's CORS middleware.
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
        f.debug_struct("SocketIoService").field("path", &self.server().engine.config.path).finish_non_exhaustive()
    }
}
