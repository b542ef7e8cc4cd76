use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use axum::{
    body::{Body, to_bytes},
    response::{IntoResponse, Response},
};
use futures_util::{FutureExt, future::BoxFuture};
use http::{Request, StatusCode};
use tower::ServiceExt;
use tower_service::Service;

use crate::socket::{MissingSocket, SocketRef};

use super::connect_route::{Answered, ConnectRoute};

/// Two `on_connect` handlers. The second one is called if the first one accepts the client, with a copy of the request.
#[derive(Clone)]
pub(super) struct ConnectChain<S> {
    pub(super) first: ConnectRoute,
    pub(super) second: S,
}

impl<S> Service<Request<Body>> for ConnectChain<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Each handler is waited for when its turn comes.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { first, second } = self.clone();
        async move {
            let Some(socket) = request.extensions().get::<SocketRef>().cloned() else {
                return Ok(MissingSocket.into_response());
            };
            let (parts, body) = request.into_parts();
            // `max_auth_bytes` has limited it, unless a layer has replaced it.
            let Ok(body) = to_bytes(body, usize::MAX).await else {
                return Ok(StatusCode::BAD_REQUEST.into_response());
            };
            let copy = Request::from_parts(parts.clone(), Body::from(body.clone()));
            let response = first.oneshot(copy).await?;
            if !response.status().is_success() || socket.inner().is_closed() {
                return Ok(response);
            }
            let future = second.oneshot(Request::from_parts(parts, Body::from(body)));
            Answered { future, socket }.await
        }
        .boxed()
    }
}
