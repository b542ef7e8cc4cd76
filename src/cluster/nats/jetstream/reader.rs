use std::{convert::Infallible, time::Duration};

use async_nats::{Message, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::{
    backoff::Backoff,
    error::{ClusterError, ClusterErrorKind},
    journal::Offset,
    message::ClusterMessage,
    node::ClusterNode,
    wire::{WireError, nats as wire},
};

use super::{
    api::Failure,
    store::{Info, State, Store},
    stores::Stores,
};

/// How many batches are asked for at once.
const PULL: usize = 16;

/// How long NATS waits for batches before it says that there are none.
const WAIT: Duration = Duration::from_secs(5);

/// After this time, a connection is considered stable: if it fails, the next attempt follows soon.
const STABLE: Duration = Duration::from_secs(5);

/// Reads the stream of events, and passes its messages to the node.
pub(super) struct Reader {
    pub(super) stores: Stores,
    pub(super) node: ClusterNode,
    pub(super) position: Position,
}

/// How far the stream was read.
pub(super) struct Position {
    /// The time at which the stream was created.
    created: String,
    /// The sequence number of the last batch.
    sequence: u64,
    /// The number of the last batch, if it was read.
    number: Option<u32>,
}

impl Position {
    /// Creates the position at the end of the stream.
    pub(super) fn end(info: Info) -> Self {
        Self { created: info.created, sequence: info.state.last, number: None }
    }
}

impl Reader {
    /// Reads until the task is aborted.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::default();
        let mut reported = None;
        while self.node.is_alive() {
            let Some(store) = self.stores.get().await else { return };
            let began = Instant::now();
            let Err(failure) = self.serve(&store).await;
            if began.elapsed() > STABLE {
                backoff.reset();
                reported = None;
            }
            let error = ClusterError::from(failure);
            // Without a connection nothing is lost yet, and the link for requests reports that.
            if error.kind() != ClusterErrorKind::Disconnected && reported != Some(error.kind()) {
                reported = Some(error.kind());
                self.node.report(error);
            }
            sleep(backoff.next()).await;
        }
    }

    async fn serve(&mut self, store: &Store) -> Result<Infallible, Failure> {
        let api = &store.api;
        self.find_lost_data(store).await?;
        self.find_other_data(store).await?;
        let inbox = api.client.new_inbox();
        let mut messages = api.subscribe(&inbox).await?;
        let consumer = store.consume(self.position.sequence + 1).await?;
        loop {
            api.pull(&consumer, &inbox, PULL, WAIT).await?;
            let mut received = 0;
            while received < PULL {
                let next = timeout(WAIT + api.timeout, messages.next());
                let Ok(Some(message)) = api.unless_lost(next).await? else { return Err(Failure::NoResponse) };
                match message.status {
                    None | Some(StatusCode::OK) => {
                        received += 1;
                        if !self.receive(&message) {
                            return Err(Failure::NoResponse);
                        }
                    }
                    // There was nothing more.
                    Some(StatusCode::TIMEOUT | StatusCode::NOT_FOUND) => break,
                    // The consumer is gone, such as with its stream.
                    Some(_) => return Err(Failure::NoResponders),
                }
            }
            if received == 0 {
                self.find_lost_data(store).await?;
            }
        }
    }

    /// Reports if the stream has lost batches that were not read, and goes on after them.
    async fn find_lost_data(&mut self, store: &Store) -> Result<(), Failure> {
        let Info { created, state: State { first, last }, .. } = store.events().await?;
        let position = &mut self.position;
        if created != position.created {
            *position = Position { created, sequence: 0, number: None };
            self.report_missed("the stream was deleted");
            return Ok(());
        }
        if last < position.sequence {
            (position.sequence, position.number) = (last, None);
            self.report_missed("the stream has lost its last messages");
            return Ok(());
        }
        if first > position.sequence + 1 {
            (position.sequence, position.number) = (first - 1, None);
            self.report_missed("messages were removed before they were read");
        }
        Ok(())
    }

    /// Reports if the last batch that was read is another one now.
    async fn find_other_data(&mut self, store: &Store) -> Result<(), Failure> {
        let Some(number) = self.position.number else { return Ok(()) };
        let read = store.batch(self.position.sequence).await?;
        let is_same = |payload: Bytes| wire::split_batch(&payload).is_ok_and(|(read, _)| read == number);
        if read.is_some_and(|read| !read.payload().is_ok_and(is_same)) {
            self.position.number = None;
            self.report_missed("the stream has lost messages, and got others");
        }
        Ok(())
    }

    /// Handles a batch. Returns `false` if it cannot be the next one.
    fn receive(&mut self, message: &Message) -> bool {
        let Some(sequence) = message.reply.as_deref().and_then(sequence) else { return false };
        if sequence <= self.position.sequence {
            return false;
        }
        if sequence > self.position.sequence + 1 {
            self.report_missed("messages were removed before they were read");
        }
        // A batch that cannot be handled is not read again.
        self.position.sequence = sequence;
        match wire::split_batch(&message.payload) {
            Ok((number, messages)) => {
                self.position.number = Some(number);
                for (index, message) in messages.into_iter().enumerate() {
                    self.handle(wire::decode_in_batch(message), offset(sequence, number, index));
                }
            }
            Err(error) => {
                self.position.number = None;
                self.report_malformed(error);
            }
        }
        true
    }

    fn handle(&self, message: Result<ClusterMessage, WireError>, offset: Offset) {
        match message {
            Ok(message) if message.sender.as_ref() == Some(self.node.id()) && !self.node.uses_journal() => {}
            Ok(message) => self.node.deliver_recorded(message, offset),
            Err(error) => self.report_malformed(error),
        }
    }

    fn report_missed(&self, cause: &'static str) {
        self.node.report(ClusterError::new(ClusterErrorKind::Missed).caused_by(cause));
    }

    fn report_malformed(&self, error: WireError) {
        self.node.report(ClusterError::new(ClusterErrorKind::Malformed).caused_by(error));
    }
}

/// Returns the offset of a message: the sequence number of its batch, and the number of the batch with the index of the message.
pub(super) fn offset(sequence: u64, number: u32, index: usize) -> Offset {
    Offset::new(sequence, (u64::from(number) << 16) | index as u64)
}

/// Returns the sequence number in the stream of a message from a consumer. Newer servers may have more parts in the name:
/// `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<time>.<pending>[.<random>]`.
fn sequence(reply: &str) -> Option<u64> {
    let parts: Vec<_> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
    let place = if parts.len() == 7 { 3 } else { 5 };
    parts.get(place)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_number_is_found_in_both_forms() {
        assert_eq!(sequence("$JS.ACK.socket-io.aBc.1.42.7.1795824968000.0"), Some(42));
        assert_eq!(sequence("$JS.ACK._.hash.socket-io.aBc.1.42.7.1795824968000.0"), Some(42));
        assert_eq!(sequence("$JS.ACK._.hash.socket-io.aBc.1.42.7.1795824968000.0.xyz"), Some(42));
        for other in ["", "$JS.ACK.", "$JS.ACK.a.b.c.d.e.f.g", "_INBOX.x"] {
            assert_eq!(sequence(other), None, "{other}");
        }
    }

    #[test]
    fn offsets_of_a_batch_are_in_order_and_those_of_another_batch_differ() {
        assert!(offset(1, u32::MAX, 0xffff) < offset(2, 0, 0));
        assert!(offset(2, 7, 0) < offset(2, 7, 1));
        assert_ne!(offset(2, 7, 0), offset(2, 8, 0));
    }
}
