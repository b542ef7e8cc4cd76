use std::collections::VecDeque;

use tokio::sync::Notify;

use crate::{
    cluster::{error::PublishError, wire::nats::Batch},
    util::Mutex,
};

/// The messages that wait to be appended to the stream, limited in bytes.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    max_bytes: usize,
    /// The size up to which messages are added to a batch. A larger message is a batch by itself.
    batch_bytes: usize,
    ready: Notify,
}

struct Waiting {
    is_open: bool,
    bytes: usize,
    batches: VecDeque<Batch>,
}

impl Queue {
    pub(super) fn new(max_bytes: usize, batch_bytes: usize) -> Self {
        let waiting = Waiting { is_open: true, bytes: 0, batches: VecDeque::new() };
        Self { waiting: Mutex::new(waiting), max_bytes, batch_bytes, ready: Notify::new() }
    }

    /// Adds a message to the last batch, or to a new one.
    pub(super) fn push(&self, message: &[u8]) -> Result<(), PublishError> {
        {
            let mut waiting = self.waiting.lock();
            if !waiting.is_open {
                return Err(PublishError::Disconnected);
            }
            if message.len() > self.max_bytes.saturating_sub(waiting.bytes) {
                return Err(PublishError::Full);
            }
            waiting.bytes += message.len();
            let last = waiting.batches.back_mut();
            let is_added =
                last.is_some_and(|last| last.size() + message.len() <= self.batch_bytes && last.push(message));
            if !is_added {
                let mut batch = Batch::new(getrandom::u32().unwrap_or_default());
                batch.push(message);
                waiting.batches.push_back(batch);
            }
        }
        self.ready.notify_one();
        Ok(())
    }

    /// Takes the oldest batch.
    pub(super) fn take(&self) -> Option<Batch> {
        let mut waiting = self.waiting.lock();
        let batch = waiting.batches.pop_front()?;
        waiting.bytes -= batch.message_bytes();
        Some(batch)
    }

    /// Waits until there may be messages.
    pub(super) async fn ready(&self) {
        self.ready.notified().await;
    }

    /// Refuses messages, and drops those that wait. Returns how many.
    pub(super) fn close(&self) -> u64 {
        let mut waiting = self.waiting.lock();
        waiting.is_open = false;
        waiting.bytes = 0;
        std::mem::take(&mut waiting.batches).iter().map(|batch| batch.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_collected_up_to_a_size() {
        let queue = Queue::new(5000, 1000);
        let large = [0; 1000];
        for message in [&[1; 100][..], &[2; 200], &large, &[3; 100]] {
            queue.push(message).unwrap();
        }
        let counts: Vec<_> = std::iter::from_fn(|| queue.take()).map(|batch| batch.len()).collect();
        assert_eq!(counts, [2, 1, 1]);
    }

    #[test]
    fn its_size_is_limited() {
        let queue = Queue::new(300, 1000);
        queue.push(&[0; 100]).unwrap();
        queue.push(&[0; 200]).unwrap();
        assert_eq!(queue.push(&[0; 1]), Err(PublishError::Full));
        assert_eq!(queue.take().unwrap().len(), 2);
        queue.push(&[0; 300]).unwrap();
        assert_eq!((queue.close(), queue.push(&[])), (1, Err(PublishError::Disconnected)));
    }
}
