use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use crate::{Origins, SocketRef, engine::ResponseBody, util::log};

use super::{HttpResponseFuture, http_future::Refusal};

/// Refuses requests of pages of other origins: 403, before the inner service sees them.
///
/// A request without an `Origin` header comes from no page, and passes. For Socket.IO alone
/// [`SocketIoConfig::origins`](crate::SocketIoConfig::origins) is the simpler way, which sets CORS headers too; this layer is
/// for everything else: a whole router, one route, or one namespace of several. A namespace that refuses so tells the client
/// "origin not allowed".
///
/// ```
/// use axum::{Router, routing::get};
/// use tower_socketio::{Namespace, SocketIoConfig, SocketIoLayer, middleware::OriginLayer};
///
/// let admin = Namespace::new().layer(OriginLayer::new("https://admin.example.com"));
/// let config = SocketIoConfig::new().namespace("/admin", admin.with_state(()));
/// let app: Router = Router::new()
///     .route("/", get(|| async { "hello" }))
///     .layer(SocketIoLayer::new(config))
///     .layer(OriginLayer::new(["https://example.com", "https://*.example.com"]));
/// ```
///
/// Browsers need CORS headers too, to let a page of another origin read the answers: those of tower-http's `CorsLayer`.
#[derive(Debug, Clone)]
pub struct OriginLayer {
    origins: Origins,
}

impl OriginLayer {
    /// A layer that lets these origins through.
    ///
    /// # Panics
    ///
    /// If one of the texts is no origin.
    #[must_use]
    #[track_caller]
    pub fn new(origins: impl Into<Origins>) -> Self {
        Self { origins: origins.into() }
    }
}

impl<S> Layer<S> for OriginLayer {
    type Service = OriginCheck<S>;

    fn layer(&self, inner: S) -> OriginCheck<S> {
        OriginCheck { inner, origins: self.origins.clone() }
    }
}

/// Refuses requests of pages of other origins. Made by [`OriginLayer`].
#[derive(Debug, Clone)]
pub struct OriginCheck<S> {
    inner: S,
    origins: Origins,
}

impl<S, B, R> Service<Request<B>> for OriginCheck<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = HttpResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let socket = parts.extensions.get::<SocketRef>();
        let count_panic = || socket.into_iter().for_each(|socket| socket.inner().client.server.count_panic());
        if self.origins.allow(&parts, false, count_panic) {
            HttpResponseFuture::inner(self.inner.call(Request::from_parts(parts, body)))
        } else {
            log!(debug, "a request of a foreign origin was refused");
            HttpResponseFuture::refused(Refusal::text(StatusCode::FORBIDDEN, "origin not allowed"))
        }
    }
}
