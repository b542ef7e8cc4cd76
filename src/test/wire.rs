use std::{
    collections::VecDeque,
    fmt,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures_core::Stream;
use futures_sink::Sink;
use tokio::sync::Notify;

use crate::{
    engine::{Packet, PacketType, TransportError},
    util::{Mutex, MutexGuard},
};

/// The connection between a client and its server: the packets that have not been read in each direction.
#[derive(Default)]
pub(super) struct Wire {
    state: Mutex<WireState>,
    /// Notified after each change of the state.
    changed: Notify,
}

#[derive(Default)]
struct WireState {
    to_server: VecDeque<Packet>,
    to_client: VecDeque<Packet>,
    /// The waker of a server that waits for a packet.
    server_reads: Option<Waker>,
    /// The waker of a server that waits until the client reads.
    server_writes: Option<Waker>,
    /// The server has handled all packets, and waits for more.
    settled: bool,
    answers_pings: bool,
    /// The client does not read.
    paused: bool,
    /// The client has closed the connection.
    disconnected: bool,
    /// The server has closed the connection.
    closed: bool,
}

impl WireState {
    fn push(&mut self, packet: Packet) {
        self.settled = false;
        self.to_server.push_back(packet);
    }
}

impl Wire {
    pub(super) fn new(answers_pings: bool) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(WireState { answers_pings, ..WireState::default() }),
            changed: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, WireState> {
        self.state.lock()
    }

    /// Sends packets to the server. Returns `false` if the server has closed the connection.
    pub(super) fn send(&self, packets: impl IntoIterator<Item = Packet>) -> bool {
        let mut state = self.state();
        packets.into_iter().for_each(|packet| state.push(packet));
        let (open, waker) = (!state.closed, state.server_reads.take());
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        open
    }

    /// Closes the connection on the client's side.
    pub(super) fn disconnect(&self) {
        let mut state = self.state();
        state.disconnected = true;
        let wakers = [state.server_reads.take(), state.server_writes.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    pub(super) fn set_paused(&self, paused: bool) {
        let mut state = self.state();
        state.paused = paused;
        let waker = state.server_writes.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Waits until the server has begun to handle all packets, or has closed the connection.
    pub(super) async fn settled(&self) {
        self.wait_for(|state| (state.settled || state.closed).then_some(())).await;
    }

    /// Waits until the server has closed the connection and called the handlers of the disconnection.
    pub(super) async fn closed(&self) {
        self.wait_for(|state| state.closed.then_some(())).await;
    }

    /// Waits until `take` returns a value. It gets the packets that have arrived, and whether the connection is closed.
    pub(super) async fn take<R>(&self, mut take: impl FnMut(&mut VecDeque<Packet>, bool) -> Option<R>) -> R {
        self.wait_for(|state| take(&mut state.to_client, state.closed)).await
    }

    async fn wait_for<R>(&self, mut look: impl FnMut(&mut WireState) -> Option<R>) -> R {
        loop {
            // Enabled before the check, so that no change is missed.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(found) = look(&mut self.state()) {
                return found;
            }
            changed.await;
        }
    }
}

/// The server's side of a [`Wire`].
pub(super) struct WireTransport(pub(super) Arc<Wire>);

impl WireTransport {
    fn close(&self) {
        self.0.state().closed = true;
        self.0.changed.notify_waiters();
    }

    /// Ready if the client reads, like a TCP connection with an open window.
    fn poll_writable(&self, cx: &Context<'_>) -> Poll<Result<(), TransportError>> {
        let mut state = self.0.state();
        // Packets for a disconnected client are lost. The server notices the end by reading.
        if state.paused && !state.disconnected {
            state.server_writes = Some(cx.waker().clone());
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    }
}

impl Stream for WireTransport {
    type Item = Result<Packet, TransportError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.0.state();
        if let Some(packet) = state.to_server.pop_front() {
            return Poll::Ready(Some(Ok(packet)));
        }
        if state.disconnected || state.closed {
            return Poll::Ready(None);
        }
        state.server_reads = Some(cx.waker().clone());
        // The previous packet has been handled.
        state.settled = true;
        drop(state);
        self.0.changed.notify_waiters();
        Poll::Pending
    }
}

impl Sink<Packet> for WireTransport {
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

impl Drop for WireTransport {
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
