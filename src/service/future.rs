use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::Body;
use pin_project::pin_project;
use tokio::task::futures::TaskLocalFuture;
use tower_http::cors;

use crate::{
    engine::{EngineFuture, ResponseBody},
    io::{CURRENT_IO, SocketIo},
};

/// The future of [`SocketIoService`](super::SocketIoService).
#[pin_project]
pub struct ResponseFuture<F, ReqBody>(#[pin] Repr<F, ReqBody>);

#[pin_project(project = ReprProjection)]
enum Repr<F, ReqBody> {
    Inner(#[pin] TaskLocalFuture<SocketIo, F>),
    Ours(#[pin] EngineFuture<ReqBody>),
    Cors(#[pin] cors::ResponseFuture<EngineFuture<ReqBody>>),
}

impl<F, ReqBody> ResponseFuture<F, ReqBody> {
    pub(super) fn inner(io: SocketIo, future: F) -> Self
    where
        F: Future,
    {
        Self(Repr::Inner(CURRENT_IO.scope(io, future)))
    }

    pub(super) fn ours(answer: EngineFuture<ReqBody>) -> Self {
        Self(Repr::Ours(answer))
    }

    pub(super) fn cors(answer: cors::ResponseFuture<EngineFuture<ReqBody>>) -> Self {
        Self(Repr::Cors(answer))
    }
}

impl<F, ReqBody, ResBody, E> Future for ResponseFuture<F, ReqBody>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ReqBody: Body,
{
    type Output = Result<Response<ResponseBody<ResBody>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match self.project().0.project() {
            ReprProjection::Inner(future) => {
                return future.poll(cx).map_ok(|response| response.map(ResponseBody::inner));
            }
            ReprProjection::Ours(answer) => ready!(answer.poll(cx)),
            ReprProjection::Cors(answer) => ready!(answer.poll(cx)),
        };
        let response = answer.unwrap_or_else(|never| match never {});
        Poll::Ready(Ok(response.map(ResponseBody::engine)))
    }
}

impl<F, ReqBody> fmt::Debug for ResponseFuture<F, ReqBody> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
