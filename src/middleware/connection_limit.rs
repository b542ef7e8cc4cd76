use std::{
    any::Any,
    fmt,
    hash::Hash,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, StatusCode, request::Parts};
use serde_json::json;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    SocketRef,
    engine::ResponseBody,
    util::{Counts, log},
};

use super::{future::HttpResponseFuture, http_future::ErrorResponse};

/// Limits the number of connected sockets for each key: a client's address, a user, or another property of the CONNECT request.
///
/// tower's concurrency limits count CONNECTs in progress. This layer counts sockets, from their CONNECT until they are
/// disconnected. Use it on a namespace:
///
/// ```
/// use tower_socketio::{Namespace, middleware::ConnectionLimitLayer};
///
/// #[derive(Clone)]
/// struct User { id: u64 }
///
/// let chat = Namespace::new()
///     .layer(ConnectionLimitLayer::new(3, |request| request.extensions.get::<User>().map(|user| user.id)))
///     // An outer layer, which authenticates the user.
///     .layer(axum::Extension(User { id: 7 }));
/// # let _: Namespace = chat;
/// ```
///
/// Above the limit, a client is rejected: it gets a `connect_error` with the message "too many connections" and the `data`
/// `{"limit": 3}`.
///
/// Clones of a layer share their counts: use clones on several namespaces to limit their sockets together. The counts are local
/// to the process.
#[derive(Clone)]
pub struct ConnectionLimitLayer {
    max: usize,
    acquire: Arc<Acquire>,
}

type Acquire = dyn Fn(&Parts) -> Place + Send + Sync;

/// The result of a CONNECT.
enum Place {
    /// It has no key and is not counted.
    Uncounted,
    /// It is counted until this value is dropped.
    Taken(Box<dyn Any + Send>),
    Full,
}

impl ConnectionLimitLayer {
    /// Creates a layer that allows at most `max` sockets for each key. A CONNECT for which `key` returns `None` is not counted.
    ///
    /// `key` gets the request as in [`Namespace::layer`](crate::Namespace::layer), with the [`SocketRef`](crate::SocketRef) among its
    /// extensions. A key is kept in memory while it has a connected socket.
    #[must_use]
    pub fn new<K>(max: usize, key: impl Fn(&Parts) -> Option<K> + Send + Sync + 'static) -> Self
    where
        K: Hash + Eq + Clone + Send + 'static,
    {
        let counts = Counts::default();
        let acquire = move |request: &Parts| match key(request) {
            None => Place::Uncounted,
            Some(key) => match counts.acquire(key, max) {
                Some(permit) => Place::Taken(Box::new(permit)),
                None => Place::Full,
            },
        };
        Self { max, acquire: Arc::new(acquire) }
    }

    /// Creates a layer that allows at most `max` sockets for each client address. IPv6 addresses of the same 64-bit network count as
    /// one.
    ///
    /// The address is that of the connection, or one that a trusted proxy forwards if
    /// [`SocketIoConfig::client_address`](crate::SocketIoConfig::client_address) is set. The former is known with
    /// [`SocketIoService::serve`](crate::SocketIoService::serve) and with axum's
    /// `into_make_service_with_connect_info::<SocketAddr>()`. Sockets with an unknown address are not counted, and a warning is
    /// logged.
    #[must_use]
    pub fn per_address(max: usize) -> Self {
        Self::new(max, |request| {
            let socket = request.extensions.get::<SocketRef>()?;
            let config = &socket.inner().client.server.engine.config;
            let address = config.address_of(&request.headers, &request.extensions);
            if address.is_none() {
                log!(warn, "unknown client address: its sockets are not counted");
            }
            address
        })
    }
}

impl<S> Layer<S> for ConnectionLimitLayer {
    type Service = ConnectionLimit<S>;

    fn layer(&self, inner: S) -> ConnectionLimit<S> {
        ConnectionLimit { inner, layer: self.clone() }
    }
}

impl fmt::Debug for ConnectionLimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionLimitLayer").field("max", &self.max).finish_non_exhaustive()
    }
}

/// Limits the connected sockets of a key. Created by [`ConnectionLimitLayer`].
#[derive(Debug, Clone)]
pub struct ConnectionLimit<S> {
    inner: S,
    layer: ConnectionLimitLayer,
}

impl<S, B, R> Service<Request<B>> for ConnectionLimit<S>
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
        let Some(socket) = parts.extensions.get::<SocketRef>() else {
            return HttpResponseFuture::rejected(ErrorResponse::not_a_connect());
        };
        match (self.layer.acquire)(&parts) {
            Place::Uncounted => {}
            Place::Taken(permit) => socket.inner().attach(permit),
            Place::Full => {
                log!(debug, limit = %self.layer.max, "too many connections: CONNECT rejected");
                let error = json!({ "message": "too many connections", "data": { "limit": self.layer.max } });
                return HttpResponseFuture::rejected(ErrorResponse::json(StatusCode::TOO_MANY_REQUESTS, &error));
            }
        }
        HttpResponseFuture::inner(self.inner.call(Request::from_parts(parts, body)))
    }
}
