use std::{fmt, sync::Arc};

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::{
    room::Room,
    server::NamespaceState,
    socket::{BroadcastOperator, MissingSocket, SocketRef},
};

/// A handle to a namespace of a running server.
///
/// Returned by [`SocketIo::of`](super::SocketIo::of), [`SocketIo::namespace`](super::SocketIo::namespace) and
/// [`SocketRef::namespace`]. It is also an extractor of event handlers and of [`on_connect`](crate::Namespace::on_connect):
///
/// ```
/// use tower_socketio::{Ack, Namespace, NamespaceRef};
///
/// async fn online(namespace: NamespaceRef) -> Ack<usize> {
///     Ack(namespace.socket_count())
/// }
/// # let _ = Namespace::<()>::new().on("online", online);
/// ```
#[derive(Clone)]
pub struct NamespaceRef {
    state: Arc<NamespaceState>,
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

    /// Returns the number of rooms on this node. The rooms of the sockets' ids are not included.
    ///
    /// For the number of sockets in a room, use `namespace.to(room).socket_count()`.
    #[must_use]
    pub fn room_count(&self) -> usize {
        self.state.with_registry(|registry| registry.rooms().len())
    }

    pub(super) fn state(&self) -> &Arc<NamespaceState> {
        &self.state
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

impl SocketRef {
    /// Returns the namespace.
    ///
    /// ```
    /// use tower_socketio::{EmitError, SocketRef};
    ///
    /// /// Emits to every socket of the namespace, this one included.
    /// fn announce(socket: &SocketRef) -> Result<(), EmitError> {
    ///     socket.namespace().emit("joined", socket.id())
    /// }
    /// ```
    #[must_use]
    pub fn namespace(&self) -> NamespaceRef {
        NamespaceRef::new(self.inner().namespace.clone())
    }
}

/// In `on_connect` and the layers around it.
impl<S: Send + Sync> FromRequestParts<S> for NamespaceRef {
    type Rejection = MissingSocket;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        SocketRef::from_request_parts(parts, state).await.map(|socket| socket.namespace())
    }
}

impl fmt::Debug for NamespaceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamespaceRef").field("name", &self.name()).finish_non_exhaustive()
    }
}
