//! What a server tells its cluster.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    cluster::{ClusterAdapter, ClusterCommand, ClusterError, ClusterErrorKind, ClusterMessage, LocalChange},
    observe::ServerMeters,
    util::{Chain, log},
};

use super::state::{NamespaceState, Server};

impl NamespaceState {
    /// Publishes a command to the other nodes of the cluster, or to one of them. Does nothing without an adapter.
    pub(crate) fn publish(&self, command: ClusterCommand, recipient: Option<Arc<str>>) {
        if let (Some(adapter), Some(server)) = (&self.settings.adapter, self.server.upgrade()) {
            server.publish(&**adapter, self.shared_name(), command, recipient);
        }
    }

    /// Tells the adapter that the namespace may have been created or dropped. Must be called without a lock.
    pub(crate) fn changed(&self) {
        self.tell(None);
    }

    /// Returns `true` if the adapter must be told about changes of rooms.
    pub(super) fn reports_rooms(&self) -> bool {
        self.settings.adapter.as_ref().is_some_and(|adapter| adapter.follows_rooms())
    }

    /// Tells the adapter that a room may have got its first member or lost its last one. Must be called without a lock.
    pub(super) fn room_changed(&self, room: &str) {
        self.tell(Some(room));
    }

    fn tell(&self, room: Option<&str>) {
        if let (Some(adapter), Some(server)) = (&self.settings.adapter, self.server.upgrade()) {
            let change = LocalChange { namespace: &self.name, room };
            server.catch_panic(|| adapter.local_change(change));
        }
    }
}

impl Server {
    #[inline(never)]
    fn publish(
        &self,
        adapter: &dyn ClusterAdapter,
        namespace: Arc<str>,
        command: ClusterCommand,
        recipient: Option<Arc<str>>,
    ) {
        let mut message = ClusterMessage::new(self.requests.node().clone(), namespace, command);
        message.recipient = recipient;
        if let Some(Err(error)) = self.catch_panic(|| adapter.publish(message)) {
            self.report(&ClusterError::new(ClusterErrorKind::Lost { count: 1 }).caused_by(error));
        }
    }

    /// Sends bytes to another node. Returns whether they may arrive.
    pub(crate) fn send_to_node(&self, node: &str, message: Bytes) -> bool {
        let Some(adapter) = &self.settings.adapter else { return false };
        let sent = self.catch_panic(|| adapter.send(node, message));
        // Not reported: clients choose the ids in their requests, and the request fails.
        matches!(sent, Some(Ok(())))
    }

    /// Logs and counts a failure of the cluster, and passes it to the hook.
    pub(crate) fn report(&self, error: &ClusterError) {
        ServerMeters::cluster_error(error.kind());
        log!(warn, error = %Chain(error), "the cluster failed");
        if let Some(hook) = &self.hooks.on_cluster_error {
            self.catch_panic(|| hook(error));
        }
    }
}
