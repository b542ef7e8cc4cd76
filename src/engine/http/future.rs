use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::Body;
use pin_project::pin_project;

use crate::engine::{
    Refusal,
    transport::{PollFuture, PostFuture},
};

use super::{
    body::OwnBody,
    response::{Responder, refused},
};

/// Answers a request under the engine's path.
#[pin_project(project = AnswerProjection)]
pub(crate) enum Answer<ReqBody> {
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
    /// Not a response of the engine: a file that is served under its path.
    Other(Pin<Box<dyn Future<Output = Response<axum::body::Body>> + Send>>),
}

impl<ReqBody> Answer<ReqBody> {
    pub(super) fn ready(response: Response<Bytes>) -> Self {
        Self::Ready(Some(response))
    }

    pub(super) fn refused(refusal: &Refusal) -> Self {
        Self::ready(refused(refusal))
    }
}

/// The refusal of a request of a session that was not handled to its end.
pub(super) fn failed(status: StatusCode) -> Refusal {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::PayloadTooLarge,
        _ => Refusal::BadRequest("the request broke the rules of long-polling, or its session has ended"),
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
            AnswerProjection::Other(future) => {
                return future.as_mut().poll(cx).map(|response| Ok(response.map(OwnBody::File)));
            }
        };
        Poll::Ready(Ok(response.map(Into::into)))
    }
}
