use std::{
    fmt,
    sync::{Arc, Weak},
};

use super::message::ClusterMessage;

/// Carries messages between the nodes of a cluster: what Node calls an adapter.
///
/// Given to [`SocketIoConfig::adapter`](crate::SocketIoConfig::adapter). Without one a server stands alone: everything is
/// in memory, and nothing is published.
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
    /// Is called once, when the server is made. Messages of other nodes are to be given to `node`.
    fn start(&self, node: ClusterNode);

    /// Sends a message to all other nodes.
    ///
    /// It is called where something is emitted, with no lock held, and must not block: what waits for a network belongs
    /// into a queue. Messages of one caller are to arrive in order, at most once.
    fn publish(&self, message: ClusterMessage);

    /// How many nodes the cluster has now, this one included: as many less one are waited for where all are asked.
    fn node_count(&self) -> usize;
}

/// What does the commands of other nodes. `io` implements it for the server.
pub(crate) trait Node: Send + Sync {
    /// Does what another node asks for. What cannot be understood is ignored.
    fn deliver(self: Arc<Self>, message: &ClusterMessage);
}

/// A server, as its cluster sees it. Cloning is cheap; it does not keep the server alive.
#[derive(Clone)]
pub struct ClusterNode(Weak<dyn Node>);

impl ClusterNode {
    pub(crate) fn new(node: Weak<dyn Node>) -> Self {
        Self(node)
    }

    /// Does what another node asks for, to the sockets of this one. What cannot be understood is ignored.
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
