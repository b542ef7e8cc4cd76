//! Clusters over NATS. Node.js has no such adapter: all nodes are servers of this crate.
//!
//! [`NatsAdapter`] sends messages over core NATS, which does not store them. A namespace is a subject, and each node has a subject for
//! responses. Nodes know each other by heartbeats. Messages that are published while NATS is not reachable are lost, and counted:
//! see [`on_cluster_error`](crate::SocketIoConfig::on_cluster_error). Messages larger than the server's `max_payload`, by default 1 MiB,
//! are not sent.
//!
//! [`NatsJetStreamAdapter`] stores events in a stream of JetStream, so that nothing is lost while NATS is not reachable, and clients
//! can be recovered by any node. Requests and responses are messages of core NATS there, too.
//!
//! ```no_run
//! use tower_socketio::{SocketIoConfig, SocketIoLayer};
//! use tower_socketio::cluster::nats::{NatsAdapter, NatsConfig};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let adapter = NatsAdapter::connect(NatsConfig::new("nats://user:password@localhost:4222")).await?;
//! let layer = SocketIoLayer::new(SocketIoConfig::new().adapter(adapter));
//! // Reaches the clients of all servers.
//! layer.io().emit("hello", &())?;
//! # Ok(())
//! # }
//! ```

mod config;
mod connection;
mod inbox;
mod jetstream;
mod link;

use self::link::NatsLink;
use super::{
    broker::{BrokerAdapter, broker_adapter},
    error::ClusterError,
};

pub use self::{
    config::NatsConfig,
    jetstream::{NatsJetStreamAdapter, NatsJetStreamConfig},
};

/// A [`ClusterAdapter`](super::ClusterAdapter) over core NATS. See the [module](self).
pub struct NatsAdapter(BrokerAdapter<NatsLink>);

impl NatsAdapter {
    /// Connects to NATS. The connection is kept by a task in the runtime of the caller.
    ///
    /// # Errors
    ///
    /// Returns an error if the URL or the prefix is invalid, no server can be reached, or the server rejects the credentials.
    pub async fn connect(config: NatsConfig) -> Result<Self, ClusterError> {
        let (config, options) = config.prepare()?;
        BrokerAdapter::connect(config, options).await.map(Self)
    }
}

broker_adapter!(NatsAdapter);
