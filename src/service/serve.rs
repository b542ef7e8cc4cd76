//! An HTTP server for the service alone. It closes silent connections.

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

/// How many unsent bytes the kernel buffers for a client. The memory of all send buffers is limited (`net.ipv4.tcp_mem`): if
/// clients that do not read exhaust it, packets of other clients are dropped. Bytes that have been sent and not acknowledged do
/// not count, so fast networks are not slowed down.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT_BYTES: u32 = 128 * 1024;

/// How many clients may wait until they are accepted, at most as many as the system permits (`net.core.somaxconn`). When all reconnect after
/// a restart, tokio's 128 places are soon taken. The system then ignores others, which try again after a second or more.
const BACKLOG: i32 = 65_535;

type Http = auto::Builder<TokioExecutor>;

impl SocketIoService {
    /// Listens on an address, such as `127.0.0.1:3000`, and serves Socket.IO only. See [`serve`](Self::serve).
    ///
    /// As many clients as the system permits may wait until they are accepted. With `TcpListener::bind`, it is
    /// [a short queue](crate::guide::deployment#reconnects).
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
    /// Returns an error if the address cannot be bound.
    pub async fn listen(self, address: impl ToSocketAddrs) -> std::io::Result<()> {
        self.serve(bind(address).await?).await
    }

    /// Serves Socket.IO only, on a listener, until the future is dropped. The address of the peer is known to the handlers.
    ///
    /// The server speaks HTTP/1.1, and HTTP/2 with the feature `http2`. It sets `TCP_NODELAY` on each connection, limits what the
    /// kernel buffers for a client that does not read (`TCP_NOTSENT_LOWAT`, on Linux and Android), and closes silent connections:
    /// see [`http_header_timeout`](crate::SocketIoConfig::http_header_timeout),
    /// [`http_idle_timeout`](crate::SocketIoConfig::http_idle_timeout) and
    /// [`http_write_timeout`](crate::SocketIoConfig::http_write_timeout). The heads of requests are limited to
    /// [`max_head_bytes`](crate::SocketIoConfig::max_head_bytes), and the streams of an HTTP/2 connection to `max_http2_streams`.
    ///
    /// Connections are accepted in a task, so that this runs on a worker of the runtime. When the future is dropped, no
    /// connection is accepted any more. Idle connections are closed immediately, and others when their requests have been
    /// answered. WebSockets stay open until [`SocketIo::close`](crate::SocketIo::close) or
    /// [`SocketIo::drain`](crate::SocketIo::drain) closes them.
    ///
    /// # Errors
    ///
    /// Returns an error if the runtime shuts down. After an error of the listener, such as too many open files, it retries every
    /// second.
    pub async fn serve(self, listener: TcpListener) -> std::io::Result<()> {
        serve(self, listener).await
    }
}

async fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).await?;
    // It listens already. This changes the length of the queue.
    SockRef::from(&listener).listen(BACKLOG)?;
    Ok(listener)
}

/// Accepts connections in a task that is aborted with this future.
async fn serve(service: SocketIoService, listener: TcpListener) -> io::Result<()> {
    // Aborts the task when dropped.
    let mut accepting = JoinSet::new();
    accepting.spawn(accept(service, listener));
    match accepting.join_next().await.expect("a task was spawned") {
        Ok(never) => match never {},
        Err(error) => Err(error.into()),
    }
}

async fn accept(service: SocketIoService, listener: TcpListener) -> Infallible {
    limit_unsent(&listener);
    let http = Arc::new(http(&service.server().engine.config));
    // When this is dropped, connections shut down gracefully.
    let (_stop, stopped) = watch::channel(());
    loop {
        let (tcp, address) = next(&listener).await;
        let connection = Served { service: service.clone(), address, activity: Activity::new() };
        tokio::spawn(connection.drive(tcp, http.clone(), stopped.clone()));
    }
}

fn http(config: &EngineIoConfig) -> Http {
    /// How much of a head is read above the limit, so that the error response can name the reason.
    const MORE: usize = 16 * 1024;
    let head = config.max_head_bytes.saturating_add(MORE);
    let mut http = auto::Builder::new(TokioExecutor::new());
    // The watchdog replaces hyper's timeouts.
    http.http1().header_read_timeout(None).max_buf_size(head);
    #[cfg(feature = "http2")]
    http.http2()
        .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
        .max_concurrent_streams(config.max_http2_streams)
        .enable_connect_protocol();
    // Another crate may enable HTTP/2 in hyper, which would not have these limits.
    #[cfg(not(feature = "http2"))]
    let http = http.http1_only();
    http
}

/// Accepts the next connection. Retries after errors, because those of single connections do not concern others, and those like
/// too many open files may be temporary.
async fn next(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((tcp, address)) => {
                // Packets are written as a whole, so Nagle's algorithm would only delay them.
                if let Err(error) = tcp.set_nodelay(true) {
                    log!(debug, error = %error, "failed to set TCP_NODELAY");
                }
                return (tcp, address);
            }
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                log!(error, error = %error, "failed to accept a connection");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Sets the limit of unsent bytes on the listener. Accepted sockets inherit it.
fn limit_unsent(listener: &TcpListener) {
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    let _ = listener;
    #[cfg(any(target_os = "android", target_os = "linux"))]
    if let Err(error) = SockRef::from(listener).set_tcp_notsent_lowat(UNSENT_BYTES) {
        log!(debug, error = %error, "failed to set TCP_NOTSENT_LOWAT");
    }
}

fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// The service of one connection.
struct Served {
    service: SocketIoService,
    address: SocketAddr,
    activity: Arc<Activity>,
}

impl Served {
    /// Serves the connection until it ends, is upgraded or has been silent for too long. After the server has been stopped,
    /// serves it until its requests have been answered.
    async fn drive(self, tcp: TcpStream, http: Arc<Http>, stopped: watch::Receiver<()>) {
        let activity = self.activity.clone();
        let timeouts = self.service.server().engine.config.connection_timeouts;
        let io = ServedIo::new(tcp, activity.clone());
        let mut connection = pin!(http.serve_connection_with_upgrades(io, self));
        let mut stopped = pin!(wait_for_stop(stopped));
        let mut watchdog = pin!(Watchdog::new(activity, timeouts));
        let mut stopping = false;
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                    if let Err(error) = ended {
                        log!(debug, error = %error, "a connection failed");
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
    // Fails when the sender is dropped. Nothing is ever sent.
    let _ = stopped.changed().await;
}

/// The timer of a connection. Postponing a deadline while it sleeps costs nothing.
#[pin_project]
struct Watchdog {
    activity: Arc<Activity>,
    timeouts: ConnectionTimeouts,
    #[pin]
    timer: tokio::time::Sleep,
    armed: bool,
    /// The connection was idle and is closing.
    closing: bool,
}

/// The action for a connection that has been silent for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Closes the idle connection gracefully.
    Close,
    Drop,
}

impl Watchdog {
    fn new(activity: Arc<Activity>, timeouts: ConnectionTimeouts) -> Self {
        Self { activity, timeouts, timer: sleep_until(Instant::now()), armed: false, closing: false }
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Verdict> {
        let mut this = self.project();
        // Registered before the activity is read, so that no change is missed.
        this.activity.watch(cx.waker());
        loop {
            let deadline = this.activity.deadline(this.timeouts);
            // A stream may have begun while the connection was closing. It continues.
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
            // The stream is used after the response.
            request.extensions_mut().insert(in_use.clone());
        }
        ServedFuture { future: self.service.clone().call(request), in_use: Some(in_use) }
    }
}

/// The future of a response. While it is pending, the connection is in use.
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
    /// Dropped when the body has been sent.
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

    /// On Linux, whose default limit is 4,096.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn many_clients_may_wait_until_they_are_accepted() {
        let listener = bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut clients = Vec::new();
        for _ in 0..200 {
            let client = tokio::time::timeout(Duration::from_secs(60), TcpStream::connect(address));
            clients.push(client.await.expect("the queue is full").unwrap());
        }
    }

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
