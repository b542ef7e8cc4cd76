use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Instant, Sleep, sleep_until},
};

use crate::server::Socket;

/// A timer that is created at the first poll, because events may be emitted outside of a runtime.
#[derive(Debug)]
pub(super) struct Deadline {
    at: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Never ends.
    pub(super) fn never() -> Self {
        Self { at: None, sleep: None }
    }

    pub(super) fn after(timeout: Duration) -> Self {
        Self { at: Instant::now().checked_add(timeout), sleep: None }
    }

    /// Uses the runtime of the socket's connection, because the caller may be outside of a runtime.
    pub(super) fn poll(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_in(|| Some(socket.client.connection.runtime.clone()), cx)
    }

    pub(super) fn poll_in(&mut self, runtime: impl FnOnce() -> Option<Handle>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else {
            return Poll::Pending;
        };
        if self.sleep.is_none() {
            // Without a runtime there is nothing to wait for.
            let Some(runtime) = runtime() else { return Poll::Ready(()) };
            let _entered = runtime.enter();
            self.sleep = Some(Box::pin(sleep_until(at)));
        }
        self.sleep.as_mut().map_or(Poll::Pending, |sleep| sleep.as_mut().poll(cx))
    }
}
