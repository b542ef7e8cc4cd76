use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::Body;
use pin_project::pin_project;
use tokio::task::futures::TaskLocalFuture;
use tower_http::cors;

use crate::{
    client_bundle::FileFuture,
    engine::Refusal,
    io::{CURRENT, SocketIo},
    transport::{PollFuture, PostFuture},
};

use super::{
    body::{OwnBody, ResponseBody},
    response::{Responder, refused},
};

/// The future of a [`SocketIoService`](super::SocketIoService).
#[pin_project]
pub struct ResponseFuture<F, ReqBody>(#[pin] Repr<F, ReqBody>);

#[pin_project(project = ReprProjection)]
enum Repr<F, ReqBody> {
    Inner(#[pin] TaskLocalFuture<SocketIo, F>),
    Ours(#[pin] Answer<ReqBody>),
    Cors(#[pin] cors::ResponseFuture<Answer<ReqBody>>),
}

/// What answers a request of ours.
#[pin_project(project = AnswerProjection)]
pub(super) enum Answer<ReqBody> {
    Ready(Option<Response<Bytes>>),
    Poll {
        future: PollFuture,
        responder: Responder,
    },
    Post {
        #[pin]
        future: PostFuture<ReqBody>,
        responder: Responder,
    },
    File(FileFuture),
}

impl<ReqBody> Answer<ReqBody> {
    pub(super) fn ready(response: Response<Bytes>) -> Self {
        Self::Ready(Some(response))
    }

    pub(super) fn refused(refusal: &Refusal) -> Self {
        Self::ready(refused(refusal))
    }
}

/// What a session's request is told that was not handled to its end.
pub(super) fn failed(status: StatusCode) -> Refusal {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::PayloadTooLarge,
        _ => Refusal::BadRequest("the request broke the rules of long-polling, or its session has ended"),
    }
}

impl<F, ReqBody> ResponseFuture<F, ReqBody> {
    pub(super) fn inner(io: SocketIo, future: F) -> Self
    where
        F: Future,
    {
        Self(Repr::Inner(CURRENT.scope(io, future)))
    }

    pub(super) fn ours(answer: Answer<ReqBody>) -> Self {
        Self(Repr::Ours(answer))
    }

    pub(super) fn cors(answer: cors::ResponseFuture<Answer<ReqBody>>) -> Self {
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
        Poll::Ready(Ok(response.map(ResponseBody::own)))
    }
}

impl<ReqBody: Body> Future for Answer<ReqBody> {
    type Output = Result<Response<OwnBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = match self.project() {
            AnswerProjection::Ready(response) => {
                response.take().expect("a future is not polled after it has completed")
            }
            AnswerProjection::Poll { future, responder } => responder.payload(ready!(Pin::new(future).poll(cx))),
            AnswerProjection::Post { future, responder } => match ready!(future.poll(cx)) {
                StatusCode::OK => responder.posted(),
                status => refused(&failed(status)),
            },
            AnswerProjection::File(file) => {
                return Pin::new(file).poll(cx).map(|response| Ok(response.map(OwnBody::File)));
            }
        };
        Poll::Ready(Ok(response.map(Into::into)))
    }
}

impl<F, ReqBody> fmt::Debug for ResponseFuture<F, ReqBody> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
