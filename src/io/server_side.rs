//! Events between the servers of a cluster. Clients do not get them.

use std::{
    fmt,
    future::{Future, IntoFuture},
    marker::PhantomData,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    cluster::{ClusterCommand, ClusterError, EventBody, Payload, RequestId},
    packet::{Target, encode_event},
    server::{EmitError, NamespaceState, Request, Server, ServerSideHandler},
    util::{BoxFuture, log},
};

use super::{namespace_ref::NamespaceRef, socket_io::SocketIo};

/// The names that Node's servers use for themselves.
const RESERVED: [&str; 3] = ["connect", "connection", "new_namespace"];

/// Converts the function of the user to a handler.
pub(crate) fn server_side_handler<F, Fut, R>(handler: F) -> ServerSideHandler
where
    F: Fn(ServerSideEvent) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = R> + Send + 'static,
    R: Serialize,
{
    Arc::new(move |server, namespace, event| {
        let io = SocketIo::new(server.clone());
        let answer = handler(ServerSideEvent { io, namespace: NamespaceRef::new(namespace.clone()), event });
        Box::pin(async move { Payload::encode(&answer.await) })
    })
}

/// An event from another server of the cluster. See [`SocketIoConfig::on_server_side`](crate::SocketIoConfig::on_server_side) and
/// [`Namespace::on_server_side`](crate::Namespace::on_server_side).
///
/// ```
/// use tower_socketio::{SocketIoConfig, server_side::ServerSideEvent};
///
/// /// Disconnects the sockets of a user on this server.
/// async fn log_out(event: ServerSideEvent) {
///     if let Ok(user) = event.args::<String>() {
///         event.io().to(user).local().disconnect_sockets(true);
///     }
/// }
/// let config = SocketIoConfig::new().on_server_side("log out", log_out);
/// # let _ = config;
/// ```
#[derive(Debug)]
pub struct ServerSideEvent {
    io: SocketIo,
    namespace: NamespaceRef,
    event: EventBody,
}

impl ServerSideEvent {
    /// Returns a handle to this server.
    #[must_use]
    pub fn io(&self) -> &SocketIo {
        &self.io
    }

    /// Returns the namespace in which the event was emitted.
    #[must_use]
    pub fn namespace(&self) -> &NamespaceRef {
        &self.namespace
    }

    /// Deserializes the arguments. A tuple takes several arguments, other types take one.
    ///
    /// # Errors
    ///
    /// Returns an error if the arguments do not match the type.
    pub fn args<T: DeserializeOwned + Send + 'static>(&self) -> serde_json::Result<T> {
        self.event.args()
    }
}

/// The acks of other servers. Created by [`SocketIo::server_side_emit_with_ack`].
///
/// Awaiting it waits for all of them, like [`responses`](Self::responses).
///
/// ```
/// use std::time::Duration;
/// use tower_socketio::SocketIo;
///
/// /// Returns the number of sockets on all servers.
/// async fn count(io: &SocketIo) -> Result<usize, tower_socketio::EmitError> {
///     let others = io.server_side_emit_with_ack::<usize>("count", &(), Duration::from_secs(5))?.await;
///     Ok(io.stats().sockets + others.answers.iter().sum::<usize>())
/// }
/// # let _ = count;
/// ```
#[must_use = "the event is emitted, but its answers are lost unless they are waited for"]
pub struct ServerSideAcks<R> {
    /// `None` without a cluster.
    request: Option<Request>,
    marker: PhantomData<fn() -> R>,
}

/// The acks of other servers. Returned by [`ServerSideAcks::responses`].
#[derive(Debug)]
#[non_exhaustive]
pub struct ServerSideResponses<R> {
    /// The acks, in the order of arrival.
    pub answers: Vec<R>,
    /// The number of servers without an ack in time, or with one of another type.
    pub missing: usize,
    /// Why servers are missing: the timeout, or a failure of the broker.
    pub error: Option<ClusterError>,
}

impl<R: DeserializeOwned + Send + 'static> ServerSideAcks<R> {
    /// Waits for all acks or the timeout. Awaiting the value itself does the same.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the acks that have arrived are lost.
    pub async fn responses(self) -> ServerSideResponses<R> {
        let mut answers = Vec::new();
        let rest = self.each(|answer| answers.push(answer)).await;
        ServerSideResponses { answers, ..rest }
    }

    /// Like [`responses`](Self::responses), but passes the acks to `take` when they arrive.
    pub(crate) async fn each(self, mut take: impl FnMut(R)) -> ServerSideResponses<R> {
        let mut responses = ServerSideResponses { answers: Vec::new(), missing: 0, error: None };
        let Some(mut request) = self.request else { return responses };
        let result = request.collect(|command| {
            let ClusterCommand::ServerSideAck { answer, .. } = command else { return false };
            match answer.unwrap_or_default().read() {
                Ok(answer) => take(answer),
                Err(_) => responses.missing += 1,
            }
            true
        });
        responses.error = result.await.err();
        responses.missing += request.missing().count();
        responses
    }
}

impl<R: DeserializeOwned + Send + 'static> IntoFuture for ServerSideAcks<R> {
    type Output = ServerSideResponses<R>;
    type IntoFuture = BoxFuture<ServerSideResponses<R>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.responses())
    }
}

impl<R> fmt::Debug for ServerSideAcks<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSideAcks").field("request", &self.request).finish_non_exhaustive()
    }
}

/// Handles an event of another server.
pub(super) fn deliver(
    server: &Arc<Server>,
    namespace: Arc<NamespaceState>,
    event: EventBody,
    sender: Option<Arc<str>>,
    request: Option<RequestId>,
) {
    let known = handler(server, &namespace, &event.name()).is_some();
    if let (true, Some(runtime)) = (known, server.try_runtime()) {
        let server = server.clone();
        runtime.spawn(async move {
            let answer = AssertUnwindSafe(handle(&server, &namespace, event)).catch_unwind().await;
            match (answer, request) {
                (Ok(Some(answer)), Some(request)) => {
                    let answer = ClusterCommand::ServerSideAck { request, answer: Some(answer) };
                    namespace.publish(answer, sender);
                }
                (Ok(_), _) => {}
                (Err(_), _) => {
                    server.count_panic();
                    log!(error, "the handler of a server-side event panicked");
                }
            }
        });
    }
}

async fn handle(server: &Arc<Server>, namespace: &Arc<NamespaceState>, event: EventBody) -> Option<Payload> {
    let handler = handler(server, namespace, &event.name())?;
    handler(server, namespace, event).await.ok()
}

fn handler<'a>(server: &'a Server, namespace: &'a NamespaceState, event: &str) -> Option<&'a ServerSideHandler> {
    let own = namespace.definition.server_side.get(event);
    own.or_else(|| server.server_side.get(event).filter(|_| namespace.name() == "/"))
}

impl NamespaceRef {
    /// Emits an event to the other servers of the cluster. It is handled by the
    /// [`on_server_side`](crate::Namespace::on_server_side) handlers of this namespace, and not sent to clients. Has no effect
    /// without a cluster.
    ///
    /// # Errors
    ///
    /// Returns an error if the arguments cannot be encoded, or if the name is `connect`, `connection` or `new_namespace`, which
    /// Node's servers reserve.
    pub fn server_side_emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        let event = encode(event, args)?;
        self.state().publish(ClusterCommand::ServerSideEmit { event, request: None }, None);
        Ok(())
    }

    /// Like [`server_side_emit`](Self::server_side_emit), and waits up to `timeout` for the acks of the other servers.
    ///
    /// # Errors
    ///
    /// Same as [`server_side_emit`](Self::server_side_emit).
    pub fn server_side_emit_with_ack<R>(
        &self,
        event: &str,
        args: &(impl Serialize + ?Sized),
        timeout: Duration,
    ) -> Result<ServerSideAcks<R>, EmitError> {
        let event = encode(event, args)?;
        let request = Request::new(self.state(), Some(timeout));
        if let Some(request) = &request {
            request.publish(|request| ClusterCommand::ServerSideEmit { event, request: Some(request) });
        }
        Ok(ServerSideAcks { request, marker: PhantomData })
    }
}

fn encode<T: Serialize + ?Sized>(event: &str, args: &T) -> Result<EventBody, EmitError> {
    if RESERVED.contains(&event) {
        return Err(EmitError::reserved());
    }
    let target = Target { namespace: "/", id: None };
    let packet = encode_event(target, event, args).map_err(EmitError::encode)?;
    Ok(EventBody::from_packet(&packet, target))
}

impl SocketIo {
    /// Emits an event to the other servers of the cluster. It is handled by their
    /// [`on_server_side`](crate::SocketIoConfig::on_server_side) handlers, and not sent to clients. Has no effect without a
    /// cluster.
    ///
    /// # Errors
    ///
    /// Same as [`NamespaceRef::server_side_emit`].
    pub fn server_side_emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        self.root().server_side_emit(event, args)
    }

    /// Like [`server_side_emit`](Self::server_side_emit), and waits up to `timeout` for the acks of the other servers.
    ///
    /// # Errors
    ///
    /// Same as [`NamespaceRef::server_side_emit`].
    pub fn server_side_emit_with_ack<R>(
        &self,
        event: &str,
        args: &(impl Serialize + ?Sized),
        timeout: Duration,
    ) -> Result<ServerSideAcks<R>, EmitError> {
        self.root().server_side_emit_with_ack(event, args, timeout)
    }

    /// Returns the number of nodes in the cluster, including this one. It is 1 without a cluster.
    ///
    /// # Errors
    ///
    /// Returns an error if the broker cannot be asked.
    pub async fn node_count(&self) -> Result<usize, ClusterError> {
        match self.adapter() {
            Some(adapter) => Ok(1 + adapter.peers("/").await?.count()),
            None => Ok(1),
        }
    }
}
