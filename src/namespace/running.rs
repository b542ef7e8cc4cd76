//! Namespaces of a running server.

use crate::{
    io::{NamespaceRef, SocketIo},
    packet::normalize_name,
    server::is_pattern,
};

use super::complete::CompleteNamespace;

impl SocketIo {
    /// Adds a namespace to the running server, by its exact name. A missing leading slash is added.
    ///
    /// Clients may join it as soon as this returns. It exists until it is [removed](Self::remove_namespace). It is not added to
    /// other nodes of a cluster.
    ///
    /// ```
    /// use tower_socketio::{Namespace, SocketIoConfig, SocketIoLayer};
    ///
    /// let io = SocketIoLayer::new(SocketIoConfig::new()).io();
    /// io.add_namespace("/tournament", Namespace::new().on("move", async || {}))?;
    /// io.namespace("/tournament").emit("start", &()).ok();
    /// assert!(io.remove_namespace("/tournament"));
    /// # Ok::<(), tower_socketio::namespace::AddNamespaceError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if a namespace of this name exists, or if clients cannot send the name. Patterns can only be added
    /// before the server starts, by [`SocketIoConfig::namespace`](crate::SocketIoConfig::namespace).
    pub fn add_namespace(
        &self,
        name: &str,
        namespace: impl CompleteNamespace,
    ) -> Result<NamespaceRef, AddNamespaceError> {
        let name = normalize_name(name);
        if is_pattern(&name) {
            return Err(AddNamespaceError::Pattern);
        }
        if name.contains([',', '?']) {
            return Err(AddNamespaceError::InvalidName);
        }
        let added = self.server().namespaces.add(&name, namespace.into().build(&name));
        added.iter().for_each(|namespace| namespace.changed());
        added.map(NamespaceRef::new).ok_or(AddNamespaceError::Exists)
    }

    /// Removes a namespace that was declared or added by its exact name. Returns `false` if there is none.
    ///
    /// Its sockets are disconnected with a DISCONNECT packet, and their handlers get the reason "server namespace disconnect".
    /// Clients that are being admitted, and later CONNECTs, are rejected with "Invalid namespace", unless a predicate accepts
    /// the name. Clients that have lost their connection cannot be recovered. The namespace is not removed from other nodes of
    /// a cluster.
    ///
    /// Namespaces of patterns and predicates cannot be removed. They end when they are empty.
    ///
    /// # Panics
    ///
    /// Panics if the name is that of the default namespace, which always exists.
    #[expect(clippy::must_use_candidate, reason = "it does something")]
    #[track_caller]
    pub fn remove_namespace(&self, name: &str) -> bool {
        let name = normalize_name(name);
        assert!(name != "/", "the default namespace cannot be removed");
        match self.server().namespaces.remove_exact(&name) {
            Some(namespace) => {
                namespace.close();
                namespace.changed();
                true
            }
            None => false,
        }
    }
}

/// Error returned when a namespace is not added to a running server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddNamespaceError {
    /// A namespace of this name exists.
    #[error("a namespace of this name exists")]
    Exists,
    /// The name contains a comma or a question mark, which clients cannot send.
    #[error("the name contains a comma or a question mark")]
    InvalidName,
    /// The name is a pattern.
    #[error("a pattern cannot be added to a running server")]
    Pattern,
}
