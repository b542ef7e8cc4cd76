//! A request to the other nodes of the cluster, and the nodes that have not responded.

use std::{
    collections::HashSet,
    fmt,
    future::{poll_fn, ready as done},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{sync::mpsc::UnboundedReceiver, time::Instant};

use crate::{
    cluster::{ClusterCommand, ClusterError, ClusterErrorKind, Peers, RequestId},
    util::{BoxFuture, FOREVER},
};

use super::{
    requests::Response,
    state::{NamespaceState, Server},
};

/// A request to the other nodes that have a namespace. It is pending until it is dropped.
pub(crate) struct Request {
    namespace: Arc<NamespaceState>,
    server: Arc<Server>,
    id: RequestId,
    responses: UnboundedReceiver<Response>,
    /// Set until the adapter has returned the peers.
    asking: Option<BoxFuture<Result<Peers, ClusterError>>>,
    pending: Pending,
    until: Instant,
}

impl Request {
    /// Creates a request without publishing it. Returns `None` if the server has no adapter or has been dropped.
    pub(crate) fn new(namespace: &Arc<NamespaceState>, timeout: Option<Duration>) -> Option<Self> {
        let adapter = namespace.settings.adapter.as_ref()?;
        let server = namespace.server.upgrade()?;
        let asking = server.catch_panic(|| (adapter.peers(namespace.name()), adapter.request_timeout()));
        let (mut asking, default) = asking?;
        let mut pending = Pending { early: HashSet::new(), expected: None };
        // Adapters that know the peers need no runtime.
        let asking = match asking.as_mut().now_or_never() {
            Some(Ok(peers)) => {
                pending.expect(peers);
                None
            }
            Some(Err(error)) => Some(Box::pin(done(Err(error))) as BoxFuture<_>),
            None => Some(asking),
        };
        let (id, responses) = server.requests.begin();
        let until = Instant::now() + timeout.unwrap_or(default).min(FOREVER);
        Some(Self { namespace: namespace.clone(), server, id, responses, asking, pending, until })
    }

    /// Publishes the command of the request.
    pub(crate) fn publish(&self, command: impl FnOnce(RequestId) -> ClusterCommand) {
        self.namespace.publish(command(self.id.clone()), None);
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// Stops waiting for nodes.
    pub(crate) fn give_up(&mut self) {
        self.asking = None;
        self.pending.expect(Peers::Count(0));
    }

    /// Marks a node as having responded.
    pub(crate) fn responded(&mut self, sender: Option<&Arc<str>>) {
        self.pending.responded(sender);
    }

    /// Returns the nodes that have not responded.
    pub(crate) fn missing(&self) -> Missing {
        self.pending.missing()
    }

    /// Returns `true` if each node has responded or left.
    pub(crate) fn is_complete(&self) -> bool {
        self.pending.is_complete()
    }

    /// Returns the next response, or `None` if the adapter has returned the peers.
    ///
    /// The caller marks responses that complete the wait for a node by [`responded`](Self::responded).
    pub(crate) fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Response>, ClusterError>> {
        if let Some(asking) = &mut self.asking
            && let Poll::Ready(peers) = asking.as_mut().poll(cx)
        {
            self.asking = None;
            self.pending.expect(peers?);
            return Poll::Ready(Ok(None));
        }
        let response = ready!(self.responses.poll_recv(cx)).expect("the request is registered");
        if let Response::Left(peer) = &response {
            self.responded(Some(peer));
        }
        Poll::Ready(Ok(Some(response)))
    }

    /// Waits for responses until the timeout, and passes each to `take`, which returns `true` for the ones that complete the wait
    /// for a node.
    pub(crate) async fn collect(&mut self, mut take: impl FnMut(ClusterCommand) -> bool) -> Result<(), ClusterError> {
        let (server, until) = (self.server.clone(), self.until);
        let responses = async {
            while !self.is_complete() {
                if let Some(Response::Message(message)) = poll_fn(|cx| self.poll_response(cx)).await?
                    && take(message.command)
                {
                    self.responded(message.sender.as_ref());
                }
            }
            Ok(())
        };
        match server.engine.until(until, responses).await {
            Some(result) => result,
            None => Err(ClusterError::new(ClusterErrorKind::Timeout { missing: self.missing().count() })),
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.server.requests.end(&self.id);
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("id", &self.id).field("pending", &self.pending).finish_non_exhaustive()
    }
}

/// The nodes that have not responded to a request.
#[derive(Debug)]
struct Pending {
    /// Nodes that responded or left before the peers were known, or whose name is unknown, counted by a number.
    early: HashSet<Early>,
    /// `None` until the peers are known.
    expected: Option<Expected>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Early {
    Node(Arc<str>),
    Unnamed(usize),
}

#[derive(Debug)]
enum Expected {
    /// The number of nodes, and the names of those that have responded, as known.
    Count(usize, HashSet<Arc<str>>),
    Nodes(HashSet<Arc<str>>),
}

/// The nodes of a cluster that did not respond to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Missing {
    Unknown,
    Count(usize),
    Nodes(Vec<Arc<str>>),
}

impl Missing {
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Unknown => 0,
            Self::Count(count) => *count,
            Self::Nodes(nodes) => nodes.len(),
        }
    }
}

impl Pending {
    fn expect(&mut self, peers: Peers) {
        self.expected = Some(match peers {
            Peers::Count(count) => Expected::Count(count, HashSet::new()),
            Peers::Nodes(nodes) => Expected::Nodes(nodes.into_iter().collect()),
        });
        for early in std::mem::take(&mut self.early) {
            match early {
                Early::Node(node) => self.responded(Some(&node)),
                Early::Unnamed(_) => self.responded(None),
            }
        }
    }

    fn responded(&mut self, node: Option<&Arc<str>>) {
        match (&mut self.expected, node) {
            (None, Some(node)) => drop(self.early.insert(Early::Node(node.clone()))),
            (None, None) => drop(self.early.insert(Early::Unnamed(self.early.len()))),
            (Some(Expected::Nodes(nodes)), Some(node)) => drop(nodes.remove(node)),
            // It is one of them, but not known which.
            (Some(Expected::Nodes(_)), None) => {}
            (Some(Expected::Count(count, known)), Some(node)) => {
                if known.insert(node.clone()) {
                    *count = count.saturating_sub(1);
                }
            }
            (Some(Expected::Count(count, _)), None) => *count = count.saturating_sub(1),
        }
    }

    fn is_complete(&self) -> bool {
        match &self.expected {
            None => false,
            Some(Expected::Count(count, _)) => *count == 0,
            Some(Expected::Nodes(nodes)) => nodes.is_empty(),
        }
    }

    fn missing(&self) -> Missing {
        match &self.expected {
            None => Missing::Unknown,
            Some(Expected::Count(count, _)) => Missing::Count(*count),
            Some(Expected::Nodes(nodes)) => Missing::Nodes(nodes.iter().cloned().collect()),
        }
    }
}
