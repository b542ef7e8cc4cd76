use std::{fmt, sync::Arc};

use serde::Serialize;

use crate::{
    room::Room,
    server::{EmitError, NamespaceState},
    socket::{BroadcastOperator, SocketRef},
};

/// A namespace of a running server. Made by [`SocketIo::of`](super::SocketIo::of).
#[derive(Clone)]
pub struct NamespaceRef {
    state: Arc<NamespaceState>,
}

/// All namespaces of a pattern that exist now. Made by [`SocketIo::of_pattern`](super::SocketIo::of_pattern).
#[derive(Debug, Clone)]
pub struct PatternRef {
    pub(super) namespaces: Vec<NamespaceRef>,
}

impl PatternRef {
    /// The namespaces.
    #[must_use]
    pub fn namespaces(&self) -> &[NamespaceRef] {
        &self.namespaces
    }

    /// Emits an event to everyone in all of them.
    ///
    /// # Errors
    ///
    /// If the arguments cannot be encoded, or the event's name is reserved.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        self.namespaces.iter().try_for_each(|namespace| namespace.everyone().emit(event, args))
    }
}

impl NamespaceRef {
    pub(crate) fn new(state: Arc<NamespaceState>) -> Self {
        Self { state }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.state.name()
    }

    /// All rooms that somebody joined on this node, and how many sockets are in each. The rooms of the sockets' own ids
    /// are left out.
    #[must_use]
    pub fn rooms(&self) -> Vec<(Room, usize)> {
        self.state.with_registry(|registry| registry.rooms().map(|(room, members)| (room.clone(), members)).collect())
    }

    pub(super) fn everyone(&self) -> BroadcastOperator {
        BroadcastOperator::everyone(self.state.clone())
    }

    /// The socket of an id, if it is connected to this node; also while its `on_connect` is under way.
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
