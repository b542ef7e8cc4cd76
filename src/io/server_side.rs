//! Events among the servers of a cluster, which no client sees.

use std::{fmt, future::Future, marker::PhantomData, panic::AssertUnwindSafe, sync::Arc, time::Duration};

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

/// Makes a handler of a user's function.
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

/// An event of another server's. See [`SocketIoConfig::on_server_side`](crate::SocketIoConfig::on_server_side).
#[derive(Debug)]
pub struct ServerSideEvent {
    io: SocketIo,
    args: EventBody,
}

impl ServerSideEvent {
    /// This server.
    #[must_use]
    pub fn io(&self) -> &SocketIo {
        &self.io
    }

    /// Reads the arguments: a tuple takes several, anything else one.
    ///
    /// # Errors
    ///
    /// If they do not fit the type.
    pub fn args<T: DeserializeOwned + Send + 'static>(&self) -> serde_json::Result<T> {
        self.args.read()
    }
}

/// The answers of the other servers. Made by [`SocketIo::server_side_emit_with_ack`].
#[must_use = "the event is emitted, but its answers are lost unless they are waited for"]
pub struct ServerSideAcks<R> {
    server: Arc<Server>,
    id: u64,
    expected: usize,
    answers: mpsc::UnboundedReceiver<EventBody>,
    until: Instant,
    marker: PhantomData<fn() -> R>,
}

/// What the other servers answered.
#[derive(Debug)]
#[non_exhaustive]
pub struct ServerSideResponses<R> {
    /// Their answers, in the order of arrival.
    pub answers: Vec<R>,
    /// How many did not answer in time, or with something of another type.
    pub missing: usize,
}

impl<R: DeserializeOwned + Send + 'static> ServerSideAcks<R> {
    /// Waits for everyone, at most until the time is up.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the answers that arrived are lost.
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

/// Publishes something that is for servers, not for sockets.
fn publish(server: &Server, command: ClusterCommand) {
    if let Some(adapter) = &server.settings.adapter {
        server.catch_panic(|| adapter.publish(ClusterMessage::new("/", command)));
    }
}

/// Does what another server asks for.
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
            log!(error, "a handler of an event of another server's panicked");
        }
    }
}

impl SocketIo {
    /// Emits an event to the other servers of the cluster: to their
    /// [`on_server_side`](crate::SocketIoConfig::on_server_side) handlers, not to clients. A server that stands alone emits
    /// it to nobody.
    ///
    /// # Errors
    ///
    /// If the arguments cannot be encoded.
    pub fn server_side_emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        let server = self.server();
        let args = encode_args(args).map_err(EmitError::encode)?.into();
        let from = server.requests.node().clone();
        publish(server, ClusterCommand::ServerSideEmit { event: event.to_owned(), args, from, ack: None });
        Ok(())
    }

    /// As [`server_side_emit`](Self::server_side_emit), and waits for what the handlers of the others return, no longer
    /// than `timeout`.
    ///
    /// # Errors
    ///
    /// If the arguments cannot be encoded.
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
