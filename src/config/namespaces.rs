//! Namespaces.

use crate::{
    namespace::CompleteNamespace,
    packet::normalize_name,
    server::{NamespaceRequest, Predicate},
    util::BoxFuture,
};

use super::SocketIoConfig;

impl SocketIoConfig {
    /// Adds a namespace with an exact name or a pattern.
    ///
    /// A name with braces is a pattern as in axum's routes: clients join `/room/{id}` as `/room/7`, and `Path<u32>` works in
    /// [`on_connect`](crate::Namespace::on_connect). `/` replaces the default namespace. A leading slash is added if missing.
    ///
    /// # Panics
    ///
    /// Panics if the name has been added before, if a pattern is malformed or overlaps another one, or if the name contains a
    /// comma or a question mark, which the protocol does not support.
    #[track_caller]
    pub fn namespace(mut self, name: &str, namespace: impl CompleteNamespace) -> Self {
        let name = normalize_name(name).into_owned();
        let definition = namespace.into().build(&name);
        self.namespaces.add(name, definition);
        self
    }

    /// Adds a namespace for names that `matches` accepts. Exact names and patterns take precedence.
    ///
    /// Several predicates may be added. The first one that accepts a name serves it.
    pub fn namespace_fn<F>(mut self, matches: F, namespace: impl CompleteNamespace) -> Self
    where
        F: Fn(&str) -> bool + Send + Sync + 'static,
    {
        self.namespaces.add_predicate(Predicate::Sync(Box::new(matches)), namespace.into().build("*"));
        self
    }

    /// Like [`namespace_fn`](Self::namespace_fn), with an asynchronous predicate that also gets the client's request.
    ///
    /// Predicates of both kinds are called in the order in which they were added. While one is pending, the client waits, and may
    /// join other namespaces. If several clients request the same name at the same time, one namespace is created.
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
    pub fn namespace_async_fn<F, Fut>(mut self, accepts: F, namespace: impl CompleteNamespace) -> Self
    where
        F: Fn(NamespaceRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        let accepts = move |request| -> BoxFuture<bool> { Box::pin(accepts(request)) };
        self.namespaces.add_predicate(Predicate::Async(Box::new(accepts)), namespace.into().build("*"));
        self
    }

    /// Sets whether a namespace that was created from a pattern or a predicate is dropped when its last socket has left. Default:
    /// `true`.
    ///
    /// With `false`, such namespaces are kept until [`max_dynamic_namespaces`](Self::max_dynamic_namespaces) is reached.
    pub fn cleanup_empty_namespaces(mut self, cleanup: bool) -> Self {
        self.namespaces.cleanup = cleanup;
        self
    }

    /// Sets how many namespaces created from patterns and predicates may exist. Default: 10,000.
    ///
    /// At the limit, a new namespace replaces the one that has been empty for the longest time. Namespaces without sockets exist
    /// if [`cleanup_empty_namespaces`](Self::cleanup_empty_namespaces) is `false`, or while their sockets may be
    /// [recovered](Self::recovery). Sockets of a replaced namespace are not recovered. If all namespaces have sockets, the client
    /// is rejected with "too many namespaces on this server".
    pub fn max_dynamic_namespaces(mut self, namespaces: usize) -> Self {
        self.namespaces.max_dynamic = namespaces;
        self
    }

    /// Sets how many namespaces created from patterns and predicates one connection may join. Default: 10.
    ///
    /// Above the limit, the client is rejected with "too many dynamic namespaces on this connection". This keeps a few clients
    /// from exhausting [`max_dynamic_namespaces`](Self::max_dynamic_namespaces).
    pub fn max_dynamic_namespaces_per_connection(mut self, namespaces: usize) -> Self {
        self.settings.max_dynamic_namespaces_per_connection = namespaces;
        self
    }

    /// Sets how many namespaces one connection may join. Default: 32.
    ///
    /// Above the limit, the client is rejected with "too many namespaces on this connection".
    pub fn max_namespaces(mut self, namespaces: usize) -> Self {
        self.settings.max_namespaces = namespaces;
        self
    }

    /// Sets the maximum length of a namespace name, in bytes. Default: 256.
    ///
    /// A longer name is rejected with "the namespace name is too long".
    pub fn max_namespace_length(mut self, bytes: usize) -> Self {
        self.settings.max_namespace_length = bytes;
        self
    }
}
