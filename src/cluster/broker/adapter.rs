use std::{fmt, future::ready, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use crate::{
    cluster::{
        adapter::Peers,
        error::{ClusterError, ClusterErrorKind, PublishError},
        heartbeat::Heartbeat,
        message::ClusterMessage,
        node::ClusterNode,
    },
    util::{BoxFuture, now},
};

use super::{
    driver::Driver,
    link::{Link, Options, connect},
    shared::{Phase, Shared},
};

/// How long after a namespace is joined its other nodes are expected to be known: they respond to a hello at once.
const INTRODUCTIONS: Duration = Duration::from_millis(200);

/// How long closing waits for messages that are queued.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A [`ClusterAdapter`](crate::cluster::ClusterAdapter) over a [`Link`], apart from the trait.
pub(crate) struct BrokerAdapter<L: Link> {
    config: Arc<L::Config>,
    options: Options,
    shared: Arc<Shared<L::Frame>>,
}

impl<L: Link> BrokerAdapter<L> {
    /// Connects, and spawns the driver.
    pub(crate) async fn connect(config: impl Into<Arc<L::Config>>, options: Options) -> Result<Self, ClusterError> {
        let config = config.into();
        let link = connect::<L>(&config, &options).await?;
        let heartbeat = Heartbeat::new(options.heartbeat_interval, options.heartbeat_timeout);
        let shared = Arc::new(Shared::new(options.queue_bytes, heartbeat));
        tokio::spawn(Driver::<L>::new(config.clone(), options.clone(), shared.clone()).run(link));
        Ok(Self { config, options, shared })
    }

    pub(crate) fn start(&self, node: ClusterNode) {
        self.shared.start(node);
    }

    pub(crate) fn publish(&self, message: &ClusterMessage) -> Result<(), PublishError> {
        if !self.shared.is_connected() {
            return Err(PublishError::Disconnected);
        }
        let (frame, size) = L::encode(&self.config, message).map_err(|_| PublishError::Unsupported)?;
        let heartbeat = (!message.command.is_answer()).then(|| message.namespace.clone());
        self.shared.push(frame, size, heartbeat)
    }

    /// Queues bytes for the shared sessions of another node. Clients decide how many there are, so they must not fill the queue.
    pub(crate) fn send(&self, node: &str, message: Bytes) -> Result<(), PublishError> {
        if !self.shared.is_connected() {
            return Err(PublishError::Disconnected);
        }
        let (frame, size) = L::encode_relayed(&self.config, node, message).ok_or(PublishError::Unsupported)?;
        self.shared.push_within_half(frame, size)
    }

    pub(crate) fn namespace_changed(&self, namespace: &str) {
        self.shared.namespace_changed(namespace);
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.options.request_timeout
    }

    /// Returns the other nodes of a namespace. Right after the namespace was created, waits for them to introduce themselves.
    pub(crate) fn peers(&self, namespace: &str) -> BoxFuture<Result<Peers, ClusterError>> {
        if L::check(&self.config, namespace).is_err() {
            return Box::pin(ready(Ok(Peers::Nodes(Vec::new()))));
        }
        let (shared, namespace) = (self.shared.clone(), namespace.to_owned());
        let waiting = async move {
            loop {
                let mut changed = pin!(shared.changed.notified());
                changed.as_mut().enable();
                let known = {
                    let state = shared.state.lock();
                    if state.phase != Phase::Connected {
                        return Err(ClusterError::new(ClusterErrorKind::Disconnected));
                    }
                    state.heartbeat.peers(&namespace)
                };
                let Some((peers, joined)) = known else {
                    changed.await;
                    continue;
                };
                match INTRODUCTIONS.checked_sub(now().duration_since(joined)) {
                    Some(wait) if !wait.is_zero() => sleep(wait).await,
                    _ => return Ok(Peers::Nodes(peers)),
                }
            }
        };
        let limit = self.options.request_timeout;
        Box::pin(async move {
            timeout(limit, waiting).await.unwrap_or_else(|_| Err(ClusterError::new(ClusterErrorKind::Disconnected)))
        })
    }

    /// Sends what is queued, says goodbye, and ends the driver.
    pub(crate) fn close(&self) -> BoxFuture<()> {
        self.shared.close();
        let shared = self.shared.clone();
        let closed = async move {
            loop {
                let mut changed = pin!(shared.changed.notified());
                changed.as_mut().enable();
                if shared.state.lock().phase == Phase::Closed {
                    return;
                }
                changed.await;
            }
        };
        Box::pin(async move {
            // The driver ends a little later if the broker does not respond.
            let _ = timeout(CLOSE_TIMEOUT, closed).await;
        })
    }
}

impl<L: Link> Drop for BrokerAdapter<L> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl<L: Link> fmt::Debug for BrokerAdapter<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state.lock();
        f.debug_struct("BrokerAdapter").field("phase", &state.phase).field("node", &state.node).finish_non_exhaustive()
    }
}
