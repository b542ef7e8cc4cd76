use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::ready,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::util::{BoxFuture, Mutex, now};

use super::{
    adapter::{ClusterAdapter, Peers},
    error::{ClusterError, PublishError},
    journal::{Journal, Offset, RecordedEvent, SessionRecord, TakenSession},
    message::{ClusterCommand, ClusterMessage},
    node::ClusterNode,
};

/// The number of events that the journal keeps.
const MAX_EVENTS: usize = 10_000;

/// The number of bytes of events that the journal keeps.
const MAX_BYTES: usize = 16 << 20;

/// The number of sessions that the journal keeps.
const MAX_SESSIONS: usize = 10_000;

/// A cluster of servers in one process.
///
/// Each server gets its own [`node`](Self::node). Messages are delivered immediately, by the task that emits.
///
/// ```
/// use tower_socketio::{SocketIoConfig, SocketIoLayer, cluster::Local};
///
/// let cluster = Local::new();
/// let public = SocketIoLayer::new(SocketIoConfig::new().adapter(cluster.node()));
/// let internal = SocketIoLayer::new(SocketIoConfig::new().path("/internal").adapter(cluster.node()));
/// // Reaches the clients of both.
/// public.io().emit("hello", &()).unwrap();
/// # let _ = internal;
/// ```
#[derive(Clone, Default)]
pub struct Local(Arc<Shared>);

#[derive(Default)]
struct Shared {
    nodes: Mutex<Vec<ClusterNode>>,
    /// Set if clients can be recovered on any node.
    log: Option<Mutex<Log>>,
}

/// The events and the sessions of the journal.
#[derive(Default)]
struct Log {
    last: u64,
    events: VecDeque<(Arc<str>, RecordedEvent)>,
    /// The memory of these events.
    bytes: usize,
    sessions: HashMap<(Arc<str>, Arc<str>), (SessionRecord, Instant)>,
    /// Events that have not been delivered, while another call delivers.
    pending: VecDeque<(ClusterMessage, Offset)>,
    is_delivering: bool,
}

impl Local {
    /// Creates a cluster without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a cluster with a [`Journal`] in memory: with [`recovery`](crate::SocketIoConfig::recovery), a client that has lost
    /// its connection can return to any of the servers.
    ///
    /// The last 10,000 events are kept, up to 16 MiB, and 10,000 sessions. Events are delivered by one of the tasks that emit.
    #[must_use]
    pub fn with_journal() -> Self {
        Self(Arc::new(Shared { nodes: Mutex::default(), log: Some(Mutex::default()) }))
    }

    /// Creates the adapter of one server.
    #[must_use]
    pub fn node(&self) -> LocalNode {
        LocalNode { cluster: self.0.clone(), node: OnceLock::new() }
    }
}

/// The adapter of one server in a [`Local`] cluster.
pub struct LocalNode {
    cluster: Arc<Shared>,
    node: OnceLock<ClusterNode>,
}

impl LocalNode {
    fn leave(&self) {
        let Some(node) = self.node.get() else { return };
        let mut left = false;
        self.cluster.nodes.lock().retain(|other| {
            let is_this = other.id() == node.id();
            left |= is_this;
            !is_this
        });
        if left {
            self.others().iter().for_each(|other| other.peer_left(node.id()));
        }
    }

    fn others(&self) -> Vec<ClusterNode> {
        let own = self.node.get().map(ClusterNode::id);
        let is_other = |node: &&ClusterNode| Some(node.id()) != own && node.is_alive();
        self.cluster.nodes.lock().iter().filter(is_other).cloned().collect()
    }
}

impl ClusterAdapter for LocalNode {
    fn start(&self, node: ClusterNode) {
        if self.node.set(node.clone()).is_ok() {
            self.cluster.nodes.lock().push(node);
        }
    }

    fn publish(&self, message: ClusterMessage) -> Result<(), PublishError> {
        self.others().iter().for_each(|node| node.deliver(message.clone()));
        Ok(())
    }

    fn send(&self, node: &str, message: Bytes) -> Result<(), PublishError> {
        let node = self.others().into_iter().find(|other| &**other.id() == node).ok_or(PublishError::UnknownNode)?;
        node.receive(message);
        Ok(())
    }

    fn peers(&self, namespace: &str) -> BoxFuture<Result<Peers, ClusterError>> {
        let others = self.others().into_iter().filter(|node| node.has_namespace(namespace));
        Box::pin(ready(Ok(Peers::Nodes(others.map(|node| node.id().clone()).collect()))))
    }

    fn journal(&self) -> Option<&dyn Journal> {
        self.cluster.log.as_ref().map(|_| self as &dyn Journal)
    }

    fn close(&self) -> BoxFuture<()> {
        self.leave();
        Box::pin(ready(()))
    }
}

impl Journal for LocalNode {
    fn append(&self, message: ClusterMessage) -> Result<(), PublishError> {
        let Some(log) = &self.cluster.log else { return Err(PublishError::Unsupported) };
        {
            let mut log = log.lock();
            log.append(message);
            // Events must be delivered one after another. The call that is delivering, possibly below this one, goes on.
            if std::mem::replace(&mut log.is_delivering, true) {
                return Ok(());
            }
        }
        let _delivering = Delivering(log);
        loop {
            let Some((message, offset)) = log.lock().next() else { return Ok(()) };
            let nodes = self.cluster.nodes.lock().clone();
            nodes.iter().for_each(|node| node.deliver_recorded(message.clone(), offset));
        }
    }

    fn save(&self, namespace: &str, session: SessionRecord, keep: Duration) -> BoxFuture<Result<(), ClusterError>> {
        if let Some(log) = &self.cluster.log {
            log.lock().save(namespace, session, keep);
        }
        Box::pin(ready(Ok(())))
    }

    fn take(
        &self,
        namespace: &str,
        private_id: &str,
        offset: Offset,
        max_events: usize,
    ) -> BoxFuture<Result<Option<TakenSession>, ClusterError>> {
        let taken =
            self.cluster.log.as_ref().and_then(|log| log.lock().take(namespace, private_id, offset, max_events));
        Box::pin(ready(Ok(taken)))
    }
}

/// Other calls may deliver again when this is dropped, also by a panic.
struct Delivering<'a>(&'a Mutex<Log>);

impl Drop for Delivering<'_> {
    fn drop(&mut self) {
        self.0.lock().is_delivering = false;
    }
}

impl Log {
    fn append(&mut self, message: ClusterMessage) {
        self.last += 1;
        let offset = Offset::new(self.last, 0);
        if let ClusterCommand::Emit { options, event, .. } = &message.command {
            let recorded = RecordedEvent::new(offset, options.clone(), event.clone());
            self.bytes += recorded.cost();
            self.events.push_back((message.namespace.clone(), recorded));
            while self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES {
                let Some((_, oldest)) = self.events.pop_front() else { break };
                self.bytes -= oldest.cost();
            }
        }
        self.pending.push_back((message, offset));
    }

    fn next(&mut self) -> Option<(ClusterMessage, Offset)> {
        let next = self.pending.pop_front();
        // Under the lock, so that an event that is appended later is delivered by its own call.
        self.is_delivering = next.is_some();
        next
    }

    fn save(&mut self, namespace: &str, session: SessionRecord, keep: Duration) {
        let now = now();
        if self.sessions.len() >= MAX_SESSIONS {
            self.sessions.retain(|_, (_, until)| *until > now);
            if self.sessions.len() >= MAX_SESSIONS {
                return;
            }
        }
        self.sessions.insert((namespace.into(), session.private_id.clone()), (session, now + keep));
    }

    fn take(&mut self, namespace: &str, private_id: &str, seen: Offset, max_events: usize) -> Option<TakenSession> {
        let (session, until) = self.sessions.remove(&(namespace.into(), private_id.into()))?;
        let is_there = self.events.iter().any(|(_, event)| event.offset == seen);
        if until <= now() || !is_there {
            return None;
        }
        let is_missed = |(of, event): &&(Arc<str>, RecordedEvent)| **of == *namespace && event.offset > seen;
        let missed: Vec<_> = self.events.iter().filter(is_missed).map(|(_, event)| event.clone()).collect();
        (missed.len() <= max_events).then(|| TakenSession::new(session, missed))
    }
}

impl Drop for LocalNode {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("nodes", &self.0.nodes.lock().len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for LocalNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalNode").field("node", &self.node.get()).finish_non_exhaustive()
    }
}
