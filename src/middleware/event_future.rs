use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;

use crate::event::{EventResponse, IntoEventResponse};

/// The response future of layers for events. It returns the response of the inner service or of the layer.
#[pin_project]
pub struct EventResponseFuture<F>(#[pin] Repr<F>);

#[pin_project(project = ReprProjection)]
enum Repr<F> {
    Inner(#[pin] F),
    Rejected(Option<EventResponse>),
}

impl<F> EventResponseFuture<F> {
    pub(super) fn inner(future: F) -> Self {
        Self(Repr::Inner(future))
    }

    pub(super) fn rejected(response: EventResponse) -> Self {
        Self(Repr::Rejected(Some(response)))
    }
}

impl<F, R, E> Future for EventResponseFuture<F>
where
    F: Future<Output = Result<R, E>>,
    R: IntoEventResponse,
{
    type Output = Result<EventResponse, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().0.project() {
            ReprProjection::Inner(future) => ready!(future.poll(cx)).map(IntoEventResponse::into_event_response),
            ReprProjection::Rejected(response) => {
                Ok(response.take().expect("a future is not polled after it has completed"))
            }
        })
    }
}

impl<F> fmt::Debug for EventResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventResponseFuture").finish_non_exhaustive()
    }
}
