use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll},
};

use futures_util::FutureExt;

use crate::{
    observe::EventWatch,
    server::Socket,
    util::{Chain, log},
};

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

    /// Polls a handler whose response is not sent. Its failure is logged.
    pub(super) fn poll_aside(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(socket, cx).map(|response| log_failure(socket, &response, &self.watch))
    }

    pub(super) async fn run_aside(mut self, socket: &Socket) {
        std::future::poll_fn(|cx| self.poll_aside(socket, cx)).await;
    }
}

/// Logs the error of a handler: with its causes if the client does not get them.
#[inline]
pub(super) fn log_failure(socket: &Socket, response: &EventResponse, watch: &EventWatch) {
    if let Some(error) = response.error() {
        log_error(socket, error, watch);
    }
}

#[cold]
fn log_error(socket: &Socket, error: &EventError, watch: &EventWatch) {
    let (namespace, id, event) = (socket.namespace.name(), &socket.id, watch.event_name());
    watch.in_scope(|| match error.cause() {
        Some(cause) => {
            log!(error, namespace = %namespace, socket = %id, event = %event, error = %Chain(cause), "an event handler failed");
        }
        None => {
            log!(debug, namespace = %namespace, socket = %id, event = %event, error = %error, "an event handler returned an error");
        }
    });
}

pub(super) fn panicked(socket: &Socket, watch: &mut EventWatch) -> EventResponse {
    socket.client.server.count_panic();
    watch.panicked();
    watch.in_scope(|| {
        let (namespace, event) = (socket.namespace.name(), watch.event_name());
        log!(
            error,
            namespace = %namespace,
            socket = %socket.id,
            event = %event,
            "an event handler or a layer around it panicked"
        );
    });
    EventError::internal_message().into()
}
