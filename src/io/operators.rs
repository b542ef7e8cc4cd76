use std::time::Duration;

use serde::Serialize;

use crate::{
    room::IntoRooms,
    server::EmitError,
    socket::{AckStream, BroadcastOperator, FetchSocketsError, RemoteSocket, SocketRef},
};

use super::{namespace_ref::NamespaceRef, socket_io::SocketIo};

/// Defines methods that select a whole namespace.
macro_rules! operators {
    ($ty:ty, $self:ident, $namespace:expr, $what:literal) => {
        impl $ty {
            #[doc = concat!("Emits an event to all sockets of ", $what, ". See [`BroadcastOperator::emit`].")]
            ///
            /// # Errors
            ///
            /// Returns an error if the arguments cannot be encoded or the name of the event is reserved.
            pub fn emit<T: Serialize + ?Sized>(&$self, event: &str, args: &T) -> Result<(), EmitError> {
                $namespace.everyone().emit(event, args)
            }

            #[doc = concat!("Emits an event to all sockets of ", $what, ", and requests acks.")]
            /// See [`BroadcastOperator::emit_with_ack`].
            ///
            /// # Errors
            ///
            /// Same as [`emit`](Self::emit).
            pub fn emit_with_ack<R>(
                &$self,
                event: &str,
                args: &(impl Serialize + ?Sized),
            ) -> Result<AckStream<R>, EmitError> {
                $namespace.everyone().emit_with_ack(event, args)
            }

            #[doc = concat!("Selects the sockets in these rooms of ", $what, ".")]
            pub fn to(&$self, rooms: impl IntoRooms) -> BroadcastOperator {
                $namespace.everyone().to(rooms)
            }

            /// Like [`to`](Self::to). Named `within` because `in` is a keyword.
            pub fn within(&$self, rooms: impl IntoRooms) -> BroadcastOperator {
                $namespace.everyone().to(rooms)
            }

            #[doc = concat!("Selects all sockets of ", $what, " except those in these rooms.")]
            pub fn except(&$self, rooms: impl IntoRooms) -> BroadcastOperator {
                $namespace.everyone().except(rooms)
            }

            #[doc = concat!("Selects all sockets of ", $what, ".")]
            pub fn all(&$self) -> BroadcastOperator {
                $namespace.everyone()
            }

            #[doc = concat!("Selects the sockets of ", $what, " on this node.")]
            pub fn local(&$self) -> BroadcastOperator {
                $namespace.everyone().local()
            }

            #[doc = concat!("Selects the sockets of ", $what, " to which an event can be sent immediately.")]
            pub fn volatile(&$self) -> BroadcastOperator {
                $namespace.everyone().volatile()
            }

            #[doc = concat!("Selects all sockets of ", $what, ", and sets whether the event may be compressed. See [`SocketRef::compress`].")]
            pub fn compress(&$self, compress: bool) -> BroadcastOperator {
                $namespace.everyone().compress(compress)
            }

            #[doc = concat!("Selects all sockets of ", $what, ", and sets how long to wait for acks.")]
            pub fn timeout(&$self, timeout: Duration) -> BroadcastOperator {
                $namespace.everyone().timeout(timeout)
            }

            #[doc = concat!("Adds all sockets of ", $what, " to rooms.")]
            pub fn sockets_join(&$self, rooms: impl IntoRooms) {
                $namespace.everyone().sockets_join(rooms);
            }

            #[doc = concat!("Removes all sockets of ", $what, " from rooms.")]
            pub fn sockets_leave(&$self, rooms: impl IntoRooms) {
                $namespace.everyone().sockets_leave(rooms);
            }

            #[doc = concat!("Disconnects all sockets of ", $what, ". With `close`, also disconnects their clients from all")]
            /// other namespaces and closes the connections.
            pub fn disconnect_sockets(&$self, close: bool) {
                $namespace.everyone().disconnect_sockets(close);
            }

            #[doc = concat!("Returns the number of sockets of ", $what, " on this node.")]
            #[must_use]
            pub fn socket_count(&$self) -> usize {
                $namespace.everyone().socket_count()
            }

            #[doc = concat!("Returns the sockets of ", $what, " on this node.")]
            #[must_use]
            pub fn sockets(&$self) -> Vec<SocketRef> {
                $namespace.everyone().sockets()
            }

            #[doc = concat!("Returns a snapshot of the sockets of ", $what, ", including those of other nodes.")]
            ///
            /// # Errors
            ///
            /// Returns an error if other nodes of a cluster do not respond. See [`BroadcastOperator::fetch_sockets`].
            ///
            /// # Cancel safety
            ///
            /// Dropping the future has no effect.
            pub async fn fetch_sockets(&$self) -> Result<Vec<RemoteSocket>, FetchSocketsError> {
                $namespace.everyone().fetch_sockets().await
            }
        }
    };
}

operators!(SocketIo, self, self.root(), "the default namespace");
operators!(NamespaceRef, self, self, "the namespace");

impl SocketIo {
    /// Returns the socket of the default namespace with an id, if it is on this node. Its `on_connect` may be running.
    #[must_use]
    pub fn socket(&self, id: &str) -> Option<SocketRef> {
        self.root().socket(id)
    }
}
