use std::{
    fmt,
    future::ready,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::util::BoxFuture;

use super::{
    adapter::{ClusterAdapter, Peers},
    error::{ClusterError, PublishError},
    message::ClusterMessage,
    node::ClusterNode,
};

/// A cluster of servers in one process.
///
/// Each server gets its own [`node`](Self::node). Messages are delivered immediately, by the task that emits.
///
/// ```
/// use tower_socketio::{SocketIoConfig, SocketIoLayer, cluster::Local};
///
/// let cluster = Local::new();
/// let public = SocketIoLayer::new(SocketIoConfig::new().adapter(cluster.node()));
/// let internal = SocketIoLayer::new(SocketIoConfig::new().path("/internal").adapter(cluster.node()));
/// // Reaches the clients of both.
/// public.io().emit("hello", &()).unwrap();
/// # let _ = internal;
/// ```
#[derive(Clone, Default)]
pub struct Local(Arc<Mutex<Vec<ClusterNode>>>);

impl Local {
    /// Creates a cluster without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates the adapter of one server.
    #[must_use]
    pub fn node(&self) -> LocalNode {
        LocalNode { cluster: self.clone(), node: OnceLock::new() }
    }

    fn others(&self, id: Option<&str>) -> Vec<ClusterNode> {
        let is_other = |node: &&ClusterNode| Some(&**node.id()) != id && node.is_alive();
        self.0.lock().iter().filter(is_other).cloned().collect()
    }
}

/// The adapter of one server in a [`Local`] cluster.
pub struct LocalNode {
    cluster: Local,
    node: OnceLock<ClusterNode>,
}

impl LocalNode {
    fn leave(&self) {
        let Some(node) = self.node.get() else { return };
        let mut left = false;
        self.cluster.0.lock().retain(|other| {
            let is_this = other.id() == node.id();
            left |= is_this;
            !is_this
        });
        if left {
            self.others().iter().for_each(|other| other.peer_left(node.id()));
        }
    }

    fn others(&self) -> Vec<ClusterNode> {
        self.cluster.others(self.node.get().map(|node| &**node.id()))
    }
}

impl ClusterAdapter for LocalNode {
    fn start(&self, node: ClusterNode) {
        if self.node.set(node.clone()).is_ok() {
            self.cluster.0.lock().push(node);
        }
    }

    fn publish(&self, message: ClusterMessage) -> Result<(), PublishError> {
        self.others().iter().for_each(|node| node.deliver(message.clone()));
        Ok(())
    }

    fn send(&self, node: &str, message: Bytes) -> Result<(), PublishError> {
        let node = self.others().into_iter().find(|other| &**other.id() == node).ok_or(PublishError::UnknownNode)?;
        node.receive(message);
        Ok(())
    }

    fn peers(&self, namespace: &str) -> BoxFuture<Result<Peers, ClusterError>> {
        let others = self.others().into_iter().filter(|node| node.has_namespace(namespace));
        Box::pin(ready(Ok(Peers::Nodes(others.map(|node| node.id().clone()).collect()))))
    }

    fn close(&self) -> BoxFuture<()> {
        self.leave();
        Box::pin(ready(()))
    }
}

impl Drop for LocalNode {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("nodes", &self.0.lock().len()).finish()
    }
}

impl fmt::Debug for LocalNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalNode").field("node", &self.node.get()).finish_non_exhaustive()
    }
}
