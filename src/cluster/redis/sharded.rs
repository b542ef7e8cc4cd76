use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

pub use crate::cluster::wire::sharded::SubscriptionMode;
use crate::{
    cluster::{
        ClusterAdapter, ClusterError, ClusterMessage, ClusterNode, LocalChange, Peers, PublishError,
        wire::{
            WireError,
            sharded::{self, Channels},
        },
    },
    util::BoxFuture,
};

use super::{
    RedisConfig,
    client::{Client, buffer},
    receiver::{Receiver, Wire, session_channel},
    subscriptions::{Channel, ChannelKind, Role, Route},
};

/// Carries messages over the sharded Pub/Sub of Redis 7, which scales with a Redis Cluster. Corresponds to `createShardedAdapter`
/// of Node's `@socket.io/redis-adapter`, with which it forms one cluster.
///
/// An adapter is for one server. See the [module](super) for what happens if Redis is unavailable.
///
/// On a Redis Cluster, messages to different rooms take different ways, so their order is not kept.
///
/// ```no_run
/// use tower_socketio::{SocketIoConfig, SocketIoLayer, cluster::redis::{RedisConfig, ShardedRedisAdapter}};
///
/// # async fn run() -> Result<(), tower_socketio::cluster::ClusterError> {
/// let adapter = ShardedRedisAdapter::connect(RedisConfig::new("redis://10.0.0.1:7000,10.0.0.2:7000")).await?;
/// let layer = SocketIoLayer::new(SocketIoConfig::new().adapter(adapter));
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
pub struct ShardedRedisAdapter {
    client: Client,
    prefix: Arc<str>,
    mode: SubscriptionMode,
}

impl ShardedRedisAdapter {
    /// Connects to Redis. The connection is kept by a task in the current runtime of tokio.
    ///
    /// # Errors
    ///
    /// Returns an error if the configuration is invalid, Redis is unavailable, or it rejects the password.
    pub async fn connect(config: RedisConfig) -> Result<Self, ClusterError> {
        let client = Client::connect(&config, true).await?;
        Ok(Self { client, prefix: config.prefix.into(), mode: SubscriptionMode::default() })
    }

    /// Sets which rooms have a channel. Default: [`SubscriptionMode::Dynamic`]. All nodes of a cluster must have the same mode.
    #[must_use]
    pub fn subscription_mode(mut self, mode: SubscriptionMode) -> Self {
        self.mode = mode;
        self
    }
}

impl ClusterAdapter for ShardedRedisAdapter {
    fn start(&self, node: ClusterNode) {
        self.client.start(node, Arc::new(ShardedWire { prefix: self.prefix.clone(), mode: self.mode }));
    }

    fn report_to(&self, node: ClusterNode) {
        self.client.report_to(node);
    }

    fn publish(&self, message: ClusterMessage) -> Result<(), PublishError> {
        let mut payload = buffer(&message.command);
        sharded::encode(&message, &mut payload).map_err(|_| PublishError::Unsupported)?;
        let channel = Channels::new(&self.prefix, &message.namespace).of(&message, self.mode);
        self.client.publish(&message.command, channel, payload)
    }

    fn peers(&self, namespace: &str) -> BoxFuture<Result<Peers, ClusterError>> {
        self.client.peers(namespace, &Channels::new(&self.prefix, namespace).main())
    }

    fn request_timeout(&self) -> Duration {
        self.client.request_timeout()
    }

    fn send(&self, node: &str, message: Bytes) -> Result<(), PublishError> {
        self.client.publish_session(&self.prefix, node, message)
    }

    fn local_change(&self, change: LocalChange<'_>) {
        if let Some(room) = change.room
            && !self.mode.has_channel(room)
        {
            return;
        }
        self.client.local_change(change);
    }

    fn follows_rooms(&self) -> bool {
        self.mode != SubscriptionMode::Static
    }

    fn close(&self) -> BoxFuture<()> {
        self.client.close()
    }
}

impl fmt::Debug for ShardedRedisAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardedRedisAdapter")
            .field("prefix", &self.prefix)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

struct ShardedWire {
    prefix: Arc<str>,
    mode: SubscriptionMode,
}

impl Wire for ShardedWire {
    fn namespace_channels(&self, namespace: &str, node: &str) -> Vec<Channel> {
        let channels = Channels::new(&self.prefix, namespace);
        vec![
            Channel::new(channels.node(node), ChannelKind::Shard, Role::Responses),
            Channel::new(channels.main(), ChannelKind::Shard, Role::Requests).counting(),
        ]
    }

    fn room_channel(&self, namespace: &str, room: &str) -> Option<Channel> {
        let channel =
            || Channel::new(Channels::new(&self.prefix, namespace).room(room), ChannelKind::Shard, Role::Broadcasts);
        self.mode.has_channel(room).then(channel)
    }

    fn session_channel(&self, node: &str) -> Channel {
        Channel::new(session_channel(&self.prefix, node), ChannelKind::Shard, Role::Sessions)
    }

    fn receive(&self, receiver: &Receiver, route: &Route, _: &[u8], payload: Bytes) -> Result<(), WireError> {
        if sharded::is_own(&payload, receiver.node.id(), &route.namespace) {
            return Ok(());
        }
        let message = sharded::decode(&route.namespace, payload)?;
        if route.role != Role::Responses || message.command.is_answer() {
            receiver.node.deliver(message);
        }
        Ok(())
    }
}
