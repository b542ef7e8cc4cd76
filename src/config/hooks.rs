//! Callbacks.

use std::sync::Arc;

use crate::{
    cluster::ClusterError,
    event::{EventError, EventRejection},
    io::{NamespaceRef, ServerSideEvent, server_side_handler},
    observer::{Observer, tell},
    socket::SocketRef,
};

#[cfg(feature = "admin-ui")]
use crate::{
    cluster::{ClusterCommand, Payload},
    io::SocketIo,
};

use super::SocketIoConfig;

impl SocketIoConfig {
    /// Sets a callback for namespaces created from a pattern or a predicate. It is called before the socket that requested the
    /// namespace joins. Other sockets may join while it runs.
    pub fn on_namespace<F>(mut self, hook: F) -> Self
    where
        F: Fn(&NamespaceRef) + Send + Sync + 'static,
    {
        self.hooks.on_namespace = Some(Box::new(move |namespace| hook(&NamespaceRef::new(namespace.clone()))));
        self
    }

    /// Sets a callback for events that an extractor rejects, such as those whose arguments do not match the handler.
    ///
    /// In any case the client gets an error if it requested an ack, and the rejection is logged.
    pub fn on_rejection<F>(mut self, hook: F) -> Self
    where
        F: Fn(&EventRejection<'_>) + Send + Sync + 'static,
    {
        self.hooks.on_rejection =
            Some(Box::new(move |socket, event, message| hook(&EventRejection::new(socket, event, message))));
        self
    }

    /// Sets the error that a client gets if the arguments of an event do not match the type of its handler, and the client
    /// requested an ack. The default contains the text of serde, which names fields and types and is meant for developers.
    ///
    /// The function has no effect on the log, on [`on_rejection`](Self::on_rejection), and on other extractors, whose
    /// rejections are responses themselves. It must not block.
    ///
    /// ```
    /// use tower_socketio::{EventError, SocketIoConfig};
    ///
    /// let config = SocketIoConfig::new().argument_error(|rejected| {
    ///     EventError::new("the request is not valid").data(rejected.event())
    /// });
    /// # let _ = config;
    /// ```
    pub fn argument_error<F>(mut self, error: F) -> Self
    where
        F: Fn(&EventRejection<'_>) -> EventError + Send + Sync + 'static,
    {
        self.hooks.argument_error = Some(Box::new(move |socket, event, message| {
            error(&EventRejection::new(socket, event, message)).into_parts()
        }));
        self
    }

    /// Sets a callback for clients that are too slow. It is called once per client, with one of its sockets. With
    /// [`SlowClientPolicy::DropPacket`](crate::SlowClientPolicy::DropPacket) it is called again if the client has caught up in
    /// between.
    ///
    /// It runs in a task soon after the packet did not fit, and must not block.
    pub fn on_slow_client<F>(mut self, hook: F) -> Self
    where
        F: Fn(&SocketRef) + Send + Sync + 'static,
    {
        self.hooks.on_slow_client = Some(Arc::new(move |socket| hook(&socket.clone().into())));
        self
    }

    /// Sets a callback for failures of the cluster: a lost connection to the broker, messages that were lost, messages of other
    /// nodes that could not be decoded. They are also logged and counted.
    ///
    /// It must not block.
    ///
    /// ```
    /// use tower_socketio::{SocketIoConfig, cluster::ClusterErrorKind};
    ///
    /// let config = SocketIoConfig::new().on_cluster_error(|error| match error.kind() {
    ///     ClusterErrorKind::Lost { count } => eprintln!("{count} messages were lost"),
    ///     _ => eprintln!("{error}"),
    /// });
    /// # let _ = config;
    /// ```
    pub fn on_cluster_error<F>(mut self, hook: F) -> Self
    where
        F: Fn(&ClusterError) + Send + Sync + 'static,
    {
        self.hooks.on_cluster_error = Some(Box::new(hook));
        self
    }

    /// Adds an observer of connections, sockets, rooms, events and packets. Default: none.
    ///
    /// It is called by the tasks of connections, and must not block. See [`Observer`] for when each method is called.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.settings.is_observed = true;
        self.hooks.observers.push(Box::new(move |change| tell(&observer, change)));
        self
    }

    /// Adds a callback for the commands of other nodes of the cluster. It is called before they are executed, and must not block.
    #[cfg(feature = "admin-ui")]
    pub(crate) fn on_command<F>(mut self, hook: F) -> Self
    where
        F: Fn(&SocketIo, &NamespaceRef, &ClusterCommand) + Send + Sync + 'static,
    {
        self.hooks.on_command.push(Box::new(move |server, namespace, command| {
            hook(&SocketIo::new(server.clone()), &NamespaceRef::new(namespace.clone()), command);
        }));
        self
    }

    /// Adds a function that changes the data of sockets that other nodes fetch.
    #[cfg(feature = "admin-ui")]
    pub(crate) fn fetched_data<F>(mut self, change: F) -> Self
    where
        F: Fn(&SocketRef, Payload) -> Payload + Send + Sync + 'static,
    {
        self.hooks.fetched_data.push(Box::new(move |socket, data| change(&socket.clone().into(), data)));
        self
    }

    /// Adds a handler for events that other servers of the cluster emit in the default namespace, by
    /// [`server_side_emit`](crate::SocketIo::server_side_emit). Its result is sent as one value if the other server requested
    /// an ack. [`Namespace::on_server_side`](crate::Namespace::on_server_side) does the same for other namespaces.
    ///
    /// ```
    /// use tower_socketio::{SocketIoConfig, server_side::ServerSideEvent};
    ///
    /// let config = SocketIoConfig::new().on_server_side("count", async |event: ServerSideEvent| event.io().stats().sockets);
    /// # let _ = config;
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the event already has a handler.
    #[track_caller]
    pub fn on_server_side<F, Fut, R>(mut self, event: &str, handler: F) -> Self
    where
        F: Fn(ServerSideEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: serde::Serialize,
    {
        let before = self.server_side.insert(event.to_owned(), server_side_handler(handler));
        assert!(before.is_none(), "the server-side event `{event}` has two handlers");
        self
    }
}
