//! Requests whose session belongs to another node of the cluster.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::extract::ConnectInfo;
use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, Method, Response, header, request::Parts};
use http_body::Body;
use pin_project::pin_project;

use crate::engine::{
    Engine, NodeId, RequestError,
    relay::{Line, RelayedBody, RequestHead, ResponseHead},
    transport::WebSocketUpgrade,
};

use super::{body::EngineBody, response::rejected};

/// The headers that the owner of a session reads. Others may contain secrets, and are passed on only for callbacks of the user.
const FORWARDED: [HeaderName; 9] = [
    header::ACCEPT_ENCODING,
    header::CONNECTION,
    header::CONTENT_TYPE,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_VERSION,
    header::UPGRADE,
    header::USER_AGENT,
];

/// A request that another node handles. If it is dropped, that node treats the connection of the client as lost.
#[pin_project]
pub(crate) struct ForwardFuture<B> {
    #[pin]
    body: B,
    forwarding: Box<Forwarding>,
}

struct Forwarding {
    engine: Arc<Engine>,
    owner: NodeId,
    parts: Parts,
    websocket: Option<WebSocketUpgrade>,
    /// `None` until the head of the request has been sent.
    line: Option<Line>,
    /// Part of the body that has not been sent.
    unsent: Bytes,
    /// The body has been read to its end.
    is_read: bool,
}

impl<B: Body> ForwardFuture<B> {
    pub(super) fn new(
        engine: Arc<Engine>,
        owner: NodeId,
        parts: Parts,
        body: B,
        websocket: Option<WebSocketUpgrade>,
    ) -> Self {
        // As on the owner, the body of other requests is not read.
        let is_read = parts.method != Method::POST;
        let forwarding = Forwarding { engine, owner, parts, websocket, line: None, unsent: Bytes::new(), is_read };
        Self { body, forwarding: Box::new(forwarding) }
    }
}

/// The request could not be forwarded, or the owner did not respond.
struct Failed;

impl<B: Body> Future for ForwardFuture<B> {
    type Output = Response<EngineBody>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.as_mut().poll_answer(cx));
        let forwarding = self.project().forwarding;
        let response = answer.and_then(|head| forwarding.response(head));
        Poll::Ready(response.unwrap_or_else(|Failed| {
            rejected(&forwarding.engine, &forwarding.parts, &RequestError::UnknownSession.into()).map(Into::into)
        }))
    }
}

impl<B: Body> ForwardFuture<B> {
    fn poll_answer(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Failed>> {
        // A small body that has arrived goes along with the head.
        let read = self.as_mut().poll_read(cx)?;
        if self.forwarding.line.is_none() {
            let line = self.as_mut().project().forwarding.begin();
            self.as_mut().project().forwarding.line = line;
        }
        let sent = match read {
            Poll::Ready(()) => self.as_mut().poll_send(cx),
            Poll::Pending => Poll::Pending,
        };
        let Some(line) = &mut self.project().forwarding.line else {
            return Poll::Ready(Err(Failed));
        };
        // The owner may respond before it has got the whole body.
        match (line.poll_head(cx), sent) {
            (Poll::Ready(head), _) => Poll::Ready(head.map_err(|_| Failed)),
            (Poll::Pending, Poll::Ready(Err(Failed))) => Poll::Ready(Err(Failed)),
            (Poll::Pending, _) => Poll::Pending,
        }
    }

    /// Reads the body, unless part of it is unsent. Ready if part of it is unsent, or if it has been read to its end.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        let mut this = self.project();
        let forwarding = &mut **this.forwarding;
        while forwarding.unsent.is_empty() && !forwarding.is_read {
            match ready!(this.body.as_mut().poll_frame(cx)) {
                None => forwarding.is_read = true,
                Some(Err(_)) => return Poll::Ready(Err(Failed)),
                Some(Ok(frame)) => {
                    if let Ok(mut data) = frame.into_data() {
                        forwarding.unsent = data.copy_to_bytes(data.remaining());
                    }
                    forwarding.is_read = this.body.is_end_stream();
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_send(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        loop {
            let forwarding = &mut **self.as_mut().project().forwarding;
            let Some(line) = &forwarding.line else {
                return Poll::Ready(Err(Failed));
            };
            if !forwarding.unsent.is_empty() {
                ready!(line.exchange().poll_write(cx, &mut forwarding.unsent)).map_err(|_| Failed)?;
            } else if forwarding.is_read {
                if forwarding.websocket.is_none() {
                    line.exchange().end();
                }
                return Poll::Ready(Ok(()));
            }
            ready!(self.as_mut().poll_read(cx))?;
        }
    }
}

impl Forwarding {
    /// Sends the head of the request, and the part of the body that has been read.
    fn begin(&mut self) -> Option<Line> {
        let parts = &self.parts;
        let all = self.engine.config.hooks.want_handshakes();
        let mut headers = HeaderMap::new();
        for (name, value) in parts.headers.iter().filter(|(name, _)| all || FORWARDED.contains(name)) {
            headers.append(name, value.clone());
        }
        let head = RequestHead {
            method: parts.method.clone(),
            target: parts.uri.path_and_query()?.clone(),
            headers,
            address: parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0),
            is_upgrade: self.websocket.is_some(),
        };
        // The stream of a WebSocket goes on after the response.
        let ends = self.is_read && self.websocket.is_none();
        let relay = self.engine.relay.as_ref()?;
        Some(relay.begin(self.owner, head, &mut self.unsent, ends))
    }

    fn response(&mut self, head: ResponseHead) -> Result<Response<EngineBody>, Failed> {
        let line = self.line.take().ok_or(Failed)?;
        let body = match (head.is_tunnel, self.websocket.take()) {
            (true, Some(websocket)) => {
                websocket.relay(line);
                EngineBody::default()
            }
            (true, None) => return Err(Failed),
            (false, _) => EngineBody::Boxed(axum::body::Body::new(RelayedBody::new(line, Some(head.length)))),
        };
        Ok(head.into_response(body))
    }
}
