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

use super::{HttpResponseFuture, http_future::Refusal};

/// Caps the sockets that are connected at a time, for each key: a peer's address, a user, or anything else that the CONNECT
/// request tells.
///
/// tower's concurrency limits count CONNECTs that are being answered; this one counts sockets, from their CONNECT until they
/// are disconnected, for whatever reason. It goes on a namespace:
///
/// ```
/// use tower_socketio::{Namespace, middleware::ConnectionLimitLayer};
///
/// #[derive(Clone)]
/// struct User { id: u64 }
///
/// let chat = Namespace::new()
///     .layer(ConnectionLimitLayer::new(3, |request| request.extensions.get::<User>().map(|user| user.id)))
///     // Around it: the layer that tells who the user is.
///     .layer(axum::Extension(User { id: 7 }));
/// # let _: Namespace = chat;
/// ```
///
/// Over the cap the client is refused: its `connect_error` gets "too many connections", with `data` of `{"limit": 3}`.
///
/// Clones of a layer count together: put clones of one layer on several namespaces to cap what a key has in all of them.
/// Another `new` counts for itself. The count is that of this process.
#[derive(Clone)]
pub struct ConnectionLimitLayer {
    max: usize,
    acquire: Arc<Acquire>,
}

type Acquire = dyn Fn(&Parts) -> Place + Send + Sync;

/// What a CONNECT gets.
enum Place {
    /// It has no key.
    Uncounted,
    /// Released when it is dropped.
    Taken(Box<dyn Any + Send>),
    Full,
}

impl ConnectionLimitLayer {
    /// At most `max` sockets for each key. A CONNECT for which `key` gives `None` is not counted.
    ///
    /// `key` sees the request as [`Namespace::layer`](crate::Namespace::layer) does, with the
    /// [`SocketRef`](crate::SocketRef) among its extensions. A key is held in memory while one of its sockets is connected.
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

    /// At most `max` sockets for each address of a client. The addresses of an IPv6 network of 64 bits, which one host has
    /// all to itself, count as one.
    ///
    /// The address is that of the connection, which is known if the server was made with axum's
    /// `into_make_service_with_connect_info::<SocketAddr>()` or by
    /// [`SocketIoService::serve`](crate::SocketIoService::serve), or what a trusted proxy says, if
    /// [`SocketIoConfig::client_address`](crate::SocketIoConfig::client_address) is set. Where it is not known, nothing is
    /// counted, and a warning is logged.
    #[must_use]
    pub fn per_address(max: usize) -> Self {
        Self::new(max, |request| {
            let socket = request.extensions.get::<SocketRef>()?;
            let config = &socket.inner().client.server.engine.config;
            let address = config.address_of(&request.headers, &request.extensions);
            if address.is_none() {
                log!(warn, "the client's address is not known: its sockets are not counted");
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

/// Caps the connected sockets of a key. Made by [`ConnectionLimitLayer`].
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
            return HttpResponseFuture::refused(Refusal::not_a_connect());
        };
        match (self.layer.acquire)(&parts) {
            Place::Uncounted => {}
            Place::Taken(permit) => socket.inner().keep(permit),
            Place::Full => {
                log!(debug, limit = %self.layer.max, "too many connections: CONNECT refused");
                let error = json!({ "message": "too many connections", "data": { "limit": self.layer.max } });
                return HttpResponseFuture::refused(Refusal::json(StatusCode::TOO_MANY_REQUESTS, &error));
            }
        }
        HttpResponseFuture::inner(self.inner.call(Request::from_parts(parts, body)))
    }
}
