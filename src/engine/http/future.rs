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
    RequestError,
    transport::{PollFuture, PostFuture},
};

use super::{
    body::EngineBody,
    forward::ForwardFuture,
    response::{PollResponse, error_response},
};

/// The response future of the engine.
#[pin_project(project = EngineFutureProjection)]
pub(crate) enum EngineFuture<ReqBody> {
    Ready(Option<Response<Bytes>>),
    Poll {
        future: PollFuture,
        responder: PollResponse,
    },
    Post {
        #[pin]
        future: PostFuture<ReqBody>,
        responder: PollResponse,
    },
    /// The session belongs to another node of the cluster.
    Forward {
        #[pin]
        future: ForwardFuture<ReqBody>,
    },
    /// A file of the client bundle.
    Other(Pin<Box<dyn Future<Output = Response<axum::body::Body>> + Send>>),
}

impl<ReqBody> EngineFuture<ReqBody> {
    pub(super) fn ready(response: Response<Bytes>) -> Self {
        Self::Ready(Some(response))
    }

    pub(super) fn rejected(error: &RequestError) -> Self {
        Self::ready(error_response(error))
    }
}

/// Returns the error of a poll or POST that has failed.
pub(super) fn failed(status: StatusCode) -> RequestError {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => RequestError::PayloadTooLarge,
        _ => RequestError::BadRequest("the request broke the rules of long-polling, or its session has ended"),
    }
}

impl<ReqBody: Body> Future for EngineFuture<ReqBody> {
    type Output = Result<Response<EngineBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = match self.project() {
            EngineFutureProjection::Ready(response) => {
                response.take().expect("a future is not polled after it has completed")
            }
            EngineFutureProjection::Poll { future, responder } => responder.payload(ready!(Pin::new(future).poll(cx))),
            EngineFutureProjection::Post { future, responder } => match ready!(future.poll(cx)) {
                StatusCode::OK => responder.posted(),
                status => error_response(&failed(status)),
            },
            EngineFutureProjection::Forward { future } => return future.poll(cx).map(Ok),
            EngineFutureProjection::Other(future) => {
                return future.as_mut().poll(cx).map(|response| Ok(response.map(EngineBody::Boxed)));
            }
        };
        Poll::Ready(Ok(response.map(Into::into)))
    }
}
