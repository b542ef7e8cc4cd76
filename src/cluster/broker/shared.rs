use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Instant,
};

use tokio::sync::Notify;

use crate::{
    cluster::{error::PublishError, heartbeat::Heartbeat, node::ClusterNode},
    util::Mutex,
};

/// What an adapter and its driver share.
pub(super) struct Shared<F> {
    pub(super) state: Mutex<State<F>>,
    /// Wakes the driver.
    pub(super) driver: Notify,
    /// Wakes those who wait for other nodes to become known, or for the driver to end.
    pub(super) changed: Notify,
}

/// Guarded by a lock that is a leaf: nothing is called under it.
pub(super) struct State<F> {
    pub(super) phase: Phase,
    pub(super) node: Option<ClusterNode>,
    queue: VecDeque<Queued<F>>,
    bytes: usize,
    max_bytes: usize,
    /// The namespaces that may have been created or dropped.
    changes: HashSet<Arc<str>>,
    pub(super) heartbeat: Heartbeat,
}

/// ```text
///  Connected ⇄ Disconnected
///      └──┬──────┘
///      Closing ──▶ Closed
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Connected,
    Disconnected,
    /// Messages that are queued are still sent.
    Closing,
    /// The driver has ended.
    Closed,
}

/// A message that waits for the driver.
pub(super) struct Queued<F> {
    pub(super) frame: F,
    pub(super) size: usize,
    /// The namespace, unless the message is an answer: those are no heartbeats.
    pub(super) heartbeat: Option<Arc<str>>,
}

impl<F> Shared<F> {
    pub(super) fn new(max_bytes: usize, heartbeat: Heartbeat) -> Self {
        let state = State {
            phase: Phase::Connected,
            node: None,
            queue: VecDeque::new(),
            bytes: 0,
            max_bytes,
            changes: HashSet::new(),
            heartbeat,
        };
        Self { state: Mutex::new(state), driver: Notify::new(), changed: Notify::new() }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.state.lock().phase == Phase::Connected
    }

    /// Adds a message. It is a heartbeat in a namespace unless it is an answer.
    pub(super) fn push(&self, frame: F, size: usize, heartbeat: Option<Arc<str>>) -> Result<(), PublishError> {
        self.push_within(1, Queued { frame, size, heartbeat })
    }

    /// Adds a message that is not a heartbeat, and leaves half of the queue to others.
    pub(super) fn push_within_half(&self, frame: F, size: usize) -> Result<(), PublishError> {
        self.push_within(2, Queued { frame, size, heartbeat: None })
    }

    fn push_within(&self, part: usize, queued: Queued<F>) -> Result<(), PublishError> {
        {
            let mut state = self.state.lock();
            if state.phase != Phase::Connected {
                return Err(PublishError::Disconnected);
            }
            if queued.size > (state.max_bytes / part).saturating_sub(state.bytes) {
                return Err(PublishError::Full);
            }
            state.bytes += queued.size;
            state.queue.push_back(queued);
        }
        self.driver.notify_one();
        Ok(())
    }

    pub(super) fn start(&self, node: ClusterNode) {
        self.state.lock().node = Some(node);
        self.driver.notify_one();
    }

    pub(super) fn namespace_changed(&self, namespace: &str) {
        let is_new = {
            let mut state = self.state.lock();
            // Otherwise the driver asks for all namespaces.
            state.node.is_some() && !state.changes.contains(namespace) && state.changes.insert(namespace.into())
        };
        if is_new {
            self.driver.notify_one();
        }
    }

    pub(super) fn close(&self) {
        {
            let mut state = self.state.lock();
            if matches!(state.phase, Phase::Connected | Phase::Disconnected) {
                state.phase = Phase::Closing;
            }
        }
        self.driver.notify_one();
        self.changed.notify_waiters();
    }

    /// Moves between connected and disconnected. Has no effect on an adapter that is closing.
    pub(super) fn set_connected(&self, is_connected: bool) {
        {
            let mut state = self.state.lock();
            if matches!(state.phase, Phase::Connected | Phase::Disconnected) {
                state.phase = if is_connected { Phase::Connected } else { Phase::Disconnected };
            }
        }
        self.changed.notify_waiters();
    }
}

impl<F> State<F> {
    /// Takes the oldest message. Notes it as a heartbeat.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Queued<F>> {
        let queued = self.queue.pop_front()?;
        self.bytes -= queued.size;
        if let Some(namespace) = &queued.heartbeat {
            self.heartbeat.sent(namespace, now);
        }
        Some(queued)
    }

    /// Drops all messages. Returns their number.
    pub(super) fn clear(&mut self) -> u64 {
        self.bytes = 0;
        std::mem::take(&mut self.queue).len() as u64
    }

    pub(super) fn take_changes(&mut self) -> HashSet<Arc<str>> {
        std::mem::take(&mut self.changes)
    }
}
