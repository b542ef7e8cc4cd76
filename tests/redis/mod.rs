//! Servers in a cluster over Redis.

mod failures;
mod lost_data;
mod operations;
mod outages;
mod recovery;
mod sessions;
mod streams;
mod topologies;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tower_socketio::{
    Namespace, RecoveryConfig, SocketIo, SocketIoConfig, SocketIoService, SocketRef,
    cluster::{
        ClusterError, ClusterErrorKind,
        redis::{
            RedisAdapter, RedisConfig, RedisStreamsAdapter, RedisStreamsConfig, ShardedRedisAdapter, SubscriptionMode,
        },
    },
    extract::Data,
    server_side::ServerSideEvent,
};

use crate::support::*;

/// An adapter and its options.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Classic,
    SpecificResponses,
    Sharded(SubscriptionMode),
    Streams,
    /// Several streams, and sharded Pub/Sub.
    FourStreams,
    /// With recovery.
    Journal,
}

const KINDS: [Kind; 7] = [
    Kind::Classic,
    Kind::SpecificResponses,
    Kind::Sharded(SubscriptionMode::Static),
    Kind::Sharded(SubscriptionMode::Dynamic),
    Kind::Sharded(SubscriptionMode::DynamicPrivate),
    Kind::Streams,
    Kind::FourStreams,
];

/// A server, and what it has reported.
struct Node {
    io: SocketIo,
    reports: Arc<Mutex<Vec<ClusterErrorKind>>>,
}

impl Node {
    /// Starts a node whose clients join a room with the event `join`.
    async fn start(kind: Kind, config: RedisConfig) -> Result<Self, ClusterError> {
        let server = match kind {
            Kind::Classic => SocketIoConfig::new().adapter(RedisAdapter::connect(config).await?),
            Kind::SpecificResponses => {
                SocketIoConfig::new().adapter(RedisAdapter::connect(config).await?.specific_responses(true))
            }
            Kind::Sharded(mode) => {
                SocketIoConfig::new().adapter(ShardedRedisAdapter::connect(config).await?.subscription_mode(mode))
            }
            Kind::Streams => SocketIoConfig::new().adapter(RedisStreamsAdapter::connect(config).await?),
            Kind::FourStreams => {
                let config = RedisStreamsConfig::new(config).stream_count(4).sharded_pubsub(true);
                SocketIoConfig::new().adapter(RedisStreamsAdapter::connect(config).await?)
            }
            Kind::Journal => {
                let adapter = RedisStreamsAdapter::connect(config).await?;
                SocketIoConfig::new().adapter(adapter).recovery(RecoveryConfig::new())
            }
        };
        Ok(Self::serve(server))
    }

    fn serve(server: SocketIoConfig) -> Self {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let reported = reports.clone();
        let root = Namespace::new()
            .on("join", |socket: SocketRef, Data(room): Data<String>| async move { socket.join(room) })
            .on_server_side("sum", |event: ServerSideEvent| async move {
                let (a, b) = event.args::<(u32, u32)>().unwrap();
                a + b
            });
        let server = server
            .on_cluster_error(move |error| reported.lock().unwrap().push(error.kind()))
            .namespace("/", root)
            .namespace("/room-{n}", Namespace::new());
        Self { io: SocketIoService::new(server).io(), reports }
    }

    /// Starts two nodes that know one another.
    async fn pair(kind: Kind, config: &RedisConfig) -> (Self, Self) {
        let a = Self::start(kind, config.clone()).await.unwrap();
        let b = Self::start(kind, config.clone()).await.unwrap();
        a.sees(2).await;
        b.sees(2).await;
        (a, b)
    }

    async fn sees(&self, nodes: usize) {
        retry(async || (self.io.node_count().await.ok()? == nodes).then_some(())).await;
    }

    fn lost(&self) -> u64 {
        let count = |kind: &ClusterErrorKind| match kind {
            ClusterErrorKind::Lost { count } => *count,
            _ => 0,
        };
        self.reports.lock().unwrap().iter().map(count).sum()
    }

    fn has_reported(&self, kind: ClusterErrorKind) -> bool {
        self.reports.lock().unwrap().contains(&kind)
    }
}

/// A client in a room of a node, whose events the other node reaches.
async fn member(node: &Node, other: &Node, room: &str) -> Memory {
    let mut client = Memory::join(&node.io).await;
    client.say(&format!(r#"42["join","{room}"]"#));
    // The channel of the room is subscribed to in the background.
    let mut number = 0;
    retry(async || {
        number += 1;
        other.io.to(room).emit("ready", &number).unwrap();
        let received = tokio::time::timeout(Duration::from_millis(50), client.text()).await.ok()?;
        // What was emitted after that arrives, too.
        let last = format!(r#"42["ready",{number}]"#);
        if received != last {
            while client.text().await != last {}
        }
        Some(())
    })
    .await;
    client
}
