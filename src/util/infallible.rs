//! Converts the errors of a service to responses, so that outer layers get an infallible service.

use std::{
    convert::Infallible,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::BoxError;
use pin_project::pin_project;
use tower_service::Service;

/// A response that can be created from an error.
pub(crate) trait FromError {
    fn from_error(error: &BoxError) -> Self;
}

/// A service that converts errors, including those of `poll_ready`, and responses to `A`.
pub(crate) struct InfallibleService<S, R, A> {
    inner: S,
    into_response: fn(R) -> A,
    /// The error of `poll_ready`, which the next call returns.
    failed: Option<BoxError>,
}

impl<S, R, A> InfallibleService<S, R, A> {
    pub(crate) fn new(inner: S, into_response: fn(R) -> A) -> Self {
        Self { inner, into_response, failed: None }
    }
}

impl<S: Clone, R, A> Clone for InfallibleService<S, R, A> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.into_response)
    }
}

impl<Req, S, A> Service<Req> for InfallibleService<S, S::Response, A>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    A: FromError,
{
    type Response = A;
    type Error = Infallible;
    type Future = InfallibleFuture<S::Future, S::Response, A>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.failed.is_none()
            && let Err(error) = ready!(self.inner.poll_ready(cx))
        {
            self.failed = Some(error.into());
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let inner = match self.failed.take() {
            Some(error) => Inner::Failed(Some(error)),
            None => Inner::Called(self.inner.call(request)),
        };
        InfallibleFuture { inner, into_response: self.into_response, marker: PhantomData }
    }
}

#[pin_project]
pub(crate) struct InfallibleFuture<F, R, A> {
    #[pin]
    inner: Inner<F>,
    into_response: fn(R) -> A,
    marker: PhantomData<fn() -> A>,
}

#[pin_project(project = InnerProjection)]
enum Inner<F> {
    Called(#[pin] F),
    Failed(Option<BoxError>),
}

impl<F, R, E, A> Future for InfallibleFuture<F, R, A>
where
    F: Future<Output = Result<R, E>>,
    E: Into<BoxError>,
    A: FromError,
{
    type Output = Result<A, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = match this.inner.project() {
            InnerProjection::Called(future) => ready!(future.poll(cx)).map_err(Into::into),
            InnerProjection::Failed(error) => Err(error.take().expect("a future is not polled after it has completed")),
        };
        Poll::Ready(Ok(result.map_or_else(|error| A::from_error(&error), this.into_response)))
    }
}
