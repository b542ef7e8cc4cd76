use std::{future::ready, time::Duration};

use bytes::Bytes;

use crate::util::BoxFuture;

use super::{
    error::{ClusterError, PublishError},
    journal::Journal,
    message::ClusterMessage,
    node::ClusterNode,
};

/// Carries messages between the nodes of a cluster. Corresponds to Node's adapter.
///
/// Set by [`SocketIoConfig::adapter`](crate::SocketIoConfig::adapter). Without an adapter, a server publishes nothing.
///
/// An adapter only carries messages. The server selects sockets, sends requests and counts responses. [`Local`](super::Local) is
/// an adapter for several servers in one process.
///
/// ```
/// use std::{future::ready, pin::Pin, sync::{Arc, Mutex}};
/// use tower_socketio::cluster::{ClusterAdapter, ClusterError, ClusterMessage, ClusterNode, Peers, PublishError};
///
/// /// Servers of one process: each knows the others.
/// #[derive(Clone, Default)]
/// struct Bus(Arc<Mutex<Vec<ClusterNode>>>);
///
/// impl ClusterAdapter for Bus {
///     fn start(&self, node: ClusterNode) {
///         self.0.lock().unwrap().push(node);
///     }
///     fn publish(&self, message: ClusterMessage) -> Result<(), PublishError> {
///         // A node ignores its own messages.
///         let nodes = self.0.lock().unwrap().clone();
///         nodes.iter().for_each(|node| node.deliver(message.clone()));
///         Ok(())
///     }
///     fn peers(&self, _: &str) -> Pin<Box<dyn Future<Output = Result<Peers, ClusterError>> + Send>> {
///         let others = self.0.lock().unwrap().len().saturating_sub(1);
///         Box::pin(ready(Ok(Peers::Count(others))))
///     }
/// }
/// ```
pub trait ClusterAdapter: Send + Sync + 'static {
    /// Called once, when the server is built. The adapter must pass messages of other nodes to
    /// [`ClusterNode::deliver`].
    ///
    /// The caller may be outside of a runtime: an adapter that spawns tasks must know its runtime. The namespaces that exist already
    /// are those of [`ClusterNode::namespaces`].
    fn start(&self, node: ClusterNode);

    /// Sets where failures are reported if the adapter is not started, because it belongs to an [`Emitter`](super::Emitter). The node
    /// has no namespace. Default: they are not reported.
    fn report_to(&self, node: ClusterNode) {
        let _ = node;
    }

    /// Queues a message for the other nodes: for [`recipient`](ClusterMessage::recipient), or for all that have the namespace.
    ///
    /// Called by `emit` and similar methods, without a lock. It must not block: put the message into a queue of limited size, and
    /// send it in a task. Messages of one caller must arrive in order and at most once.
    ///
    /// [`ClusterNode::deliver`] may call this method, so an adapter must not hold a lock while it delivers. An
    /// [`Emitter`](super::Emitter) calls it without [`start`](Self::start).
    ///
    /// # Errors
    ///
    /// Returns an error if the message is dropped. The server reports it to
    /// [`on_cluster_error`](crate::SocketIoConfig::on_cluster_error).
    fn publish(&self, message: ClusterMessage) -> Result<(), PublishError>;

    /// Returns the other nodes that have a namespace. Requests wait for their responses.
    fn peers(&self, namespace: &str) -> BoxFuture<Result<Peers, ClusterError>>;

    /// Returns how long a request waits for responses if the caller sets no timeout. Default: five seconds, as in Node.
    fn request_timeout(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// Called when a namespace or a room may have been created or dropped on this node, for adapters that subscribe by name.
    ///
    /// Calls may arrive in any order. Ask [`ClusterNode::has_namespace`] and [`ClusterNode::has_room`] for the current state. It
    /// must not block.
    fn local_change(&self, change: LocalChange<'_>) {
        let _ = change;
    }

    /// Returns `true` if [`local_change`](Self::local_change) must be called for rooms. Called often, and must always return the same.
    /// Default: `false`.
    fn follows_rooms(&self) -> bool {
        false
    }

    /// Returns where events and sessions are stored outside of the nodes, if the adapter has that. Default: `None`.
    ///
    /// It must always return the same, also before [`start`](Self::start).
    fn journal(&self) -> Option<&dyn Journal> {
        None
    }

    /// Queues bytes for one other node, which passes them to [`ClusterNode::receive`]. Used if
    /// [sessions are shared](crate::SocketIoConfig::share_sessions).
    ///
    /// It must not block. Messages to one node must arrive in order and at most once. They have up to some 40 KiB. If the adapter
    /// notices later that there is no such node, it calls [`ClusterNode::peer_left`]. Default: not supported. To find that out, a server
    /// that shares sessions sends an empty message to a node without a name when it starts.
    ///
    /// # Errors
    ///
    /// Returns an error if the message is dropped.
    fn send(&self, node: &str, message: Bytes) -> Result<(), PublishError> {
        let _ = (node, message);
        Err(PublishError::Unsupported)
    }

    /// Leaves the cluster: sends what is queued, and ends all tasks. Called when the server closes or has drained, possibly more than
    /// once. The server waits five seconds at most.
    fn close(&self) -> BoxFuture<()> {
        Box::pin(ready(()))
    }
}

/// The other nodes of a cluster. Returned by [`ClusterAdapter::peers`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peers {
    /// Only their number is known.
    Count(usize),
    /// Their ids.
    Nodes(Vec<std::sync::Arc<str>>),
}

impl Peers {
    /// Returns the number of other nodes.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Count(count) => *count,
            Self::Nodes(nodes) => nodes.len(),
        }
    }
}

/// A change on this node. See [`ClusterAdapter::local_change`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalChange<'a> {
    /// The name of the namespace.
    pub namespace: &'a str,
    /// The room that may have got its first member or lost its last one. If there is none, the namespace may have been created or dropped.
    pub room: Option<&'a str>,
}
