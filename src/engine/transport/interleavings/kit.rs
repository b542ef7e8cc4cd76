//! A connection without a network. The test controls its transport and its protocol.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures_core::Stream;
use futures_sink::Sink;
use http::Request;
use http_body::{Body, Frame};
use tokio::runtime::Runtime;

use crate::{
    engine::{
        CloseCause, Connect, Connection, ConnectionRequest, Direct, Engine, EngineIoConfig, HeldInput, Packet,
        PacketType, Peer, ProtocolVersion, Reader, Transport, TransportError, WireFormat, generate_id,
    },
    util::{Mutex, MutexGuard, interleave::point},
};

/// Returns a runtime whose clock stands still: no timer rescues a task that has not been woken.
pub(super) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// What the protocol above the engine has seen of a session.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) received: Mutex<Vec<String>>,
    ends: AtomicUsize,
    dropped_readers: AtomicUsize,
}

impl Seen {
    /// Returns how many times the peer has been notified of the end.
    pub(super) fn ends(&self) -> usize {
        self.ends.load(Ordering::Relaxed)
    }

    /// Returns `true` if the reader has been dropped.
    pub(super) fn reader_is_dropped(&self) -> bool {
        self.dropped_readers.load(Ordering::Relaxed) == 1
    }

    pub(super) fn received(&self) -> Vec<String> {
        self.received.lock().clone()
    }
}

/// Opens a session. Its reader answers each message with the same message.
pub(super) fn open(transport: Transport) -> (Arc<Connection>, Arc<Seen>) {
    let seen = Arc::<Seen>::default();
    let engine = Engine::new(EngineIoConfig::new(), Box::new(Echo(seen.clone())));
    let parts = Request::new(()).into_parts().0;
    let request = ConnectionRequest::new(parts, usize::MAX).unwrap();
    let wire_format = WireFormat::default_for(ProtocolVersion::V4);
    let connection = Connection::open(engine, generate_id(), request, transport, wire_format, None);
    (connection.unwrap_or_else(|_| panic!("the session is refused")), seen)
}

/// Sends a message, and calls the waker that this returns.
pub(super) fn send(connection: &Connection, text: &str) {
    if let Ok(sent) = connection.send(&[Packet::message(text)], false, || true)
        && let Some(waker) = sent.waker
    {
        waker.wake();
    }
}

/// Sends a message, and writes it for the driver.
pub(super) fn send_and_write(connection: &Connection, text: &str) {
    if let Ok(sent) = connection.send(&[Packet::message(text)], false, || true)
        && let Some(waker) = sent.waker
        && !connection.write()
    {
        waker.wake();
    }
}

struct Echo(Arc<Seen>);

impl Connect for Echo {
    fn connect(&self, connection: &Arc<Connection>) -> Option<(Arc<dyn Peer>, Box<dyn Reader>)> {
        let reader = EchoReader { connection: connection.clone(), seen: self.0.clone() };
        Some((Arc::new(EchoPeer(self.0.clone())), Box::new(reader)))
    }
}

struct EchoPeer(Arc<Seen>);

impl Peer for EchoPeer {
    fn opened(self: Arc<Self>, _: &mut Context<'_>) {}

    fn closed(self: Arc<Self>, _: CloseCause) {
        self.0.ends.fetch_add(1, Ordering::Relaxed);
    }

    fn leave(&self, _: bool) {}

    fn shut_down(&self, _: bool) {}

    fn is_busy(&self) -> bool {
        false
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn std::any::Any + Send + Sync> {
        self
    }
}

struct EchoReader {
    connection: Arc<Connection>,
    seen: Arc<Seen>,
}

impl Reader for EchoReader {
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn receive(&mut self, message: Packet, _: &mut Direct<'_>, _: &mut Context<'_>) {
        let text = text(&message);
        send(&self.connection, &text);
        self.seen.received.lock().push(text);
    }

    fn held(&self) -> HeldInput {
        HeldInput::default()
    }

    fn is_idle(&self) -> bool {
        true
    }
}

impl Drop for EchoReader {
    fn drop(&mut self) {
        self.seen.dropped_readers.fetch_add(1, Ordering::Relaxed);
    }
}

fn text(packet: &Packet) -> String {
    String::from_utf8_lossy(packet.data()).into_owned()
}

/// A transport that takes one packet before it must be flushed.
#[derive(Clone, Default)]
pub(super) struct Pipe(Arc<Mutex<PipeState>>);

#[derive(Default)]
struct PipeState {
    /// What the client sends.
    input: VecDeque<Packet>,
    is_closed: bool,
    reading: Option<Waker>,
    /// What is not flushed.
    buffer: Vec<Packet>,
    is_full: bool,
    writing: Option<Waker>,
    /// What the client has got.
    sent: Vec<Packet>,
    is_stuck: bool,
    /// How many times the transport has woken its task.
    wakes: usize,
}

impl Pipe {
    /// A transport that accepts nothing before [`drain`](Self::drain).
    pub(super) fn full() -> Self {
        let pipe = Self::default();
        pipe.0.lock().is_full = true;
        pipe
    }

    /// A transport that takes all packets, but writes none, and whose client does not close the connection.
    pub(super) fn stuck() -> Self {
        let pipe = Self::full();
        pipe.0.lock().is_stuck = true;
        pipe
    }

    /// Lets the client send a packet.
    pub(super) fn push(&self, packet: Packet) {
        let mut state = self.state();
        state.input.push_back(packet);
        let waker = state.reading.take();
        Self::wake(state, waker);
    }

    /// Lets the client close the connection.
    pub(super) fn hang_up(&self) {
        let mut state = self.state();
        state.is_closed = true;
        let waker = state.reading.take();
        Self::wake(state, waker);
    }

    /// Makes the transport writable.
    pub(super) fn drain(&self) {
        let mut state = self.state();
        state.is_full = false;
        let waker = state.writing.take();
        Self::wake(state, waker);
    }

    /// Returns the messages that the client has got.
    pub(super) fn sent(&self) -> Vec<String> {
        let state = self.0.lock();
        state.sent.iter().filter(|packet| packet.packet_type() == PacketType::Message).map(text).collect()
    }

    pub(super) fn wakes(&self) -> usize {
        self.0.lock().wakes
    }

    fn wake(mut state: MutexGuard<'_, PipeState>, waker: Option<Waker>) {
        state.wakes += usize::from(waker.is_some());
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, PipeState> {
        point();
        self.0.lock()
    }
}

impl Stream for Pipe {
    type Item = Result<Packet, TransportError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.state();
        match state.input.pop_front() {
            Some(packet) => Poll::Ready(Some(Ok(packet))),
            None if state.is_closed => Poll::Ready(None),
            None => {
                state.reading = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Sink<Packet> for Pipe {
    type Error = TransportError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let has_room = {
            let state = self.0.lock();
            state.is_stuck || state.buffer.is_empty()
        };
        if has_room { Poll::Ready(Ok(())) } else { self.poll_flush(cx) }
    }

    fn start_send(self: Pin<&mut Self>, packet: Packet) -> Result<(), TransportError> {
        self.0.lock().buffer.push(packet);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let mut state = self.state();
        if state.is_full {
            state.writing = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let PipeState { buffer, sent, .. } = &mut *state;
        sent.append(buffer);
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let mut state = self.state();
        state.is_closed |= !state.is_stuck;
        Poll::Ready(Ok(()))
    }
}

/// The body of a POST that never arrives.
pub(super) struct Silence;

impl Body for Silence {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}
