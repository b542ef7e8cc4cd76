use std::{
    fmt,
    sync::{Arc, Weak},
};

use bytes::Bytes;

use super::{
    error::ClusterError,
    journal::Offset,
    message::{ClusterMessage, RequestId},
};

/// What an adapter asks of its server. Implemented by `io`.
pub(crate) trait Node: Send + Sync {
    /// Executes a command of another node, or takes a response.
    fn deliver(self: Arc<Self>, message: ClusterMessage);

    /// Delivers an event of the journal, which may be one of this node.
    fn deliver_recorded(self: Arc<Self>, message: ClusterMessage, offset: Offset);

    fn namespaces(&self) -> Vec<Arc<str>>;

    /// Whether a request of this node waits for responses.
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "only the Redis adapters ask"))]
    fn awaits(&self, request: &RequestId) -> bool;

    fn has_namespace(&self, namespace: &str) -> bool;

    fn has_room(&self, namespace: &str, room: &str) -> bool;

    /// Ends the wait for responses of another node.
    fn peer_left(&self, peer: &str);

    fn uses_journal(&self) -> bool;

    /// Takes what another node has sent by [`ClusterAdapter::send`](super::ClusterAdapter::send).
    fn receive(self: Arc<Self>, message: Bytes);

    fn shares_sessions(&self) -> bool;

    fn report(&self, error: ClusterError);
}

/// A handle to a server for its [`ClusterAdapter`](super::ClusterAdapter). Cloning is cheap. It does not keep the server alive.
#[derive(Clone)]
pub struct ClusterNode {
    id: Arc<str>,
    node: Weak<dyn Node>,
}

impl ClusterNode {
    pub(crate) fn new(id: Arc<str>, node: Weak<dyn Node>) -> Self {
        Self { id, node }
    }

    /// Returns the id of this node in the cluster: 16 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Executes a command of another node on the sockets of this one, or passes a response to the request that waits for it.
    ///
    /// Messages of this node itself, messages for another node, and messages for a namespace that does not exist here are ignored.
    pub fn deliver(&self, message: ClusterMessage) {
        if message.sender.as_deref() == Some(&*self.id)
            || message.recipient.as_deref().is_some_and(|recipient| recipient != &*self.id)
        {
            return;
        }
        if let Some(node) = self.node.upgrade() {
            node.deliver(message);
        }
    }

    /// Delivers an event of a [`Journal`](super::Journal) to the sockets of this node. Events must be delivered in the order of
    /// their offsets, by one task at a time.
    ///
    /// If the server does not use the journal, because recovery is not configured, this is the same as
    /// [`deliver`](Self::deliver).
    pub fn deliver_recorded(&self, message: ClusterMessage, offset: Offset) {
        if let Some(node) = self.node.upgrade() {
            node.deliver_recorded(message, offset);
        }
    }

    /// Returns `true` if the server delivers its own events when the adapter reads them from the [`Journal`](super::Journal).
    #[must_use]
    pub fn uses_journal(&self) -> bool {
        self.node.upgrade().is_some_and(|node| node.uses_journal())
    }

    /// Takes what another node has sent to this one by [`ClusterAdapter::send`](super::ClusterAdapter::send).
    pub fn receive(&self, message: Bytes) {
        if let Some(node) = self.node.upgrade() {
            node.receive(message);
        }
    }

    /// Returns `true` if [sessions are shared](crate::SocketIoConfig::share_sessions). Otherwise nothing is sent to this node by
    /// [`ClusterAdapter::send`](super::ClusterAdapter::send).
    #[must_use]
    pub fn shares_sessions(&self) -> bool {
        self.node.upgrade().is_some_and(|node| node.shares_sessions())
    }

    /// Returns the names of the namespaces that exist on this node.
    #[must_use]
    pub fn namespaces(&self) -> Vec<Arc<str>> {
        self.node.upgrade().map(|node| node.namespaces()).unwrap_or_default()
    }

    #[cfg(feature = "redis")]
    pub(crate) fn awaits(&self, request: &RequestId) -> bool {
        self.node.upgrade().is_some_and(|node| node.awaits(request))
    }

    /// Returns `true` if a namespace exists on this node.
    #[must_use]
    pub fn has_namespace(&self, namespace: &str) -> bool {
        self.node.upgrade().is_some_and(|node| node.has_namespace(namespace))
    }

    /// Returns `true` if a room of a namespace has members on this node. The id of a socket is a room.
    #[must_use]
    pub fn has_room(&self, namespace: &str, room: &str) -> bool {
        self.node.upgrade().is_some_and(|node| node.has_room(namespace, room))
    }

    /// Reports that another node has left the cluster or has died. Requests no longer wait for it.
    pub fn peer_left(&self, peer: &str) {
        if let Some(node) = self.node.upgrade() {
            node.peer_left(peer);
        }
    }

    /// Reports a failure: it is logged, counted, and passed to [`on_cluster_error`](crate::SocketIoConfig::on_cluster_error).
    pub fn report(&self, error: ClusterError) {
        if let Some(node) = self.node.upgrade() {
            node.report(error);
        }
    }

    /// Returns `false` if the server has been dropped.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.node.strong_count() > 0
    }
}

impl fmt::Debug for ClusterNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterNode").field("id", &self.id).finish_non_exhaustive()
    }
}
