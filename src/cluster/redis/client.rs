use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    cluster::{
        ClusterCommand, ClusterError, ClusterErrorKind, ClusterNode, LocalChange, Peers, PublishError,
        SocketDescription,
    },
    util::BoxFuture,
};

use super::{
    RedisConfig,
    connection::Connector,
    driver::{Driver, Event, Question},
    hints::Hints,
    queue::{Publication, Queue},
    receiver::{Receiver, Wire, session_channel},
};

/// What all adapters have: a queue of messages, and the task that sends them.
pub(super) struct Client {
    queue: Arc<Queue>,
    hints: Arc<Hints>,
    /// The task ends when it is dropped.
    events: mpsc::UnboundedSender<Event>,
    request_timeout: Duration,
    close_timeout: Duration,
}

/// Creates a buffer for an encoded command, which mostly needs no other size.
pub(super) fn buffer(command: &ClusterCommand) -> Vec<u8> {
    const HEADER: usize = 192;
    Vec::with_capacity(match command {
        ClusterCommand::Emit { event, .. } => {
            HEADER
                + event.json().len()
                + event.attachments().iter().map(|attachment| attachment.len() + 5).sum::<usize>()
        }
        ClusterCommand::SocketsFetched { sockets, .. } => {
            let length = |socket: &SocketDescription| socket.handshake.payload().json().len() + HEADER;
            HEADER + sockets.iter().map(length).sum::<usize>()
        }
        _ => HEADER,
    })
}

impl Client {
    /// Connects, and starts the task in the current runtime.
    pub(super) async fn connect(config: &RedisConfig, sharded: bool) -> Result<Self, ClusterError> {
        let mut connector = Connector::new(config)?;
        let mut session = connector.open().await?;
        // Servers before Redis 7 do not know sharded channels, and a user may not be permitted to count subscriptions.
        let counted = session.exchange(sharded, &[config.prefix.as_str().into()], Vec::new(), &connector).await;
        if let Some(failure) = counted.failure.or(counted.uncounted) {
            return Err(failure);
        }
        let (events, received) = mpsc::unbounded_channel();
        let queue = Arc::new(Queue::new(config.queue_bytes));
        let hints = Arc::new(Hints::default());
        let driver = Driver::new(connector, sharded, queue.clone(), hints.clone(), received);
        tokio::spawn(driver.run(session));
        Ok(Self {
            queue,
            hints,
            events,
            request_timeout: config.request_timeout,
            close_timeout: config.health_check.saturating_mul(2),
        })
    }

    pub(super) fn start(&self, node: ClusterNode, wire: Arc<dyn Wire>) {
        let receiver = Receiver::new(node, wire, self.queue.clone());
        self.send(Event::Start(Arc::new(receiver)));
    }

    pub(super) fn report_to(&self, node: ClusterNode) {
        self.send(Event::ReportTo(node));
    }

    pub(super) fn publish(
        &self,
        command: &ClusterCommand,
        channel: String,
        payload: Vec<u8>,
    ) -> Result<(), PublishError> {
        self.queue.push(Publication { is_answer: command.is_answer(), ..Publication::new(channel, payload) })
    }

    /// Publishes bytes for a shared session. Clients decide how many there are, so they must not fill the queue.
    pub(super) fn publish_session(&self, prefix: &str, node: &str, payload: Bytes) -> Result<(), PublishError> {
        let publication = Publication::new(session_channel(prefix, node), payload.into());
        self.queue.push_within_half(Publication { node: Some(node.into()), ..publication })
    }

    pub(super) fn local_change(&self, change: LocalChange<'_>) {
        if self.hints.add((change.namespace.into(), change.room.map(Into::into))) {
            self.send(Event::Changed);
        }
    }

    /// Returns how many other nodes have a namespace, by the subscriptions to a channel.
    pub(super) fn peers(&self, namespace: &str, channel: &str) -> BoxFuture<Result<Peers, ClusterError>> {
        let (answer, answered) = oneshot::channel();
        self.send(Event::Count(Question { namespace: namespace.into(), channel: channel.into(), answer }));
        let limit = self.request_timeout;
        Box::pin(async move {
            match timeout(limit, answered).await {
                Ok(Ok(count)) => count.map(Peers::Count),
                Ok(Err(_)) => Err(ClusterError::new(ClusterErrorKind::Disconnected)),
                Err(elapsed) => Err(ClusterError::new(ClusterErrorKind::Disconnected).caused_by(elapsed)),
            }
        })
    }

    pub(super) fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// Sends what is queued, and ends the task.
    pub(super) fn close(&self) -> BoxFuture<()> {
        let (closed, closing) = oneshot::channel();
        self.send(Event::Close(closed));
        let limit = self.close_timeout;
        Box::pin(async move {
            let _ = timeout(limit, closing).await;
        })
    }

    /// The task has ended if the adapter was closed.
    fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }
}
