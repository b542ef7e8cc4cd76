//! Long-polling: GET requests that wait for packets, and POST requests with packets.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use http_body::Body;
use pin_project::{pin_project, pinned_drop};
use tokio::time::{Instant, sleep_until};

use crate::{
    engine::{
        CloseCause, Connection, Direct, HeldInput, Payload, PayloadDecoder, Reader, Session, Transport,
        connection::{Turn, UNCOUNTED},
        encode_payload,
        observe::SendMeter,
    },
    util::now,
};

use super::driver::{READ_BATCH, READ_BATCH_BYTES};

/// The timer task of a session on long-polling. It finishes the connection, and ends when the session ends or is upgraded.
pub(crate) fn keep_time(connection: Arc<Connection>) -> impl Future<Output = ()> {
    // Created before the first poll: a task may be dropped without being polled.
    let guard = PollingGuard(connection);
    async move {
        let connection = &guard.0;
        let mut timer = pin!(sleep_until(Instant::now()));
        poll_fn(|cx| {
            while let Some(deadline) = connection.park_polling(cx.waker()) {
                timer.as_mut().reset(Instant::from_std(deadline));
                ready!(timer.as_mut().poll(cx));
                connection.handle_timeout(now(), true);
            }
            Poll::Ready(())
        })
        .await;
    }
}

/// Ends the connection when its task ends, unless another transport carries it.
struct PollingGuard(Arc<Connection>);

impl Drop for PollingGuard {
    fn drop(&mut self) {
        self.0.update(|session| {
            if session.is_polling() {
                session.abort(CloseCause::TransportClose);
            }
        });
        if self.0.inspect(Session::is_polling) {
            self.0.finish();
            self.0.mark_ended();
        }
    }
}

/// A pending GET: waits for packets to send.
pub(crate) struct PollFuture {
    connection: Arc<Connection>,
    answered: bool,
}

impl PollFuture {
    /// Begins a poll. Fails if another one is pending, and ends the session.
    pub(crate) fn begin(connection: Arc<Connection>) -> Result<Self, StatusCode> {
        if connection.update(Session::poll_begin) {
            Ok(Self { connection, answered: false })
        } else {
            Err(StatusCode::BAD_REQUEST)
        }
    }
}

impl Future for PollFuture {
    type Output = Payload;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Payload> {
        let depth =
            SendMeter::before(&self.connection.engine.meters, || self.connection.inspect(Session::buffered_bytes));
        let packets = ready!(self.connection.poll_answer(cx.waker()));
        depth.polled(&self.connection.engine.meters, &packets);
        packets.iter().for_each(|packet| self.connection.note_sent(packet));
        self.answered = true;
        Poll::Ready(encode_payload(&self.connection.wire_format, packets))
    }
}

impl Drop for PollFuture {
    fn drop(&mut self) {
        if !self.answered {
            self.connection.update(Session::poll_aborted);
        }
    }
}

impl fmt::Debug for PollFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollFuture").finish_non_exhaustive()
    }
}

/// A POST: reads the body, then handles its packets in order.
///
/// If it is dropped before it completes, the client has aborted the request. The session ends, because packets may be missing.
#[pin_project(PinnedDrop)]
pub(crate) struct PostFuture<B> {
    connection: Arc<Connection>,
    #[pin]
    body: B,
    octet_stream: bool,
    received: BytesMut,
    /// The length of the body.
    length: usize,
    packets: Option<PayloadDecoder>,
    /// The connection's turn, if the body has more packets than fit into one batch.
    turn: Option<Turn>,
    reader: Option<Box<dyn Reader>>,
    /// Whether the body is charged as unhandled input.
    held: bool,
    done: bool,
}

impl<B> PostFuture<B> {
    /// Begins a POST. Fails if another one is in progress, and ends the session.
    pub(crate) fn begin(connection: Arc<Connection>, octet_stream: bool, body: B) -> Result<Self, StatusCode> {
        if !connection.update(Session::post_begin) {
            return Err(StatusCode::BAD_REQUEST);
        }
        let received = BytesMut::new();
        Ok(Self {
            connection,
            body,
            octet_stream,
            received,
            length: 0,
            packets: None,
            turn: None,
            reader: None,
            held: false,
            done: false,
        })
    }
}

impl<B: Body> Future for PostFuture<B> {
    /// 200 if all packets have been handled. 400 if the payload is malformed, or if the session has ended or been upgraded before
    /// the payload was read. 413 if the payload is too large; then no packet has been handled.
    type Output = StatusCode;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<StatusCode> {
        let status = if self.reader.is_none() && self.connection.watch_post(cx.waker()) {
            StatusCode::BAD_REQUEST
        } else {
            ready!(self.as_mut().poll_post(cx)).err().unwrap_or(StatusCode::OK)
        };
        *self.project().done = true;
        Poll::Ready(status)
    }
}

impl<B: Body> PostFuture<B> {
    fn poll_post(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), StatusCode>> {
        if self.packets.is_none() {
            ready!(self.as_mut().poll_body(cx))?;
        }
        self.poll_packets(cx)
    }

    fn poll_body(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), StatusCode>> {
        let mut this = self.project();
        let limit = this.connection.engine.config.max_payload;
        let body = loop {
            let Poll::Ready(frame) = this.body.as_mut().poll_frame(cx) else {
                *this.held = true;
                this.connection.hold_input(HeldInput {
                    bytes: this.received.len(),
                    is_incomplete: true,
                    is_stalled: false,
                });
                return Poll::Pending;
            };
            match frame {
                None => break std::mem::take(this.received).freeze(),
                Some(Err(_)) => {
                    this.connection.abort(CloseCause::TransportError("data request connection closed prematurely"));
                    return Poll::Ready(Err(StatusCode::BAD_REQUEST));
                }
                Some(Ok(frame)) => {
                    let Ok(mut data) = frame.into_data() else { continue };
                    if this.received.len() + data.remaining() > limit {
                        return Poll::Ready(Err(StatusCode::PAYLOAD_TOO_LARGE));
                    }
                    if this.received.is_empty() && this.body.is_end_stream() {
                        // Copied, because it is a slice of the HTTP server's read buffer, which may be much larger than
                        // what a handler keeps of it.
                        if data.chunk().len() == data.remaining() {
                            break Bytes::copy_from_slice(data.chunk());
                        }
                    }
                    while data.has_remaining() {
                        let chunk = data.chunk();
                        this.received.extend_from_slice(chunk);
                        let length = chunk.len();
                        data.advance(length);
                    }
                }
            }
        };
        if *this.held || body.len() >= UNCOUNTED {
            this.connection.hold_input(HeldInput { bytes: body.len(), ..HeldInput::default() });
        }
        *this.length = body.len();
        match PayloadDecoder::new(&this.connection.wire_format, *this.octet_stream, body) {
            Ok(packets) => *this.packets = Some(packets),
            Err(error) => {
                this.connection.abort(CloseCause::ParseError(error.message()));
                return Poll::Ready(Err(StatusCode::BAD_REQUEST));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_packets(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), StatusCode>> {
        let this = self.project();
        let connection = this.connection;
        let reader = match this.reader {
            Some(reader) => reader,
            None => match ready!(connection.poll_take_reader(cx)) {
                Some(reader) => this.reader.insert(reader),
                None => return Poll::Ready(Err(StatusCode::BAD_REQUEST)),
            },
        };
        let turnstile = &connection.engine.turnstile;
        if this.turn.is_none() && *this.length > READ_BATCH_BYTES {
            *this.turn = Some(turnstile.again(None, cx.waker()));
        }
        if this.turn.as_ref().is_some_and(|turn| turnstile.is_waiting(turn, cx.waker())) {
            return Poll::Pending;
        }
        let (mut handled, mut bytes) = (0, 0);
        loop {
            if connection.poll_reader_ready(&mut **reader, cx).is_pending() {
                if let Some(turn) = this.turn.take() {
                    turnstile.end(&turn);
                }
                return Poll::Pending;
            }
            if handled == READ_BATCH || bytes >= READ_BATCH_BYTES || handled > 0 && connection.engine.is_shedding() {
                // Other tasks run: the number of packets in a payload is limited by its bytes only.
                *this.turn = Some(turnstile.again(this.turn.take(), cx.waker()));
                return Poll::Pending;
            }
            handled += 1;
            match this.packets.as_mut().and_then(Iterator::next) {
                None => return Poll::Ready(Ok(())),
                Some(Ok(packet)) => {
                    bytes += packet.len();
                    connection.engine.meters.received(Transport::Polling, &packet);
                    if connection.handle_packet(&packet, false) {
                        reader.receive(packet, &mut Direct::unavailable(), cx);
                    }
                }
                Some(Err(error)) => {
                    connection.abort(CloseCause::ParseError(error.message()));
                    return Poll::Ready(Err(StatusCode::BAD_REQUEST));
                }
            }
        }
    }
}

#[pinned_drop]
impl<B> PinnedDrop for PostFuture<B> {
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        if let Some(turn) = this.turn.take() {
            this.connection.engine.turnstile.end(&turn);
        }
        let is_idle = this.reader.as_ref().is_some_and(|reader| reader.is_idle());
        if let Some(reader) = this.reader.take() {
            this.connection.put_reader(reader);
        }
        if !is_idle || this.connection.is_under_pressure() {
            this.connection.hold_input(this.connection.held_input());
        }
        if *this.done {
            this.connection.update(Session::post_end);
        } else {
            this.connection.abort(CloseCause::TransportError("data request connection closed prematurely"));
        }
    }
}

impl<B> fmt::Debug for PostFuture<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostFuture").finish_non_exhaustive()
    }
}
