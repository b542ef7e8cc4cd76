//! Requests that other nodes pass on, because this node owns their sessions.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::{
    Engine, RequestQuery,
    relay::{Exchange, Line, Malformed, RelayedBody, RequestHead, ResponseHead, Tunnel},
};

impl Engine {
    /// Handles a message that another node has sent by [`Relay`](super::Relay).
    pub(crate) fn receive(self: &Arc<Self>, message: Bytes) -> Result<(), Malformed> {
        let Some(relay) = &self.relay else { return Ok(()) };
        if let Some((exchange, head)) = relay.receive(message)? {
            let query = RequestQuery::parse(head.target.query().unwrap_or_default());
            let is_ours = query.sid.is_some_and(|sid| relay.owns(&sid));
            // An exchange that is dropped is reset.
            if let Some(runtime) = self.try_runtime().filter(|_| is_ours) {
                runtime.spawn(self.clone().serve(exchange, head));
            }
        }
        Ok(())
    }

    /// Reports that another node has left the cluster.
    pub(crate) fn peer_left(&self, peer: &str) {
        if let Some(relay) = &self.relay {
            relay.peer_left(peer);
        }
    }

    /// Handles a request like those that arrive here, and sends the response back.
    async fn serve(self: Arc<Self>, exchange: Arc<Exchange>, head: RequestHead) {
        let is_upgrade = head.is_upgrade;
        let mut request = head.into_request(RelayedBody::new(Line::of_owner(exchange.clone()), None));
        if is_upgrade {
            request.extensions_mut().insert(Tunnel(exchange.clone()));
        }
        let response = {
            let mut response = pin!(self.handle(request));
            let mut is_accepted = false;
            poll_fn(|cx| {
                // If the client has gone, dropping the request ends the session.
                if exchange.poll_broken(cx).is_ready() {
                    return Poll::Ready(None);
                }
                let polled = response.as_mut().poll(cx);
                if polled.is_pending() && !std::mem::replace(&mut is_accepted, true) {
                    exchange.accept();
                }
                polled.map(Result::ok)
            })
            .await
        };
        if let Some(response) = response {
            let is_tunnel = is_upgrade && matches!(response.status(), StatusCode::SWITCHING_PROTOCOLS | StatusCode::OK);
            self.respond(&exchange, response, is_tunnel).await;
        }
    }

    async fn respond<B>(&self, exchange: &Exchange, response: Response<B>, is_tunnel: bool)
    where
        B: http_body::Body<Data = Bytes>,
    {
        let (parts, body) = response.into_parts();
        let Ok(body) = body.collect().await else { return };
        let mut body = body.to_bytes();
        let head = ResponseHead { status: parts.status, headers: parts.headers, is_tunnel, length: body.len() as u64 };
        exchange.respond(head, &mut body);
        let timeout = self.config.connection_timeouts.write;
        while !body.is_empty() {
            let written = poll_fn(|cx| exchange.poll_write(cx, &mut body));
            // If the other node does not read, the exchange is dropped before it is complete.
            if !matches!(timeout_at(Instant::now() + timeout, written).await, Ok(Ok(()))) {
                return;
            }
        }
        if !is_tunnel {
            exchange.end();
        }
    }
}
