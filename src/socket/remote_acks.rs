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

/// The maximum number of clients that a node is believed to have.
const MAX_CLIENTS: u64 = 1 << 20;

/// The id of a node. `None` if the adapter does not know it.
type Node = Option<Arc<str>>;

/// The acks of other nodes: each reports the number of its recipients, and their acks.
#[derive(Debug)]
pub(super) struct RemoteAcks {
    request: Request,
    /// The recipients of each node without an ack. Negative while acks have arrived before the number.
    recipients: HashMap<Node, i64>,
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
        Self { request, recipients: HashMap::new(), failed: None }
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
                    ClusterCommand::Recipients { count, .. } => {
                        self.request.responded(message.sender.as_ref());
                        let count = i64::try_from(count.min(MAX_CLIENTS)).unwrap_or(0);
                        *self.recipients.entry(message.sender).or_default() += count;
                    }
                    ClusterCommand::Ack { answer, .. } => {
                        *self.recipients.entry(message.sender.clone()).or_default() -= 1;
                        return Poll::Ready(Some((message.sender, Ok(answer))));
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
        let late = self.recipients.drain();
        let mut nodes: Vec<_> = late.filter_map(|(node, count)| Some((node, usize::try_from(count).ok()?))).collect();
        match self.request.missing() {
            Missing::Unknown => {}
            Missing::Count(count) => nodes.push((None, count)),
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
