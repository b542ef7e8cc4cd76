use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use pin_project::pin_project;
use serde_json::Value;

use crate::{engine::ResponseBody, extract::NotAConnect};

/// The future of the layers that may answer a request by themselves: it gives the inner service's response, or theirs.
#[pin_project]
pub struct HttpResponseFuture<F>(#[pin] Repr<F>);

#[pin_project(project = ReprProjection)]
enum Repr<F> {
    Inner(#[pin] F),
    Refused(Option<Refusal>),
}

/// An answer of a layer's own.
pub(super) struct Refusal {
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
}

impl Refusal {
    pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: text.into() }
    }

    pub(super) fn json(status: StatusCode, json: &Value) -> Self {
        Self { status, content_type: "application/json", body: json.to_string().into() }
    }

    /// The layer is not on a namespace.
    pub(super) fn not_a_connect() -> Self {
        Self::text(StatusCode::INTERNAL_SERVER_ERROR, NotAConnect.to_string())
    }

    fn into_response<B>(self) -> Response<ResponseBody<B>> {
        let mut response = Response::new(ResponseBody::engine(self.body.into()));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        response
    }
}

impl<F> HttpResponseFuture<F> {
    pub(super) fn inner(future: F) -> Self {
        Self(Repr::Inner(future))
    }

    pub(super) fn refused(refusal: Refusal) -> Self {
        Self(Repr::Refused(Some(refusal)))
    }
}

impl<F, B, E> Future for HttpResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().0.project() {
            ReprProjection::Inner(future) => ready!(future.poll(cx)).map(|response| response.map(ResponseBody::inner)),
            ReprProjection::Refused(refusal) => {
                Ok(refusal.take().expect("a future is not polled after it has completed").into_response())
            }
        })
    }
}

impl<F> fmt::Debug for HttpResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpResponseFuture").finish_non_exhaustive()
    }
}
