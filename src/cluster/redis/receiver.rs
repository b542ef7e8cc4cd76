use std::sync::Arc;

use bytes::Bytes;

use crate::{
    cluster::{
        ClusterError, ClusterErrorKind, ClusterNode,
        wire::{OTHER_NAMESPACE, WireError},
    },
    util::RwLock,
};

use super::{
    hints::Hint,
    queue::{Publication, Queue},
    subscriptions::{Change, Channel, Role, Route, Subscriptions},
};

/// What an adapter subscribes to, and how it reads messages.
pub(super) trait Wire: Send + Sync + 'static {
    /// Returns the channels of a namespace. One of them counts the nodes.
    fn namespace_channels(&self, namespace: &str, node: &str) -> Vec<Channel>;

    /// Returns the channel of a room, if it has one.
    fn room_channel(&self, namespace: &str, room: &str) -> Option<Channel> {
        let _ = (namespace, room);
        None
    }

    /// Returns the channel of bytes for the shared sessions of a node.
    fn session_channel(&self, node: &str) -> Channel;

    /// Decodes a message and delivers it to the node.
    fn receive(&self, receiver: &Receiver, route: &Route, channel: &[u8], payload: Bytes) -> Result<(), WireError>;
}

/// Returns the name of the channel for the shared sessions of a node.
pub(super) fn session_channel(prefix: &str, node: &str) -> String {
    format!("{prefix}-session#{node}#")
}

/// The receiving half of a node.
pub(super) struct Receiver {
    pub(super) node: ClusterNode,
    wire: Arc<dyn Wire>,
    queue: Arc<Queue>,
    /// Written by the driver only, and locked for lookups, never while a message is delivered.
    subscriptions: RwLock<Subscriptions>,
}

impl Receiver {
    pub(super) fn new(node: ClusterNode, wire: Arc<dyn Wire>, queue: Arc<Queue>) -> Self {
        Self { node, wire, queue, subscriptions: RwLock::default() }
    }

    /// Passes a message of a channel to the node. The subscription is the channel or a pattern.
    pub(super) fn receive(&self, subscription: &[u8], channel: &[u8], payload: Vec<u8>) {
        let Some(routes) = self.subscriptions.read().routes(subscription) else { return };
        let payload = Bytes::from(payload);
        for route in routes.iter() {
            if route.role == Role::Sessions {
                self.node.receive(payload.clone());
                continue;
            }
            match self.wire.receive(self, route, channel, payload.clone()) {
                // Names of channels may be those of several namespaces.
                Ok(()) | Err(OTHER_NAMESPACE) => {}
                Err(error) => self.node.report(ClusterError::new(ClusterErrorKind::Malformed).caused_by(error)),
            }
        }
    }

    /// Publishes a response.
    pub(super) fn respond(&self, publication: Publication) {
        if self.queue.push(publication).is_err() {
            self.node.report(ClusterError::new(ClusterErrorKind::Lost { count: 1 }));
        }
    }

    pub(super) fn has_channel(&self, channel: &[u8]) -> bool {
        self.subscriptions.read().routes(channel).is_some()
    }

    pub(super) fn has_namespace(&self, namespace: &str) -> bool {
        self.subscriptions.read().has_namespace(namespace)
    }

    /// Returns the commands that make the subscriptions agree with the state of the node.
    pub(super) fn converge(&self, hints: impl IntoIterator<Item = Hint>) -> Vec<Change> {
        let mut changes = Vec::new();
        let node = &self.node;
        for (namespace, room) in hints {
            let exists = node.has_namespace(&namespace);
            let room = room.map(|room| (node.has_room(&namespace, &room), room));
            let mut subscriptions = self.subscriptions.write();
            let channels = || {
                let mut channels = self.wire.namespace_channels(&namespace, node.id());
                // The default namespace always exists.
                if &*namespace == "/" && node.shares_sessions() {
                    channels.insert(0, self.wire.session_channel(node.id()));
                }
                channels
            };
            subscriptions.set_namespace(&namespace, exists, channels, &mut changes);
            if let Some((exists, room)) = room {
                let channel = || self.wire.room_channel(&namespace, &room);
                subscriptions.set_room(&namespace, &room, exists, channel, &mut changes);
            }
        }
        changes
    }

    /// Returns the commands for a new connection.
    pub(super) fn renew(&self) -> Vec<Change> {
        let known = self.subscriptions.read().names();
        let existing = self.node.namespaces().into_iter().map(|namespace| (namespace, None));
        self.converge(known.into_iter().chain(existing));
        self.subscriptions.read().all()
    }

    /// Returns at most this many of the channels by which nodes are counted.
    pub(super) fn counting(&self, max: usize) -> Vec<Arc<str>> {
        self.subscriptions.read().counting().take(max).cloned().collect()
    }
}
