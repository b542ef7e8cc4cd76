use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use crate::{Origins, SocketRef, engine::ResponseBody, util::log};

use super::{future::HttpResponseFuture, http_future::ErrorResponse};

/// Rejects requests from pages of other origins with status 403, before the inner service gets them.
///
/// Requests without an `Origin` header do not come from a page and pass. For Socket.IO as a whole, use
/// [`SocketIoConfig::origins`](crate::SocketIoConfig::origins), which also sets CORS headers. This layer is for a whole router,
/// for one route, or for one of several namespaces. A namespace with this layer rejects clients with the message "origin not
/// allowed".
///
/// ```
/// use axum::{Router, routing::get};
/// use tower_socketio::{Namespace, SocketIoConfig, SocketIoLayer, middleware::OriginLayer};
///
/// let admin = Namespace::new().layer(OriginLayer::new("https://admin.example.com"));
/// let config = SocketIoConfig::new().namespace("/admin", admin);
/// let app: Router = Router::new()
///     .route("/", get(|| async { "hello" }))
///     .layer(SocketIoLayer::new(config))
///     .layer(OriginLayer::new(["https://example.com", "https://*.example.com"]));
/// ```
///
/// For pages of other origins to read responses, browsers also require CORS headers. tower-http's `CorsLayer` adds them.
#[derive(Debug, Clone)]
pub struct OriginLayer {
    origins: Origins,
}

impl OriginLayer {
    /// Creates a layer that allows the given origins.
    ///
    /// # Panics
    ///
    /// Panics if a text is not an origin.
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

/// Rejects requests from pages of other origins. Created by [`OriginLayer`].
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
            log!(debug, "origin not allowed: request rejected");
            HttpResponseFuture::rejected(ErrorResponse::text(StatusCode::FORBIDDEN, "origin not allowed"))
        }
    }
}
