use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use async_nats::{Message, Subscriber};
use futures_util::StreamExt;

use crate::util::Mutex;

/// What a message costs beyond its bytes.
const OVERHEAD: usize = 256;

/// The messages that were received and wait for the driver, limited in bytes. The client of NATS limits their number only.
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    max_bytes: usize,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<Message>,
    bytes: usize,
    has_dropped: bool,
    waker: Option<Waker>,
}

impl Inbox {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { waiting: Mutex::default(), max_bytes }
    }

    /// Takes the messages of a subscription, as soon as they arrive.
    pub(super) async fn fill(self: Arc<Self>, mut subscription: Subscriber) {
        while let Some(message) = subscription.next().await {
            self.push(message);
        }
    }

    /// Adds a message, or drops it if there is no space.
    fn push(&self, message: Message) {
        let waker = {
            let mut waiting = self.waiting.lock();
            if message.length + OVERHEAD > self.max_bytes.saturating_sub(waiting.bytes) {
                waiting.has_dropped = true;
            } else {
                waiting.bytes += message.length + OVERHEAD;
                waiting.messages.push_back(message);
            }
            waiting.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Message> {
        let mut waiting = self.waiting.lock();
        if let Some(message) = waiting.messages.pop_front() {
            waiting.bytes -= message.length + OVERHEAD;
            return Poll::Ready(message);
        }
        if !waiting.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            waiting.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Returns `true` if a message was dropped since the last call.
    pub(super) fn take_dropped(&self) -> bool {
        std::mem::take(&mut self.waiting.lock().has_dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: usize) -> Message {
        Message {
            subject: "subject".into(),
            reply: None,
            payload: vec![0; bytes].into(),
            headers: None,
            status: None,
            description: None,
            length: bytes,
        }
    }

    #[test]
    fn messages_are_limited_in_bytes() {
        let inbox = Inbox::new(3 * (1000 + OVERHEAD));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            inbox.push(message(1000));
        }
        assert!(!inbox.take_dropped());
        inbox.push(message(0));
        assert!(inbox.take_dropped() && !inbox.take_dropped());
        assert_eq!(inbox.poll_next(&mut cx).map(|message| message.length), Poll::Ready(1000));
        inbox.push(message(1000));
        assert!(!inbox.take_dropped());
        for _ in 0..3 {
            assert!(inbox.poll_next(&mut cx).is_ready());
        }
        assert!(inbox.poll_next(&mut cx).is_pending());
    }
}
