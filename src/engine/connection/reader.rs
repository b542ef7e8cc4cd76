use std::{
    sync::atomic::Ordering,
    task::{Context, Poll},
};

use crate::{
    engine::{HeldInput, Reader},
    util::{MutexGuard, now},
};

use super::{reader_slot::ReaderSlot, shared::Connection};

impl Connection {
    /// Tells the handler that the session is open.
    pub(crate) fn opened(&self, cx: &mut Context<'_>) {
        if let Some(peer) = self.peer() {
            peer.opened(cx);
        }
    }

    /// Waits until another message can be handled. Meanwhile the client's silence is ignored.
    #[inline]
    pub(crate) fn poll_reader_ready(&self, reader: &mut dyn Reader, cx: &mut Context<'_>) -> Poll<()> {
        if reader.poll_ready(cx).is_pending() {
            self.stalled.store(true, Ordering::Relaxed);
            return Poll::Pending;
        }
        if self.stalled.load(Ordering::Relaxed) {
            self.stalled.store(false, Ordering::Relaxed);
            self.update(|session| session.extend_heartbeat(now()));
        }
        Poll::Ready(())
    }

    fn reader(&self) -> MutexGuard<'_, ReaderSlot> {
        #[cfg(test)]
        crate::util::interleave::point();
        self.reader.lock()
    }

    /// Takes the reader once the task that held it has put it back. Returns `None` if the connection has ended.
    pub(crate) fn poll_take_reader(&self, cx: &mut Context<'_>) -> Poll<Option<Box<dyn Reader>>> {
        let mut slot = self.reader();
        match slot.reader.take() {
            Some(reader) => Poll::Ready(Some(reader)),
            None if slot.closed => Poll::Ready(None),
            None => {
                slot.waiting = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Returns what the reader has received, but not handled.
    pub(crate) fn held_input(&self) -> HeldInput {
        self.reader().reader.as_ref().map(|reader| reader.held()).unwrap_or_default()
    }

    pub(crate) fn put_reader(&self, reader: Box<dyn Reader>) {
        let mut slot = self.reader();
        let waiting = slot.waiting.take();
        let unwanted = if slot.closed { Some(reader) } else { slot.reader.replace(reader) };
        drop(slot);
        drop(unwanted);
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    /// Drops the reader and what it has received, which a connection that is still referenced must not keep.
    pub(super) fn drop_reader(&self) {
        let mut slot = self.reader();
        slot.closed = true;
        let reader = slot.reader.take();
        let waiting = slot.waiting.take();
        drop(slot);
        drop(reader);
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}
