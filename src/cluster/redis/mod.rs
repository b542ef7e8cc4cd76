//! Clusters over Redis: [`RedisAdapter`], [`ShardedRedisAdapter`] and [`RedisStreamsAdapter`].
//!
//! | | [`RedisAdapter`] | [`ShardedRedisAdapter`] | [`RedisStreamsAdapter`] |
//! |---|---|---|---|
//! | Redis | 5 or newer | 7 or newer | 5 or newer |
//! | Node's counterpart | `createAdapter` | `createShardedAdapter` | `@socket.io/redis-streams-adapter` |
//! | a message to one room | is received by all nodes | is received by the nodes that have the room | is received by all nodes |
//! | a Redis Cluster | carries each message to all of its nodes | carries it to one | carries it to one |
//! | events while Redis is unavailable | are lost for other nodes | are lost for other nodes | are delivered later |
//! | clients that return to another node | are new | are new | can be recovered |
//!
//! All work with one Redis server, with a Redis Cluster, and with a master that sentinels watch. The connection is that of
//! [`RedisConfig`].
//!
//! ```no_run
//! use tower_socketio::{SocketIoConfig, SocketIoLayer, SocketRef, cluster::redis::{RedisAdapter, RedisConfig}};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let adapter = RedisAdapter::connect(RedisConfig::new("redis://127.0.0.1")).await?;
//! let config = SocketIoConfig::new().adapter(adapter).on_cluster_error(|error| eprintln!("{error}"));
//! let layer = SocketIoLayer::new(config);
//! let io = layer.io();
//! let app = axum::Router::new().layer(layer);
//! // Reaches the clients of all nodes.
//! io.to("news").emit("headline", "tea is ready")?;
//! axum::serve(tokio::net::TcpListener::bind("0.0.0.0:3000").await?, app).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # If Redis is unavailable
//!
//! This is about Pub/Sub, which [`RedisStreamsAdapter`] uses for requests and responses only.
//!
//! * Clients of the same node still receive everything at once.
//! * The connection is opened again, after 100 ms at first and at most five seconds later each time. Subscriptions are renewed before
//!   anything is published.
//! * Messages that are published in the meantime are dropped with [`PublishError::Disconnected`](super::PublishError). Those that
//!   were sent but not confirmed may have been lost: they are reported as
//!   [`ClusterErrorKind::Lost`](super::ClusterErrorKind::Lost), with their number.
//! * After that, messages wait until as many nodes have returned as there were before, for at most six seconds. Responses to
//!   requests do not.
//! * If a master of a Redis Cluster is down, the others are used. Messages to its channels are lost, until it or its replica replies.
//! * A node that loses its connection while the others keep theirs misses what they publish. It reports
//!   [`ClusterErrorKind::Disconnected`](super::ClusterErrorKind::Disconnected); how many messages it missed is unknown.
//!
//! Messages wait in memory while Redis is slow, up to [`RedisConfig::queue_bytes`]. Those that find the queue full are dropped with
//! [`PublishError::Full`](super::PublishError::Full).

mod classic;
mod client;
mod config;
mod connection;
mod driver;
mod endpoints;
mod error;
mod exchange;
mod hints;
mod queue;
mod receiver;
mod returning;
#[cfg(test)]
mod scripted;
mod sharded;
mod slots;
mod streams;
mod subscriber;
mod subscriptions;

pub use self::{
    classic::RedisAdapter,
    config::RedisConfig,
    sharded::{ShardedRedisAdapter, SubscriptionMode},
    streams::{RedisStreamsAdapter, RedisStreamsConfig},
};
