//! Events between the servers of a cluster. Clients do not get them.

use std::{fmt, future::Future, marker::PhantomData, panic::AssertUnwindSafe, pin::Pin, sync::Arc, time::Duration};

use futures_util::FutureExt;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    cluster::{ClusterCommand, ClusterMessage, EventBody},
    packet::encode_args,
    server::{EmitError, Server, ServerSideHandler},
    util::{FOREVER, log},
};

use super::SocketIo;

/// Converts the function of the user to a handler.
pub(crate) fn server_side_handler<F, Fut, R>(handler: F) -> ServerSideHandler
where
    F: Fn(ServerSideEvent) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = R> + Send + 'static,
    R: Serialize,
{
    Box::new(move |server, args| {
        let answer = handler(ServerSideEvent { io: SocketIo::new(server.clone()), args });
        Box::pin(async move { encode_args(&answer.await) })
    })
}

/// An event from another server of the cluster. See [`SocketIoConfig::on_server_side`](crate::SocketIoConfig::on_server_side).
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
    args: EventBody,
}

impl ServerSideEvent {
    /// Returns a handle to this server.
    #[must_use]
    pub fn io(&self) -> &SocketIo {
        &self.io
    }

    /// Deserializes the arguments. A tuple takes several arguments, other types take one.
    ///
    /// # Errors
    ///
    /// Returns an error if the arguments do not match the type.
    pub fn args<T: DeserializeOwned + Send + 'static>(&self) -> serde_json::Result<T> {
        self.args.read()
    }
}

/// The acks of other servers. Created by [`SocketIo::server_side_emit_with_ack`].
///
/// ```
/// use std::time::Duration;
/// use tower_socketio::SocketIo;
///
/// /// Returns the number of sockets on all servers.
/// async fn count(io: &SocketIo) -> Result<usize, tower_socketio::EmitError> {
///     let responses = io.server_side_emit_with_ack::<usize>("count", &(), Duration::from_secs(5))?.await;
///     Ok(io.stats().sockets + responses.answers.iter().sum::<usize>())
/// }
/// # let _ = count;
/// ```
#[must_use = "the event is emitted, but its answers are lost unless they are waited for"]
pub struct ServerSideAcks<R> {
    server: Arc<Server>,
    id: u64,
    expected: usize,
    answers: mpsc::UnboundedReceiver<EventBody>,
    until: Instant,
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
}

impl<R: DeserializeOwned + Send + 'static> ServerSideAcks<R> {
    /// Waits for all acks or the timeout. Awaiting the value itself does the same.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the acks that have arrived are lost.
    pub async fn responses(mut self) -> ServerSideResponses<R> {
        let mut answers = Vec::new();
        let mut arrived = 0;
        while arrived < self.expected
            && let Some(Some(args)) = self.server.engine.until(self.until, self.answers.recv()).await
        {
            arrived += 1;
            answers.extend(args.read().ok());
        }
        ServerSideResponses { missing: self.expected - answers.len(), answers }
    }
}

impl<R: DeserializeOwned + Send + 'static> IntoFuture for ServerSideAcks<R> {
    type Output = ServerSideResponses<R>;
    type IntoFuture = Pin<Box<dyn Future<Output = ServerSideResponses<R>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.responses())
    }
}

impl<R> Drop for ServerSideAcks<R> {
    fn drop(&mut self) {
        self.server.requests.end(self.id);
    }
}

impl<R> fmt::Debug for ServerSideAcks<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSideAcks").field("expected", &self.expected).finish_non_exhaustive()
    }
}

/// Publishes a command that is for servers, not for sockets.
fn publish(server: &Server, command: ClusterCommand) {
    if let Some(adapter) = &server.settings.adapter {
        server.catch_panic(|| adapter.publish(ClusterMessage::new("/", command)));
    }
}

/// Executes a command of another server.
pub(super) fn deliver(server: &Arc<Server>, command: &ClusterCommand) {
    match command {
        ClusterCommand::ServerSideEmit { event, args, from, ack } => {
            let known = server.server_side.contains_key(event);
            if let (true, Some(runtime)) = (known, server.try_runtime()) {
                let (server, event, args) = (server.clone(), event.clone(), args.clone());
                let reply = ack.map(|id| (from.clone(), id));
                runtime.spawn(async move { handle(&server, &event, args, reply).await });
            }
        }
        ClusterCommand::ServerSideAck { to, id, args } if to == server.requests.node() => {
            server.requests.answer(*id, args.clone());
        }
        _ => {}
    }
}

async fn handle(server: &Arc<Server>, event: &str, args: EventBody, reply: Option<(Arc<str>, u64)>) {
    let Some(handler) = server.server_side.get(event) else { return };
    let answer = AssertUnwindSafe(async { handler(server, args).await }).catch_unwind().await;
    match (answer, reply) {
        (Ok(Ok(args)), Some((to, id))) => {
            publish(server, ClusterCommand::ServerSideAck { to, id, args: args.into() });
        }
        (Ok(_), _) => {}
        (Err(_), _) => {
            server.count_panic();
            log!(error, "the handler of a server-side event panicked");
        }
    }
}

impl SocketIo {
    /// Emits an event to the other servers of the cluster. It is handled by their
    /// [`on_server_side`](crate::SocketIoConfig::on_server_side) handlers, and not sent to clients. Has no effect without a
    /// cluster.
    ///
    /// # Errors
    ///
    /// Returns an error if the arguments cannot be encoded.
    pub fn server_side_emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        let server = self.server();
        let args = encode_args(args).map_err(EmitError::encode)?.into();
        let from = server.requests.node().clone();
        publish(server, ClusterCommand::ServerSideEmit { event: event.to_owned(), args, from, ack: None });
        Ok(())
    }

    /// Like [`server_side_emit`](Self::server_side_emit), and waits up to `timeout` for the acks of the other servers.
    ///
    /// # Errors
    ///
    /// Returns an error if the arguments cannot be encoded.
    pub fn server_side_emit_with_ack<R>(
        &self,
        event: &str,
        args: &(impl Serialize + ?Sized),
        timeout: Duration,
    ) -> Result<ServerSideAcks<R>, EmitError> {
        let server = self.server();
        let args = encode_args(args).map_err(EmitError::encode)?.into();
        let (id, answers) = server.requests.begin();
        let expected = server.settings.adapter.as_ref().map_or(0, |adapter| adapter.node_count().saturating_sub(1));
        let acks = ServerSideAcks {
            server: server.clone(),
            id,
            expected,
            answers,
            until: Instant::now() + timeout.min(FOREVER),
            marker: PhantomData,
        };
        let from = server.requests.node().clone();
        publish(server, ClusterCommand::ServerSideEmit { event: event.to_owned(), args, from, ack: Some(id) });
        Ok(acks)
    }
}
