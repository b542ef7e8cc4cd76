//! The two streams of an exchange, with their windows.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::util::Mutex;

use super::{
    message::{Chunk, Content, Message, Position, ResponseHead},
    node_id::NodeId,
    shared::{Exchange, Incoming, Outgoing, Relay, State},
};

/// How many bytes of a stream may be on their way or unread.
pub(super) const WINDOW: usize = 64 * 1024;

/// How many bytes of a stream a message has. Brokers limit the size of messages.
const CHUNK: usize = 16 * 1024;

/// Error of a stream whose exchange is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection to the other node is over")]
pub(crate) struct Broken;

/// An extension of a forwarded request for a WebSocket, in place of hyper's `OnUpgrade`.
#[derive(Clone)]
pub(crate) struct Tunnel(pub(crate) Arc<Exchange>);

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnel").finish_non_exhaustive()
    }
}

impl Exchange {
    pub(super) fn new(relay: Arc<Relay>, peer: NodeId, number: u64, is_owner: bool) -> Self {
        let outgoing = Outgoing { sent: 0, granted: WINDOW as u64, ended: false, has_head: false };
        let state = State {
            incoming: Incoming::default(),
            outgoing,
            is_open: false,
            broken: false,
            heard: None,
            reader: None,
            writer: None,
            watcher: None,
            opener: None,
        };
        Self { relay, peer, number, is_owner, state: Mutex::new(state) }
    }

    /// Sends a message about the exchange. If it cannot be sent, the exchange is over.
    pub(super) fn send(&self, content: Content) {
        let message = Message { sender: self.relay.id, number: self.number, from_owner: self.is_owner, content };
        if !(self.relay.send)(&self.peer.to_hex(), message.encode()) {
            self.break_off();
        }
    }

    /// Ends the exchange. What has been received can still be read.
    pub(super) fn break_off(&self) {
        let wakers = {
            let mut state = self.state.lock();
            state.broken = true;
            state.take_wakers()
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    // The stream from the other node.

    /// Handles a message, other than those that begin an exchange.
    pub(super) fn receive(&self, content: Content) {
        let (wakers, is_valid) = {
            let mut state = self.state.lock();
            if matches!(content, Content::Accept(position) if !state.incoming.is_at(position)) {
                // It may have overtaken data, which another task sends. If the data does not follow, the owner counts as silent.
                return;
            }
            state.heard = Some(Instant::now());
            if state.broken {
                return;
            }
            let is_valid = match content {
                Content::Head(head, chunk) if !state.incoming.has_head => {
                    state.incoming.has_head = true;
                    state.incoming.head = Some(head);
                    self.receive_chunk(&mut state.incoming, 0, chunk)
                }
                Content::Data(offset, chunk) => self.receive_chunk(&mut state.incoming, offset, chunk),
                Content::Credit(offset) => {
                    state.outgoing.granted = state.outgoing.granted.max(offset);
                    true
                }
                Content::Accept(_) => true,
                // The asker sends it in order with its data.
                Content::Check(position) => state.incoming.is_at(position),
                Content::Reset => {
                    state.broken = true;
                    true
                }
                Content::Begin(..) | Content::Head(..) => false,
            };
            state.broken |= !is_valid;
            (state.take_wakers(), is_valid)
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
        if !is_valid {
            self.send(Content::Reset);
        }
    }

    /// Takes over the bytes that came with the head of the request.
    pub(super) fn receive_first(&self, chunk: Chunk) -> bool {
        let incoming = &mut self.state.lock().incoming;
        incoming.has_head = true;
        self.receive_chunk(incoming, 0, chunk)
    }

    /// Returns `false` if bytes are missing, or if there are more than the window allows.
    fn receive_chunk(&self, incoming: &mut Incoming, offset: u64, chunk: Chunk) -> bool {
        let length = chunk.bytes.len();
        let is_valid = offset == incoming.received
            && !incoming.ended
            && incoming.unread + length <= WINDOW
            && self.relay.hold(length, incoming.unread == 0);
        if is_valid {
            incoming.received += length as u64;
            incoming.unread += length;
            incoming.ended = chunk.end;
            if length > 0 {
                incoming.chunks.push_back(chunk.bytes);
            }
        }
        is_valid
    }

    /// Returns the head of the response.
    pub(super) fn poll_head(&self, cx: &Context<'_>) -> Poll<Result<ResponseHead, Broken>> {
        let mut state = self.state.lock();
        match state.incoming.head.take() {
            Some(head) => Poll::Ready(Ok(head)),
            None if state.broken => Poll::Ready(Err(Broken)),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Returns the next bytes, at most `max`. `None` is the end of the stream.
    pub(super) fn poll_data(&self, cx: &Context<'_>, max: usize) -> Poll<Option<Result<Bytes, Broken>>> {
        let (bytes, is_due) = {
            let mut state = self.state.lock();
            let incoming = &mut state.incoming;
            let Some(chunk) = incoming.chunks.front_mut() else {
                if incoming.ended {
                    return Poll::Ready(None);
                }
                if state.broken {
                    return Poll::Ready(Some(Err(Broken)));
                }
                state.reader = Some(cx.waker().clone());
                return Poll::Pending;
            };
            let bytes = chunk.split_to(max.min(chunk.len()));
            if chunk.is_empty() {
                incoming.chunks.pop_front();
            }
            self.relay.release(bytes.len());
            incoming.unread -= bytes.len();
            incoming.uncredited += bytes.len();
            (bytes, incoming.uncredited >= WINDOW / 2)
        };
        if is_due {
            self.send_credit();
        }
        Poll::Ready(Some(Ok(bytes)))
    }

    /// Tells the other node how much it may send.
    pub(super) fn send_credit(&self) {
        let credit = {
            let mut state = self.state.lock();
            if state.broken || state.incoming.ended {
                return;
            }
            let incoming = &mut state.incoming;
            incoming.uncredited = 0;
            incoming.received - incoming.unread as u64 + WINDOW as u64
        };
        self.send(Content::Credit(credit));
    }

    /// Returns whether the stream has ended and has been read, with its number of unread bytes.
    pub(super) fn unread(&self) -> (bool, usize) {
        let state = self.state.lock();
        (state.incoming.ended, state.incoming.unread)
    }

    // The stream to the other node.

    /// Returns how many bytes may be sent in one message, at least one.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<Result<usize, Broken>> {
        let mut state = self.state.lock();
        if state.broken || state.outgoing.ended {
            return Poll::Ready(Err(Broken));
        }
        match state.outgoing.room() {
            0 => {
                state.writer = Some(cx.waker().clone());
                Poll::Pending
            }
            room => Poll::Ready(Ok(room)),
        }
    }

    /// Sends bytes from the front of `bytes`, as many as fit into the window and into one message.
    pub(crate) fn poll_write(&self, cx: &Context<'_>, bytes: &mut Bytes) -> Poll<Result<(), Broken>> {
        let room = ready!(self.poll_room(cx))?;
        let chunk = bytes.split_to(bytes.len().min(room));
        let offset = {
            let outgoing = &mut self.state.lock().outgoing;
            let offset = outgoing.sent;
            outgoing.sent += chunk.len() as u64;
            offset
        };
        self.send(Content::Data(offset, Chunk { bytes: chunk, end: false }));
        Poll::Ready(Ok(()))
    }

    /// Ends the stream. Does nothing if it has ended.
    pub(crate) fn end(&self) {
        let offset = {
            let mut state = self.state.lock();
            if state.broken || std::mem::replace(&mut state.outgoing.ended, true) {
                return;
            }
            state.outgoing.sent
        };
        self.send(Content::Data(offset, Chunk { bytes: Bytes::new(), end: true }));
    }

    /// Takes the part of a stream that is sent with the head, from the front of `bytes`.
    pub(super) fn first_chunk(&self, bytes: &mut Bytes, ends: bool) -> Chunk {
        let outgoing = &mut self.state.lock().outgoing;
        let bytes_now = bytes.split_to(bytes.len().min(CHUNK));
        outgoing.has_head = true;
        outgoing.sent = bytes_now.len() as u64;
        outgoing.ended = ends && bytes.is_empty();
        Chunk { bytes: bytes_now, end: outgoing.ended }
    }

    /// Tells the asker that the request is in progress.
    pub(crate) fn accept(&self) {
        self.send(Content::Accept(self.position()));
    }

    fn position(&self) -> Position {
        let outgoing = &self.state.lock().outgoing;
        Position { sent: outgoing.sent, ended: outgoing.ended, has_head: outgoing.has_head }
    }

    /// Asks the owner whether the request is in progress. Like the response, it repeats what may have been lost without being noticed.
    pub(super) fn check(&self) {
        self.send(Content::Check(self.position()));
        self.send_credit();
    }

    /// Responds to a check.
    pub(super) fn checked(&self, position: Position) {
        self.receive(Content::Check(position));
        self.accept();
        self.send_credit();
    }

    /// Sends the head of the response, and part of its body, from the front of `body`. A tunnel opens, and ends later.
    pub(crate) fn respond(&self, head: ResponseHead, body: &mut Bytes) {
        let chunk = self.first_chunk(body, !head.is_tunnel);
        self.send(Content::Head(head, chunk));
        let wakers = self.state.lock().open();
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    // Its end.

    /// Waits until the asker has ended the exchange.
    pub(crate) fn poll_broken(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.broken {
            return Poll::Ready(());
        }
        state.watcher = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Waits until the response has been sent, so that a tunnel may be used.
    pub(crate) fn poll_open(&self, cx: &Context<'_>) -> Poll<Result<(), Broken>> {
        let mut state = self.state.lock();
        if state.broken {
            return Poll::Ready(Err(Broken));
        }
        if state.is_open {
            return Poll::Ready(Ok(()));
        }
        state.opener = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Outgoing {
    /// Returns how many bytes may be sent in one message.
    fn room(&self) -> usize {
        let room = self.granted.saturating_sub(self.sent);
        usize::try_from(room).unwrap_or(usize::MAX).min(CHUNK)
    }
}

impl Incoming {
    fn is_at(&self, position: Position) -> bool {
        (self.received, self.ended, self.has_head) == (position.sent, position.ended, position.has_head)
    }
}

impl State {
    fn open(&mut self) -> [Option<Waker>; 4] {
        self.is_open = true;
        self.take_wakers()
    }

    fn take_wakers(&mut self) -> [Option<Waker>; 4] {
        [self.reader.take(), self.writer.take(), self.watcher.take(), self.opener.take()]
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.relay.forget(self);
        let state = self.state.get_mut();
        let is_complete = state.incoming.ended && state.outgoing.ended;
        let (unread, is_over) = (state.incoming.unread, state.broken || is_complete);
        self.relay.release(unread);
        if !is_over {
            self.send(Content::Reset);
        }
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}
