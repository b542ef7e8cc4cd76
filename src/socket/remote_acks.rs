//! The acks of a broadcast from sockets of other nodes.

use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Poll},
};

use serde::de::DeserializeOwned;

use crate::{
    cluster::{ClusterCommand, ClusterError, Payload},
    server::{Missing, Request, Response},
};

use super::{deadline::Deadline, error::AckError};

/// The maximum number of clients of other nodes whose acks are awaited.
const MAX_CLIENTS: i64 = 1 << 20;

/// The maximum number of nodes that are reported as missing.
const MAX_NODES: usize = 1 << 10;

/// The id of a node. `None` if the adapter does not know it.
type Node = Option<Arc<str>>;

/// The acks of other nodes: each reports the number of its recipients, and their acks.
#[derive(Debug)]
pub(super) struct RemoteAcks {
    request: Request,
    /// The recipients of each node without an ack. Negative while acks have arrived before the number.
    recipients: HashMap<Node, i64>,
    /// The number of recipients of all nodes, limited.
    expected: i64,
    /// Set when the wait has ended early: errors to return.
    failed: Option<Failed>,
}

#[derive(Debug)]
struct Failed {
    cause: Cause,
    nodes: Vec<(Node, usize)>,
}

#[derive(Debug)]
enum Cause {
    Timeout,
    Disconnected,
    Cluster(Option<ClusterError>),
}

impl RemoteAcks {
    pub(super) fn new(request: Request) -> Self {
        Self { request, recipients: HashMap::new(), expected: 0, failed: None }
    }

    pub(super) fn remaining(&self) -> usize {
        let waiting: i64 = self.recipients.values().filter(|count| **count > 0).sum();
        let failed = self.failed.as_ref().map_or(0, |failed| failed.nodes.iter().map(|(_, count)| count).sum());
        usize::try_from(waiting).unwrap_or(0) + failed
    }

    /// Returns the next ack with its node, or `None` if each has been returned. An ack without a value is `undefined`.
    pub(super) fn poll_next(
        &mut self,
        deadline: &mut Deadline,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(Node, Result<Option<Payload>, AckError>)>> {
        loop {
            if let Some((node, error)) = self.failed.as_mut().and_then(Failed::next) {
                return Poll::Ready(Some((node, Err(error))));
            }
            if self.request.is_complete() && self.recipients.values().all(|count| *count <= 0) {
                return Poll::Ready(None);
            }
            match self.request.poll_response(cx) {
                Poll::Ready(Ok(Some(Response::Message(message)))) => match message.command {
                    // A node reports its recipients once.
                    ClusterCommand::Recipients { count, .. } if self.request.responded(message.sender.as_ref()) => {
                        let count = i64::try_from(count).unwrap_or(MAX_CLIENTS);
                        self.expected = self.expected.saturating_add(count).min(MAX_CLIENTS);
                        *self.recipients.entry(message.sender).or_default() += count.min(MAX_CLIENTS);
                    }
                    ClusterCommand::Ack { answer, .. } => {
                        let has_reported = self.request.has_responded(message.sender.as_ref());
                        let waiting = self.recipients.entry(message.sender.clone()).or_default();
                        // Acks beyond the number of recipients are ignored.
                        if *waiting > 0 || !has_reported {
                            *waiting -= 1;
                            return Poll::Ready(Some((message.sender, Ok(answer))));
                        }
                    }
                    _ => {}
                },
                Poll::Ready(Ok(Some(Response::Left(node)))) => {
                    let node = Some(node);
                    let lost = self.recipients.remove(&node).and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
                    self.failed = Some(Failed { cause: Cause::Disconnected, nodes: vec![(node, lost)] });
                }
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Err(error)) => {
                    self.recipients.clear();
                    self.request.give_up();
                    self.failed = Some(Failed { cause: Cause::Cluster(Some(error)), nodes: vec![(None, 1)] });
                }
                Poll::Pending => {
                    let server = self.request.server();
                    match deadline.poll_in(|| server.try_runtime(), cx) {
                        Poll::Ready(()) => self.time_out(),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            }
        }
    }

    /// Ends the wait. A node that has not reported its recipients counts as one.
    fn time_out(&mut self) {
        let mut rest = usize::try_from(self.expected).unwrap_or(0);
        let mut nodes = Vec::new();
        for (node, count) in self.recipients.drain() {
            let count = usize::try_from(count).unwrap_or(0).min(rest);
            rest -= count;
            nodes.push((node, count));
        }
        match self.request.missing() {
            Missing::Unknown => {}
            Missing::Count(count) => nodes.push((None, count.min(MAX_NODES))),
            Missing::Nodes(missing) => nodes.extend(missing.into_iter().map(|node| (Some(node), 1))),
        }
        self.request.give_up();
        self.failed = Some(Failed { cause: Cause::Timeout, nodes });
    }
}

impl Failed {
    fn next(&mut self) -> Option<(Node, AckError)> {
        while self.nodes.last().is_some_and(|(_, count)| *count == 0) {
            self.nodes.pop();
        }
        let (node, count) = self.nodes.last_mut()?;
        *count -= 1;
        let error = match &mut self.cause {
            Cause::Timeout => AckError::timeout(),
            Cause::Disconnected => AckError::disconnected(),
            Cause::Cluster(error) => error.take().map_or_else(AckError::timeout, AckError::cluster),
        };
        Some((node.clone(), error))
    }
}

/// Deserializes the first argument of an ack.
pub(super) fn read_answer<T: DeserializeOwned + Send + 'static>(answer: Option<&Payload>) -> serde_json::Result<T> {
    match answer {
        Some(answer) => answer.read_as_args(),
        None => Payload::read_no_args(),
    }
}
