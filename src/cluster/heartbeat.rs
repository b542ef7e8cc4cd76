use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{emitter::EMITTER, message::ClusterCommand};

/// The nodes of one namespace that are remembered. What others send is delivered, but they are not counted.
const MAX_PEERS: usize = 4096;

/// The longest id of a node that is remembered. Those of this crate and of Node.js have 16 bytes.
const MAX_ID: usize = 128;

/// Knows the other nodes of a cluster whose broker does not. Pure: time is an argument.
///
/// A node says hello in each of its namespaces, sends a heartbeat when it has sent nothing for an interval, and says goodbye. A node
/// that was not heard of for the timeout is dropped.
///
/// ```text
///            hello, heartbeat, any message             goodbye
///  unknown ────────────────────────────────▶ known ──────────────▶ gone
///     ▲                                        │                     │ │ hello: known
///     └──────────── timeout ───────────────────┘◀── timeout ─────────┘
/// ```
///
/// Messages that arrive after a goodbye do not make a node known, because they may be older.
///
/// Call [`join`](Self::join) when a namespace is subscribed, [`sent`](Self::sent) and [`received`](Self::received) for each message,
/// and [`tick`](Self::tick) once per [`period`](Self::period).
#[derive(Debug)]
pub(crate) struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    namespaces: HashMap<Arc<str>, Namespace>,
    /// The number of namespaces of each node. It has left when there is none.
    peers: HashMap<Arc<str>, usize>,
    /// The time of the last [`tick`](Self::tick).
    ticked: Option<Instant>,
}

#[derive(Debug)]
struct Namespace {
    joined: Instant,
    /// When this node last sent a message that others take for a heartbeat.
    sent: Instant,
    peers: HashMap<Arc<str>, Instant>,
    /// Those that said goodbye, and when.
    gone: HashMap<Arc<str>, Instant>,
}

/// What a received message asks of the node, apart from its execution.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reaction {
    /// Send a heartbeat.
    pub(crate) answer: bool,
    /// The sender has left its last namespace.
    pub(crate) left: bool,
}

/// What is due.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// The namespaces in which to send a heartbeat.
    pub(crate) heartbeats: Vec<Arc<str>>,
    /// The nodes that are not in any namespace any more.
    pub(crate) left: Vec<Arc<str>>,
}

impl Heartbeat {
    pub(crate) fn new(interval: Duration, timeout: Duration) -> Self {
        Self { interval, timeout, namespaces: HashMap::new(), peers: HashMap::new(), ticked: None }
    }

    /// Returns how often to call [`tick`](Self::tick). Heartbeats are sent earlier than necessary by up to one period, and dead nodes
    /// are noticed later by up to one.
    pub(crate) fn period(&self) -> Duration {
        self.interval / 5
    }

    /// Adds a namespace, in which this node now says hello.
    pub(crate) fn join(&mut self, namespace: &Arc<str>, now: Instant) {
        let joined = Namespace { joined: now, sent: now, peers: HashMap::new(), gone: HashMap::new() };
        let state = self.namespaces.entry(namespace.clone()).or_insert(joined);
        state.joined = now;
        state.sent = now;
        // Nothing was heard during an outage of the broker, which was not the fault of the others.
        state.peers.values_mut().for_each(|heard| *heard = now);
    }

    /// Removes a namespace, in which this node now says goodbye.
    pub(crate) fn leave(&mut self, namespace: &str) {
        let peers = self.namespaces.remove(namespace).map(|left| left.peers).unwrap_or_default();
        for peer in peers.keys() {
            forget(&mut self.peers, peer);
        }
    }

    /// Notes that this node has sent a message, which is as good as a heartbeat. Answers do not count, as in Node.js.
    pub(crate) fn sent(&mut self, namespace: &str, now: Instant) {
        if let Some(namespace) = self.namespaces.get_mut(namespace) {
            namespace.sent = now;
        }
    }

    /// Notes a message of another node.
    pub(crate) fn received(
        &mut self,
        namespace: &str,
        sender: &Arc<str>,
        command: &ClusterCommand,
        now: Instant,
    ) -> Reaction {
        let Some(state) = self.namespaces.get_mut(namespace) else { return Reaction::default() };
        if **sender == *EMITTER || sender.len() > MAX_ID {
            return Reaction::default();
        }
        if matches!(command, ClusterCommand::Goodbye) {
            if state.gone.len() < MAX_PEERS {
                state.gone.insert(sender.clone(), now);
            }
            let left = state.peers.remove(sender).is_some() && forget(&mut self.peers, sender);
            return Reaction { answer: false, left };
        }
        let is_hello = matches!(command, ClusterCommand::Hello);
        if is_hello {
            state.gone.remove(sender);
        }
        if let Some(heard) = state.peers.get_mut(sender) {
            *heard = now;
        } else if state.peers.len() < MAX_PEERS && !state.gone.contains_key(sender) {
            state.peers.insert(sender.clone(), now);
            *self.peers.entry(sender.clone()).or_default() += 1;
        }
        Reaction { answer: is_hello, left: false }
    }

    /// Drops the nodes that were not heard of, and returns what to do.
    pub(crate) fn tick(&mut self, now: Instant) -> Due {
        let mut due = Due::default();
        let was_suspended = self.ticked.is_some_and(|ticked| now.duration_since(ticked) > self.interval);
        self.ticked = Some(now);
        if was_suspended {
            // This process has not run for a while, and has not read what the others have said.
            let peers = self.namespaces.values_mut().flat_map(|namespace| namespace.peers.values_mut());
            peers.for_each(|heard| *heard = now);
        }
        let (timeout, next) = (self.timeout, now + self.period());
        let is_recent = |heard: &mut Instant| now.duration_since(*heard) < timeout;
        for (name, namespace) in &mut self.namespaces {
            if namespace.sent + self.interval < next {
                namespace.sent = now;
                due.heartbeats.push(name.clone());
            }
            namespace.gone.retain(|_, gone| is_recent(gone));
            namespace.peers.retain(|peer, heard| {
                let stays = is_recent(heard);
                if !stays && forget(&mut self.peers, peer) {
                    due.left.push(peer.clone());
                }
                stays
            });
        }
        due
    }

    /// Returns the other nodes of a namespace, and since when this node has been asking for them. `None` if this node has not joined
    /// the namespace.
    pub(crate) fn peers(&self, namespace: &str) -> Option<(Vec<Arc<str>>, Instant)> {
        let namespace = self.namespaces.get(namespace)?;
        Some((namespace.peers.keys().cloned().collect(), namespace.joined))
    }
}

/// Notes that a node has left one namespace. Returns `true` if that was the last one.
fn forget(peers: &mut HashMap<Arc<str>, usize>, peer: &Arc<str>) -> bool {
    let Some(namespaces) = peers.get_mut(peer) else { return false };
    *namespaces -= 1;
    let left = *namespaces == 0;
    if left {
        peers.remove(peer);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);
    const TIMEOUT: Duration = Duration::from_secs(10);

    /// A node in the namespaces `/` and `/chat`, and a clock.
    struct Node {
        heartbeat: Heartbeat,
        start: Instant,
        seconds: u64,
    }

    impl Node {
        fn new() -> Self {
            let start = Instant::now();
            let mut heartbeat = Heartbeat::new(INTERVAL, TIMEOUT);
            heartbeat.join(&"/".into(), start);
            heartbeat.join(&"/chat".into(), start);
            Self { heartbeat, start, seconds: 0 }
        }

        fn now(&self) -> Instant {
            self.start + Duration::from_secs(self.seconds)
        }

        fn hears(&mut self, namespace: &str, sender: &str, command: &ClusterCommand) -> Reaction {
            let now = self.now();
            self.heartbeat.received(namespace, &sender.into(), command, now)
        }

        fn peers(&self, namespace: &str) -> Vec<Arc<str>> {
            let (mut peers, _) = self.heartbeat.peers(namespace).unwrap();
            peers.sort();
            peers
        }

        /// Lets time pass. Returns the second of each heartbeat in `/`, and the nodes that left.
        fn passes(&mut self, seconds: u64) -> (Vec<u64>, Vec<String>) {
            let (mut heartbeats, mut left) = (Vec::new(), Vec::new());
            for _ in 0..seconds {
                self.seconds += 1;
                let due = self.heartbeat.tick(self.now());
                if due.heartbeats.iter().any(|namespace| &**namespace == "/") {
                    heartbeats.push(self.seconds);
                }
                left.extend(due.left.iter().map(|peer| (**peer).to_owned()));
            }
            (heartbeats, left)
        }
    }

    fn ids(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    #[test]
    fn a_hello_is_answered_and_makes_its_sender_known() {
        let mut node = Node::new();
        assert_eq!(node.hears("/", "a", &ClusterCommand::Hello), Reaction { answer: true, left: false });
        assert_eq!(node.hears("/", "b", &ClusterCommand::Heartbeat), Reaction::default());
        assert_eq!(node.peers("/"), ids(&["a", "b"]));
        assert_eq!(node.peers("/chat"), ids(&[]));
    }

    #[test]
    fn a_silent_node_is_dropped_after_the_timeout() {
        let mut node = Node::new();
        node.hears("/", "a", &ClusterCommand::Hello);
        node.passes(6);
        node.hears("/", "b", &ClusterCommand::Heartbeat);
        assert_eq!(node.passes(3).1, [""; 0]);
        assert_eq!(node.passes(1).1, ["a"]);
        assert_eq!(node.peers("/"), ids(&["b"]));
        assert_eq!(node.passes(5).1, [""; 0]);
        assert_eq!(node.passes(1).1, ["b"]);
    }

    #[test]
    fn each_message_keeps_its_sender_known() {
        let mut node = Node::new();
        let answer = ClusterCommand::Recipients { request: "r".into(), count: 0 };
        for _ in 0..5 {
            node.hears("/", "a", &answer);
            assert_eq!(node.passes(9).1, [""; 0]);
        }
        assert_eq!(node.passes(1).1, ["a"]);
    }

    #[test]
    fn the_own_heartbeat_is_never_later_than_the_interval() {
        let mut node = Node::new();
        assert_eq!(node.passes(14).0, [5, 10]);
        // Any message is as good as a heartbeat.
        node.heartbeat.sent("/", node.now());
        assert_eq!(node.passes(6).0, [19]);
        let mut coarse = Node::new();
        coarse.heartbeat.sent("/", coarse.start + Duration::from_millis(500));
        assert_eq!(coarse.passes(6).0, [5]);
    }

    #[test]
    fn after_a_goodbye_late_messages_are_ignored_but_a_hello_is_not() {
        let mut node = Node::new();
        node.hears("/", "a", &ClusterCommand::Hello);
        assert!(node.hears("/", "a", &ClusterCommand::Goodbye).left);
        node.hears("/", "a", &ClusterCommand::Heartbeat);
        assert_eq!(node.peers("/"), ids(&[]));
        node.hears("/", "a", &ClusterCommand::Hello);
        assert_eq!(node.peers("/"), ids(&["a"]));
        node.hears("/", "a", &ClusterCommand::Goodbye);
        // Forgotten together with the goodbye.
        node.passes(10);
        node.hears("/", "a", &ClusterCommand::Heartbeat);
        assert_eq!(node.peers("/"), ids(&["a"]));
    }

    #[test]
    fn a_node_has_left_when_it_is_in_no_namespace() {
        let mut node = Node::new();
        node.hears("/", "a", &ClusterCommand::Hello);
        node.hears("/chat", "a", &ClusterCommand::Hello);
        assert!(!node.hears("/chat", "a", &ClusterCommand::Goodbye).left);
        assert!(!node.hears("/chat", "a", &ClusterCommand::Goodbye).left);
        assert!(node.hears("/", "a", &ClusterCommand::Goodbye).left);
        node.hears("/", "b", &ClusterCommand::Hello);
        node.hears("/chat", "b", &ClusterCommand::Hello);
        node.heartbeat.leave("/chat");
        assert!(node.heartbeat.peers("/chat").is_none());
        assert!(node.hears("/", "b", &ClusterCommand::Goodbye).left);
    }

    #[test]
    fn nobody_is_dropped_for_an_outage_of_the_broker() {
        let mut node = Node::new();
        node.hears("/", "a", &ClusterCommand::Hello);
        node.seconds += 60;
        node.heartbeat.join(&"/".into(), node.now());
        assert_eq!(node.passes(9).1, [""; 0]);
        assert_eq!(node.passes(1).1, ["a"]);
    }

    #[test]
    fn nobody_is_dropped_because_this_process_was_suspended() {
        let mut node = Node::new();
        node.hears("/", "a", &ClusterCommand::Hello);
        assert_eq!(node.passes(1).1, Vec::<String>::new());
        node.seconds += 60;
        assert_eq!(node.passes(1).1, Vec::<String>::new());
        assert_eq!(node.peers("/"), ids(&["a"]));
        assert_eq!(node.passes(11).1, ["a"]);
    }

    #[test]
    fn what_is_remembered_of_strangers_is_bounded() {
        let mut node = Node::new();
        node.hears("/", EMITTER, &ClusterCommand::Hello);
        node.hears("/", &"x".repeat(MAX_ID + 1), &ClusterCommand::Hello);
        node.hears("/unknown", "a", &ClusterCommand::Hello);
        assert_eq!(node.peers("/"), ids(&[]));
        for id in 0..2 * MAX_PEERS {
            node.hears("/", &id.to_string(), &ClusterCommand::Heartbeat);
            node.hears("/chat", &id.to_string(), &ClusterCommand::Goodbye);
        }
        assert_eq!(node.peers("/").len(), MAX_PEERS);
        assert_eq!(node.heartbeat.namespaces["/chat"].gone.len(), MAX_PEERS);
    }
}
