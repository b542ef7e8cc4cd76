use std::fmt;

use http::Extensions;

use crate::server::Socket;

use super::socket_ref::SocketRef;

/// Values that belong to a socket, by type: what the layers of its namespace put on the CONNECT request, and what
/// handlers add.
///
/// Values are cloned out, so that no lock is held: keep what is large or changes behind an `Arc`.
pub struct SocketExtensions<'a> {
    socket: &'a Socket,
}

impl SocketExtensions<'_> {
    /// The value of a type.
    #[must_use]
    pub fn get<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        self.socket.extension()
    }

    /// Sets the value of a type, and returns the one that was there. It is not kept if the socket has left and its last handler has
    /// ended.
    pub fn insert<T: Clone + Send + Sync + 'static>(&self, value: T) -> Option<T> {
        self.socket.change_extensions(|extensions| extensions.insert(value))
    }

    /// Removes the value of a type, and returns it.
    pub fn remove<T: Send + Sync + 'static>(&self) -> Option<T> {
        self.socket.change_extensions(Extensions::remove::<T>)
    }
}

impl SocketRef {
    /// Values that belong to the socket.
    #[must_use]
    pub fn extensions(&self) -> SocketExtensions<'_> {
        SocketExtensions { socket: self.inner() }
    }
}

impl fmt::Debug for SocketExtensions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketExtensions").finish_non_exhaustive()
    }
}
