use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use super::EventResponse;

/// The future of an event's service.
pub struct EventFuture(Inner);

enum Inner {
    Ready(Option<EventResponse>),
    Running(Pin<Box<dyn Future<Output = EventResponse> + Send>>),
}

impl EventFuture {
    /// A future that runs.
    pub fn new(future: impl Future<Output = EventResponse> + Send + 'static) -> Self {
        Self(Inner::Running(Box::pin(future)))
    }

    /// A future that is ready.
    #[must_use]
    pub fn ready(response: EventResponse) -> Self {
        Self(Inner::Ready(Some(response)))
    }
}

impl Future for EventFuture {
    type Output = EventResponse;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<EventResponse> {
        match &mut self.0 {
            Inner::Ready(response) => {
                Poll::Ready(response.take().expect("a future is not polled after it has completed"))
            }
            Inner::Running(future) => future.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for EventFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventFuture").finish_non_exhaustive()
    }
}
