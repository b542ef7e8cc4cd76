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
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    cluster::ClusterAdapter,
    engine::{AcceptError, Origins, Packet, TransportError},
    packet::normalize_name,
    server::Server,
    socket::{Conn, SocketRef},
};

use super::namespace_ref::NamespaceRef;

tokio::task_local! {
    /// The server whose layer is handling the current request. A request extension would need an allocation for each request,
    /// including those that are not for Socket.IO.
    pub(crate) static CURRENT_IO: SocketIo;
}

/// A handle to a server. It emits to clients from anywhere. Cloning is cheap.
///
/// Returned by [`SocketIoLayer::io`](crate::SocketIoLayer::io). It is an extractor in event handlers, in
/// [`on_connect`](crate::Namespace::on_connect), and in axum handlers under the layer:
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
/// Methods that emit or select sockets apply to the default namespace, `/`. Use [`of`](Self::of) for other namespaces.
#[derive(Clone)]
pub struct SocketIo {
    server: Arc<Server>,
}

impl SocketIo {
    pub(crate) fn new(server: Arc<Server>) -> Self {
        Self { server }
    }

    /// Returns the namespace with a name. A leading slash is added if missing.
    ///
    /// Returns `None` if the namespace does not exist. Namespaces of a pattern exist while they have sockets.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<NamespaceRef> {
        self.server.namespaces.get(&normalize_name(name)).map(NamespaceRef::new)
    }

    /// Returns the namespace with a name. A leading slash is added if missing.
    ///
    /// Like [`of`](Self::of), for namespaces that are known to exist:
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

    /// Returns the namespace with a name, and creates it if a pattern or a predicate accepts the name. In Node: `of`. A leading slash
    /// is added if missing.
    ///
    /// In a cluster, this reaches the sockets of a namespace that has none on this node yet:
    ///
    /// ```
    /// use tower_socketio::{Namespace, SocketIoConfig, SocketIoLayer};
    ///
    /// let io = SocketIoLayer::new(SocketIoConfig::new().namespace("/room/{id}", Namespace::new())).io();
    /// assert!(io.of("/room/7").is_none());
    /// io.of_or_create("/room/7").unwrap().emit("hello", &())?;
    /// assert!(io.of_or_create("/hall").is_none());
    /// # Ok::<(), tower_socketio::EmitError>(())
    /// ```
    ///
    /// A namespace that was created like this exists until its last socket has left, or until
    /// [`max_dynamic_namespaces`](crate::SocketIoConfig::max_dynamic_namespaces) is reached and it is the one that has been empty for
    /// the longest time. Do not keep the handle, therefore. [`on_namespace`](crate::SocketIoConfig::on_namespace) is called for it.
    ///
    /// Returns `None` if neither a pattern nor a predicate accepts the name, or if there are too many dynamic namespaces with sockets.
    /// Asynchronous predicates, and predicates that were added after one, are not asked, because there is no request.
    #[must_use]
    pub fn of_or_create(&self, name: &str) -> Option<NamespaceRef> {
        self.server.get_or_create_namespace(&normalize_name(name)).map(NamespaceRef::new)
    }

    /// Returns the namespace with a name to select its sockets, also if only other nodes of the cluster have it.
    #[cfg(feature = "admin-ui")]
    pub(crate) fn of_any_node(&self, name: &str) -> Option<NamespaceRef> {
        let name = normalize_name(name);
        let of_others = || self.server.namespace_of_others(&name);
        self.server.namespaces.get(&name).or_else(of_others).map(NamespaceRef::new)
    }

    /// Returns all existing namespaces.
    #[must_use]
    pub fn namespaces(&self) -> Vec<NamespaceRef> {
        self.server.namespaces.all().into_iter().map(NamespaceRef::new).collect()
    }

    /// Returns the connection of a session, or `None` if there is no such session on this node.
    ///
    /// The id of a session is that of Engine.IO, which is a secret, and not that of a socket.
    #[must_use]
    pub fn conn(&self, sid: &str) -> Option<Conn> {
        self.server.client(sid).as_ref().map(Conn::new)
    }

    /// Returns the connections of all sessions of this node, including those that have not joined a namespace.
    ///
    /// ```
    /// use tower_socketio::SocketIo;
    ///
    /// /// Closes the connections from an address.
    /// fn ban(io: &SocketIo, address: std::net::IpAddr) {
    ///     let of_address = |conn: &tower_socketio::client::Conn| conn.remote_addr().is_some_and(|peer| peer.ip() == address);
    ///     io.conns().iter().filter(|conn| of_address(conn)).for_each(|conn| conn.abort());
    /// }
    /// # let _ = ban;
    /// ```
    #[must_use]
    pub fn conns(&self) -> Vec<Conn> {
        self.server.clients().iter().map(Conn::new).collect()
    }

    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    pub(super) fn root(&self) -> NamespaceRef {
        NamespaceRef::new(self.server.namespaces.root.clone())
    }

    /// Disconnects all clients: each socket gets a DISCONNECT packet, and each connection is closed after its queued packets have
    /// been sent. Handlers get the reason "server shutting down".
    ///
    /// Clients do not reconnect by themselves after this. To make them reconnect to another server, use [`drain`](Self::drain).
    /// The HTTP server keeps running, and new clients may connect.
    ///
    /// Running event handlers may complete: their acks are sent, and acks that they wait for are received. Further events are
    /// ignored. The future completes when all connections have ended and their [`on_disconnect`](crate::Namespace::on_disconnect)
    /// handlers have completed, and after five seconds at the latest: connections whose handlers still run are closed after four
    /// seconds, and aborted after five. An event handler must not await this, because it would wait for itself. Spawn a task
    /// instead.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, all clients are still disconnected when their handlers have completed.
    pub async fn close(&self) {
        self.server.engine.close().await;
        self.leave_cluster().await;
    }

    /// Drains the server before it is replaced: rejects new sessions, and closes the connections of the clients one after
    /// another, spread evenly over the duration, so that the servers that take them over are not overloaded.
    ///
    /// New sessions are rejected with status 503 and code 4. Handlers get the reason "server shutting down". Clients see a lost
    /// connection, and reconnect to the server that the load balancer selects. The HTTP server keeps running:
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
    /// Running handlers may complete as with [`close`](Self::close). The future completes at most five seconds after the
    /// duration.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the remaining clients stay connected, but new sessions are still rejected.
    pub async fn drain(&self, duration: Duration) {
        self.server.engine.drain(duration).await;
        self.leave_cluster().await;
    }

    async fn leave_cluster(&self) {
        if let Some(adapter) = &self.server.settings.adapter {
            self.server.saved().await;
            const LIMIT: Duration = Duration::from_secs(5);
            let closed = self.server.catch_panic(|| adapter.close());
            if let Some(closed) = closed {
                let _ = tokio::time::timeout(LIMIT, closed).await;
            }
        }
    }

    /// Opens a connection over a custom transport and drives it until it ends. Corresponds to `onconnection` of Node's server.
    ///
    /// A transport is a stream and a sink of Engine.IO packets. The first packet sent is the handshake. Heartbeats, namespaces
    /// and events work as over a WebSocket. Handlers and layers see `request` as the request that opened the connection. If its
    /// query contains `EIO=3` and [`allow_eio3`](crate::SocketIoConfig::allow_eio3) is set, revision 3 of the protocol is used.
    /// The caller is responsible for the checks that apply to HTTP requests, such as origins.
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
    /// Returns an error if the connection is not opened, for example because the server is [draining](Self::drain).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is closed.
    pub async fn accept<T>(&self, request: Parts, transport: T) -> Result<(), AcceptError>
    where
        T: Stream<Item = Result<Packet, TransportError>> + Sink<Packet, Error = TransportError>,
    {
        self.server.engine.accept(request, transport)?.await;
        Ok(())
    }

    /// Serves a client on a stream of WebTransport, until the stream is not needed any more.
    ///
    /// `stream` is the first bidirectional stream that the client opens in its session of WebTransport, and `request` the CONNECT
    /// request of that session: its URL, its headers, and the address of the peer as `ConnectInfo<SocketAddr>`. The client opens a
    /// new session, or moves one from long-polling to this stream. WebTransport must be among the
    /// [transports](crate::SocketIoConfig::transports). [Origins](crate::SocketIoConfig::origins) and limits are checked, the path
    /// is not.
    ///
    /// When this returns, all packets have been written and the stream has been shut down. Pass `&mut stream` to keep it: wait until
    /// the client has acknowledged the end of the stream, then close the session of WebTransport. Otherwise the last packets may
    /// be lost. See [the guide](crate::guide::webtransport); the feature `webtransport` has a server that does all of this.
    ///
    /// ```
    /// use tokio::io::{AsyncRead, AsyncWrite};
    /// use tower_socketio::{SocketIo, engine::AcceptError};
    ///
    /// async fn carry<S: AsyncRead + AsyncWrite + Unpin>(
    ///     io: SocketIo,
    ///     request: http::request::Parts,
    ///     stream: &mut S,
    /// ) -> Result<(), AcceptError> {
    ///     io.accept_webtransport(request, stream).await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if no session is opened or upgraded: WebTransport is not among the transports, the origin is not allowed,
    /// the server is draining, the first packet does not arrive within
    /// [`upgrade_timeout`](crate::SocketIoConfig::upgrade_timeout), or it does not name a session that can be upgraded. The client
    /// gets no packet in that case; close its session of WebTransport.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is closed.
    pub async fn accept_webtransport<S>(&self, request: Parts, stream: S) -> Result<(), AcceptError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.server.engine.accept_webtransport(request, stream).await
    }

    /// Returns a configuration of QUIC for [`serve_webtransport`](Self::serve_webtransport), with limits for clients that are not
    /// trusted.
    ///
    /// `tls` needs a certificate; the protocol is set to HTTP/3. [The guide](crate::guide::webtransport) lists the limits. QUIC's
    /// keep-alive and its idle timeout depend on [`ping_interval`](crate::SocketIoConfig::ping_interval): a connection is lost after
    /// 0.6 intervals without a sign of life, but not before 3 seconds and after 30 seconds at the latest. With the default, that is
    /// 15 seconds.
    ///
    /// # Errors
    ///
    /// Returns an error if TLS 1.3 is disabled, which QUIC requires.
    #[cfg(feature = "webtransport")]
    #[cfg_attr(docsrs, doc(cfg(feature = "webtransport")))]
    pub fn webtransport_config(
        &self,
        tls: rustls::ServerConfig,
    ) -> Result<quinn::ServerConfig, quinn::crypto::rustls::NoInitialCipherSuite> {
        self.server.engine.webtransport_config(tls)
    }

    /// Serves WebTransport on an endpoint of QUIC, beside the HTTP server. WebTransport must be among the
    /// [transports](crate::SocketIoConfig::transports).
    ///
    /// Browsers connect to the port of the page's URL, so that the endpoint has the same number, over UDP. Sessions with another path
    /// get status 404, and those of other [origins](crate::SocketIoConfig::origins) 403. Create the endpoint with
    /// [`webtransport_config`](Self::webtransport_config): quinn's own defaults let each client take megabytes.
    ///
    /// ```no_run
    /// # use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    /// # use tower_socketio::{SocketIoConfig, SocketIoLayer, Transport};
    /// # async fn doc(
    /// #     certificates: Vec<CertificateDer<'static>>,
    /// #     key: PrivateKeyDer<'static>,
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// let config = SocketIoConfig::new();
    /// let layer = SocketIoLayer::new(config.transports([Transport::Polling, Transport::WebSocket, Transport::WebTransport]));
    /// let io = layer.io();
    /// let tls = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key)?;
    /// let endpoint = quinn::Endpoint::server(io.webtransport_config(tls)?, "0.0.0.0:443".parse()?)?;
    /// tokio::spawn(async move { io.serve_webtransport(endpoint).await });
    /// // And serve `Router::new().layer(layer)` on TCP port 443.
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// It completes when the endpoint is closed. [`close`](Self::close) and [`drain`](Self::drain) close the sessions, and leave the
    /// endpoint open. The last packets are acknowledged by the client before its session of WebTransport is closed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, new clients are not served any more. Connected clients stay connected.
    #[cfg(feature = "webtransport")]
    #[cfg_attr(docsrs, doc(cfg(feature = "webtransport")))]
    pub async fn serve_webtransport(&self, endpoint: quinn::Endpoint) {
        self.server.engine.clone().serve_webtransport(endpoint).await;
    }

    /// Returns the [path](crate::SocketIoConfig::path) of Socket.IO, with a trailing slash.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.server.engine.config.path
    }

    /// Returns whether the files of the JavaScript client [are served](crate::SocketIoConfig::serve_client).
    #[must_use]
    pub fn serves_client(&self) -> bool {
        self.server.client_bundle.is_served()
    }

    /// Returns the [allowed origins](crate::SocketIoConfig::origins), or `None` if all are allowed.
    #[must_use]
    pub fn origins(&self) -> Option<&Origins> {
        self.server.engine.config.origins.as_ref()
    }

    /// Returns the [adapter](crate::SocketIoConfig::adapter), or `None` if the server is not part of a cluster.
    #[must_use]
    pub fn adapter(&self) -> Option<&dyn ClusterAdapter> {
        self.server.settings.adapter.as_deref()
    }

    /// Returns the [timeout for joining a namespace](crate::SocketIoConfig::connect_timeout).
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        self.server.engine.config.connect_timeout
    }

    /// Returns the [time between a pong and the next ping](crate::SocketIoConfig::ping_interval).
    #[must_use]
    pub fn ping_interval(&self) -> Duration {
        self.server.engine.config.ping_interval
    }

    /// Returns the [timeout for the response to a ping](crate::SocketIoConfig::ping_timeout).
    #[must_use]
    pub fn ping_timeout(&self) -> Duration {
        self.server.engine.config.ping_timeout
    }

    /// Returns the [timeout for an upgrade](crate::SocketIoConfig::upgrade_timeout).
    #[must_use]
    pub fn upgrade_timeout(&self) -> Duration {
        self.server.engine.config.upgrade_timeout
    }

    /// Returns the [maximum size of a message](crate::SocketIoConfig::max_payload), in bytes.
    #[must_use]
    pub fn max_payload(&self) -> usize {
        self.server.engine.config.max_payload
    }

    /// Returns the [timeout for acks](crate::SocketIoConfig::ack_timeout).
    #[must_use]
    pub fn ack_timeout(&self) -> Duration {
        self.server.settings.ack_timeout
    }

    /// Returns statistics of the server.
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

/// Statistics of a server. Returned by [`SocketIo::stats`].
///
/// ```
/// # use tower_socketio::{SocketIoConfig, SocketIoLayer};
/// let io = SocketIoLayer::new(SocketIoConfig::new()).io();
/// let stats = io.stats();
/// assert_eq!((stats.connections, stats.sockets, stats.panics), (0, 0, 0));
/// ```
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
    /// The current number of connections.
    pub connections: usize,
    /// The current number of sockets in all namespaces.
    pub sockets: usize,
    /// The total number of events that an extractor rejected.
    pub rejections: u64,
    /// The total number of panics in handlers and hooks.
    pub panics: u64,
    /// The total number of packets that did not fit into a send buffer.
    pub slow_clients: u64,
}

impl SocketRef {
    /// Returns a handle to the server.
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

/// In axum handlers under the layer, in `on_connect`, and in its layers.
impl<S: Send + Sync> FromRequestParts<S> for SocketIo {
    type Rejection = MissingSocketIo;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, MissingSocketIo> {
        if let Some(io) = parts.extensions.get::<Self>() {
            return Ok(io.clone());
        }
        if let Some(socket) = parts.extensions.get::<SocketRef>() {
            return Ok(socket.io());
        }
        CURRENT_IO.try_with(Self::clone).map_err(|_| MissingSocketIo)
    }
}

/// The rejection of [`SocketIo`] in a request that did not pass through a [`SocketIoLayer`](crate::SocketIoLayer).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no `SocketIo` here: the route is not under a `SocketIoLayer`, or a layer in between handles requests in another task; \
     put the handle into an `Extension` or the state instead"
)]
pub struct MissingSocketIo;

impl IntoResponse for MissingSocketIo {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}
