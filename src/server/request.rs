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
use tokio::{sync::mpsc::Receiver, time::Instant};

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
    responses: Receiver<Response>,
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
        // Before the adapter is asked, so that no node leaves unnoticed.
        let (id, responses) = server.requests.begin();
        let asked = server.catch_panic(|| (adapter.peers(namespace.name()), adapter.request_timeout()));
        let (mut asking, default) = asked.unwrap_or_else(|| {
            let error = ClusterError::new(ClusterErrorKind::Disconnected).caused_by("the adapter panicked");
            (Box::pin(done(Err(error))), Duration::ZERO)
        });
        let mut pending = Pending::default();
        // Adapters that know the peers need no runtime.
        let asking = match asking.as_mut().now_or_never() {
            Some(Ok(peers)) => {
                pending.expect(peers);
                None
            }
            Some(Err(error)) => Some(Box::pin(done(Err(error))) as BoxFuture<_>),
            None => Some(asking),
        };
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

    /// Marks a node as having responded. Returns `false` if it has responded before.
    pub(crate) fn responded(&mut self, sender: Option<&Arc<str>>) -> bool {
        self.pending.responded(sender)
    }

    /// Returns `true` if a node is known to have responded.
    pub(crate) fn has_responded(&self, sender: Option<&Arc<str>>) -> bool {
        match sender {
            Some(sender) => self.pending.heard.contains(sender),
            None => self.pending.is_complete(),
        }
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
            self.pending.left(peer);
        }
        Poll::Ready(Ok(Some(response)))
    }

    /// Waits for responses until the timeout, and passes the first one of each node to `take`, which returns `false` for those that
    /// it does not expect.
    pub(crate) async fn collect(&mut self, mut take: impl FnMut(ClusterCommand) -> bool) -> Result<(), ClusterError> {
        let (server, until) = (self.server.clone(), self.until);
        let responses = async {
            while !self.is_complete() {
                if let Some(Response::Message(message)) = poll_fn(|cx| self.poll_response(cx)).await?
                    && !message.sender.as_ref().is_some_and(|sender| self.pending.heard.contains(sender))
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
#[derive(Debug, Default)]
struct Pending {
    /// The nodes that have responded, if they are named.
    heard: HashSet<Arc<str>>,
    /// The number of responses of nodes without a name.
    unnamed: usize,
    /// The nodes that have left before the peers were known.
    left: HashSet<Arc<str>>,
    /// `None` until the peers are known.
    expected: Option<Peers>,
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
            Peers::Count(count) => Peers::Count(count),
            Peers::Nodes(nodes) => Peers::Nodes(nodes.into_iter().filter(|node| !self.left.contains(node)).collect()),
        });
    }

    /// Returns `false` if the node has responded before.
    fn responded(&mut self, node: Option<&Arc<str>>) -> bool {
        match node {
            Some(node) => self.heard.insert(node.clone()),
            None => {
                self.unnamed += 1;
                true
            }
        }
    }

    /// A node has left. If only the number of nodes is known, it is not known whether it was counted.
    fn left(&mut self, node: &Arc<str>) {
        match &mut self.expected {
            None => drop(self.left.insert(node.clone())),
            Some(Peers::Nodes(nodes)) => nodes.retain(|expected| expected != node),
            Some(Peers::Count(_)) => {}
        }
    }

    fn is_complete(&self) -> bool {
        self.expected.is_some() && self.missing().count() == 0
    }

    fn missing(&self) -> Missing {
        match &self.expected {
            None => Missing::Unknown,
            Some(Peers::Count(count)) => Missing::Count(count.saturating_sub(self.heard.len() + self.unnamed)),
            Some(Peers::Nodes(nodes)) => {
                Missing::Nodes(nodes.iter().filter(|node| !self.heard.contains(*node)).cloned().collect())
            }
        }
    }
}
