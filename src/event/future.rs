use std::{
    cell::Cell,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio_util::sync::ReusableBoxFuture;

use super::response::EventResponse;

/// The future of an event service, as layers get it from an [`EventRoute`](crate::event::EventRoute).
///
/// ```
/// use tower_socketio::{event::EventResponse, future::EventFuture};
///
/// let rejected = EventFuture::ready(EventResponse::none());
/// let handled = EventFuture::new(async { EventResponse::none() });
/// # let _ = (rejected, handled);
/// ```
pub struct EventFuture(Inner);

enum Inner {
    Ready(Option<EventResponse>),
    Running(Pin<Box<dyn Future<Output = EventResponse> + Send>>),
    /// The future of a handler. Its memory is reused when it has completed.
    Handler(ReusableBoxFuture<'static, EventResponse>),
}

/// The memory of larger futures is not reused.
const KEPT_SIZE: usize = 2 * 1024;

thread_local! {
    /// The memory of a completed future. Handlers that complete at the first poll allocate no other.
    static SPARE: Cell<Option<ReusableBoxFuture<'static, EventResponse>>> = const { Cell::new(None) };
}

impl EventFuture {
    /// Creates a future from an `async` block or another future.
    pub fn new(future: impl Future<Output = EventResponse> + Send + 'static) -> Self {
        Self(Inner::Running(Box::pin(future)))
    }

    /// Creates a future that is ready.
    #[must_use]
    pub fn ready(response: EventResponse) -> Self {
        Self(Inner::Ready(Some(response)))
    }

    /// Creates the future of a handler.
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

    /// Keeps the memory of a completed future for the next one.
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
            Inner::Ready(response) => Poll::Ready(response.take().expect("polled after completion")),
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
