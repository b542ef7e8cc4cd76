use std::fmt;

use http::Extensions;

use crate::server::Socket;

use super::socket_ref::SocketRef;

/// The extensions of a socket: values by type, set by the namespace's layers on the CONNECT request, or by handlers.
///
/// [`get`](Self::get) returns a clone, so that no lock is held. Store large or mutable values in an `Arc`.
///
/// ```
/// use tower_socketio::SocketRef;
///
/// #[derive(Clone)]
/// struct User(String);
/// async fn joined(socket: SocketRef) {
///     socket.extensions().insert(User("Ada".into()));
/// }
///
/// async fn message(socket: SocketRef) {
///     if let Some(User(name)) = socket.extensions().get() {
///         socket.broadcast().emit("message from", &name).ok();
///     }
/// }
/// # let _: tower_socketio::Namespace = tower_socketio::Namespace::new().on_connect(joined).on("message", message);
/// ```
pub struct SocketExtensions<'a> {
    socket: &'a Socket,
}

impl SocketExtensions<'_> {
    /// Returns a clone of the value of a type.
    #[must_use]
    pub fn get<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        self.socket.extension()
    }

    /// Sets the value of a type, and returns the previous one. The value is not stored if the socket has left and its last
    /// handler has ended.
    pub fn insert<T: Clone + Send + Sync + 'static>(&self, value: T) -> Option<T> {
        self.socket.change_extensions(|extensions| extensions.insert(value))
    }

    /// Removes and returns the value of a type.
    pub fn remove<T: Send + Sync + 'static>(&self) -> Option<T> {
        self.socket.change_extensions(Extensions::remove::<T>)
    }
}

impl SocketRef {
    /// Returns the extensions of the socket.
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
