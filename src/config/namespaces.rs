//! Which namespaces there are.

use crate::{
    namespace::Namespace,
    server::{NamespaceRequest, Predicate, absolute},
    util::BoxFuture,
};

use super::SocketIoConfig;

impl SocketIoConfig {
    /// Adds a namespace, by its exact name or by a pattern.
    ///
    /// A name with braces is a pattern of axum's kind: `/room/{id}` is joined as `/room/7`, and `Path<u32>` works in
    /// [`on_connect`](Namespace::on_connect). `/` replaces the default namespace. A missing leading slash is added.
    ///
    /// # Panics
    ///
    /// If the name has been added before, if a pattern is malformed or overlaps another one, or if a name holds a comma
    /// or a question mark, which the protocol cannot carry.
    #[track_caller]
    pub fn namespace(mut self, name: &str, namespace: Namespace) -> Self {
        let name = absolute(name).into_owned();
        let definition = namespace.build(&name);
        self.namespaces.add(name, definition);
        self
    }

    /// Adds a namespace for every name that no exact name and no pattern matches and that `matches` accepts.
    ///
    /// Several may be added; the first that accepts a name serves it.
    pub fn namespace_fn<F>(mut self, matches: F, namespace: Namespace) -> Self
    where
        F: Fn(&str) -> bool + Send + Sync + 'static,
    {
        self.namespaces.add_predicate(Predicate::Sync(Box::new(matches)), namespace.build("*"));
        self
    }

    /// As [`namespace_fn`](Self::namespace_fn), with a predicate that may take its time, and sees who asks.
    ///
    /// Predicates of both kinds are asked in the order in which they were added. While one decides, the client waits, and
    /// may ask for other namespaces. If several clients ask for one name at a time, there will be one namespace.
    ///
    /// ```
    /// use tower_socketio::{Namespace, SocketIoConfig, namespace::NamespaceRequest};
    ///
    /// async fn is_a_tenant(name: &str) -> bool {
    ///     // .. asks a database ..
    ///     name.starts_with("/tenant/")
    /// }
    /// let config = SocketIoConfig::new()
    ///     .namespace_async_fn(async |request: NamespaceRequest| is_a_tenant(request.name()).await, Namespace::new());
    /// # let _ = config;
    /// ```
    pub fn namespace_async_fn<F, Fut>(mut self, accepts: F, namespace: Namespace) -> Self
    where
        F: Fn(NamespaceRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        let accepts = move |request| -> BoxFuture<bool> { Box::pin(accepts(request)) };
        self.namespaces.add_predicate(Predicate::Async(Box::new(accepts)), namespace.build("*"));
        self
    }

    /// Drops a namespace that was made from a pattern or a predicate when its last socket has left. Default: true.
    ///
    /// Otherwise it is kept, with its name, until the server ends.
    pub fn cleanup_empty_namespaces(mut self, cleanup: bool) -> Self {
        self.namespaces.cleanup = cleanup;
        self
    }

    /// How many namespaces of patterns and predicates may exist at a time. Default: 10,000.
    ///
    /// Past it, one that is kept although it has no sockets makes room for a new one: because
    /// [`cleanup_empty_namespaces`](Self::cleanup_empty_namespaces) is off, or because sockets may be
    /// [recovered](Self::recovery) in it, which connect as new ones then. The one that has been empty for the longest time
    /// goes first. If all have sockets, a client is refused with "too many namespaces on this server".
    pub fn max_dynamic_namespaces(mut self, namespaces: usize) -> Self {
        self.namespaces.max_dynamic = namespaces;
        self
    }

    /// How many namespaces of patterns and predicates one connection may have joined or be joining. Default: 10.
    ///
    /// Past it, a client is refused with "too many dynamic namespaces on this connection". So a few clients cannot take all
    /// of [`max_dynamic_namespaces`](Self::max_dynamic_namespaces).
    pub fn max_dynamic_namespaces_per_connection(mut self, namespaces: usize) -> Self {
        self.settings.max_dynamic_namespaces_per_connection = namespaces;
        self
    }

    /// How many namespaces one connection may have joined or be joining. Default: 32.
    ///
    /// Past it, a client is refused with "too many namespaces on this connection".
    pub fn max_namespaces(mut self, namespaces: usize) -> Self {
        self.settings.max_namespaces = namespaces;
        self
    }

    /// The longest namespace name in bytes that a client may send. Default: 256.
    ///
    /// A longer one is refused with "the namespace name is too long".
    pub fn max_namespace_length(mut self, bytes: usize) -> Self {
        self.settings.max_namespace_length = bytes;
        self
    }
}
