//! The requests of this node to other nodes of the cluster.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::{
    cluster::{ClusterMessage, RequestId},
    util::Mutex,
};

/// The maximum number of responses that wait to be read. Further ones are dropped.
const MAX_RESPONSES: usize = 1 << 16;

/// The pending requests of this node.
pub(crate) struct Requests {
    /// The id of this node in the cluster.
    node: Arc<str>,
    next: AtomicU64,
    waiting: Mutex<HashMap<RequestId, Sender<Response>>>,
}

/// What a pending request receives.
#[derive(Debug)]
pub(crate) enum Response {
    Message(ClusterMessage),
    /// Another node has left the cluster.
    Left(Arc<str>),
}

impl Requests {
    pub(crate) fn new() -> Self {
        Self { node: id(random()), next: AtomicU64::new(random()), waiting: Mutex::default() }
    }

    pub(crate) fn node(&self) -> &Arc<str> {
        &self.node
    }

    /// Starts a request. It is pending until [`end`](Self::end) is called.
    pub(super) fn begin(&self) -> (RequestId, Receiver<Response>) {
        let id = RequestId::from(id(self.next.fetch_add(1, Ordering::Relaxed)));
        let (sender, responses) = channel(MAX_RESPONSES);
        self.waiting.lock().insert(id.clone(), sender);
        (id, responses)
    }

    pub(super) fn end(&self, id: &RequestId) {
        self.waiting.lock().remove(id);
    }

    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "only the Redis adapters ask"))]
    pub(crate) fn awaits(&self, request: &RequestId) -> bool {
        self.waiting.lock().contains_key(request)
    }

    /// Passes a response to its request. Late responses are ignored.
    pub(crate) fn respond(&self, message: ClusterMessage) {
        let sender = message.command.request().and_then(|request| self.waiting.lock().get(request).cloned());
        if let Some(sender) = sender {
            let _ = sender.try_send(Response::Message(message));
        }
    }

    /// Ends the wait for responses of another node.
    pub(crate) fn peer_left(&self, peer: &str) {
        let waiting: Vec<_> = self.waiting.lock().values().cloned().collect();
        if waiting.is_empty() {
            return;
        }
        let peer: Arc<str> = peer.into();
        for sender in waiting {
            let _ = sender.try_send(Response::Left(peer.clone()));
        }
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("node", &self.node).finish_non_exhaustive()
    }
}

/// Returns 16 hexadecimal digits, the form of ids in Node's adapters.
fn id(number: u64) -> Arc<str> {
    format!("{number:016x}").into()
}

fn random() -> u64 {
    let mut random = [0; 8];
    getrandom::fill(&mut random).expect("the operating system provides randomness");
    u64::from_ne_bytes(random)
}
