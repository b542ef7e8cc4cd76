use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

/// How long messages wait for nodes that were there before. The pauses between attempts to connect are shorter.
const LIMIT: Duration = Duration::from_secs(6);

/// How often the nodes are counted while messages wait.
const INTERVAL: Duration = Duration::from_millis(50);

/// Whether the nodes that were there before a disconnection have returned. What is published before is lost for them, so messages
/// wait. Pure.
#[derive(Debug, Default)]
pub(super) struct Returning {
    /// The number of nodes of each namespace, by the channel that counts them.
    seen: HashMap<Arc<str>, usize>,
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    until: Instant,
    next: Instant,
}

impl Returning {
    /// Remembers the nodes of a namespace, which are complete unless this waits for some.
    pub(super) fn see(&mut self, channel: Arc<str>, nodes: usize) {
        if self.waiting.is_none() {
            self.seen.insert(channel, nodes);
        }
    }

    /// Forgets namespaces that are not among these.
    pub(super) fn keep(&mut self, channels: &[Arc<str>]) {
        self.seen.retain(|channel, _| channels.contains(channel));
    }

    /// Begins to wait if there were other nodes.
    pub(super) fn reconnected(&mut self, now: Instant) {
        let is_alone = self.seen.values().all(|nodes| *nodes <= 1);
        self.waiting = (!is_alone).then(|| Waiting { until: now + LIMIT, next: now });
    }

    /// Returns when to count the nodes, if messages must wait.
    pub(super) fn next_count(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|waiting| waiting.next)
    }

    /// Ends the wait if the nodes have returned, or have not for long.
    pub(super) fn count(&mut self, now: Instant, counts: &[(Arc<str>, usize)]) {
        let Some(waiting) = &mut self.waiting else { return };
        let is_counted = |(channel, seen)| counts.iter().any(|(counted, nodes)| counted == channel && nodes >= seen);
        let is_complete = self.seen.iter().all(is_counted);
        if is_complete || now >= waiting.until {
            self.waiting = None;
        } else {
            waiting.next = now + INTERVAL;
        }
    }

    /// Ends the wait.
    pub(super) fn end(&mut self) {
        self.waiting = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(nodes: usize) -> [(Arc<str>, usize); 2] {
        [("a".into(), nodes), ("new".into(), 1)]
    }

    /// One of three nodes has reconnected.
    fn reconnected(now: Instant) -> Returning {
        let mut returning = Returning::default();
        returning.see("a".into(), 3);
        returning.reconnected(now);
        returning
    }

    #[test]
    fn messages_wait_until_all_nodes_have_returned() {
        let now = Instant::now();
        let mut returning = reconnected(now);
        for nodes in 1..3 {
            assert!(returning.next_count().is_some_and(|next| next <= now + INTERVAL));
            returning.count(now, &counts(nodes));
        }
        returning.count(now, &counts(3));
        assert_eq!(returning.next_count(), None);
    }

    #[test]
    fn nodes_that_could_not_be_counted_are_awaited() {
        let now = Instant::now();
        let mut returning = reconnected(now);
        returning.count(now, &[]);
        assert!(returning.next_count().is_some());
        returning.keep(&[]);
        returning.count(now, &[]);
        assert_eq!(returning.next_count(), None);
    }

    #[test]
    fn a_node_that_does_not_return_is_not_awaited_for_ever() {
        let now = Instant::now();
        let mut returning = reconnected(now);
        returning.count(now + LIMIT - INTERVAL, &counts(2));
        assert!(returning.next_count().is_some());
        returning.count(now + LIMIT, &counts(2));
        assert_eq!(returning.next_count(), None);
        // From now on, two nodes are complete.
        returning.see("a".into(), 2);
        returning.reconnected(now);
        returning.count(now, &counts(2));
        assert_eq!(returning.next_count(), None);
    }

    #[test]
    fn nodes_that_return_are_not_taken_for_all() {
        let now = Instant::now();
        let mut returning = reconnected(now);
        returning.see("a".into(), 2);
        returning.reconnected(now);
        returning.count(now, &counts(2));
        assert!(returning.next_count().is_some());
    }

    #[test]
    fn a_node_that_is_alone_waits_for_none() {
        let mut returning = Returning::default();
        returning.reconnected(Instant::now());
        assert_eq!(returning.next_count(), None);
        returning.see("a".into(), 1);
        returning.see("gone".into(), 2);
        returning.keep(&["a".into()]);
        returning.reconnected(Instant::now());
        assert_eq!(returning.next_count(), None);
    }
}
