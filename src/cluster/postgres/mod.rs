//! Clusters over Postgres, together with Node.js servers that use `@socket.io/postgres-adapter`.
//!
//! Messages are notifications on one channel for each namespace. Large and binary messages are rows of a table, and their ids are
//! notified. An adapter has two connections: one that listens and one that sends, so that messages arrive in the order in which they
//! are published.
//!
//! Nodes know each other by heartbeats. Messages that are published while the database is not reachable are lost, and counted:
//! see [`on_cluster_error`](crate::SocketIoConfig::on_cluster_error).
//!
//! ```no_run
//! use tower_socketio::{SocketIoConfig, SocketIoLayer};
//! use tower_socketio::cluster::postgres::{PostgresAdapter, PostgresConfig};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let adapter = PostgresAdapter::connect(PostgresConfig::new("postgres://user:password@localhost/app")).await?;
//! let layer = SocketIoLayer::new(SocketIoConfig::new().adapter(adapter));
//! // Reaches the clients of all servers.
//! layer.io().emit("hello", &())?;
//! # Ok(())
//! # }
//! ```

mod config;
mod link;
mod pipeline;
mod session;

use self::link::PostgresLink;
use super::{
    broker::{BrokerAdapter, broker_adapter},
    error::ClusterError,
};

pub use self::config::PostgresConfig;

/// A [`ClusterAdapter`](super::ClusterAdapter) over Postgres. See the [module](self).
pub struct PostgresAdapter(BrokerAdapter<PostgresLink>);

impl PostgresAdapter {
    /// Connects to the database. The connections are kept by a task in the runtime of the caller.
    ///
    /// # Errors
    ///
    /// Returns an error if the URL is invalid, the database cannot be reached or rejects the password, or the table of attachments
    /// can neither be found nor created.
    pub async fn connect(config: PostgresConfig) -> Result<Self, ClusterError> {
        let (config, options) = config.prepare()?;
        BrokerAdapter::connect(config, options).await.map(Self)
    }
}

broker_adapter!(PostgresAdapter);
