use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Body;
use memchr::memmem;
use pin_project::pin_project;
use tokio::task::futures::TaskLocalFuture;
use tower_http::cors;

use crate::{
    client_bundle::FileFuture,
    engine::Payload,
    io::{CURRENT, SocketIo},
    transport::{PollFuture, PostFuture},
};

use super::body::{OwnBody, ResponseBody};

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
        agent: Agent,
    },
    Post {
        #[pin]
        future: PostFuture<ReqBody>,
        agent: Agent,
    },
    File(FileFuture),
}

/// The kind of browser that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Agent {
    Any,
    /// Its filter against cross-site scripting takes payloads for an attack, unless it is told not to.
    InternetExplorer,
}

impl Agent {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let names_it = |agent: &HeaderValue| {
            let agent = agent.as_bytes();
            memmem::find(agent, b";MSIE").is_some() || memmem::find(agent, b"Trident/").is_some()
        };
        if headers.get(header::USER_AGENT).is_some_and(names_it) { Self::InternetExplorer } else { Self::Any }
    }
}

impl<ReqBody> Answer<ReqBody> {
    pub(super) fn ready(response: Response<Bytes>) -> Self {
        Self::Ready(Some(response))
    }

    pub(super) fn status(status: StatusCode) -> Self {
        Self::ready(status_only(status))
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
            AnswerProjection::Poll { future, agent } => payload(ready!(Pin::new(future).poll(cx)), *agent),
            AnswerProjection::Post { future, agent } => match ready!(future.poll(cx)) {
                StatusCode::OK => posted(*agent),
                status => status_only(status),
            },
            AnswerProjection::File(file) => {
                return Pin::new(file).poll(cx).map(|response| Ok(response.map(OwnBody::File)));
            }
        };
        Poll::Ready(Ok(response.map(Into::into)))
    }
}

/// The answer to a poll.
pub(super) fn payload(payload: Payload, agent: Agent) -> Response<Bytes> {
    session_response(payload.body, payload.content_type, agent)
}

/// The answer to a POST that went well. The type is Node's: some browsers offered to save anything else.
fn posted(agent: Agent) -> Response<Bytes> {
    session_response(Bytes::from_static(b"ok"), "text/html", agent)
}

fn session_response(body: Bytes, content_type: &'static str, agent: Agent) -> Response<Bytes> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if agent == Agent::InternetExplorer {
        headers.insert(header::X_XSS_PROTECTION, HeaderValue::from_static("0"));
    }
    response
}

fn status_only(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}

impl<F, ReqBody> fmt::Debug for ResponseFuture<F, ReqBody> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
