//! A session of WebTransport on a connection of QUIC.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{BoxError, extract::ConnectInfo};
use http::{Method, Request, request::Parts};
use quinn::{Connection, Incoming, RecvStream, SendStream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};
use web_transport_proto::{Capsule, ConnectRequest, ConnectResponse, Frame, Http3CapsuleReader, Settings, VarInt};

use crate::{
    engine::{AcceptError, CLOSE_TIMEOUT, Engine, RequestError, http::report_rejection},
    util::BoxFuture,
};

/// How long a client may take to close its connection after its session has been closed.
const LINGER: Duration = Duration::from_secs(1);

/// The code of HTTP/3 for a connection that ends without an error. RFC 9114, section 8.1.
const NO_ERROR: quinn::VarInt = quinn::VarInt::from_u32(0x100);

/// An open session.
pub(super) struct Session {
    /// The CONNECT request.
    pub(super) request: Parts,
    /// The stream that the client has opened.
    pub(super) stream: ClientStream,
    pub(super) requests: Requests,
    pub(super) link: Link,
}

impl Session {
    /// Accepts a connection, a session on it, and the stream of the session.
    pub(super) async fn accept(engine: &Engine, incoming: Incoming) -> Result<Self, BoxError> {
        let connection = incoming.accept()?.await?;
        let control = exchange_settings(&connection).await?;
        let (mut connect, mut requests) = connection.accept_bi().await?;
        let request = ConnectRequest::read(&mut requests).await?;
        let request = to_parts(request, connection.remote_address())?;
        if let Err(error) = check(engine, &request) {
            ConnectResponse::new(error.status()).write(&mut connect).await?;
            connect.finish()?;
            // Until the client has the response.
            connect.stopped().await?;
            return Err(error.context().into());
        }
        ConnectResponse::OK.write(&mut connect).await?;
        let (send, mut recv) = connection.accept_bi().await?;
        if !is_stream_of(&mut recv, connect.id().into()).await {
            return Err("the client opened a stream outside of its session".into());
        }
        let stream = ClientStream { send, recv, acknowledged: None };
        let requests = Requests(Http3CapsuleReader::new(requests));
        Ok(Self { request, stream, requests, link: Link { connection, connect, _control: control } })
    }
}

/// Exchanges the settings of HTTP/3. Returns the control streams, which must stay open.
async fn exchange_settings(connection: &Connection) -> Result<(SendStream, RecvStream), BoxError> {
    let mut send = connection.open_uni().await?;
    let mut settings = Settings::default();
    settings.enable_webtransport(1);
    settings.write(&mut send).await?;
    // Clients open it before others.
    let mut recv = connection.accept_uni().await?;
    match Settings::read(&mut recv).await?.supports_webtransport() {
        0 => Err("the client does not support WebTransport".into()),
        _ => Ok((send, recv)),
    }
}

fn to_parts(connect: ConnectRequest, peer: SocketAddr) -> Result<Parts, http::Error> {
    let request = Request::builder().method(Method::CONNECT).uri(connect.url.as_str()).extension(ConnectInfo(peer));
    let (mut parts, ()) = request.body(())?.into_parts();
    parts.headers = connect.headers;
    Ok(parts)
}

fn check(engine: &Engine, request: &Parts) -> Result<(), RequestError> {
    if engine.config.strip_path(request.uri.path()) != Some("") {
        let error = RequestError::NotFound;
        report_rejection(engine, request, &error.clone().into());
        return Err(error);
    }
    engine.check_webtransport(request).map_err(AcceptError::into)
}

/// Reads the header of a stream. Returns `true` if it belongs to the session that began on the stream `session`.
async fn is_stream_of(recv: &mut RecvStream, session: quinn::VarInt) -> bool {
    let is_webtransport = VarInt::read(recv).await.is_ok_and(|frame| Frame(frame) == Frame::WEBTRANSPORT);
    is_webtransport && VarInt::read(recv).await.is_ok_and(|id| id.into_inner() == session.into_inner())
}

/// The client's side of the stream on which the session began.
pub(super) struct Requests(Http3CapsuleReader<RecvStream>);

impl Requests {
    /// Completes when the client has closed the session.
    pub(super) async fn closed(&mut self) {
        while let Ok(Some(capsule)) = self.0.read().await {
            if matches!(capsule, Capsule::CloseWebTransportSession { .. }) {
                return;
            }
        }
    }
}

/// Keeps a session open.
pub(super) struct Link {
    connection: Connection,
    connect: SendStream,
    _control: (SendStream, RecvStream),
}

impl Link {
    /// Closes the session, then the connection.
    ///
    /// The client may close the connection first: if it sees the end of the connection before that of the session, it treats the
    /// session as broken.
    pub(super) async fn close(mut self) {
        let closed = async {
            self.connect.write_all(&close_capsule()).await.ok()?;
            self.connect.finish().ok()?;
            self.connect.stopped().await.ok()?;
            timeout(LINGER, self.connection.closed()).await.ok()
        };
        let _ = timeout(CLOSE_TIMEOUT, closed).await;
        self.connection.close(NO_ERROR, b"");
    }
}

/// Returns the frame that closes a session without an error.
fn close_capsule() -> Vec<u8> {
    let mut capsule = Vec::new();
    Capsule::CloseWebTransportSession { code: 0, reason: String::new() }.encode(&mut capsule);
    let mut frame = Vec::new();
    Frame::DATA.encode(&mut frame);
    VarInt::from_u32(capsule.len() as u32).encode(&mut frame);
    frame.extend(capsule);
    frame
}

/// The stream of a session.
pub(super) struct ClientStream {
    send: SendStream,
    recv: RecvStream,
    /// Completes when the client has everything. Set once the stream is shut down.
    acknowledged: Option<BoxFuture<()>>,
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.recv), cx, buffer)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.send).poll_flush(cx)
    }

    /// Waits until the client has acknowledged everything, because it drops what it has not read when the session is closed.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { send, acknowledged, .. } = &mut *self;
        let acknowledged = acknowledged.get_or_insert_with(|| {
            // Fails if the client has stopped the stream.
            let _ = send.finish();
            let stopped = send.stopped();
            Box::pin(async move {
                let _ = stopped.await;
            })
        });
        ready!(acknowledged.as_mut().poll(cx));
        Poll::Ready(Ok(()))
    }
}
