use std::{
    cell::Cell,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio_util::sync::ReusableBoxFuture;

use super::response::EventResponse;

/// The future of an event's service.
pub struct EventFuture(Inner);

enum Inner {
    Ready(Option<EventResponse>),
    Running(Pin<Box<dyn Future<Output = EventResponse> + Send>>),
    /// That of a handler of ours, which keeps nothing once it has completed.
    Handler(ReusableBoxFuture<'static, EventResponse>),
}

/// A future that is larger is not kept.
const KEPT_SIZE: usize = 2 * 1024;

thread_local! {
    /// The memory of a future that has completed: handlers that do not wait need no other.
    static SPARE: Cell<Option<ReusableBoxFuture<'static, EventResponse>>> = const { Cell::new(None) };
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

    /// The future of a handler.
    pub(crate) fn handler<F: Future<Output = EventResponse> + Send + 'static>(future: F) -> Self {
        if size_of::<F>() > KEPT_SIZE {
            return Self::new(future);
        }
        Self(Inner::Handler(match SPARE.take() {
            Some(mut spare) => {
                spare.set(future);
                spare
            }
            None => ReusableBoxFuture::new(future),
        }))
    }

    /// Hands the memory on, once the future has completed.
    pub(crate) fn recycle(self) {
        if let Inner::Handler(future) = self.0 {
            SPARE.set(Some(future));
        }
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
            Inner::Handler(future) => future.poll(cx),
        }
    }
}

impl fmt::Debug for EventFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventFuture").finish_non_exhaustive()
    }
}
