use std::{
    collections::VecDeque,
    fmt,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures_core::Stream;
use futures_sink::Sink;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::engine::{Packet, PacketType, TransportError};

/// What lies between a client and its server: the packets that are on their way in either direction.
#[derive(Default)]
pub(super) struct Wire {
    state: Mutex<State>,
    /// Something has arrived, has been handled, or has ended.
    changed: Notify,
}

#[derive(Default)]
struct State {
    to_server: VecDeque<Packet>,
    to_client: VecDeque<Packet>,
    /// The server, when it waits for a packet.
    server_reads: Option<Waker>,
    /// The server, when it waits until the client reads.
    server_writes: Option<Waker>,
    /// The server has handled all that was sent to it, and waits for more.
    settled: bool,
    answers_pings: bool,
    /// The client does not read.
    deaf: bool,
    /// The client has hung up.
    hung_up: bool,
    /// The server has closed the connection.
    closed: bool,
}

impl State {
    fn push(&mut self, packet: Packet) {
        self.settled = false;
        self.to_server.push_back(packet);
    }
}

impl Wire {
    pub(super) fn new(answers_pings: bool) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { answers_pings, ..State::default() }), changed: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Puts packets on their way to the server. Answers whether there is still one that may read them.
    pub(super) fn send(&self, packets: impl IntoIterator<Item = Packet>) -> bool {
        let mut state = self.state();
        packets.into_iter().for_each(|packet| state.push(packet));
        let (open, waker) = (!state.closed, state.server_reads.take());
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        open
    }

    /// The client is gone, or its network is.
    pub(super) fn hang_up(&self) {
        let mut state = self.state();
        state.hung_up = true;
        let wakers = [state.server_reads.take(), state.server_writes.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    pub(super) fn set_deaf(&self, deaf: bool) {
        let mut state = self.state();
        state.deaf = deaf;
        let waker = state.server_writes.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Waits until the server has begun to handle everything that was sent to it, or has closed the connection.
    pub(super) async fn settled(&self) {
        self.wait_for(|state| (state.settled || state.closed).then_some(())).await;
    }

    /// Waits until the server has closed the connection, and dealt with its end.
    pub(super) async fn closed(&self) {
        self.wait_for(|state| state.closed.then_some(())).await;
    }

    /// Waits until `take` finds what it looks for among the packets that have arrived; it is told too whether those are the
    /// last ones.
    pub(super) async fn take<R>(&self, mut take: impl FnMut(&mut VecDeque<Packet>, bool) -> Option<R>) -> R {
        self.wait_for(|state| take(&mut state.to_client, state.closed)).await
    }

    async fn wait_for<R>(&self, mut look: impl FnMut(&mut State) -> Option<R>) -> R {
        loop {
            // Before the look: what changes after it is not missed.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(found) = look(&mut self.state()) {
                return found;
            }
            changed.await;
        }
    }
}

/// The server's end of a [`Wire`].
pub(super) struct Transport(pub(super) Arc<Wire>);

impl Transport {
    fn close(&self) {
        self.0.state().closed = true;
        self.0.changed.notify_waiters();
    }

    /// Ready once the client reads, as a TCP connection is once the window opens.
    fn poll_writable(&self, cx: &Context<'_>) -> Poll<Result<(), TransportError>> {
        let mut state = self.0.state();
        // What is written to a client that has hung up is lost; the end is seen by reading.
        if state.deaf && !state.hung_up {
            state.server_writes = Some(cx.waker().clone());
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    }
}

impl Stream for Transport {
    type Item = Result<Packet, TransportError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.0.state();
        if let Some(packet) = state.to_server.pop_front() {
            return Poll::Ready(Some(Ok(packet)));
        }
        if state.hung_up || state.closed {
            return Poll::Ready(None);
        }
        state.server_reads = Some(cx.waker().clone());
        // Only now has the packet before been handled.
        state.settled = true;
        drop(state);
        self.0.changed.notify_waiters();
        Poll::Pending
    }
}

impl Sink<Packet> for Transport {
    type Error = TransportError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.poll_writable(cx)
    }

    fn start_send(self: Pin<&mut Self>, packet: Packet) -> Result<(), TransportError> {
        let mut state = self.0.state();
        let waker = if packet.packet_type() == PacketType::Ping && state.answers_pings {
            state.push(Packet::pong());
            state.server_reads.take()
        } else {
            state.to_client.push_back(packet);
            None
        };
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        self.0.changed.notify_waiters();
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.poll_writable(cx)
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.close();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Wire").field("unread", &state.to_client.len()).field("closed", &state.closed).finish()
    }
}
