//! What is called when something has happened.

use std::sync::Arc;

use crate::{
    event::EventRejection,
    io::{NamespaceRef, ServerSideEvent, server_side_handler},
    socket::SocketRef,
};

use super::SocketIoConfig;

impl SocketIoConfig {
    /// Is called when a pattern or a predicate has made a namespace, before the first socket joins that asked for it. Others
    /// may join while it runs.
    pub fn on_namespace<F>(mut self, hook: F) -> Self
    where
        F: Fn(&NamespaceRef) + Send + Sync + 'static,
    {
        self.hooks.on_namespace = Some(Box::new(move |namespace| hook(&NamespaceRef::new(namespace.clone()))));
        self
    }

    /// Is called when an event's extractor rejects: the arguments do not fit the handler, for instance.
    ///
    /// The rejection is answered in any case, if the client waits for an ack, and logged with the feature `tracing`.
    pub fn on_rejection<F>(mut self, hook: F) -> Self
    where
        F: Fn(&EventRejection<'_>) + Send + Sync + 'static,
    {
        self.hooks.on_rejection =
            Some(Box::new(move |socket, event, message| hook(&EventRejection::new(socket, event, message))));
        self
    }

    /// Sets a callback for clients that are too slow. It is called once for each, with one of its sockets; with
    /// [`SlowClientPolicy::DropPacket`](crate::SlowClientPolicy::DropPacket) once more if the client has caught up in the meantime.
    ///
    /// It runs in a task, soon after the packet was refused, and must not block.
    pub fn on_slow_client<F>(mut self, hook: F) -> Self
    where
        F: Fn(&SocketRef) + Send + Sync + 'static,
    {
        self.hooks.on_slow_client = Some(Arc::new(move |socket| hook(&socket.clone().into())));
        self
    }

    /// Handles an event that another server of the cluster emits to the servers themselves, by
    /// [`server_side_emit`](crate::SocketIo::server_side_emit). What it returns is the answer, if the other one waits for
    /// any: a tuple is several arguments, anything else one.
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
    /// If the event has a handler already.
    #[track_caller]
    pub fn on_server_side<F, Fut, R>(mut self, event: &str, handler: F) -> Self
    where
        F: Fn(ServerSideEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: serde::Serialize,
    {
        let before = self.server_side.insert(event.to_owned(), server_side_handler(handler));
        assert!(before.is_none(), "the event `{event}` of other servers has two handlers");
        self
    }
}
