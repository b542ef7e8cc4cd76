use std::{
    future::{Future, poll_fn},
    net::IpAddr,
    pin::pin,
    sync::Arc,
    task::Poll,
};

use tokio::time::{Instant, timeout_at};

use crate::engine::{AcceptError, Engine, connection::Opening};

/// Counts a client until it has sent its first packet. If there are too many, the one that has been waiting for longest must give
/// way.
pub(super) struct OpeningGuard {
    engine: Arc<Engine>,
    opening: Arc<Opening>,
    deadline: Instant,
}

impl Engine {
    pub(super) fn begin_opening(self: &Arc<Self>, address: Option<IpAddr>) -> OpeningGuard {
        let opening = Arc::new(Opening::default());
        let evicted = self.openings.add(&opening, address, |place| opening.place.set(place).expect("it is new"));
        for opening in evicted.into_iter().flatten().filter_map(|opening| opening.upgrade()) {
            opening.evicted.notify_one();
        }
        let deadline = Instant::now() + self.config.upgrade_timeout;
        OpeningGuard { engine: self.clone(), opening, deadline }
    }
}

impl OpeningGuard {
    /// Waits for a step of the opening. All steps together may take `upgrade_timeout`.
    pub(super) async fn wait<F: Future>(&self, step: F) -> Result<F::Output, AcceptError> {
        let mut evicted = pin!(self.opening.evicted.notified());
        let mut step = pin!(timeout_at(self.deadline, step));
        poll_fn(|cx| match evicted.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(AcceptError::Displaced)),
            Poll::Pending => step.as_mut().poll(cx).map_err(|_| AcceptError::NoHandshake),
        })
        .await
    }
}

impl Drop for OpeningGuard {
    fn drop(&mut self) {
        if let Some(place) = self.opening.place.get() {
            self.engine.openings.remove(*place, &self.opening);
        }
    }
}
