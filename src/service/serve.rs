//! A server for the service alone: connections that are silent do not live for ever.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{BoxError, extract::ConnectInfo};
use bytes::Bytes;
use http::{Method, Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::{rt::TokioExecutor, server::conn::auto};
use pin_project::pin_project;
#[cfg(any(target_os = "android", target_os = "linux"))]
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream, ToSocketAddrs},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tower_service::Service as _;

use crate::{
    engine::{Activity, CLOSE_TIMEOUT, ConnectionTimeouts, EngineIoConfig, InUse, ResponseBody, ServedIo},
    util::log,
};

use super::{SocketIoService, future::ResponseFuture};

/// How many bytes the kernel takes for a client before it sends them. The memory of all send buffers is limited
/// (`net.ipv4.tcp_mem`); when clients that do not read have used it up, packets of the others are dropped. What has been sent and not
/// been acknowledged is not among these bytes, so a fast network is not slowed down.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT_BYTES: u32 = 128 * 1024;

type Http = auto::Builder<TokioExecutor>;

impl SocketIoService {
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
    /// It speaks HTTP/1.1, and HTTP/2 with the feature `http2`, sets `TCP_NODELAY` on each connection, limits what the kernel takes for a client that does not
    /// read (`TCP_NOTSENT_LOWAT`, on Linux and Android), and closes connections that are silent: see
    /// [`http_header_timeout`](crate::SocketIoConfig::http_header_timeout), [`http_idle_timeout`](crate::SocketIoConfig::http_idle_timeout)
    /// and [`http_write_timeout`](crate::SocketIoConfig::http_write_timeout). The heads of requests are limited to
    /// [`max_head_bytes`](crate::SocketIoConfig::max_head_bytes).
    ///
    /// Connections are accepted in a separate task, which runs on one of tokio's workers wherever this is called. When the
    /// future is dropped, nothing is accepted any more, idle connections are closed, and others once their requests have been
    /// answered. WebSockets live on, until [`SocketIo::close`](crate::SocketIo::close) or [`SocketIo::drain`](crate::SocketIo::drain) ends them.
    ///
    /// # Errors
    ///
    /// If the runtime ends. (After an error of the listener, such as too many open files, it tries again every second.)
    pub async fn serve(self, listener: TcpListener) -> std::io::Result<()> {
        serve(self, listener).await
    }
}

/// Accepts connections in a task, which ends with this future.
async fn serve(service: SocketIoService, listener: TcpListener) -> io::Result<()> {
    // Ends the task when it is dropped.
    let mut accepting = JoinSet::new();
    accepting.spawn(accept(service, listener));
    match accepting.join_next().await.expect("a task was spawned") {
        Ok(never) => match never {},
        Err(error) => Err(error.into()),
    }
}

async fn accept(service: SocketIoService, listener: TcpListener) -> Infallible {
    limit_unsent(&listener);
    let http = Arc::new(http(&service.server.engine.config));
    // Connections end in order when this is dropped.
    let (_stop, stopped) = watch::channel(());
    loop {
        let (tcp, address) = next(&listener).await;
        let connection = Served { service: service.clone(), address, activity: Activity::new() };
        tokio::spawn(connection.drive(tcp, http.clone(), stopped.clone()));
    }
}

fn http(config: &EngineIoConfig) -> Http {
    /// What is read of a head past the limit, so that it can be answered with a reason.
    const MORE: usize = 16 * 1024;
    let head = config.max_head_bytes.saturating_add(MORE);
    let mut http = auto::Builder::new(TokioExecutor::new());
    // The watchdog has the time of all that hyper could time.
    http.http1().header_read_timeout(None).max_buf_size(head);
    #[cfg(feature = "http2")]
    http.http2().max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX)).enable_connect_protocol();
    // Another crate may switch HTTP/2 on in hyper, without the limit.
    #[cfg(not(feature = "http2"))]
    let http = http.http1_only();
    http
}

/// The next connection. Errors of one connection are its own; others, such as too many open files, may pass.
async fn next(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((tcp, address)) => {
                // Packets are written as a whole. Waiting for more of them only delays them.
                if let Err(error) = tcp.set_nodelay(true) {
                    log!(debug, error = %error, "TCP_NODELAY was not set");
                }
                return (tcp, address);
            }
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                log!(error, error = %error, "no connection can be accepted");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Limits what the kernel takes for a client, for all sockets that the listener accepts: they inherit its options.
fn limit_unsent(listener: &TcpListener) {
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    let _ = listener;
    #[cfg(any(target_os = "android", target_os = "linux"))]
    if let Err(error) = SockRef::from(listener).set_tcp_notsent_lowat(UNSENT_BYTES) {
        log!(debug, error = %error, "TCP_NOTSENT_LOWAT was not set");
    }
}

fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// What answers the requests of one connection.
struct Served {
    service: SocketIoService,
    address: SocketAddr,
    activity: Arc<Activity>,
}

impl Served {
    /// Serves the connection until it ends, is upgraded or has been silent for too long; or, once the server has been
    /// stopped, until its requests have been answered.
    async fn drive(self, tcp: TcpStream, http: Arc<Http>, stopped: watch::Receiver<()>) {
        let activity = self.activity.clone();
        let timeouts = self.service.server.engine.config.connection_timeouts;
        let io = ServedIo::new(tcp, activity.clone());
        let mut connection = pin!(http.serve_connection_with_upgrades(io, self));
        let mut stopped = pin!(wait_for_stop(stopped));
        let mut watchdog = pin!(Watchdog::new(activity, timeouts));
        let mut stopping = false;
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                    if let Err(error) = ended {
                        log!(debug, error = %error, "a connection has failed");
                    }
                    return Poll::Ready(());
                }
                if !stopping && stopped.as_mut().poll(cx).is_ready() {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                    continue;
                }
                match ready!(watchdog.as_mut().poll(cx)) {
                    Verdict::Close => connection.as_mut().graceful_shutdown(),
                    Verdict::Drop => return Poll::Ready(()),
                }
            }
        })
        .await;
    }
}

/// Completes when the server has been stopped.
async fn wait_for_stop(mut stopped: watch::Receiver<()>) {
    // Nothing is ever sent.
    let _ = stopped.changed().await;
}

/// Keeps the time of a connection. A deadline that moves away while it sleeps costs nothing.
#[pin_project]
struct Watchdog {
    activity: Arc<Activity>,
    timeouts: ConnectionTimeouts,
    #[pin]
    timer: tokio::time::Sleep,
    armed: bool,
    /// The connection was idle, and has been told to close.
    closing: bool,
}

/// What is to be done with a connection that has been silent for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It closes in order, as it was idle.
    Close,
    Drop,
}

impl Watchdog {
    fn new(activity: Arc<Activity>, timeouts: ConnectionTimeouts) -> Self {
        Self { activity, timeouts, timer: sleep_until(Instant::now()), armed: false, closing: false }
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Verdict> {
        let mut this = self.project();
        // Before the look at what it is at.
        this.activity.watch(cx.waker());
        loop {
            let deadline = this.activity.deadline(this.timeouts);
            // A stream may have begun when the connection was told to close: it goes on.
            let at = match deadline {
                None => return Poll::Pending,
                Some(deadline) if *this.closing && deadline.is_idle => deadline.at + CLOSE_TIMEOUT,
                Some(deadline) => deadline.at,
            };
            if !*this.armed || at < this.timer.deadline() {
                *this.armed = true;
                this.timer.as_mut().reset(at);
            }
            ready!(this.timer.as_mut().poll(cx));
            *this.armed = false;
            if Instant::now() >= at {
                let is_idle = deadline.is_some_and(|deadline| deadline.is_idle);
                let closes = is_idle && !std::mem::replace(this.closing, true);
                return Poll::Ready(if closes { Verdict::Close } else { Verdict::Drop });
            }
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for Served {
    type Response = Response<ServedBody>;
    type Error = Infallible;
    type Future = ServedFuture;

    fn call(&self, mut request: Request<Incoming>) -> ServedFuture {
        let is_http2 = request.version() == Version::HTTP_2;
        let in_use = Arc::new(self.activity.begin(is_http2));
        let extensions = request.extensions_mut();
        extensions.insert(ConnectInfo(self.address));
        if is_http2 && request.method() == Method::CONNECT {
            // The stream is of use beyond the response.
            request.extensions_mut().insert(in_use.clone());
        }
        ServedFuture { future: self.service.clone().call(request), in_use: Some(in_use) }
    }
}

/// The response to a request. While it is under way, the connection is in use.
#[pin_project]
struct ServedFuture {
    #[pin]
    future: ResponseFuture<std::future::Ready<Result<Response<String>, Infallible>>, Incoming>,
    in_use: Option<Arc<InUse>>,
}

impl Future for ServedFuture {
    type Output = Result<Response<ServedBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.future.poll(cx))?;
        let in_use = this.in_use.take();
        Poll::Ready(Ok(response.map(|body| ServedBody { body, _in_use: in_use })))
    }
}

#[pin_project]
struct ServedBody {
    #[pin]
    body: ResponseBody<String>,
    /// Dropped with the body, when it has been handed over.
    _in_use: Option<Arc<InUse>>,
}

impl Body for ServedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_sockets_have_their_options() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        limit_unsent(&listener);
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, client) = tokio::join!(next(&listener), client);
        assert!(accepted.0.nodelay().unwrap());
        #[cfg(any(target_os = "android", target_os = "linux"))]
        assert_eq!(SockRef::from(&accepted.0).tcp_notsent_lowat().unwrap(), UNSENT_BYTES);
        assert_eq!(accepted.1, client.unwrap().local_addr().unwrap());
    }
}
