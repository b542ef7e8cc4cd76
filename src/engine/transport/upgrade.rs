//! The WebSocket opening handshake. RFC 6455, section 4.2; over HTTP/2, RFC 8441, section 5.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use hyper::upgrade::{OnUpgrade, Upgraded};
use pin_project::pin_project;
use tokio::{
    io::{AsyncWriteExt, copy_bidirectional},
    time::sleep,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{
    engine::{
        CloseCause, Connection, EngineIoConfig, Transport, UpgradeError,
        relay::{Line, Tunnel},
    },
    util::log,
};

use super::{
    driver::Driver,
    packet_io::CLOSE_TIMEOUT,
    probe::probe,
    served::InUse,
    upgraded::UpgradedIo,
    websocket::{Deflate, WebSocket},
};

/// Returns `true` if a request asks for a WebSocket.
pub(crate) fn is_websocket_request(parts: &Parts) -> bool {
    has_token(&parts.headers, &header::UPGRADE, "websocket") || is_extended_connect(parts)
}

/// Returns `true` if a request is an extended CONNECT for a WebSocket. RFC 8441, section 4.
#[cfg(feature = "http2")]
pub(crate) fn is_extended_connect(parts: &Parts) -> bool {
    let protocol = parts.extensions.get::<hyper::ext::Protocol>();
    parts.method == Method::CONNECT && protocol.is_some_and(|protocol| protocol.as_str() == "websocket")
}

#[cfg(not(feature = "http2"))]
pub(crate) fn is_extended_connect(_: &Parts) -> bool {
    false
}

/// Returns `true` if a header that is a list of tokens contains `token`, ignoring case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let lists = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// A valid opening handshake, which can be accepted.
#[derive(Debug)]
pub(crate) struct WebSocketUpgrade {
    on_upgrade: Upgrading,
    /// `None` over HTTP/2, where the stream carries the WebSocket without switching protocols.
    accept_key: Option<HeaderValue>,
    subprotocol: Option<HeaderValue>,
    /// The extension that is accepted.
    extension: Option<HeaderValue>,
    deflate: Deflate,
    /// Over HTTP/2 with [`serve`](crate::SocketIoService::serve): keeps the connection of the stream open.
    in_use: Option<Arc<InUse>>,
}

impl WebSocketUpgrade {
    /// Validates a request and takes its `OnUpgrade` extension.
    pub(crate) fn check(parts: &mut Parts, config: &EngineIoConfig) -> Result<Self, UpgradeError> {
        let invalid = |status, message| Err(UpgradeError { status, message });
        let headers = &parts.headers;
        let is_switch = !is_extended_connect(parts);
        if is_switch && parts.method != Method::GET {
            return invalid(StatusCode::METHOD_NOT_ALLOWED, "a WebSocket handshake must be a GET request");
        }
        if is_switch && !has_token(headers, &header::CONNECTION, "upgrade") {
            return invalid(StatusCode::BAD_REQUEST, "the Connection header does not contain `upgrade`");
        }
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return invalid(StatusCode::BAD_REQUEST, "the Sec-WebSocket-Version is not 13");
        }
        let accept_key = match headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24) {
            _ if !is_switch => None,
            Some(key) => {
                Some(HeaderValue::try_from(derive_accept_key(key.as_bytes())).expect("base64 is a header value"))
            }
            None => return invalid(StatusCode::BAD_REQUEST, "the Sec-WebSocket-Key is missing or malformed"),
        };
        let subprotocol = first_subprotocol(headers);
        let (deflate, extension) = Deflate::negotiate(config, headers);
        let Some(on_upgrade) = Upgrading::take(parts) else {
            return invalid(StatusCode::UPGRADE_REQUIRED, "this connection cannot be upgraded");
        };
        let in_use = parts.extensions.remove::<Arc<InUse>>();
        Ok(Self { on_upgrade, accept_key, subprotocol, extension, deflate, in_use })
    }

    /// Opens a session on the WebSocket. The response has status 101, or 200 over HTTP/2.
    pub(crate) fn open<B: Default>(self, connection: Arc<Connection>) -> Response<B> {
        self.accept(connection, Purpose::Opening)
    }

    /// Probes the WebSocket for a session on long-polling.
    pub(crate) fn probe<B: Default>(self, connection: Arc<Connection>) -> Response<B> {
        self.accept(connection, Purpose::Probing)
    }

    /// Responds with 101 and closes the WebSocket at once, because its session has another one.
    pub(crate) fn dismiss<B: Default>(self, connection: Arc<Connection>) -> Response<B> {
        self.accept(connection, Purpose::Dismissing)
    }

    /// Passes the bytes of the connection to the owner of its session, and back, once the response of the owner has been sent.
    pub(crate) fn relay(self, line: Line) {
        tokio::spawn(relay(self.on_upgrade, self.in_use, line));
    }

    fn accept<B: Default>(self, connection: Arc<Connection>, purpose: Purpose) -> Response<B> {
        let mut response = Response::new(B::default());
        if let Some(accept_key) = self.accept_key {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept_key);
        }
        if let Some(subprotocol) = self.subprotocol {
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
        }
        if let Some(extension) = self.extension {
            response.headers_mut().insert(header::SEC_WEBSOCKET_EXTENSIONS, extension);
        }
        // Created before the first poll: a task may be dropped without being polled.
        let begun = UpgradeGuard { connection, purpose, deflate: self.deflate, in_use: self.in_use, over: false };
        tokio::spawn(WebSocketTask::Waiting { on_upgrade: self.on_upgrade, begun });
        response
    }
}

/// A connection that becomes a WebSocket.
#[derive(Debug)]
enum Upgrading {
    /// The HTTP server hands it over when the response has been sent.
    Http(OnUpgrade),
    /// Another node of the cluster has it, and passes its bytes on when it has got the response.
    Relayed(Tunnel),
}

/// A connection that has become a WebSocket.
enum Ready {
    Http(Upgraded),
    Relayed(Line),
}

impl Upgrading {
    fn take(parts: &mut Parts) -> Option<Self> {
        let http = parts.extensions.remove::<OnUpgrade>().map(Self::Http);
        http.or_else(|| parts.extensions.remove::<Tunnel>().map(Self::Relayed))
    }

    /// Returns `None` if the connection has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Ready>> {
        match self {
            Self::Http(on_upgrade) => Pin::new(on_upgrade).poll(cx).map(|upgraded| match upgraded {
                Ok(upgraded) => Some(Ready::Http(upgraded)),
                Err(error) => {
                    log!(debug, error = %error, "the connection was not upgraded");
                    None
                }
            }),
            Self::Relayed(Tunnel(exchange)) => {
                exchange.poll_open(cx).map(|open| open.ok().map(|()| Ready::Relayed(Line::of_owner(exchange.clone()))))
            }
        }
    }
}

impl Ready {
    /// Also returns the bytes that have been read already.
    fn into_io(self, in_use: Option<Arc<InUse>>) -> (UpgradedIo, Bytes) {
        match self {
            Self::Http(upgraded) => UpgradedIo::new(upgraded, in_use),
            Self::Relayed(line) => (UpgradedIo::relayed(line), Bytes::new()),
        }
    }
}

/// Returns the first subprotocol that the client offers, as Node's server does.
fn first_subprotocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.as_bytes();
    let first = offered.split(|byte| *byte == b',').next()?.trim_ascii();
    HeaderValue::from_bytes(first).ok().filter(|first| !first.is_empty())
}

/// The task of a WebSocket connection. The driver is stored inline, because nearly all tasks are in that state.
#[pin_project(project = TaskProjection, project_replace = TaskReplaced)]
enum WebSocketTask {
    /// The HTTP server still owns the connection.
    Waiting {
        on_upgrade: Upgrading,
        begun: UpgradeGuard,
    },
    /// The WebSocket is probed or closed. The future returns it if the session has been upgraded.
    Probing(Pin<Box<dyn Future<Output = Option<WebSocket<UpgradedIo>>> + Send>>, Arc<Connection>),
    Driving(#[pin] Driver<WebSocket<UpgradedIo>>),
    Over,
}

impl Future for WebSocketTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.as_mut().project() {
            TaskProjection::Driving(driver) => driver.poll(cx),
            _ => self.poll_upgrade(cx),
        }
    }
}

impl WebSocketTask {
    fn poll_upgrade(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let next = match self.as_mut().project() {
            TaskProjection::Waiting { on_upgrade, .. } => {
                let upgraded = ready!(on_upgrade.poll(cx));
                let waiting = self.as_mut().project_replace(Self::Over);
                match (upgraded, waiting) {
                    (Some(upgraded), TaskReplaced::Waiting { begun, .. }) => begun.upgraded(upgraded),
                    _ => return Poll::Ready(()),
                }
            }
            TaskProjection::Probing(probe, connection) => match ready!(probe.as_mut().poll(cx)) {
                Some(websocket) => Self::Driving(Driver::new(connection.clone(), websocket).shared()),
                None => return Poll::Ready(()),
            },
            TaskProjection::Driving(_) | TaskProjection::Over => return Poll::Ready(()),
        };
        self.set(next);
        self.poll(cx)
    }
}

/// The maximum size of a message in bytes before the upgrade is complete. The longest valid one is `2probe`.
const MAX_PROBE: usize = 64;

/// Reverts what the handshake has begun unless a driver takes over, because the HTTP server may never hand over the connection.
struct UpgradeGuard {
    connection: Arc<Connection>,
    purpose: Purpose,
    deflate: Deflate,
    in_use: Option<Arc<InUse>>,
    over: bool,
}

/// What a WebSocket is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// It carries a new session.
    Opening,
    /// It is probed. If that fails, the session stays open.
    Probing,
    /// It is closed, without an effect on the session.
    Dismissing,
}

impl UpgradeGuard {
    /// Disarms the guard: a driver takes over.
    fn hand_over(mut self) {
        self.over = true;
    }

    fn upgraded(mut self, upgraded: Ready) -> WebSocketTask {
        let connection = self.connection.clone();
        let (io, read) = upgraded.into_io(self.in_use.take());
        let max_payload = connection.engine.config.max_payload;
        if self.purpose == Purpose::Opening {
            let websocket = WebSocket::new(io, read, max_payload, connection.wire_format.clone(), self.deflate);
            self.hand_over();
            return WebSocketTask::Driving(Driver::start(connection, websocket).shared());
        }
        let mut websocket = WebSocket::new(io, read, MAX_PROBE, connection.wire_format.clone(), self.deflate);
        let probed = connection.clone();
        let probe = async move {
            if self.purpose == Purpose::Probing && probe(&probed, &mut websocket).await {
                websocket.set_max_payload(max_payload);
                self.hand_over();
                return Some(websocket);
            }
            drop(self);
            websocket.close().await;
            None
        };
        WebSocketTask::Probing(Box::pin(probe), connection)
    }
}

impl Drop for UpgradeGuard {
    fn drop(&mut self) {
        match (self.over, self.purpose) {
            (true, _) | (false, Purpose::Dismissing) => {}
            (false, Purpose::Probing) => self.connection.update(|session| session.probe_end(Transport::WebSocket)),
            (false, Purpose::Opening) => {
                self.connection.abort(CloseCause::TransportClose);
                self.connection.finish();
                self.connection.mark_ended();
            }
        }
    }
}

/// Carries a WebSocket between a client and the owner of its session, without reading it.
async fn relay(mut upgrading: Upgrading, in_use: Option<Arc<InUse>>, mut line: Line) {
    let (exchange, mut watch) = (line.exchange().clone(), line.take_watch());
    let Some(upgraded) = poll_fn(|cx| upgrading.poll(cx)).await else { return };
    let (mut io, read) = upgraded.into_io(in_use);
    let carried = async {
        line.write_all(&read).await?;
        copy_bidirectional(&mut io, &mut line).await
    };
    // What the owner has sent before it ended the exchange still reaches the client.
    let over = async {
        poll_fn(|cx| match watch.as_mut().map_or(Poll::Pending, |watch| watch.poll(cx)) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => exchange.poll_broken(cx),
        })
        .await;
        sleep(CLOSE_TIMEOUT).await;
    };
    let (mut carried, mut over) = (pin!(carried), pin!(over));
    poll_fn(|cx| match carried.as_mut().poll(cx).is_ready() {
        true => Poll::Ready(()),
        false => over.as_mut().poll(cx),
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These types are most of the memory of an idle connection.
    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<WebSocketTask>() <= 152, "{}", size_of::<WebSocketTask>());
        assert!(size_of::<Connection>() <= 528, "{}", size_of::<Connection>());
        assert!(size_of::<crate::server::Client>() <= 104, "{}", size_of::<crate::server::Client>());
        assert!(size_of::<crate::server::Socket>() <= 216, "{}", size_of::<crate::server::Socket>());
    }
}
