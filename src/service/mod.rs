//! The HTTP face: which requests are ours, and what answers them.

mod body;
mod future;
mod not_found;
mod request;

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::{
    config::SocketIoConfig,
    io::{CURRENT, SocketIo},
    server::Server,
};

pub use self::{body::ResponseBody, future::ResponseFuture, not_found::NotFound};

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
        if request.uri().path().starts_with(&self.server.settings.path) {
            return ResponseFuture::ours(request::handle(&self.server, request));
        }
        let io = self.io();
        let future = CURRENT.sync_scope(io.clone(), || self.inner.call(request));
        ResponseFuture::inner(io, future)
    }
}

impl<S> fmt::Debug for SocketIoService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketIoService").field("path", &self.server.settings.path).finish_non_exhaustive()
    }
}
