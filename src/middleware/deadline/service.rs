use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use crate::{SocketRef, engine::ResponseBody, middleware::HttpResponseFuture, packet::is_reserved};

use super::{super::http_future::Refusal, Deadline, Expires};

/// Disconnects a socket when its token expires.
///
/// The layer that checks the token puts [`Expires`] on the CONNECT request; this one, within it, starts the timer. When it
/// runs out, the client gets the event "expired", and the socket is disconnected from its namespace. A CONNECT that comes too
/// late is refused with the message "expired".
///
/// ```
/// use std::time::Duration;
/// use axum::{extract::Request, middleware::{Next, from_fn}, response::Response};
/// use tower_socketio::{Ack, Namespace, extract::{Data, Extension}, middleware::{Deadline, DeadlineLayer, Expires}};
///
/// async fn check_token(mut request: Request, next: Next) -> Response {
///     let exp: u64 = 4_000_000_000; // what the token says
///     request.extensions_mut().insert(Expires::unix(exp));
///     next.run(request).await
/// }
///
/// /// The client has a new token.
/// async fn renew(Extension(deadline): Extension<Deadline>, Data(token): Data<String>) -> Result<Ack<bool>, &'static str> {
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
/// Where nothing puts [`Expires`] on the request, the socket has no deadline until somebody sets one by its [`Deadline`]:
/// `on_connect`, for instance, if that is what reads the token.
#[derive(Debug, Clone)]
pub struct DeadlineLayer {
    event: Option<Arc<str>>,
}

impl DeadlineLayer {
    /// A layer that tells clients by the event "expired".
    #[must_use]
    pub fn new() -> Self {
        Self { event: Some("expired".into()) }
    }

    /// The event that a client gets before it is disconnected; it has no arguments. Default: "expired".
    ///
    /// # Panics
    ///
    /// If the name is reserved by the protocol.
    #[must_use]
    #[track_caller]
    pub fn event(mut self, event: &str) -> Self {
        assert!(!is_reserved(event.as_bytes()), "`{event}` belongs to the protocol: nobody can emit it");
        self.event = Some(event.into());
        self
    }

    /// Disconnects without an event before it.
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
    type Service = DeadlineService<S>;

    fn layer(&self, inner: S) -> DeadlineService<S> {
        DeadlineService { inner, event: self.event.clone() }
    }
}

/// Disconnects a socket when its token expires. Made by [`DeadlineLayer`].
#[derive(Debug, Clone)]
pub struct DeadlineService<S> {
    inner: S,
    event: Option<Arc<str>>,
}

impl<S, B, R> Service<Request<B>> for DeadlineService<S>
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
            return HttpResponseFuture::refused(Refusal::not_a_connect());
        };
        let expires = request.extensions().get::<Expires>().copied();
        if expires.is_some_and(Expires::is_past) {
            return HttpResponseFuture::refused(Refusal::text(StatusCode::UNAUTHORIZED, "expired"));
        }
        let deadline = Deadline::new(socket, self.event.clone());
        socket.inner().keep(deadline.guard());
        if let Some(expires) = expires {
            deadline.set(expires);
        }
        request.extensions_mut().insert(deadline);
        HttpResponseFuture::inner(self.inner.call(request))
    }
}
