use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::{pin_project, pinned_drop};
use tokio::{
    task::unconstrained,
    time::{Instant, Sleep},
};

use crate::{
    engine::{
        CLOSE_TIMEOUT, CloseCause, Connection, Direct, HeldInput, Packet, Protocol, Reader, Session,
        connection::{Output, Rest},
        observe::OutboxDepth,
    },
    util::now,
};

use super::{PacketIo, TransportError};

/// How many packets are read before what they led to is written.
const READ_BATCH: usize = 64;

/// How many packets are given to the transport before it is flushed.
const SEND_BATCH: usize = 1024;

/// How often the driver goes round before it lets other tasks run.
const ROUNDS: usize = 16;

/// Drives a connection over a transport of frames: the one task that it has.
///
/// It reads what there is, handles it, writes everything that came of it, flushes once, and sleeps until the transport,
/// the outbox or the clock wakes it.
#[pin_project(PinnedDrop)]
pub(crate) struct Driver<T> {
    /// The session is new, and has not been polled yet.
    pub(super) begins: bool,
    connection: Arc<Connection>,
    #[pin]
    transport: T,
    /// Answers may be sent past the outbox: the transport can do that, and the client takes them as they are encoded.
    sends_now: bool,
    reader: Option<Box<dyn Reader>>,
    /// Something may have been read that has not been handled.
    holds_input: bool,
    /// Not all that has been taken out of the outbox is known to be written.
    unflushed: bool,
    #[pin]
    timer: Sleep,
    closing: Option<Closing>,
    /// The timer limits how long closing takes.
    closing_is_timed: bool,
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
    pub(super) fn new(connection: Arc<Connection>, transport: T) -> Self
    where
        T: PacketIo,
    {
        Self {
            begins: false,
            sends_now: T::CAN_SEND_NOW && connection.wire_format.protocol == Protocol::V4,
            connection,
            transport,
            reader: None,
            holds_input: false,
            unflushed: false,
            timer: tokio::time::sleep(Duration::ZERO),
            closing: None,
            closing_is_timed: false,
        }
    }
}

impl<T: PacketIo> Future for Driver<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::take(self.as_mut().project().begins) {
            self.connection.opened(cx);
        }
        for _ in 0..ROUNDS {
            if self.closing.is_some() {
                return self.poll_end(cx);
            }
            let read = self.as_mut().poll_read(cx);
            let rest = self.as_mut().poll_write(read.is_pending(), cx);
            if read.is_pending() && rest.is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<T: PacketIo> Driver<T> {
    /// Reads and handles a batch of packets. Ready if there may be more.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let reader = match this.reader {
            Some(reader) => reader,
            // A POST may still be under way when the upgrade completes.
            None => match ready!(this.connection.poll_take_reader(cx)) {
                Some(reader) => this.reader.insert(reader),
                // The session is over.
                None => return Poll::Ready(()),
            },
        };
        let connection = &**this.connection;
        for batch in 0..READ_BATCH {
            if connection.poll_reader_ready(&mut **reader, cx).is_pending() {
                *this.holds_input = true;
                return Poll::Pending;
            }
            let Poll::Ready(packet) = this.transport.as_mut().poll_next(cx) else {
                if batch > 0 {
                    *this.holds_input = !reader.is_idle();
                }
                *this.holds_input |= this.transport.unread_bytes() > 0;
                return Poll::Pending;
            };
            match packet {
                Some(Ok(packet)) => {
                    connection.engine.meters.received(connection, &packet);
                    if connection.handle_packet(&packet, true) {
                        let (transport, unflushed) = (this.transport.as_mut(), &mut *this.unflushed);
                        let mut send = send_now(connection, transport, unflushed);
                        let mut direct = Direct::new(if *this.sends_now { Some(&mut send) } else { None });
                        reader.receive(packet, &mut direct, cx);
                        if direct.was_used() {
                            // Packets queued by other tasks are sent with the next packet, or before the driver rests.
                            continue;
                        }
                    }
                }
                Some(Err(error)) => connection.abort(error.cause()),
                None => connection.abort(CloseCause::TransportClose),
            }
            // What it led to is given to the transport at once, while it is in the processor's cache.
            match poll_send(connection, this.transport.as_mut(), this.unflushed, cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => break,
                Poll::Ready(Err(error)) => connection.abort(error.cause()),
                Poll::Pending if connection.inspect(Session::closed).is_some() => break,
                Poll::Pending => {}
            }
        }
        Poll::Ready(())
    }

    /// Writes what waits, flushes once, and goes to sleep. Ready if something is to be done first. `all_read` says whether everything
    /// has been read that is there, or may be.
    fn poll_write(mut self: Pin<&mut Self>, all_read: bool, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            let mut this = self.as_mut().project();
            let flushed = match poll_flush(this.connection, this.transport.as_mut(), this.unflushed, cx) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(error)) => {
                    this.connection.abort(error.cause());
                    true
                }
                Poll::Pending => false,
            };
            if !flushed || *this.holds_input || this.connection.is_under_pressure() {
                let input = all_read.then(|| held_input(&*this.transport, this.reader.as_deref()));
                this.connection.note_pressure(flushed, this.transport.as_mut().take_written(), input);
            }
            match this.connection.rest(cx.waker(), flushed) {
                Rest::Over => {
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
                    // Whatever budget the task has left: `known` relies on it that the timer has seen the waker.
                    ready!(Pin::new(&mut unconstrained(this.timer.as_mut())).poll(cx));
                    if let Some(heard) = this.transport.take_heard() {
                        this.connection.update(|session| session.extend_heartbeat(heard));
                    }
                    this.connection.handle_timeout(now(), this.reader.is_some());
                }
            }
        }
        Poll::Ready(())
    }

    /// The session is over: its handlers run, and the transport is closed.
    fn begin_end(self: Pin<&mut Self>) {
        let this = self.project();
        this.connection.finish();
        *this.reader = None;
        *this.closing = Some(Closing::Telling);
    }

    fn poll_end(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.as_mut().poll_close(cx).is_ready() {
            return Poll::Ready(());
        }
        // Not before: mostly the peer is gone by now, and a timer may wake the thread that keeps the time.
        let mut this = self.project();
        if !std::mem::replace(this.closing_is_timed, true) {
            this.timer.as_mut().reset(Instant::now() + CLOSE_TIMEOUT);
        }
        // Whatever budget is left by a peer that goes on sending.
        Pin::new(&mut unconstrained(this.timer)).poll(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if *this.closing == Some(Closing::Telling) {
            if ready!(this.transport.as_mut().poll_close(cx)).is_err() {
                return Poll::Ready(());
            }
            *this.closing = Some(Closing::Waiting);
        }
        for _ in 0..READ_BATCH {
            if !matches!(ready!(this.transport.as_mut().poll_next(cx)), Some(Ok(_))) {
                return Poll::Ready(());
            }
        }
        // The peer goes on sending: other tasks run first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// What has been read and not been handled: part of a frame, a packet without all of its attachments, an event that may not start
/// yet.
fn held_input<T: PacketIo>(transport: &T, reader: Option<&dyn Reader>) -> HeldInput {
    let unread = transport.unread_bytes();
    let mut held = reader.map_or(HeldInput::default(), |reader| reader.held());
    held.is_incomplete |= unread > 0 && !held.is_stalled;
    held.bytes += unread;
    held
}

/// Returns a function that sends past the outbox, if nothing waits in it and the transport has room.
fn send_now<'a, T: PacketIo>(
    connection: &'a Connection,
    mut transport: Pin<&'a mut T>,
    unflushed: &'a mut bool,
) -> impl FnMut(&[u8], &[Packet]) -> bool + 'a {
    move |text, attachments| {
        let sent = connection.passes_outbox() && transport.as_mut().send_now(text, attachments);
        if sent {
            *unflushed = true;
            OutboxDepth::passed(connection, text, attachments);
        }
        sent
    }
}

/// Gives the transport what there is to send. Answers whether the session is open.
fn poll_send<T: PacketIo>(
    connection: &Connection,
    mut transport: Pin<&mut T>,
    unflushed: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<Result<bool, TransportError>> {
    let mut taken = OutboxDepth::before(connection);
    for _ in 0..SEND_BATCH {
        ready!(transport.as_mut().poll_ready(cx))?;
        match connection.pop_output() {
            Output::Packet { packet, more } => {
                taken.take(connection, &packet);
                *unflushed = true;
                transport.as_mut().start_send(packet)?;
                if !more {
                    break;
                }
            }
            Output::Nothing => break,
            Output::Over => return Poll::Ready(Ok(false)),
        }
    }
    Poll::Ready(Ok(true))
}

/// Gives the transport what there is to send, and has it written.
fn poll_flush<T: PacketIo>(
    connection: &Connection,
    mut transport: Pin<&mut T>,
    unflushed: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<Result<(), TransportError>> {
    // What has been given to the transport while packets were read is written first: mostly that was all.
    if !*unflushed {
        ready!(poll_send(connection, transport.as_mut(), unflushed, cx))?;
    }
    if *unflushed {
        ready!(transport.poll_flush(cx))?;
        *unflushed = false;
    }
    Poll::Ready(Ok(()))
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
