use std::{collections::VecDeque, sync::Arc};

use tokio::sync::Notify;

use crate::{cluster::PublishError, util::Mutex};

/// What a message costs beyond its bytes.
pub(super) const OVERHEAD: usize = 64;

/// A message that waits in a [`Queue`].
pub(super) trait Queued {
    /// Returns how many bytes of the queue it takes.
    fn size(&self) -> usize;
}

/// A message on its way to a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Publication {
    pub(super) channel: String,
    pub(super) payload: Vec<u8>,
    /// Whether it answers a request of a node, which waits for it.
    pub(super) is_answer: bool,
    /// The only node that it is for.
    pub(super) node: Option<Arc<str>>,
    /// How often a node of a Redis Cluster said that another one has the channel.
    pub(super) redirected: u8,
}

impl Publication {
    pub(super) fn new(channel: String, payload: Vec<u8>) -> Self {
        Self { channel, payload, is_answer: false, node: None, redirected: 0 }
    }

    pub(super) fn answer(channel: String, payload: Vec<u8>) -> Self {
        Self { is_answer: true, ..Self::new(channel, payload) }
    }
}

impl Queued for Publication {
    fn size(&self) -> usize {
        self.channel.len() + self.payload.len() + OVERHEAD
    }
}

/// The messages that wait until they are sent, limited in bytes. Closed while there is no connection.
#[derive(Debug)]
pub(super) struct Queue<T = Publication> {
    waiting: Mutex<Waiting<T>>,
    max_bytes: usize,
    ready: Notify,
}

#[derive(Debug)]
struct Waiting<T> {
    open: bool,
    bytes: usize,
    messages: VecDeque<T>,
}

impl<T: Queued> Queue<T> {
    pub(super) fn new(max_bytes: usize) -> Self {
        let waiting = Waiting { open: true, bytes: 0, messages: VecDeque::new() };
        Self { waiting: Mutex::new(waiting), max_bytes, ready: Notify::new() }
    }

    pub(super) fn push(&self, message: T) -> Result<(), PublishError> {
        self.push_within(self.max_bytes, message)
    }

    /// Like [`push`](Self::push), and leaves half of the queue to others.
    pub(super) fn push_within_half(&self, message: T) -> Result<(), PublishError> {
        self.push_within(self.max_bytes / 2, message)
    }

    fn push_within(&self, max_bytes: usize, message: T) -> Result<(), PublishError> {
        let mut waiting = self.waiting.lock();
        if !waiting.open {
            return Err(PublishError::Disconnected);
        }
        let bytes = waiting.bytes.saturating_add(message.size());
        if bytes > max_bytes {
            return Err(PublishError::Full);
        }
        waiting.bytes = bytes;
        waiting.messages.push_back(message);
        drop(waiting);
        self.ready.notify_one();
        Ok(())
    }

    /// Waits until there may be messages.
    pub(super) async fn ready(&self) {
        self.ready.notified().await;
    }

    /// Takes messages of about this many bytes, but at least one if there is one.
    pub(super) fn take(&self, max_bytes: usize) -> Vec<T> {
        let mut waiting = self.waiting.lock();
        let (mut count, mut bytes) = (0, 0);
        for message in &waiting.messages {
            if count > 0 && bytes + message.size() > max_bytes {
                break;
            }
            bytes += message.size();
            count += 1;
        }
        waiting.bytes -= bytes;
        let taken = waiting.messages.drain(..count).collect();
        if !waiting.messages.is_empty() {
            self.ready.notify_one();
        }
        taken
    }

    /// Takes the messages that may overtake the others.
    pub(super) fn take_those(&self, may_overtake: impl Fn(&T) -> bool) -> Vec<T> {
        let mut waiting = self.waiting.lock();
        let (taken, left): (Vec<T>, Vec<T>) = std::mem::take(&mut waiting.messages).into_iter().partition(may_overtake);
        waiting.messages = left.into();
        waiting.bytes -= taken.iter().map(Queued::size).sum::<usize>();
        taken
    }

    /// Puts messages back, before those that wait, also if there is no space for them.
    pub(super) fn put_back(&self, messages: Vec<T>) {
        let mut waiting = self.waiting.lock();
        for message in messages.into_iter().rev() {
            waiting.bytes += message.size();
            waiting.messages.push_front(message);
        }
        drop(waiting);
        self.ready.notify_one();
    }

    pub(super) fn has_messages(&self) -> bool {
        !self.waiting.lock().messages.is_empty()
    }

    pub(super) fn open(&self) {
        self.waiting.lock().open = true;
    }

    /// Refuses messages, and drops those that wait. Returns how many.
    pub(super) fn close(&self) -> u64 {
        let mut waiting = self.waiting.lock();
        waiting.open = false;
        waiting.bytes = 0;
        std::mem::take(&mut waiting.messages).len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(number: u8) -> Publication {
        Publication::new("c".to_owned(), vec![number; 99])
    }

    const SIZE: usize = 100 + OVERHEAD;

    #[test]
    fn its_size_is_limited() {
        let queue = Queue::new(3 * SIZE);
        for number in 0..3 {
            queue.push(publication(number)).unwrap();
        }
        assert_eq!(queue.push(publication(3)), Err(PublishError::Full));
        assert_eq!(queue.take(2 * SIZE), [publication(0), publication(1)]);
        queue.push(publication(4)).unwrap();
        queue.push(publication(5)).unwrap();
        assert_eq!(queue.push(publication(6)), Err(PublishError::Full));
        assert_eq!(queue.take(usize::MAX), [publication(2), publication(4), publication(5)]);
    }

    #[test]
    fn one_message_is_taken_whatever_its_size() {
        let queue = Queue::new(3 * SIZE);
        queue.push(publication(0)).unwrap();
        queue.push(publication(1)).unwrap();
        assert_eq!(queue.take(1), [publication(0)]);
        assert_eq!(queue.take(1), [publication(1)]);
        assert_eq!(queue.take(1), []);
    }

    #[test]
    fn what_is_put_back_comes_first() {
        let queue = Queue::new(3 * SIZE);
        (0..3).for_each(|number| queue.push(publication(number)).unwrap());
        let taken = queue.take(2 * SIZE);
        queue.put_back(taken);
        assert_eq!(queue.take(usize::MAX), [publication(0), publication(1), publication(2)]);
    }

    #[test]
    fn some_messages_overtake_others() {
        let queue = Queue::new(4 * SIZE);
        (0..4).for_each(|number| queue.push(publication(number)).unwrap());
        assert_eq!(queue.take_those(|message| message.payload[0] % 2 == 1), [publication(1), publication(3)]);
        queue.push(publication(4)).unwrap();
        queue.push(publication(5)).unwrap();
        assert_eq!(queue.push(publication(6)), Err(PublishError::Full));
        assert_eq!(queue.take(usize::MAX), [publication(0), publication(2), publication(4), publication(5)]);
    }

    #[test]
    fn a_closed_queue_is_empty_and_takes_nothing() {
        let queue = Queue::new(3 * SIZE);
        queue.push(publication(0)).unwrap();
        queue.push(publication(1)).unwrap();
        assert_eq!(queue.close(), 2);
        assert_eq!(queue.push(publication(2)), Err(PublishError::Disconnected));
        assert_eq!(queue.close(), 0);
        queue.open();
        (0..3).for_each(|number| queue.push(publication(number)).unwrap());
    }
}
