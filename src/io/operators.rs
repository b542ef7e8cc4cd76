use std::time::Duration;

use serde::Serialize;

use crate::{
    cluster::ClusterError,
    room::IntoRooms,
    server::EmitError,
    socket::{AckStream, BroadcastOperator, RemoteSocket, SocketRef},
};

use super::{namespace_ref::NamespaceRef, socket_io::SocketIo};

/// The operators that mean a whole namespace, for each type that has one.
macro_rules! operators {
    ($ty:ty, $self:ident, $namespace:expr, $what:literal) => {
        impl $ty {
            #[doc = concat!("Emits an event to everyone in ", $what, ". See [`BroadcastOperator::emit`].")]
            ///
            /// # Errors
            ///
            /// If the arguments cannot be encoded, or the event's name is reserved.
            pub fn emit<T: Serialize + ?Sized>(&$self, event: &str, args: &T) -> Result<(), EmitError> {
                $namespace.everyone().emit(event, args)
            }

            #[doc = concat!("Emits an event to everyone in ", $what, ", and asks for acks.")]
            /// See [`BroadcastOperator::emit_with_ack`].
            ///
            /// # Errors
            ///
            /// As [`emit`](Self::emit).
            pub fn emit_with_ack<R>(
                &$self,
                event: &str,
                args: &(impl Serialize + ?Sized),
            ) -> Result<AckStream<R>, EmitError> {
                $namespace.everyone().emit_with_ack(event, args)
            }

            #[doc = concat!("Everyone in these rooms of ", $what, ".")]
            pub fn to(&$self, rooms: impl IntoRooms) -> BroadcastOperator {
                $namespace.everyone().to(rooms)
            }

            /// As [`to`](Self::to). (`in` is a keyword.)
            pub fn within(&$self, rooms: impl IntoRooms) -> BroadcastOperator {
                $namespace.everyone().to(rooms)
            }

            #[doc = concat!("Everyone in ", $what, " except whoever is in these rooms.")]
            pub fn except(&$self, rooms: impl IntoRooms) -> BroadcastOperator {
                $namespace.everyone().except(rooms)
            }

            #[doc = concat!("Everyone in ", $what, ".")]
            pub fn all(&$self) -> BroadcastOperator {
                $namespace.everyone()
            }

            #[doc = concat!("Everyone in ", $what, ", on this node only.")]
            pub fn local(&$self) -> BroadcastOperator {
                $namespace.everyone().local()
            }

            #[doc = concat!("Everyone in ", $what, " to whom what is emitted can leave at once.")]
            pub fn volatile(&$self) -> BroadcastOperator {
                $namespace.everyone().volatile()
            }

            #[doc = concat!("Everyone in ", $what, "; whether what is emitted may be compressed. See [`SocketRef::compress`].")]
            pub fn compress(&$self, compress: bool) -> BroadcastOperator {
                $namespace.everyone().compress(compress)
            }

            #[doc = concat!("Everyone in ", $what, "; acks are waited for no longer than this.")]
            pub fn timeout(&$self, timeout: Duration) -> BroadcastOperator {
                $namespace.everyone().timeout(timeout)
            }

            #[doc = concat!("Makes everyone in ", $what, " join rooms.")]
            pub fn sockets_join(&$self, rooms: impl IntoRooms) {
                $namespace.everyone().sockets_join(rooms);
            }

            #[doc = concat!("Makes everyone in ", $what, " leave rooms.")]
            pub fn sockets_leave(&$self, rooms: impl IntoRooms) {
                $namespace.everyone().sockets_leave(rooms);
            }

            #[doc = concat!("Disconnects everyone from ", $what, "; with `close`, from all namespaces, and closes their")]
            /// connections.
            pub fn disconnect_sockets(&$self, close: bool) {
                $namespace.everyone().disconnect_sockets(close);
            }

            #[doc = concat!("How many of this node's sockets are in ", $what, ".")]
            #[must_use]
            pub fn socket_count(&$self) -> usize {
                $namespace.everyone().socket_count()
            }

            #[doc = concat!("This node's sockets in ", $what, ".")]
            #[must_use]
            pub fn sockets(&$self) -> Vec<SocketRef> {
                $namespace.everyone().sockets()
            }

            #[doc = concat!("The sockets in ", $what, ", as they are now.")]
            ///
            /// # Errors
            ///
            /// If other nodes of a cluster cannot be asked. Today only this node is, which cannot fail.
            ///
            /// # Cancel safety
            ///
            /// Nothing is lost if the future is dropped.
            pub async fn fetch_sockets(&$self) -> Result<Vec<RemoteSocket>, ClusterError> {
                $namespace.everyone().fetch_sockets().await
            }
        }
    };
}

operators!(SocketIo, self, self.root(), "the default namespace");
operators!(NamespaceRef, self, self, "the namespace");

impl SocketIo {
    /// The socket of an id in the default namespace, if it is connected to this node; also while its `on_connect` is under
    /// way.
    #[must_use]
    pub fn socket(&self, id: &str) -> Option<SocketRef> {
        self.root().socket(id)
    }
}
