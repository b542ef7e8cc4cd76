use std::{
    fmt,
    sync::{Arc, Weak},
};

use super::message::ClusterMessage;

/// Carries messages between the nodes of a cluster. Corresponds to Node's adapter.
///
/// Set by [`SocketIoConfig::adapter`](crate::SocketIoConfig::adapter). Without an adapter, a server publishes nothing.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use tower_socketio::cluster::{ClusterAdapter, ClusterMessage, ClusterNode};
///
/// /// Servers of one process: each knows the others.
/// #[derive(Clone, Default)]
/// struct Bus(Arc<Mutex<Vec<ClusterNode>>>);
///
/// struct Member { bus: Bus, place: usize }
///
/// impl ClusterAdapter for Member {
///     fn start(&self, node: ClusterNode) {
///         self.bus.0.lock().unwrap().push(node);
///     }
///     fn publish(&self, message: ClusterMessage) {
///         let nodes = self.bus.0.lock().unwrap().clone();
///         let others = nodes.iter().enumerate().filter(|(place, _)| *place != self.place);
///         others.for_each(|(_, node)| node.deliver(&message));
///     }
///     fn node_count(&self) -> usize {
///         self.bus.0.lock().unwrap().len()
///     }
/// }
/// ```
pub trait ClusterAdapter: Send + Sync + 'static {
    /// Called once, when the server is built. The adapter must pass messages of other nodes to `node`.
    fn start(&self, node: ClusterNode);

    /// Sends a message to all other nodes.
    ///
    /// Called by `emit` and similar methods, without a lock. It must not block: put the message into a queue, and send it in a
    /// task. Messages of one caller must arrive in order and at most once.
    fn publish(&self, message: ClusterMessage);

    /// Returns the number of nodes in the cluster, including this one. Requests to all nodes wait for one response less than
    /// this.
    fn node_count(&self) -> usize;
}

/// Executes commands of other nodes. Implemented by `io` for the server.
pub(crate) trait Node: Send + Sync {
    /// Executes a command of another node. Unknown or malformed messages are ignored.
    fn deliver(self: Arc<Self>, message: &ClusterMessage);
}

/// A handle to a server for its [`ClusterAdapter`]. Cloning is cheap. It does not keep the server alive.
#[derive(Clone)]
pub struct ClusterNode(Weak<dyn Node>);

impl ClusterNode {
    pub(crate) fn new(node: Weak<dyn Node>) -> Self {
        Self(node)
    }

    /// Executes a command of another node on the sockets of this one. Unknown or malformed messages are ignored.
    pub fn deliver(&self, message: &ClusterMessage) {
        if let Some(node) = self.0.upgrade() {
            node.deliver(message);
        }
    }
}

impl fmt::Debug for ClusterNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterNode").finish_non_exhaustive()
    }
}
