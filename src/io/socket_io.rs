use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use futures_core::Stream;
use futures_sink::Sink;
use http::{StatusCode, request::Parts};
use serde::Serialize;

use crate::{
    cluster::ClusterAdapter,
    engine::{AcceptError, Origins, Packet, TransportError},
    server::{Server, absolute},
    socket::SocketRef,
};

use super::namespace_ref::{NamespaceRef, PatternRef};

tokio::task_local! {
    /// The server whose layer handles the request that is being polled. An extension on the request would cost every
    /// request that is not for Socket.IO an allocation.
    pub(crate) static CURRENT: SocketIo;
}

/// A handle to a server: emits from anywhere. Cloning is cheap.
///
/// Made by [`SocketIoLayer::io`](crate::SocketIoLayer::io). It is an extractor in event handlers, in
/// [`on_connect`](crate::Namespace::on_connect), and in ordinary axum handlers beneath the layer:
///
/// ```
/// use axum::{Router, routing::post};
/// use tower_socketio::{SocketIo, SocketIoConfig, SocketIoLayer};
///
/// async fn announce(io: SocketIo, text: String) {
///     io.emit("announcement", &text).ok();
/// }
/// let app: Router = Router::new()
///     .route("/announce", post(announce))
///     .layer(SocketIoLayer::new(SocketIoConfig::new()));
/// ```
///
/// Its own operators mean the default namespace, `/`; [`of`](Self::of) gives the others.
#[derive(Clone)]
pub struct SocketIo {
    server: Arc<Server>,
}

impl SocketIo {
    pub(crate) fn new(server: Arc<Server>) -> Self {
        Self { server }
    }

    /// A namespace, by its name. A missing leading slash is added.
    ///
    /// `None` if there is none, or none yet: namespaces of a pattern exist while they have sockets.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<NamespaceRef> {
        self.server.namespaces.get(&absolute(name)).map(NamespaceRef::new)
    }

    /// A namespace, by its name. A missing leading slash is added.
    ///
    /// As [`of`](Self::of), for namespaces that are known to exist:
    ///
    /// ```
    /// use tower_socketio::{Namespace, SocketIoConfig, SocketIoLayer};
    ///
    /// let io = SocketIoLayer::new(SocketIoConfig::new().namespace("/admin", Namespace::new())).io();
    /// io.namespace("/admin").emit("hello", &())?;
    /// # Ok::<(), tower_socketio::EmitError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if there is no such namespace.
    #[must_use]
    #[track_caller]
    pub fn namespace(&self, name: &str) -> NamespaceRef {
        match self.of(name) {
            Some(namespace) => namespace,
            None => panic!("there is no namespace `{name}`: declare it with `SocketIoConfig::namespace`, or use `of`"),
        }
    }

    /// The namespaces that a pattern has made, as it was given to
    /// [`SocketIoConfig::namespace`](crate::SocketIoConfig::namespace); `None` if there is no such pattern.
    ///
    /// ```
    /// use tower_socketio::{Namespace, SocketIoConfig, SocketIoLayer};
    ///
    /// let io = SocketIoLayer::new(SocketIoConfig::new().namespace("/room/{id}", Namespace::new())).io();
    /// io.of_pattern("/room/{id}").unwrap().emit("closing time", &()).unwrap();
    /// ```
    #[must_use]
    pub fn of_pattern(&self, pattern: &str) -> Option<PatternRef> {
        let namespaces = self.server.namespaces.of_pattern(&absolute(pattern))?;
        Some(PatternRef { namespaces: namespaces.into_iter().map(NamespaceRef::new).collect() })
    }

    /// All namespaces that exist now.
    #[must_use]
    pub fn namespaces(&self) -> Vec<NamespaceRef> {
        self.server.namespaces.all().into_iter().map(NamespaceRef::new).collect()
    }

    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    pub(super) fn root(&self) -> NamespaceRef {
        self.of("/").expect("the default namespace always exists")
    }

    /// Disconnects everyone: each socket gets a DISCONNECT packet, its handlers the reason "server shutting down", and every
    /// connection is closed once what is queued has been sent.
    ///
    /// Clients take that for the server's decision and do not come back by themselves; to make them go elsewhere, use
    /// [`drain`](Self::drain). The HTTP server is not touched: new clients may connect.
    ///
    /// Event handlers that run may finish first: their acks are sent, and so are those that they wait for read. Further events are
    /// ignored. The future is ready when all connections have ended and their [`on_disconnect`](crate::Namespace::on_disconnect)
    /// handlers have finished, but after five seconds at the latest: after four, connections whose handlers still run are closed, and after
    /// five what is left is cut off. A handler must not await this, since it would wait for itself: spawn a task.
    ///
    /// # Cancel safety
    ///
    /// Everyone is disconnected even if the future is dropped after its first poll, once its handlers have ended.
    pub async fn close(&self) {
        self.server.engine.close().await;
    }

    /// Empties the server, before it is replaced: no new session is opened any more, and the clients' connections are
    /// closed one after the other, spread evenly over the duration, so that those who take them over are not flooded.
    ///
    /// New sessions are refused with 503 and code 4. The sockets' handlers get the reason "server shutting down"; their
    /// clients see a lost connection and connect again, where a load balancer sends them. The HTTP server is not touched:
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use tower_socketio::{SocketIoConfig, SocketIoLayer};
    /// # async fn doc(listener: tokio::net::TcpListener, signal: impl Future<Output = ()> + Send + 'static) {
    /// let layer = SocketIoLayer::new(SocketIoConfig::new());
    /// let io = layer.io();
    /// let app: axum::Router = axum::Router::new().layer(layer);
    /// let drained = async move {
    ///     signal.await;
    ///     io.drain(Duration::from_secs(30)).await;
    /// };
    /// axum::serve(listener, app).with_graceful_shutdown(drained).await.unwrap();
    /// # }
    /// ```
    ///
    /// Handlers are waited for as by [`close`](Self::close). The future is ready at most five seconds after the duration.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, those that are left stay, but no new ones are taken.
    pub async fn drain(&self, duration: Duration) {
        self.server.engine.drain(duration).await;
    }

    /// Opens a connection over a transport of the user's own, and carries it until its end: what Node calls
    /// `onconnection`.
    ///
    /// A transport is a stream and a sink of Engine.IO packets. The handshake is the first of them; heartbeats, namespaces
    /// and events are as over a WebSocket. `request` is what handlers and the layers of namespaces see as the request that
    /// opened the connection; if its query says `EIO=3`, and [`allow_eio3`](crate::SocketIoConfig::allow_eio3) is set, the
    /// client is one of that revision. The checks that HTTP requests go through are the caller's.
    ///
    /// ```
    /// use futures_util::{Sink, Stream};
    /// use tower_socketio::{
    ///     SocketIo,
    ///     engine::{AcceptError, Packet, TransportError},
    /// };
    ///
    /// async fn carry<T>(io: SocketIo, transport: T) -> Result<(), AcceptError>
    /// where
    ///     T: Stream<Item = Result<Packet, TransportError>> + Sink<Packet, Error = TransportError>,
    /// {
    ///     let (request, ()) = http::Request::new(()).into_parts();
    ///     io.accept(request, transport).await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// If the connection is not opened: the server is [draining](Self::drain), for instance.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection ends.
    pub async fn accept<T>(&self, request: Parts, transport: T) -> Result<(), AcceptError>
    where
        T: Stream<Item = Result<Packet, TransportError>> + Sink<Packet, Error = TransportError>,
    {
        self.server.engine.accept(request, transport)?.await;
        Ok(())
    }

    /// The [path](crate::SocketIoConfig::path) under which Socket.IO is served, with the slash at its end.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.server.engine.config.path
    }

    /// Whether the files of the JavaScript client [are served](crate::SocketIoConfig::serve_client).
    #[must_use]
    pub fn serves_client(&self) -> bool {
        self.server.client_bundle.is_served()
    }

    /// The [pages that may connect](crate::SocketIoConfig::origins). `None`: all of them.
    #[must_use]
    pub fn origins(&self) -> Option<&Origins> {
        self.server.engine.config.origins.as_ref()
    }

    /// What [makes the server a node of a cluster](crate::SocketIoConfig::adapter). `None`: it stands alone.
    #[must_use]
    pub fn adapter(&self) -> Option<&dyn ClusterAdapter> {
        self.server.settings.adapter.as_deref()
    }

    /// Figures of the whole server.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let counters = &self.server.counters;
        let namespaces = self.server.namespaces.all();
        Stats {
            connections: self.server.engine.sessions.len(),
            sockets: namespaces.iter().map(|n| n.with_registry(|registry| registry.len())).sum(),
            rejections: counters.rejections.load(Ordering::Relaxed),
            panics: self.server.engine.panics(),
            slow_clients: counters.slow_clients.load(Ordering::Relaxed),
        }
    }
}

/// Figures of a server. Made by [`SocketIo::stats`].
///
/// They can be serialized, for a route that shows them:
///
/// ```
/// use axum::{Json, Router, routing::get};
/// use tower_socketio::{SocketIo, SocketIoConfig, SocketIoLayer, Stats};
///
/// async fn stats(io: SocketIo) -> Json<Stats> {
///     Json(io.stats())
/// }
/// let app: Router = Router::new().route("/stats", get(stats)).layer(SocketIoLayer::new(SocketIoConfig::new()));
/// # let stats = SocketIoLayer::new(SocketIoConfig::new()).io().stats();
/// # assert_eq!(serde_json::to_value(stats).unwrap()["connections"], 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Connections that are open now.
    pub connections: usize,
    /// Sockets in all namespaces now.
    pub sockets: usize,
    /// Events so far that an extractor rejected.
    pub rejections: u64,
    /// Handlers and hooks so far that panicked.
    pub panics: u64,
    /// Times that a packet found no room for a client.
    pub slow_clients: u64,
}

impl SocketRef {
    /// The server.
    #[must_use]
    pub fn io(&self) -> SocketIo {
        SocketIo::new(self.inner().client.server.clone())
    }
}

impl fmt::Debug for SocketIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketIo").finish_non_exhaustive()
    }
}

/// In axum handlers beneath the layer, in `on_connect`, and in the layers around it.
impl<S: Send + Sync> FromRequestParts<S> for SocketIo {
    type Rejection = MissingSocketIo;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, MissingSocketIo> {
        if let Some(io) = parts.extensions.get::<Self>() {
            return Ok(io.clone());
        }
        if let Some(socket) = parts.extensions.get::<SocketRef>() {
            return Ok(socket.io());
        }
        CURRENT.try_with(Self::clone).map_err(|_| MissingSocketIo)
    }
}

/// `SocketIo` was asked for where no [`SocketIoLayer`](crate::SocketIoLayer) is above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no `SocketIo` here: the route is not beneath a `SocketIoLayer`, or a layer in between handles requests in a task of \
     its own; put the handle into an `Extension` or the state instead"
)]
pub struct MissingSocketIo;

impl IntoResponse for MissingSocketIo {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}
