use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use futures_sink::Sink;
use pin_project::{pin_project, pinned_drop};
use tokio::time::{Instant, Sleep};

use crate::{
    connection::{Connection, Inbound, now},
    engine::{CloseCause, Packet, Receipt, Session},
    observe::OutboxDepth,
};

use super::{CLOSE_TIMEOUT, TransportError};

/// How many packets are read before what they led to is written.
const READ_BATCH: usize = 64;

/// How often the driver goes round before it lets other tasks run.
const ROUNDS: usize = 16;

/// Drives a connection over a transport of frames: the one task that it has.
///
/// It reads what there is, handles it, writes everything that came of it, flushes once, and sleeps until the transport,
/// the outbox or the clock wakes it.
#[pin_project(PinnedDrop)]
pub(super) struct Driver<T> {
    connection: Arc<Connection>,
    #[pin]
    transport: T,
    inbound: Option<Inbound>,
    /// Taken out of the outbox and not yet given to the transport.
    outgoing: VecDeque<Packet>,
    unflushed: bool,
    #[pin]
    timer: Sleep,
    closing: Option<Closing>,
}

/// How far the end of the connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    /// The transport is being told.
    Telling,
    /// The peer has been told, and is heard out, so that its unread bytes do not cost it our last ones.
    Waiting,
}

impl<T> Driver<T> {
    pub(super) fn new(connection: Arc<Connection>, transport: T) -> Self {
        Self {
            connection,
            transport,
            inbound: None,
            outgoing: VecDeque::new(),
            unflushed: false,
            timer: tokio::time::sleep(Duration::ZERO),
            closing: None,
        }
    }
}

impl<T> Future for Driver<T>
where
    T: Stream<Item = Result<Packet, TransportError>> + Sink<Packet, Error = TransportError>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            if self.closing.is_some() {
                return self.poll_end(cx);
            }
            let read = self.as_mut().poll_read(cx);
            if let Err(error) = self.as_mut().poll_write(cx) {
                self.connection.abort(error.cause());
            }
            let timer = self.as_mut().poll_timer(cx);
            if self.connection.inspect(Session::closed).is_some() {
                self.as_mut().begin_end();
            } else if read.is_pending() && timer.is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<T> Driver<T>
where
    T: Stream<Item = Result<Packet, TransportError>> + Sink<Packet, Error = TransportError>,
{
    /// Reads and handles a batch of packets. Ready if there may be more.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let inbound = match this.inbound {
            Some(inbound) => inbound,
            // A POST may still be under way when the upgrade completes.
            None => match ready!(this.connection.poll_take_inbound(cx)) {
                Some(inbound) => this.inbound.insert(inbound),
                // The session is over.
                None => return Poll::Ready(()),
            },
        };
        for _ in 0..READ_BATCH {
            if inbound.poll_ready(this.connection, cx).is_pending() {
                return Poll::Pending;
            }
            match ready!(this.transport.as_mut().poll_next(cx)) {
                Some(Ok(packet)) => {
                    let connection = &this.connection;
                    connection.server.meters.received(connection, &packet);
                    if connection.update(|session| session.handle_packet(now, &packet)) == Receipt::Message {
                        inbound.receive(connection, &packet, cx);
                    }
                }
                Some(Err(error)) => this.connection.abort(error.cause()),
                None => this.connection.abort(CloseCause::TransportClose),
            }
            if this.connection.inspect(Session::closed).is_some() {
                break;
            }
        }
        Poll::Ready(())
    }

    /// Writes what waits, and flushes once.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Result<(), TransportError> {
        loop {
            let this = self.as_mut().project();
            if this.outgoing.is_empty() {
                let depth = OutboxDepth::before(this.connection);
                this.connection.take_output(this.outgoing);
                depth.taken_by_frames(this.connection, this.outgoing);
            }
            if this.outgoing.is_empty() {
                break;
            }
            if self.as_mut().poll_send(cx)?.is_pending() {
                return Ok(());
            }
        }
        let this = self.project();
        if *this.unflushed
            && let Poll::Ready(flushed) = this.transport.poll_flush(cx)
        {
            flushed?;
            *this.unflushed = false;
            this.connection.update(Session::flushed);
        }
        Ok(())
    }

    /// Gives the transport what has been taken out of the outbox.
    fn poll_send(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Result<Poll<()>, TransportError> {
        let mut this = self.project();
        while !this.outgoing.is_empty() {
            match this.transport.as_mut().poll_ready(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => return Ok(Poll::Pending),
            }
            if let Some(packet) = this.outgoing.pop_front() {
                *this.unflushed = true;
                this.transport.as_mut().start_send(packet)?;
            }
        }
        Ok(Poll::Ready(()))
    }

    /// Goes to sleep until something is to be done. Ready if something is already.
    fn poll_timer(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        // While the transport is blocked, new output must not wake us.
        let blocked = !this.outgoing.is_empty() || *this.unflushed;
        let deadline = match this.connection.rest(cx.waker(), false, blocked) {
            None | Some(Err(())) => return Poll::Ready(()),
            Some(Ok(deadline)) => Instant::from_std(deadline),
        };
        if this.timer.deadline() != deadline {
            this.timer.as_mut().reset(deadline);
        }
        ready!(this.timer.poll(cx));
        this.connection.handle_timeout(now(), this.inbound.is_some());
        Poll::Ready(())
    }

    /// The session is over: its handlers run, and the transport is closed.
    fn begin_end(self: Pin<&mut Self>) {
        let this = self.project();
        this.connection.finish();
        this.timer.reset(Instant::now() + CLOSE_TIMEOUT);
        *this.inbound = None;
        *this.closing = Some(Closing::Telling);
    }

    fn poll_end(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.as_mut().project().timer.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match self.as_mut().poll_send(cx) {
            Ok(Poll::Ready(())) => {}
            Ok(Poll::Pending) => return Poll::Pending,
            Err(_) => return Poll::Ready(()),
        }
        let mut this = self.project();
        if *this.closing == Some(Closing::Telling) {
            if ready!(this.transport.as_mut().poll_close(cx)).is_err() {
                return Poll::Ready(());
            }
            *this.closing = Some(Closing::Waiting);
        }
        loop {
            match ready!(this.transport.as_mut().poll_next(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(()),
            }
        }
    }
}

/// A task that is dropped, by a runtime that ends, leaves nothing behind.
#[pinned_drop]
impl<T> PinnedDrop for Driver<T> {
    fn drop(self: Pin<&mut Self>) {
        self.connection.abort(CloseCause::TransportClose);
        self.connection.finish();
        self.connection.mark_ended();
    }
}
