use std::{fmt, sync::Arc};

use serde::Serialize;

use crate::{
    room::Room,
    server::{EmitError, NamespaceState},
    socket::{BroadcastOperator, SocketRef},
};

/// A handle to a namespace of a running server. Returned by [`SocketIo::of`](super::SocketIo::of).
///
/// ```
/// use tower_socketio::SocketIo;
///
/// async fn announce(io: SocketIo) {
///     if let Some(chat) = io.of("/chat") {
///         chat.to("lobby").emit("announcement", "tea is ready").ok();
///     }
/// }
/// # let _ = announce;
/// ```
#[derive(Clone)]
pub struct NamespaceRef {
    state: Arc<NamespaceState>,
}

/// All existing namespaces of a pattern. Returned by [`SocketIo::of_pattern`](super::SocketIo::of_pattern).
///
/// ```
/// use tower_socketio::SocketIo;
///
/// /// Emits to all namespaces of the pattern `/document/{id}`.
/// fn announce(io: &SocketIo) {
///     if let Some(documents) = io.of_pattern("/document/{id}") {
///         documents.emit("announcement", "tea is ready").ok();
///     }
/// }
/// # let _ = announce;
/// ```
#[derive(Debug, Clone)]
pub struct PatternRef {
    pub(super) namespaces: Vec<NamespaceRef>,
}

impl PatternRef {
    /// Returns the namespaces.
    #[must_use]
    pub fn namespaces(&self) -> &[NamespaceRef] {
        &self.namespaces
    }

    /// Emits an event to all sockets of these namespaces.
    ///
    /// # Errors
    ///
    /// Returns an error if the arguments cannot be encoded or the name of the event is reserved.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        self.namespaces.iter().try_for_each(|namespace| namespace.everyone().emit(event, args))
    }
}

impl NamespaceRef {
    pub(crate) fn new(state: Arc<NamespaceState>) -> Self {
        Self { state }
    }

    /// Returns the name of the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        self.state.name()
    }

    /// Returns the rooms on this node, with the number of their sockets. The rooms of the sockets' ids are not included.
    #[must_use]
    pub fn rooms(&self) -> Vec<(Room, usize)> {
        self.state.with_registry(|registry| registry.rooms().map(|(room, members)| (room.clone(), members)).collect())
    }

    pub(super) fn everyone(&self) -> BroadcastOperator {
        BroadcastOperator::everyone(self.state.clone())
    }

    /// Returns the socket with an id, if it is on this node. Its `on_connect` may be running.
    #[must_use]
    pub fn socket(&self, id: &str) -> Option<SocketRef> {
        self.state.with_registry(|registry| registry.get(id).cloned()).map(Into::into)
    }
}

impl fmt::Debug for NamespaceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamespaceRef").field("name", &self.name()).finish_non_exhaustive()
    }
}
