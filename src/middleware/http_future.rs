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

use crate::{engine::ResponseBody, extract::rejection::MissingSocket};

/// The response future of layers for HTTP requests. It returns the response of the inner service or of the layer.
#[pin_project]
pub struct HttpResponseFuture<F>(#[pin] Repr<F>);

#[pin_project(project = ReprProjection)]
enum Repr<F> {
    Inner(#[pin] F),
    Rejected(Option<ErrorResponse>),
}

/// The response of a layer that rejects a request.
pub(super) struct ErrorResponse {
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
}

impl ErrorResponse {
    pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: text.into() }
    }

    pub(super) fn json(status: StatusCode, json: &Value) -> Self {
        Self { status, content_type: "application/json", body: json.to_string().into() }
    }

    /// The response of a layer that is not used on a namespace.
    pub(super) fn not_a_connect() -> Self {
        Self::text(StatusCode::INTERNAL_SERVER_ERROR, MissingSocket.to_string())
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

    pub(super) fn rejected(response: ErrorResponse) -> Self {
        Self(Repr::Rejected(Some(response)))
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
            ReprProjection::Rejected(response) => {
                Ok(response.take().expect("a future is not polled after it has completed").into_response())
            }
        })
    }
}

impl<F> fmt::Debug for HttpResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpResponseFuture").finish_non_exhaustive()
    }
}
