use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::timeout;

use crate::cluster::{
    error::{ClusterError, ClusterErrorKind},
    message::ClusterMessage,
    wire::WireError,
};

/// A connection to a broker: subscriptions, and messages in both directions. It is lost once, and another one takes its place.
///
/// A link whose broker does not respond for some seconds is lost, too.
pub(crate) trait Link: Sized + Send + 'static {
    type Config: Send + Sync + 'static;
    /// An encoded message.
    type Frame: Send + 'static;

    /// Returns an error if the broker cannot have this namespace.
    fn check(config: &Self::Config, namespace: &str) -> Result<(), WireError>;

    /// Encodes a message. Returns its size, too.
    fn encode(config: &Self::Config, message: &ClusterMessage) -> Result<(Self::Frame, usize), WireError>;

    /// Encodes bytes for the shared sessions of one node. Returns `None` if the broker cannot have them.
    fn encode_relayed(config: &Self::Config, node: &str, message: Bytes) -> Option<(Self::Frame, usize)>;

    /// Connects. The caller limits the time.
    fn connect(
        config: &Arc<Self::Config>,
        options: &Options,
    ) -> impl Future<Output = Result<Self, ClusterError>> + Send;

    /// Starts to receive what is for one node, and what is for its shared sessions if it has some. Called once, before the node's
    /// namespaces are subscribed.
    fn identify(&mut self, node: &Arc<str>, shares_sessions: bool);

    /// Starts to receive what is for all nodes of a namespace. [`Event::Subscribed`] follows.
    fn subscribe(&mut self, namespace: &Arc<str>);

    fn unsubscribe(&mut self, namespace: &str);

    /// Sends a frame with the next call of [`poll_event`](Self::poll_event). The loss of heartbeats is not counted.
    fn send(&mut self, frame: Self::Frame, size: usize, is_counted: bool);

    /// Returns `false` if many frames are not confirmed yet. The next ones should wait in the queue.
    fn has_room(&self) -> bool;

    /// Returns the number of counted frames that the broker has not confirmed yet.
    fn unconfirmed(&self) -> u64;

    /// Returns `true` if the broker has confirmed all frames.
    fn is_idle(&self) -> bool;

    /// Writes and reads. Returns what has happened. Not called again after [`Event::Ended`].
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event>;
}

/// Connects in limited time.
pub(super) async fn connect<L: Link>(config: &Arc<L::Config>, options: &Options) -> Result<L, ClusterError> {
    match timeout(options.connect_timeout, L::connect(config, options)).await {
        Ok(link) => link,
        Err(elapsed) => Err(ClusterError::new(ClusterErrorKind::Disconnected).caused_by(elapsed)),
    }
}

/// What happens on a link.
pub(crate) enum Event {
    /// What is published in a namespace from now on will be received.
    Subscribed(Arc<str>),
    /// A message in a namespace.
    Received(Arc<str>, Result<ClusterMessage, WireError>),
    /// Bytes for the shared sessions of this node.
    Relayed(Bytes),
    /// The broker has confirmed frames, so that there may be room again.
    Confirmed,
    /// The broker refuses a namespace, but the link is intact.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "NATS refuses no namespace"))]
    Refused(Arc<str>, ClusterError),
    /// Something failed, but the link is intact.
    Failed(ClusterError),
    /// The link is lost.
    Ended(ClusterError),
}

/// The configuration that all brokers have.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) queue_bytes: usize,
    pub(crate) request_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) heartbeat_timeout: Duration,
    /// Whether messages are lost for this node while it has no link, which is then reported.
    pub(crate) misses_messages: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            queue_bytes: 16 * 1024 * 1024,
            request_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            heartbeat_interval: Duration::from_secs(5),
            heartbeat_timeout: Duration::from_secs(10),
            misses_messages: true,
        }
    }
}
