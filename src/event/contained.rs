use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll},
};

use futures_util::FutureExt;

use crate::{observe::EventWatch, server::Socket, util::log};

use super::{
    future::EventFuture,
    response::{EventError, EventResponse},
};

/// The future of a handler and its layers. A panic ends this event only.
pub(super) struct Contained {
    future: Option<EventFuture>,
    watch: EventWatch,
}

impl Contained {
    pub(super) fn call(watch: EventWatch, call: impl FnOnce() -> EventFuture) -> Self {
        let future = watch.in_scope(|| catch_unwind(AssertUnwindSafe(call)).ok());
        Self { future, watch }
    }

    pub(super) fn poll(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<EventResponse> {
        let polled = match &mut self.future {
            Some(future) => self.watch.in_scope(|| catch_unwind(AssertUnwindSafe(|| future.poll_unpin(cx))).ok()),
            None => None,
        };
        polled.unwrap_or_else(|| Poll::Ready(panicked(socket, &mut self.watch)))
    }

    /// Ends the span and metrics of a completed future.
    #[inline(always)]
    pub(super) fn into_watch(self) -> EventWatch {
        self.future.into_iter().for_each(EventFuture::recycle);
        self.watch
    }

    pub(super) async fn run(mut self, socket: &Socket) -> (EventResponse, EventWatch) {
        let response = std::future::poll_fn(|cx| self.poll(socket, cx)).await;
        (response, self.watch)
    }
}

pub(super) fn panicked(socket: &Socket, watch: &mut EventWatch) -> EventResponse {
    socket.client.server.count_panic();
    watch.panicked();
    watch.in_scope(|| {
        log!(error, namespace = %socket.namespace.name(), "an event handler or a layer around it panicked");
    });
    EventError::internal_message().into()
}
