use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};

use crate::{
    cluster::{
        ClusterAdapter, ClusterError, ClusterMessage, ClusterNode, Journal, LocalChange, Offset, Peers, PublishError,
        SessionRecord, TakenSession,
        broker::{BrokerAdapter, Options},
        wire::{nats as wire, streams::goes_to_stream},
    },
    util::{BoxFuture, Mutex},
};

use super::{
    super::{config::Servers, link::NatsLink},
    config::NatsJetStreamConfig,
    queue::Queue,
    reader::{Position, Reader},
    sessions,
    stores::{Keeper, Stores},
    writer::Writer,
};

/// The size of a batch of several messages.
const BATCH_BYTES: usize = 64 << 10;

/// What a batch has besides its messages: its headers, and the number and length before them.
const OVERHEAD: usize = 512;

/// How long closing waits for the writer, which takes less.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);

/// Carries messages over NATS JetStream, which stores events while a node or NATS is unavailable.
///
/// The servers need JetStream, and NATS 2.9 or newer. With [`recovery`](crate::SocketIoConfig::recovery), clients are recovered by any
/// node, also after a restart: it is a [`Journal`]. An adapter is for one server. All nodes of a cluster have this adapter.
///
/// ```no_run
/// use tower_socketio::{RecoveryConfig, SocketIoConfig, SocketIoLayer};
/// use tower_socketio::cluster::nats::{NatsConfig, NatsJetStreamAdapter};
///
/// # async fn run() -> Result<(), tower_socketio::cluster::ClusterError> {
/// let adapter = NatsJetStreamAdapter::connect(NatsConfig::new("nats://127.0.0.1:4222")).await?;
/// let layer = SocketIoLayer::new(SocketIoConfig::new().adapter(adapter).recovery(RecoveryConfig::new()));
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
///
/// # If NATS is unavailable
///
/// * Events, and commands such as `sockets_join`, wait in memory, up to [`NatsConfig::queue_bytes`](super::super::NatsConfig). They are
///   appended to the stream when NATS is back, each once and in order. Then they are dropped with [`PublishError::Full`].
/// * Requests and responses are core NATS. See the [module](crate::cluster::nats) for what happens to them.
/// * Clients of the same node receive events at once, but with [`recovery`](crate::SocketIoConfig::recovery) when they are read from
///   the stream.
/// * A node goes on reading where it was. If the stream has lost what the node has not read, it reports
///   [`ClusterErrorKind::Missed`](crate::cluster::ClusterErrorKind::Missed).
///
/// # Permissions
///
/// Besides `<prefix>.>`, nodes publish to `$JS.API.>`, and subscribe to `_INBOX.>`.
pub struct NatsJetStreamAdapter {
    core: BrokerAdapter<NatsLink>,
    servers: Arc<Servers>,
    queue: Arc<Queue>,
    stores: Stores,
    /// The end of the stream when the adapter connected, until it is started.
    position: Mutex<Option<Position>>,
    /// The task that writes ends when it is dropped.
    closing: mpsc::Sender<oneshot::Sender<()>>,
    node: Arc<OnceLock<ClusterNode>>,
    runtime: Handle,
    reader: Mutex<JoinSet<()>>,
}

impl NatsJetStreamAdapter {
    /// Connects to NATS. The connections are kept by tasks in the current runtime of tokio.
    ///
    /// A [`NatsConfig`](super::super::NatsConfig) is a configuration with defaults for everything else.
    ///
    /// # Errors
    ///
    /// Returns an error if the configuration is invalid, no server can be reached or has JetStream, or the server rejects the
    /// credentials or the stream.
    pub async fn connect(config: impl Into<NatsJetStreamConfig>) -> Result<Self, ClusterError> {
        let NatsJetStreamConfig { nats, limits } = config.into();
        let (servers, options) = nats.prepare()?;
        let servers = Arc::new(servers);
        // What would be missed is read from the stream, and who waits for a response notices that it does not come.
        let core = Options { misses_messages: false, ..options.clone() };
        let core = BrokerAdapter::connect(servers.clone(), core).await?;
        let batch_bytes = servers.max_payload().saturating_sub(OVERHEAD).min(BATCH_BYTES);
        let queue = Arc::new(Queue::new(options.queue_bytes, batch_bytes));
        let node = Arc::new(OnceLock::new());
        let (keeper, stores, info) = Keeper::open(servers.clone(), options, Arc::new(limits), node.clone()).await?;
        let (closing, closed) = mpsc::channel(1);
        tokio::spawn(Writer::new(stores.clone(), queue.clone(), node.clone()).run(keeper, closed));
        Ok(Self {
            core,
            servers,
            queue,
            stores,
            position: Mutex::new(Some(Position::end(info))),
            closing,
            node,
            runtime: Handle::current(),
            reader: Mutex::default(),
        })
    }

    fn add(&self, message: &ClusterMessage) -> Result<(), PublishError> {
        let message = wire::encode(message).map_err(|_| PublishError::Unsupported)?;
        if message.len() + OVERHEAD > self.servers.max_payload() {
            return Err(PublishError::Unsupported);
        }
        self.queue.push(&message)
    }
}

impl ClusterAdapter for NatsJetStreamAdapter {
    fn start(&self, node: ClusterNode) {
        if self.node.set(node.clone()).is_err() {
            return;
        }
        self.core.start(node.clone());
        if let Some(position) = self.position.lock().take() {
            let reader = Reader { stores: self.stores.clone(), node, position };
            self.reader.lock().spawn_on(reader.run(), &self.runtime);
        }
    }

    fn publish(&self, message: ClusterMessage) -> Result<(), PublishError> {
        if goes_to_stream(&message) { self.add(&message) } else { self.core.publish(&message) }
    }

    fn peers(&self, namespace: &str) -> BoxFuture<Result<Peers, ClusterError>> {
        self.core.peers(namespace)
    }

    fn request_timeout(&self) -> Duration {
        self.core.request_timeout()
    }

    fn send(&self, node: &str, message: Bytes) -> Result<(), PublishError> {
        self.core.send(node, message)
    }

    fn local_change(&self, change: LocalChange<'_>) {
        if change.room.is_none() {
            self.core.namespace_changed(change.namespace);
        }
    }

    fn journal(&self) -> Option<&dyn Journal> {
        Some(self)
    }

    fn close(&self) -> BoxFuture<()> {
        let (sender, closed) = oneshot::channel();
        // It has been closed already if this fails.
        let _ = self.closing.try_send(sender);
        self.reader.lock().abort_all();
        let core = self.core.close();
        Box::pin(async move {
            let _ = timeout(CLOSE_TIMEOUT, closed).await;
            core.await;
        })
    }
}

impl Journal for NatsJetStreamAdapter {
    fn append(&self, message: ClusterMessage) -> Result<(), PublishError> {
        self.add(&message)
    }

    fn save(&self, _: &str, session: SessionRecord, keep: Duration) -> BoxFuture<Result<(), ClusterError>> {
        Box::pin(sessions::save(self.stores.clone(), session, keep))
    }

    fn take(
        &self,
        namespace: &str,
        private_id: &str,
        offset: Offset,
        max_events: usize,
    ) -> BoxFuture<Result<Option<TakenSession>, ClusterError>> {
        let (namespace, private_id) = (namespace.to_owned(), private_id.to_owned());
        let limit = self.core.request_timeout();
        Box::pin(sessions::take(self.stores.clone(), namespace, private_id, offset, max_events, limit))
    }
}

impl fmt::Debug for NatsJetStreamAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsJetStreamAdapter").field("core", &self.core).finish_non_exhaustive()
    }
}
