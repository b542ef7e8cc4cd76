use std::time::Duration;

use serde::Serialize;

use crate::{
    packet::normalize_name,
    room::IntoRooms,
    server::EmitError,
    socket::{BroadcastOperator, FetchSocketsError, RemoteSocket, SocketRef},
};

use super::{namespace_ref::NamespaceRef, socket_io::SocketIo};

/// Several namespaces, and the operators that select their sockets.
///
/// Returned by [`SocketIo::of_pattern`] and [`SocketIo::of_matching`]. The namespaces are those that existed when it was created. The
/// sockets are looked up at each use.
///
/// ```
/// use tower_socketio::SocketIo;
///
/// /// Emits to the editors in all namespaces of the pattern `/document/{id}`.
/// fn announce(io: &SocketIo) {
///     if let Some(documents) = io.of_pattern("/document/{id}") {
///         documents.to("editors").except("muted").emit("announcement", "tea is ready").ok();
///     }
/// }
/// # let _ = announce;
/// ```
///
/// For acks, emit to each of the [`namespaces`](Self::namespaces).
#[derive(Debug, Clone)]
#[must_use = "it does nothing until something is emitted"]
pub struct PatternRef {
    namespaces: Vec<NamespaceRef>,
    /// One for each namespace.
    operators: Vec<BroadcastOperator>,
}

impl SocketIo {
    /// Returns the existing namespaces of a pattern, as given to [`SocketIoConfig::namespace`](crate::SocketIoConfig::namespace),
    /// or `None` if the pattern is not configured.
    ///
    /// ```
    /// use tower_socketio::{Namespace, SocketIoConfig, SocketIoLayer};
    ///
    /// let io = SocketIoLayer::new(SocketIoConfig::new().namespace("/room/{id}", Namespace::new())).io();
    /// io.of_pattern("/room/{id}").unwrap().emit("closing time", &()).unwrap();
    /// ```
    ///
    /// In a cluster, these are the namespaces that exist on this node. Their sockets on other nodes are selected, too.
    #[must_use]
    pub fn of_pattern(&self, pattern: &str) -> Option<PatternRef> {
        let namespaces = self.server().namespaces.of_pattern(&normalize_name(pattern))?;
        Some(PatternRef::new(namespaces.into_iter().map(NamespaceRef::new).collect()))
    }

    /// Returns the existing namespaces whose names match: for example those of a [predicate](crate::SocketIoConfig::namespace_fn), if
    /// the same function is passed.
    ///
    /// ```
    /// use tower_socketio::{Namespace, SocketIoConfig, SocketIoLayer};
    ///
    /// fn is_a_tenant(name: &str) -> bool {
    ///     name.starts_with("/tenant/")
    /// }
    /// let io = SocketIoLayer::new(SocketIoConfig::new().namespace_fn(is_a_tenant, Namespace::new())).io();
    /// io.of_matching(is_a_tenant).emit("closing time", &()).unwrap();
    /// ```
    pub fn of_matching(&self, matches: impl Fn(&str) -> bool) -> PatternRef {
        PatternRef::new(self.namespaces().into_iter().filter(|namespace| matches(namespace.name())).collect())
    }
}

impl PatternRef {
    fn new(namespaces: Vec<NamespaceRef>) -> Self {
        let operators = namespaces.iter().map(NamespaceRef::everyone).collect();
        Self { namespaces, operators }
    }

    /// Returns the namespaces.
    #[must_use]
    pub fn namespaces(&self) -> &[NamespaceRef] {
        &self.namespaces
    }

    fn map(mut self, change: impl FnMut(BroadcastOperator) -> BroadcastOperator) -> Self {
        self.operators = self.operators.into_iter().map(change).collect();
        self
    }

    /// Adds rooms. See [`BroadcastOperator::to`].
    pub fn to(self, rooms: impl IntoRooms) -> Self {
        let rooms: Vec<_> = rooms.into_rooms().collect();
        self.map(|operator| operator.to(rooms.as_slice()))
    }

    /// Like [`to`](Self::to). Named `within` because `in` is a keyword.
    pub fn within(self, rooms: impl IntoRooms) -> Self {
        self.to(rooms)
    }

    /// Excludes the sockets in at least one of these rooms. An empty list excludes none.
    pub fn except(self, rooms: impl IntoRooms) -> Self {
        let rooms: Vec<_> = rooms.into_rooms().collect();
        self.map(|operator| operator.except(rooms.as_slice()))
    }

    /// Selects only sockets of this node.
    pub fn local(self) -> Self {
        self.map(BroadcastOperator::local)
    }

    /// Drops the event for recipients to which it cannot be sent immediately.
    pub fn volatile(self) -> Self {
        self.map(BroadcastOperator::volatile)
    }

    /// Sets whether the event may be compressed. Default: `true`. See [`SocketRef::compress`].
    pub fn compress(self, compress: bool) -> Self {
        self.map(|operator| operator.compress(compress))
    }

    /// Sets how long [`fetch_sockets`](Self::fetch_sockets) waits for other nodes. Default: that of the adapter.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.map(|operator| operator.timeout(timeout))
    }

    /// Emits an event to the selected sockets of all of these namespaces. See [`BroadcastOperator::emit`].
    ///
    /// # Errors
    ///
    /// Returns an error if the arguments cannot be encoded or the name of the event is reserved.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        self.operators.iter().try_for_each(|operator| operator.emit(event, args))
    }

    /// Adds the selected sockets to rooms of their namespaces.
    pub fn sockets_join(&self, rooms: impl IntoRooms) {
        let rooms: Vec<_> = rooms.into_rooms().collect();
        self.operators.iter().for_each(|operator| operator.sockets_join(rooms.as_slice()));
    }

    /// Removes the selected sockets from rooms of their namespaces.
    pub fn sockets_leave(&self, rooms: impl IntoRooms) {
        let rooms: Vec<_> = rooms.into_rooms().collect();
        self.operators.iter().for_each(|operator| operator.sockets_leave(rooms.as_slice()));
    }

    /// Disconnects the selected sockets from their namespaces. With `close`, also disconnects their clients from all other namespaces
    /// and closes the connections.
    pub fn disconnect_sockets(&self, close: bool) {
        self.operators.iter().for_each(|operator| operator.disconnect_sockets(close));
    }

    /// Returns the number of the selected sockets on this node.
    #[must_use]
    pub fn socket_count(&self) -> usize {
        self.operators.iter().map(BroadcastOperator::socket_count).sum()
    }

    /// Returns the selected sockets on this node, one namespace after another.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketRef> {
        self.operators.iter().flat_map(BroadcastOperator::sockets).collect()
    }

    /// Returns a snapshot of the selected sockets, including those of other nodes, one namespace after another.
    ///
    /// # Errors
    ///
    /// Returns an error if other nodes of a cluster do not respond for one of the namespaces. It has the sockets that were found until
    /// then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn fetch_sockets(&self) -> Result<Vec<RemoteSocket>, FetchSocketsError> {
        let mut sockets = Vec::new();
        for operator in &self.operators {
            match operator.fetch_sockets().await {
                Ok(fetched) => sockets.extend(fetched),
                Err(error) => return Err(error.after(sockets)),
            }
        }
        Ok(sockets)
    }
}
