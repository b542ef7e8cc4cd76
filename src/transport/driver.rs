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
    connection::{Connection, Inbound, Rest, now},
    engine::{CloseCause, Packet, Session},
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
    outgoing: Outgoing,
    #[pin]
    timer: Sleep,
    closing: Option<Closing>,
}

/// What has been taken out of the outbox.
#[derive(Debug, Default)]
struct Outgoing {
    /// Not yet given to the transport.
    packets: VecDeque<Packet>,
    /// Not all that was taken is known to be written.
    unflushed: bool,
}

impl Outgoing {
    /// Takes what there is to send. Answers whether the session is open.
    fn take(&mut self, connection: &Connection) -> bool {
        if !self.packets.is_empty() {
            return connection.inspect(Session::closed).is_none();
        }
        let depth = OutboxDepth::before(connection);
        let is_open = connection.take_output(&mut self.packets);
        depth.taken_by_frames(connection, &self.packets);
        is_open
    }

    /// As [`Connection::rest`].
    fn rest(&mut self, connection: &Connection, cx: &mut Context<'_>, flushed: bool) -> Rest {
        let depth = OutboxDepth::before(connection);
        let rest = connection.rest(cx.waker(), flushed, &mut self.packets);
        if rest == Rest::Not {
            depth.taken_by_frames(connection, &self.packets);
        }
        rest
    }

    /// Gives the transport what has been taken.
    fn poll_send<T>(&mut self, mut transport: Pin<&mut T>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>>
    where
        T: Sink<Packet, Error = TransportError>,
    {
        while !self.packets.is_empty() {
            self.unflushed = true;
            ready!(transport.as_mut().poll_ready(cx))?;
            if let Some(packet) = self.packets.pop_front() {
                transport.as_mut().start_send(packet)?;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes all that has been taken.
    fn poll_flush<T>(&mut self, mut transport: Pin<&mut T>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>>
    where
        T: Sink<Packet, Error = TransportError>,
    {
        ready!(self.poll_send(transport.as_mut(), cx))?;
        if self.unflushed {
            ready!(transport.poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
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
            outgoing: Outgoing::default(),
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
            let rest = self.as_mut().poll_write(cx);
            if read.is_pending() && rest.is_pending() {
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
        let connection = &**this.connection;
        for _ in 0..READ_BATCH {
            if inbound.poll_ready(connection, cx).is_pending() {
                return Poll::Pending;
            }
            match ready!(this.transport.as_mut().poll_next(cx)) {
                Some(Ok(packet)) => {
                    connection.server.meters.received(connection, &packet);
                    if connection.handle_packet(&packet) {
                        inbound.receive(this.connection, packet, cx);
                    }
                }
                Some(Err(error)) => connection.abort(error.cause()),
                None => connection.abort(CloseCause::TransportClose),
            }
            // What it led to is given to the transport at once, while it is in the processor's cache.
            if !this.outgoing.take(connection) {
                break;
            }
            if let Poll::Ready(Err(error)) = this.outgoing.poll_send(this.transport.as_mut(), cx) {
                connection.abort(error.cause());
            }
        }
        Poll::Ready(())
    }

    /// Writes what waits, flushes once, and goes to sleep. Ready if something is to be done first.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            let mut this = self.as_mut().project();
            let flushed = match this.outgoing.poll_flush(this.transport.as_mut(), cx) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(error)) => {
                    this.connection.abort(error.cause());
                    true
                }
                Poll::Pending => false,
            };
            match this.outgoing.rest(this.connection, cx, flushed) {
                Rest::Not if this.connection.inspect(Session::closed).is_some() => {
                    self.begin_end();
                    return Poll::Ready(());
                }
                Rest::Not => {}
                Rest::Until { deadline, known } => {
                    if !known {
                        this.timer.as_mut().reset(Instant::from_std(deadline));
                    } else if !this.timer.is_elapsed() {
                        return Poll::Pending;
                    }
                    ready!(this.timer.poll(cx));
                    this.connection.handle_timeout(now(), this.inbound.is_some());
                }
            }
        }
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
        let mut this = self.as_mut().project();
        if ready!(this.outgoing.poll_send(this.transport.as_mut(), cx)).is_err() {
            return Poll::Ready(());
        }
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
