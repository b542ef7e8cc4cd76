use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use async_nats::{Client, Message, Subject, Subscriber};
use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{AbortHandle, Abortable, SelectAll, abortable},
};
use tokio::time::{Interval, interval};

use crate::{
    cluster::{
        broker::{Event, Link, Options},
        error::{ClusterError, ClusterErrorKind},
        message::ClusterMessage,
        wire::{WireError, nats as wire},
    },
    util::{BoxFuture, now},
};

use super::{
    config::Servers,
    connection::{Connection, Incident},
};

/// The size and the number of frames that wait for a confirmation.
const WINDOW_BYTES: usize = 1024 * 1024;
const WINDOW_FRAMES: usize = 1024;

/// How often to look whether the server still responds.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

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
    subscriptions: SelectAll<Abortable<Subscriber>>,
    /// The namespaces to be subscribed, and what ends the subscription of each.
    namespaces: HashMap<Arc<str>, Option<AbortHandle>>,
    /// What the next batch consists of.
    next: Batch,
    orders: Vec<Order>,
    /// The batch that is being passed to the client.
    writing: Option<BoxFuture<Result<Vec<(Option<Arc<str>>, Subscriber)>, ClusterError>>>,
    /// The batches that are not confirmed.
    sent: VecDeque<Batch>,
    /// The size and the number of the frames in all batches.
    bytes: usize,
    frames: usize,
    /// Namespaces that are subscribed, which the driver does not know yet.
    subscribed: VecDeque<Arc<str>>,
    watch: Interval,
    /// The longest silence of the server.
    timeout: Duration,
}

struct Batch {
    number: u64,
    at: Instant,
    bytes: usize,
    frames: usize,
    counted: u64,
    subscribed: Vec<Arc<str>>,
}

enum Order {
    Publish(Frame),
    /// The namespace, unless it is the subject of this node.
    Subscribe(String, Option<Arc<str>>),
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
            subscriptions: SelectAll::new(),
            namespaces: HashMap::new(),
            next: Batch::new(1),
            orders: Vec::new(),
            writing: None,
            sent: VecDeque::new(),
            bytes: 0,
            frames: 0,
            subscribed: VecDeque::new(),
            watch: interval(WATCH_INTERVAL),
            timeout: options.heartbeat_timeout.max(options.heartbeat_interval * 2),
        };
        link.orders.push(Order::Subscribe(sync, None));
        Ok(link)
    }

    fn identify(&mut self, node: &Arc<str>, shares_sessions: bool) {
        let subjects = &self.servers.subjects;
        self.own = subjects.node(node).ok();
        let relay = shares_sessions.then(|| subjects.relay(node).ok()).flatten();
        let all = subjects.node_in_all_namespaces(node).ok().into_iter().chain(relay);
        self.orders.extend(all.map(|subject| Order::Subscribe(subject, None)));
    }

    fn subscribe(&mut self, namespace: &Arc<str>) {
        let Ok(subject) = self.servers.subjects.namespace(namespace) else { return };
        self.orders.push(Order::Subscribe(subject, Some(namespace.clone())));
        self.next.subscribed.push(namespace.clone());
        self.namespaces.entry(namespace.clone()).or_default();
    }

    fn unsubscribe(&mut self, namespace: &str) {
        self.orders.retain(|order| !matches!(order, Order::Subscribe(_, Some(name)) if **name == *namespace));
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
        while self.watch.poll_tick(cx).is_ready() {
            let now = now();
            if self.sent.front().is_some_and(|batch| now.duration_since(batch.at) > self.timeout) {
                return Poll::Ready(Event::Ended(ClusterError::new(ClusterErrorKind::Disconnected)));
            }
        }
        if let Poll::Ready(incident) = self.connection.poll_incident(cx) {
            return Poll::Ready(match incident {
                Incident::Lost => Event::Ended(ClusterError::new(ClusterErrorKind::Disconnected)),
                Incident::Dropped(count) => Event::Failed(ClusterError::new(ClusterErrorKind::Lost { count })),
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
        // It has no items, and is woken by new ones, while there is no subscription.
        while let Poll::Ready(Some(message)) = self.subscriptions.poll_next_unpin(cx) {
            if let Some(event) = self.take(message) {
                return Poll::Ready(event);
            }
        }
        Poll::Pending
    }
}

impl NatsLink {
    /// Passes orders to the client, which buffers and writes them.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClusterError>> {
        loop {
            if let Some(writing) = &mut self.writing {
                let Poll::Ready(subscribers) = writing.as_mut().poll(cx) else { return Poll::Pending };
                self.writing = None;
                for (namespace, subscriber) in subscribers? {
                    let (subscriber, handle) = abortable(subscriber);
                    if let Some(namespace) = namespace {
                        match self.namespaces.get_mut(&namespace) {
                            Some(slot @ None) => *slot = Some(handle),
                            // Unsubscribed meanwhile, or subscribed twice.
                            Some(Some(_)) | None => continue,
                        }
                    }
                    self.subscriptions.push(subscriber);
                }
            }
            if self.orders.is_empty() {
                return Poll::Pending;
            }
            let mut batch = std::mem::replace(&mut self.next, Batch::new(0));
            self.next.number = batch.number + 1;
            batch.at = now();
            let orders = std::mem::take(&mut self.orders);
            let sync = Frame::sync(&self.sync, batch.number);
            self.sent.push_back(batch);
            self.writing = Some(Box::pin(write(self.connection.client.clone(), orders, sync)));
        }
    }

    fn take(&mut self, message: Message) -> Option<Event> {
        if *message.subject == *self.sync {
            return self.confirm(&message.payload);
        }
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
    fn confirm(&mut self, number: &[u8]) -> Option<Event> {
        let number = u64::from_be_bytes(number.try_into().ok()?);
        let confirmed = self.sent.iter().take_while(|batch| batch.number <= number).count();
        for batch in self.sent.drain(..confirmed) {
            self.bytes -= batch.bytes;
            self.frames -= batch.frames;
            self.subscribed.extend(batch.subscribed);
        }
        Some(Event::Confirmed)
    }
}

impl Batch {
    fn new(number: u64) -> Self {
        Self { number, at: now(), bytes: 0, frames: 0, counted: 0, subscribed: Vec::new() }
    }
}

impl Frame {
    fn sync(subject: &str, number: u64) -> Self {
        let payload = Bytes::copy_from_slice(&number.to_be_bytes());
        Self { subject: subject.to_owned(), reply: None, payload }
    }
}

async fn write(
    client: Client,
    orders: Vec<Order>,
    sync: Frame,
) -> Result<Vec<(Option<Arc<str>>, Subscriber)>, ClusterError> {
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
            Order::Subscribe(subject, namespace) => {
                subscribers.push((namespace, client.subscribe(Subject::from(subject)).await.map_err(failure)?));
            }
        }
    }
    Ok(subscribers)
}

fn failure(error: impl std::error::Error + Send + Sync + 'static) -> ClusterError {
    ClusterError::new(ClusterErrorKind::Disconnected).caused_by(error)
}
