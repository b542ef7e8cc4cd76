//! The relay and its exchanges, which refer to one another: what each of them holds.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize},
    },
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::Notify, time::Instant};

use crate::util::Mutex;

use super::{message::ResponseHead, node_id::NodeId};

/// Sends a message to another node. Returns whether it may arrive.
pub(super) type SendToNode = Box<dyn Fn(&str, Bytes) -> bool + Send + Sync>;

/// The exchanges of a node with other nodes.
///
/// No lock is held while a message is sent: it may be delivered at once, with the reply.
pub(crate) struct Relay {
    pub(super) id: NodeId,
    pub(super) send: SendToNode,
    /// How long the owner of a session may take to say that it lives.
    pub(super) timeout: Duration,
    /// After how much silence the owner is asked again.
    pub(super) quiet: Duration,
    pub(super) next: AtomicU64,
    pub(super) asked: Mutex<Asked>,
    /// The exchanges that others have begun.
    pub(super) served: Mutex<HashMap<(NodeId, u64), Weak<Exchange>>>,
    /// The bytes that have been received, but not read.
    pub(super) unread: AtomicUsize,
    pub(super) max_unread: usize,
    /// Notified whenever an exchange has ended.
    pub(super) ended: Notify,
}

/// The exchanges that this node has begun.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) exchanges: BTreeMap<u64, Weak<Exchange>>,
    /// Those whose owner has not responded. It may not exist: clients choose the ids in their requests.
    pub(super) waiting: BTreeMap<u64, NodeId>,
    /// Owners that have responded to a request.
    pub(super) known: HashSet<NodeId>,
}

/// One request and its response. Ends when the last reference to it is dropped.
pub(crate) struct Exchange {
    pub(super) relay: Arc<Relay>,
    /// The other node.
    pub(super) peer: NodeId,
    pub(super) number: u64,
    /// Whether this node owns the session.
    pub(super) is_owner: bool,
    pub(super) state: Mutex<State>,
}

pub(super) struct State {
    pub(super) incoming: Incoming,
    pub(super) outgoing: Outgoing,
    /// The head of the response has been sent, so that a tunnel may be used.
    pub(super) is_open: bool,
    /// The exchange is over, for another reason than its completion.
    pub(super) broken: bool,
    /// When the other node was last heard.
    pub(super) heard: Option<Instant>,
    /// Woken by a head, by bytes, and at the end.
    pub(super) reader: Option<Waker>,
    /// Woken when the window opens, and at the end.
    pub(super) writer: Option<Waker>,
    /// Woken at the end.
    pub(super) watcher: Option<Waker>,
    /// Woken when a tunnel opens, and at the end.
    pub(super) opener: Option<Waker>,
}

/// The stream from the other node.
#[derive(Default)]
pub(super) struct Incoming {
    pub(super) head: Option<ResponseHead>,
    /// The head has been received.
    pub(super) has_head: bool,
    pub(super) chunks: VecDeque<Bytes>,
    /// The number of bytes in `chunks`.
    pub(super) unread: usize,
    /// The number of bytes that have been received.
    pub(super) received: u64,
    /// The number of bytes that have been read since the last credit.
    pub(super) uncredited: usize,
    pub(super) ended: bool,
}

/// The stream to the other node.
pub(super) struct Outgoing {
    pub(super) sent: u64,
    /// How much may be sent.
    pub(super) granted: u64,
    pub(super) ended: bool,
    /// The head has been sent.
    pub(super) has_head: bool,
}
