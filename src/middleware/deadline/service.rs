use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use crate::{SocketRef, engine::ResponseBody, middleware::future::HttpResponseFuture, packet::is_reserved};

use super::{super::http_future::ErrorResponse, DeadlineHandle, Expires};

/// Disconnects a socket when its token expires.
///
/// An outer layer that checks the token adds [`Expires`] to the CONNECT request, and this layer starts a timer. At the deadline,
/// the client gets the event "expired", and the socket is disconnected from its namespace. A CONNECT with an expired token is
/// rejected with the message "expired".
///
/// ```
/// use std::time::Duration;
/// use axum::{extract::Request, middleware::{Next, from_fn}, response::Response};
/// use tower_socketio::{Ack, Namespace, extract::{Data, Extension}, middleware::{DeadlineHandle, DeadlineLayer, Expires}};
///
/// async fn check_token(mut request: Request, next: Next) -> Response {
///     let exp: u64 = 4_000_000_000; // the claim of the token
///     request.extensions_mut().insert(Expires::unix(exp));
///     next.run(request).await
/// }
///
/// /// The client sends a new token.
/// async fn renew(Extension(deadline): Extension<DeadlineHandle>, Data(token): Data<String>) -> Result<Ack<bool>, &'static str> {
///     if token != "still welcome" {
///         return Err("wrong token");
///     }
///     Ok(Ack(deadline.extend_to(Expires::after(Duration::from_secs(3600)))))
/// }
///
/// let chat = Namespace::new()
///     .on("renew", renew)
///     .layer(DeadlineLayer::new())
///     .layer(from_fn(check_token));
/// # let _: Namespace = chat;
/// ```
///
/// Without [`Expires`] on the request, the socket has no deadline until one is set by its [`DeadlineHandle`], for example in an
/// `on_connect` that reads the token.
#[derive(Debug, Clone)]
pub struct DeadlineLayer {
    event: Option<Arc<str>>,
}

impl DeadlineLayer {
    /// Creates a layer that sends clients the event "expired".
    #[must_use]
    pub fn new() -> Self {
        Self { event: Some("expired".into()) }
    }

    /// Sets the name of the event that a client gets before it is disconnected. Default: "expired". The event has no arguments.
    ///
    /// # Panics
    ///
    /// Panics if the name is reserved by the protocol.
    #[must_use]
    #[track_caller]
    pub fn event(mut self, event: &str) -> Self {
        assert!(!is_reserved(event.as_bytes()), "`{event}` is reserved by the protocol");
        self.event = Some(event.into());
        self
    }

    /// Disconnects clients without sending an event.
    #[must_use]
    pub fn without_event(mut self) -> Self {
        self.event = None;
        self
    }
}

impl Default for DeadlineLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner, event: self.event.clone() }
    }
}

/// Disconnects a socket when its token expires. Created by [`DeadlineLayer`].
#[derive(Debug, Clone)]
pub struct Deadline<S> {
    inner: S,
    event: Option<Arc<str>>,
}

impl<S, B, R> Service<Request<B>> for Deadline<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = HttpResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Some(socket) = request.extensions().get::<SocketRef>() else {
            return HttpResponseFuture::rejected(ErrorResponse::not_a_connect());
        };
        let expires = request.extensions().get::<Expires>().copied();
        if expires.is_some_and(Expires::is_past) {
            return HttpResponseFuture::rejected(ErrorResponse::text(StatusCode::UNAUTHORIZED, "expired"));
        }
        let deadline = DeadlineHandle::new(socket, self.event.clone());
        socket.inner().attach(deadline.guard());
        if let Some(expires) = expires {
            deadline.set(expires);
        }
        request.extensions_mut().insert(deadline);
        HttpResponseFuture::inner(self.inner.call(request))
    }
}
