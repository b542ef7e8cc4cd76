use std::{
    collections::HashMap,
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
        wire::{
            WireError,
            sharded::{Channels, SubscriptionMode},
            streams::{self, StreamNames},
        },
    },
    util::{BoxFuture, Mutex},
};

use super::{
    super::{
        client::{Client, buffer},
        connection::{Connector, Session},
        queue::Queue,
        receiver::{Receiver, Wire, session_channel},
        subscriptions::{Channel, ChannelKind, Role, Route},
    },
    RedisStreamsConfig,
    commands::Addition,
    group::read_tail,
    journal::Sessions,
    pages::PageSize,
    reader::Reader,
    writer::Writer,
};

/// Carries messages over Redis Streams, which keep them while a node or Redis is unavailable. Corresponds to Node's
/// `@socket.io/redis-streams-adapter`, with which it forms one cluster.
///
/// Needs Redis 5 or newer. With [`recovery`](crate::SocketIoConfig::recovery), clients are recovered by any node, also after a
/// restart: it is a [`Journal`]. An adapter is for one server.
///
/// ```no_run
/// use tower_socketio::{RecoveryConfig, SocketIoConfig, SocketIoLayer};
/// use tower_socketio::cluster::redis::{RedisConfig, RedisStreamsAdapter};
///
/// # async fn run() -> Result<(), tower_socketio::cluster::ClusterError> {
/// let adapter = RedisStreamsAdapter::connect(RedisConfig::new("redis://127.0.0.1")).await?;
/// let layer = SocketIoLayer::new(SocketIoConfig::new().adapter(adapter).recovery(RecoveryConfig::new()));
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
///
/// # If Redis is unavailable
///
/// * Events, and commands such as `sockets_join`, wait in memory, up to [`RedisConfig::queue_bytes`](crate::cluster::redis::RedisConfig). They are
///   added to the stream when Redis is back, each once and in order. Then they are dropped with
///   [`PublishError::Full`].
/// * Requests and responses use Pub/Sub. See the [module](crate::cluster::redis) for what happens to them.
/// * Clients of the same node receive events at once, but with [`recovery`](crate::SocketIoConfig::recovery) when they are read from
///   the stream.
/// * A node goes on reading where it was. If entries have been removed meanwhile, it reports
///   [`ClusterErrorKind::Missed`](crate::cluster::ClusterErrorKind::Missed). Redis must store its data before it replies to lose
///   nothing when it restarts: see `appendonly` and `appendfsync` in its documentation.
/// * Events that were sent but not confirmed are looked for in the stream. If the stream has been trimmed so far that they may have been
///   removed, they are not added again, and reported as [`ClusterErrorKind::Lost`](crate::cluster::ClusterErrorKind::Lost).
///
/// # Permissions
///
/// If the user of the URL is restricted by an ACL, it needs `CLIENT ID`, `CLIENT KILL` and `INFO` too. By them, a node ends a
/// connection that it has lost, but Redis has not. Without them, Redis may execute commands of such a connection later, and events may
/// be added twice.
pub struct RedisStreamsAdapter {
    client: Client,
    connector: Connector,
    config: RedisStreamsConfig,
    names: StreamNames,
    /// The last entries of all streams when the adapter connected.
    tails: HashMap<Arc<str>, Offset>,
    queue: Arc<Queue<Addition>>,
    /// The task that sends ends when it is dropped.
    closing: mpsc::Sender<oneshot::Sender<()>>,
    node: Arc<OnceLock<ClusterNode>>,
    sessions: Arc<Sessions>,
    runtime: Handle,
    readers: Mutex<JoinSet<()>>,
}

impl RedisStreamsAdapter {
    /// Connects to Redis. The connections are kept by tasks in the current runtime of tokio.
    ///
    /// A [`RedisConfig`](crate::cluster::redis::RedisConfig) is a configuration with defaults for everything else.
    ///
    /// # Errors
    ///
    /// Returns an error if the configuration is invalid, Redis is unavailable, or it rejects the password.
    pub async fn connect(config: impl Into<RedisStreamsConfig>) -> Result<Self, ClusterError> {
        let config = config.into();
        let mut connector = Connector::new(&config.redis)?;
        let session = connector.open().await?;
        let names = StreamNames::new(&config.stream_name, config.stream_count);
        let tails = tails(&names, &session, &connector).await?;
        let client = Client::connect(&config.redis, config.sharded_pubsub).await?;
        let queue = Arc::new(Queue::new(config.redis.queue_bytes));
        let node = Arc::new(OnceLock::new());
        let writer =
            Writer::new(connector.clone(), session, queue.clone(), node.clone(), config.max_len, tails.clone());
        let (closing, closed) = mpsc::channel(1);
        // The server does not wait longer for the adapter to close.
        tokio::spawn(writer.run(closed, config.redis.health_check.min(CLOSE)));
        Ok(Self {
            client,
            sessions: Arc::new(Sessions::new(connector.clone(), config.session_key_prefix.clone())),
            connector,
            config,
            names,
            tails,
            queue,
            closing,
            node,
            runtime: Handle::current(),
            readers: Mutex::default(),
        })
    }

    fn add(&self, message: &ClusterMessage) -> Result<(), PublishError> {
        let entry =
            streams::encode_entry(message, self.config.only_plaintext).map_err(|_| PublishError::Unsupported)?;
        self.queue.push(Addition { stream: self.names.of(&message.namespace).into(), entry })
    }

    fn channels<'a>(&'a self, namespace: &'a str) -> Channels<'a> {
        Channels::new(&self.config.redis.prefix, namespace)
    }
}

/// How long adding what is queued may take when the adapter closes.
const CLOSE: Duration = Duration::from_secs(3);

/// Returns the offsets of the last entries.
async fn tails(
    names: &StreamNames,
    session: &Session,
    connector: &Connector,
) -> Result<HashMap<Arc<str>, Offset>, ClusterError> {
    let mut tails = HashMap::new();
    for stream in names.all() {
        let tail = read_tail(&stream, &mut session.commands(&stream)?, connector).await?;
        tails.insert(stream.into(), tail);
    }
    Ok(tails)
}

impl ClusterAdapter for RedisStreamsAdapter {
    fn start(&self, node: ClusterNode) {
        if self.node.set(node.clone()).is_err() {
            return;
        }
        let kind = if self.config.sharded_pubsub { ChannelKind::Shard } else { ChannelKind::Plain };
        self.client.start(node.clone(), Arc::new(StreamsWire { prefix: self.config.redis.prefix.clone(), kind }));
        let mut readers = self.readers.lock();
        for (stream, position) in &self.tails {
            let reader = Reader {
                connector: self.connector.clone(),
                node: node.clone(),
                stream: stream.clone(),
                position: *position,
                pages: PageSize::new(self.config.read_count),
                block_time: self.config.block_time,
                is_late: false,
            };
            readers.spawn_on(reader.run(), &self.runtime);
        }
        let sessions = self.sessions.clone();
        readers.spawn_on(
            async move {
                if node.uses_journal() {
                    sessions.open().await;
                }
            },
            &self.runtime,
        );
    }

    fn report_to(&self, node: ClusterNode) {
        let _ = self.node.set(node.clone());
        self.client.report_to(node);
    }

    fn publish(&self, message: ClusterMessage) -> Result<(), PublishError> {
        if streams::goes_to_stream(&message) {
            return self.add(&message);
        }
        let mut payload = buffer(&message.command);
        streams::encode(&message, &mut payload).map_err(|_| PublishError::Unsupported)?;
        let channel = self.channels(&message.namespace).of(&message, SubscriptionMode::Static);
        self.client.publish(&message.command, channel, payload)
    }

    fn peers(&self, namespace: &str) -> BoxFuture<Result<Peers, ClusterError>> {
        self.client.peers(namespace, &self.channels(namespace).main())
    }

    fn request_timeout(&self) -> Duration {
        self.client.request_timeout()
    }

    fn send(&self, node: &str, message: Bytes) -> Result<(), PublishError> {
        self.client.publish_session(&self.config.redis.prefix, node, message)
    }

    fn local_change(&self, change: LocalChange<'_>) {
        self.client.local_change(change);
    }

    fn journal(&self) -> Option<&dyn Journal> {
        Some(self)
    }

    fn close(&self) -> BoxFuture<()> {
        let (sender, closed) = oneshot::channel();
        // It has been closed already if this fails.
        let _ = self.closing.try_send(sender);
        let limit = self.config.redis.health_check.saturating_mul(2);
        let client = self.client.close();
        self.readers.lock().abort_all();
        Box::pin(async move {
            let _ = timeout(limit, closed).await;
            client.await;
        })
    }
}

impl Journal for RedisStreamsAdapter {
    fn append(&self, message: ClusterMessage) -> Result<(), PublishError> {
        self.add(&message)
    }

    fn save(&self, _: &str, session: SessionRecord, keep: Duration) -> BoxFuture<Result<(), ClusterError>> {
        let sessions = self.sessions.clone();
        Box::pin(async move { sessions.save(&session, keep).await })
    }

    fn take(
        &self,
        namespace: &str,
        private_id: &str,
        offset: Offset,
        max_events: usize,
    ) -> BoxFuture<Result<Option<TakenSession>, ClusterError>> {
        let (sessions, stream) = (self.sessions.clone(), self.names.of(namespace));
        let (namespace, private_id) = (namespace.to_owned(), private_id.to_owned());
        let limit = self.client.request_timeout();
        Box::pin(async move {
            let taking = sessions.take(&stream, &namespace, &private_id, offset, max_events);
            timeout(limit, taking).await.unwrap_or_else(|elapsed| {
                Err(ClusterError::new(crate::cluster::ClusterErrorKind::Disconnected).caused_by(elapsed))
            })
        })
    }
}

impl fmt::Debug for RedisStreamsAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStreamsAdapter").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The channels for requests and responses.
struct StreamsWire {
    prefix: String,
    kind: ChannelKind,
}

impl Wire for StreamsWire {
    fn namespace_channels(&self, namespace: &str, node: &str) -> Vec<Channel> {
        let channels = Channels::new(&self.prefix, namespace);
        vec![
            Channel::new(channels.node(node), self.kind, Role::Responses),
            Channel::new(channels.main(), self.kind, Role::Requests).counting(),
        ]
    }

    fn session_channel(&self, node: &str) -> Channel {
        Channel::new(session_channel(&self.prefix, node), self.kind, Role::Sessions)
    }

    fn receive(&self, receiver: &Receiver, route: &Route, _: &[u8], payload: Bytes) -> Result<(), WireError> {
        let message = streams::decode(&route.namespace, payload)?;
        if route.role != Role::Responses || message.command.is_answer() {
            receiver.node.deliver(message);
        }
        Ok(())
    }
}
