use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::cluster::{
    backoff::Backoff,
    error::{ClusterError, ClusterErrorKind},
    node::ClusterNode,
};

use super::{
    api::Failure,
    queue::Queue,
    store::Store,
    stores::{Keeper, Stores},
};

/// How long appending what is queued may take when the adapter closes.
const CLOSE: Duration = Duration::from_secs(3);

/// Appends the messages of a queue to the stream of events: each once and in order, also if a connection is lost before NATS has
/// confirmed them.
///
/// One batch is on its way at a time, so that no later one is stored without it. What is queued meanwhile becomes the next batches.
pub(super) struct Writer {
    stores: Stores,
    queue: Arc<Queue>,
    /// Set if the adapter is started.
    node: Arc<OnceLock<ClusterNode>>,
    /// Distinguishes the batches of this writer from those of others.
    name: String,
    number: u64,
    current: Option<Current>,
    backoff: Backoff,
    reported: Option<ClusterErrorKind>,
}

/// A batch that is not confirmed.
struct Current {
    id: String,
    bytes: Bytes,
    messages: u64,
    /// It may have been stored.
    is_uncertain: bool,
}

impl Writer {
    pub(super) fn new(stores: Stores, queue: Arc<Queue>, node: Arc<OnceLock<ClusterNode>>) -> Self {
        Self {
            stores,
            queue,
            node,
            name: format!("{:016x}", getrandom::u64().unwrap_or_default()),
            number: 0,
            current: None,
            backoff: Backoff::default(),
            reported: None,
        }
    }

    /// Runs until the adapter is closed or dropped. What is queued is appended after that, if it does not take too long.
    pub(super) async fn run(mut self, keeper: Keeper, mut closing: mpsc::Receiver<oneshot::Sender<()>>) {
        // Ends with this task.
        let mut tasks = JoinSet::new();
        tasks.spawn(keeper.run());
        let closed = tokio::select! {
            closed = closing.recv() => closed,
            () = self.carry(false) => None,
        };
        let _ = timeout(CLOSE, self.carry(true)).await;
        let lost = self.queue.close() + self.current.take().map_or(0, |current| current.messages);
        self.report_lost(lost);
        if let Some(closed) = closed {
            let _ = closed.send(());
        }
    }

    /// Appends what is queued, and what is queued later unless it returns when the queue is empty. It can be interrupted and called
    /// again.
    async fn carry(&mut self, until_empty: bool) {
        loop {
            if self.current.is_none() {
                self.current = self.queue.take().map(|batch| {
                    self.number += 1;
                    Current {
                        id: format!("{}-{}", self.name, self.number),
                        messages: batch.len() as u64,
                        bytes: batch.into_bytes(),
                        is_uncertain: false,
                    }
                });
            }
            let Some(current) = &mut self.current else {
                if until_empty {
                    return;
                }
                self.queue.ready().await;
                continue;
            };
            let Some(store) = self.stores.get().await else { return };
            match append(&store, &self.name, current).await {
                Ok(()) => {
                    self.current = None;
                    self.backoff.reset();
                    self.reported = None;
                }
                // The limit of the server or the stream has become smaller.
                Err(failure) if failure.is_too_large() => {
                    let lost = current.messages;
                    self.current = None;
                    self.report_lost(lost);
                }
                Err(failure) => {
                    if matches!(failure, Failure::NoResponders) {
                        // The stream may have been deleted.
                        let _ = store.events().await;
                    }
                    self.report(failure.into());
                    sleep(self.backoff.next()).await;
                }
            }
        }
    }

    /// Reports each kind of failure when it begins. Without a connection nothing is lost, and the link for requests reports that.
    fn report(&mut self, error: ClusterError) {
        let kind = error.kind();
        if kind != ClusterErrorKind::Disconnected
            && self.reported.replace(kind) != Some(kind)
            && let Some(node) = self.node.get()
        {
            node.report(error);
        }
    }

    fn report_lost(&self, count: u64) {
        if let Some(node) = self.node.get().filter(|_| count > 0) {
            node.report(ClusterError::new(ClusterErrorKind::Lost { count }));
        }
    }
}

async fn append(store: &Store, writer: &str, current: &mut Current) -> Result<(), Failure> {
    // NATS recognizes what it has stored by its id, but only for some minutes.
    if current.is_uncertain && store.has_last(writer, &current.id).await? {
        return Ok(());
    }
    current.is_uncertain = true;
    store.append(writer, &current.id, current.bytes.clone()).await
}
