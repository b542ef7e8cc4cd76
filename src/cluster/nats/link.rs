use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    task::{Context, Poll},
};

use async_nats::{Client, Message, Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::task::{AbortHandle, JoinSet};

use crate::{
    cluster::{
        broker::{Event, Link, Options, Silence},
        error::{ClusterError, ClusterErrorKind},
        message::ClusterMessage,
        wire::{WireError, nats as wire},
    },
    util::BoxFuture,
};

use super::{
    config::Servers,
    connection::{Connection, Incident},
    inbox::Inbox,
};

/// The size and the number of frames that wait for a confirmation.
const WINDOW_BYTES: usize = 1024 * 1024;
const WINDOW_FRAMES: usize = 1024;

/// The size of the messages that were received and wait for the driver.
const INBOX_BYTES: usize = 64 * 1024 * 1024;

/// A connection to NATS, and its subscriptions.
///
/// NATS does not confirm messages. After each batch, the link publishes a number to a subject of its own: when that returns, the server
/// has got all that was sent before.
pub(crate) struct NatsLink {
    servers: Arc<Servers>,
    connection: Connection,
    /// The subject of this node, which its messages name.
    own: Option<String>,
    /// The subject of confirmations.
    sync: String,
    confirmations: Option<Subscriber>,
    inbox: Arc<Inbox>,
    /// Each fills the inbox with the messages of one subscription.
    tasks: JoinSet<()>,
    /// The namespaces to be subscribed, and what ends the subscription of each.
    namespaces: HashMap<Arc<str>, Option<AbortHandle>>,
    /// What the next batch consists of.
    next: Batch,
    orders: Vec<Order>,
    /// The batch that is being passed to the client.
    writing: Option<BoxFuture<Result<Vec<(Purpose, Subscriber)>, ClusterError>>>,
    /// The batches that are not confirmed.
    sent: VecDeque<Batch>,
    /// The size and the number of the frames in all batches.
    bytes: usize,
    frames: usize,
    /// Namespaces that are subscribed, which the driver does not know yet.
    subscribed: VecDeque<Arc<str>>,
    silence: Silence,
}

struct Batch {
    number: u64,
    bytes: usize,
    frames: usize,
    counted: u64,
    subscribed: Vec<Arc<str>>,
}

enum Order {
    Publish(Frame),
    Subscribe(String, Purpose),
}

/// What a subscription is for.
#[derive(Clone, PartialEq)]
enum Purpose {
    Confirmations,
    /// This node.
    Node,
    Namespace(Arc<str>),
}

/// A message on its way to NATS.
pub(crate) struct Frame {
    subject: String,
    /// The subject of the sender.
    reply: Option<String>,
    payload: Bytes,
}

impl Link for NatsLink {
    type Config = Servers;
    type Frame = Frame;

    fn check(servers: &Servers, namespace: &str) -> Result<(), WireError> {
        servers.subjects.namespace(namespace).map(|_| ())
    }

    fn encode(servers: &Servers, message: &ClusterMessage) -> Result<(Frame, usize), WireError> {
        let payload: Bytes = wire::encode(message)?.into();
        if payload.len() > servers.max_payload() {
            return Err(WireError::Message("the message is larger than the server accepts"));
        }
        let reply = Some(servers.subjects.node(message.sender.as_deref().unwrap_or_default())?);
        let size = payload.len();
        Ok((Frame { subject: servers.subjects.of(message)?, reply, payload }, size))
    }

    fn encode_relayed(servers: &Servers, node: &str, payload: Bytes) -> Option<(Frame, usize)> {
        let (subject, size) = (servers.subjects.relay(node).ok()?, payload.len());
        Some((Frame { subject, reply: None, payload }, size))
    }

    async fn connect(servers: &Arc<Servers>, options: &Options) -> Result<Self, ClusterError> {
        let connection = Connection::open(servers, options).await?;
        let sync = format!("{:016x}", getrandom::u64().map_err(failure)?);
        let sync = servers.subjects.sync(&sync).map_err(failure)?;
        let mut link = Self {
            servers: servers.clone(),
            connection,
            own: None,
            sync: sync.clone(),
            confirmations: None,
            inbox: Arc::new(Inbox::new(INBOX_BYTES)),
            tasks: JoinSet::new(),
            namespaces: HashMap::new(),
            next: Batch::new(1),
            orders: Vec::new(),
            writing: None,
            sent: VecDeque::new(),
            bytes: 0,
            frames: 0,
            subscribed: VecDeque::new(),
            silence: Silence::new(options.heartbeat_timeout.max(options.heartbeat_interval * 2)),
        };
        link.orders.push(Order::Subscribe(sync, Purpose::Confirmations));
        Ok(link)
    }

    fn identify(&mut self, node: &Arc<str>, shares_sessions: bool) {
        let subjects = &self.servers.subjects;
        self.own = subjects.node(node).ok();
        let relay = shares_sessions.then(|| subjects.relay(node).ok()).flatten();
        let all = subjects.node_in_all_namespaces(node).ok().into_iter().chain(relay);
        self.orders.extend(all.map(|subject| Order::Subscribe(subject, Purpose::Node)));
    }

    fn subscribe(&mut self, namespace: &Arc<str>) {
        let Ok(subject) = self.servers.subjects.namespace(namespace) else { return };
        self.orders.push(Order::Subscribe(subject, Purpose::Namespace(namespace.clone())));
        self.next.subscribed.push(namespace.clone());
        self.namespaces.entry(namespace.clone()).or_default();
    }

    fn unsubscribe(&mut self, namespace: &str) {
        self.orders
            .retain(|order| !matches!(order, Order::Subscribe(_, Purpose::Namespace(name)) if **name == *namespace));
        if let Some(Some(handle)) = self.namespaces.remove(namespace) {
            handle.abort();
        }
    }

    fn send(&mut self, frame: Frame, size: usize, is_counted: bool) {
        self.next.bytes += size;
        self.next.frames += 1;
        self.bytes += size;
        self.frames += 1;
        self.next.counted += u64::from(is_counted);
        self.orders.push(Order::Publish(frame));
    }

    fn has_room(&self) -> bool {
        self.bytes < WINDOW_BYTES && self.frames < WINDOW_FRAMES
    }

    fn unconfirmed(&self) -> u64 {
        self.next.counted + self.sent.iter().map(|batch| batch.counted).sum::<u64>()
    }

    fn is_idle(&self) -> bool {
        self.orders.is_empty() && self.sent.is_empty()
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if let Poll::Ready(incident) = self.connection.poll_incident(cx) {
            return Poll::Ready(match incident {
                Incident::Lost => Event::Ended(ClusterError::new(ClusterErrorKind::Disconnected)),
                Incident::Dropped => missed(),
                Incident::Rejected(cause) => {
                    Event::Failed(ClusterError::new(ClusterErrorKind::Rejected).caused_by(cause))
                }
            });
        }
        if let Poll::Ready(Err(cause)) = self.poll_write(cx) {
            return Poll::Ready(Event::Ended(cause));
        }
        if let Some(namespace) = self.subscribed.pop_front() {
            return Poll::Ready(Event::Subscribed(namespace));
        }
        if let Some(confirmations) = &mut self.confirmations
            && let Poll::Ready(Some(message)) = confirmations.poll_next_unpin(cx)
        {
            self.confirm(&message.payload);
            return Poll::Ready(Event::Confirmed);
        }
        if self.inbox.take_dropped() {
            return Poll::Ready(missed());
        }
        // After the confirmations that have arrived.
        if self.silence.poll(cx, !self.sent.is_empty()).is_ready() {
            let cause = "the server does not respond";
            return Poll::Ready(Event::Ended(ClusterError::new(ClusterErrorKind::Disconnected).caused_by(cause)));
        }
        while let Poll::Ready(message) = self.inbox.poll_next(cx) {
            if let Some(event) = self.take(message) {
                return Poll::Ready(event);
            }
        }
        Poll::Pending
    }
}

fn missed() -> Event {
    let cause = "messages arrived faster than they were handled";
    Event::Failed(ClusterError::new(ClusterErrorKind::Missed).caused_by(cause))
}

impl NatsLink {
    /// Passes orders to the client, which buffers and writes them.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClusterError>> {
        loop {
            if let Some(writing) = &mut self.writing {
                let Poll::Ready(subscribers) = writing.as_mut().poll(cx) else { return Poll::Pending };
                self.writing = None;
                for (purpose, subscriber) in subscribers? {
                    self.receive(&purpose, subscriber);
                }
            }
            if self.orders.is_empty() {
                return Poll::Pending;
            }
            let batch = std::mem::replace(&mut self.next, Batch::new(0));
            self.next.number = batch.number + 1;
            if self.sent.is_empty() {
                self.silence.heard();
            }
            let orders = std::mem::take(&mut self.orders);
            let sync = Frame::sync(&self.sync, batch.number);
            self.sent.push_back(batch);
            self.writing = Some(Box::pin(write(self.connection.client.clone(), orders, sync)));
        }
    }

    /// Starts to receive the messages of a subscription.
    fn receive(&mut self, purpose: &Purpose, subscriber: Subscriber) {
        let slot = match purpose {
            Purpose::Confirmations => return self.confirmations = Some(subscriber),
            Purpose::Node => None,
            Purpose::Namespace(namespace) => match self.namespaces.get_mut(namespace) {
                Some(slot @ None) => Some(slot),
                // Unsubscribed meanwhile, or subscribed twice.
                Some(Some(_)) | None => return,
            },
        };
        let task = self.tasks.spawn(self.inbox.clone().fill(subscriber));
        if let Some(slot) = slot {
            *slot = Some(task);
        }
        // Those of namespaces that are gone.
        while self.tasks.try_join_next().is_some() {}
    }

    fn take(&self, message: Message) -> Option<Event> {
        let is_own = message.reply.is_some() && message.reply.as_deref() == self.own.as_deref();
        if is_own {
            return None;
        }
        let namespace = match self.servers.subjects.parse(&message.subject)? {
            wire::Destination::Namespace(namespace) | wire::Destination::Node(namespace) => namespace,
            wire::Destination::Relay => return Some(Event::Relayed(message.payload)),
        };
        let decoded = wire::decode(&namespace, message.payload);
        Some(Event::Received(namespace, decoded))
    }

    /// Forgets the batches up to one that the server has got.
    fn confirm(&mut self, number: &[u8]) {
        let Ok(number) = number.try_into().map(u64::from_be_bytes) else { return };
        self.silence.heard();
        let confirmed = self.sent.iter().take_while(|batch| batch.number <= number).count();
        for batch in self.sent.drain(..confirmed) {
            self.bytes -= batch.bytes;
            self.frames -= batch.frames;
            self.subscribed.extend(batch.subscribed);
        }
    }
}

impl Batch {
    fn new(number: u64) -> Self {
        Self { number, bytes: 0, frames: 0, counted: 0, subscribed: Vec::new() }
    }
}

impl Frame {
    fn sync(subject: &str, number: u64) -> Self {
        let payload = Bytes::copy_from_slice(&number.to_be_bytes());
        Self { subject: subject.to_owned(), reply: None, payload }
    }
}

async fn write(client: Client, orders: Vec<Order>, sync: Frame) -> Result<Vec<(Purpose, Subscriber)>, ClusterError> {
    let mut subscribers = Vec::new();
    for order in orders.into_iter().chain([Order::Publish(sync)]) {
        match order {
            Order::Publish(Frame { subject, reply, payload }) => {
                match reply {
                    Some(reply) => client.publish_with_reply(subject, reply, payload).await,
                    None => client.publish(subject, payload).await,
                }
                .map_err(failure)?;
            }
            Order::Subscribe(subject, purpose) => {
                subscribers.push((purpose, client.subscribe(Subject::from(subject)).await.map_err(failure)?));
            }
        }
    }
    Ok(subscribers)
}

fn failure(error: impl std::error::Error + Send + Sync + 'static) -> ClusterError {
    ClusterError::new(ClusterErrorKind::Disconnected).caused_by(error)
}
