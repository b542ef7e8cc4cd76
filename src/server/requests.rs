//! Requests to other servers of the cluster.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{cluster::EventBody, engine::generate_id};

/// The pending requests of this server.
pub(crate) struct Requests {
    /// The id of this server in the cluster.
    node: Arc<str>,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, UnboundedSender<EventBody>>>,
}

impl Requests {
    pub(crate) fn new() -> Self {
        Self { node: generate_id(), next: AtomicU64::new(0), waiting: Mutex::default() }
    }

    pub(crate) fn node(&self) -> &Arc<str> {
        &self.node
    }

    /// Starts a request. It is pending until [`end`](Self::end) is called.
    pub(crate) fn begin(&self) -> (u64, UnboundedReceiver<EventBody>) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answers) = unbounded_channel();
        self.waiting.lock().insert(id, sender);
        (id, answers)
    }

    /// Passes a response to its request. Late responses are ignored.
    pub(crate) fn answer(&self, id: u64, args: EventBody) {
        if let Some(sender) = self.waiting.lock().get(&id) {
            let _ = sender.send(args);
        }
    }

    pub(crate) fn end(&self, id: u64) {
        self.waiting.lock().remove(&id);
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").finish_non_exhaustive()
    }
}
