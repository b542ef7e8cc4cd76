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

use super::{PacketIo, TransportError, turnstile::Turn};

/// How many packets are read before what they led to is written, and other tasks run.
pub(super) const READ_BATCH: usize = 64;

/// How many bytes of packets are read before that. A packet that is larger has a turn by itself.
pub(super) const READ_BATCH_BYTES: usize = 16 * 1024;

/// How many bytes are sent in reply to them before that. One packet may lead to more, and is then the last of its turn.
const SENT_BATCH_BYTES: usize = 32 * 1024;

/// How long reading and handling them may take. The clock is looked at after 2, 4, 8, .. packets.
const READ_BATCH_TIME: Duration = Duration::from_millis(1);

/// How many packets are given to the transport before it is flushed.
const SEND_BATCH: usize = 1024;

/// How often the driver goes round, while it is not reading, before it lets other tasks run.
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
    /// There is more to handle than fits into the first turn.
    turn: Option<Turn>,
    /// What has been read, and waits for a turn.
    held: Option<Box<Packet>>,
}

/// How far the end of the connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    /// The transport is being told.
    Telling,
    /// The peer has been told, and is heard out, so that its unread bytes do not cost it our last ones.
    Waiting,
}

/// How reading a batch has ended, if not because there is nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Batch {
    /// It has as many packets as are read in one turn.
    Full,
    /// Something must be written first, or the session is over.
    Stopped,
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
            turn: None,
            held: None,
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
            let waits = self.turn.is_some() && self.waits_for_turn(cx);
            let read = if waits { Poll::Pending } else { self.as_mut().poll_read(cx) };
            let rest = self.as_mut().poll_write(read.is_pending() && !waits, cx);
            if self.turn.is_some() && !waits && read != Poll::Ready(Batch::Full) {
                self.as_mut().end_turn();
            }
            if read.is_pending() && rest.is_pending() {
                return Poll::Pending;
            }
            if read == Poll::Ready(Batch::Full) && self.closing.is_none() {
                self.begin_again(cx);
                if rest.is_ready() {
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<T> Driver<T> {
    /// Whether others are to be read first.
    #[cold]
    fn waits_for_turn(&self, cx: &Context<'_>) -> bool {
        self.turn.as_ref().is_some_and(|turn| self.connection.engine.turnstile.is_waiting(turn, cx.waker()))
    }

    /// A client that sends much has one turn among the others.
    #[cold]
    fn begin_again(self: Pin<&mut Self>, cx: &Context<'_>) {
        let this = self.project();
        *this.turn = Some(this.connection.engine.turnstile.again(this.turn.take(), cx.waker()));
    }

    #[cold]
    fn end_turn(self: Pin<&mut Self>) {
        let this = self.project();
        if let Some(turn) = this.turn.take() {
            this.connection.engine.turnstile.end(&turn);
        }
    }
}

impl<T: PacketIo> Driver<T> {
    /// Reads and handles a batch of packets. Ready if there may be more.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Batch> {
        let mut this = self.project();
        let reader = match this.reader {
            Some(reader) => reader,
            // A POST may still be under way when the upgrade completes.
            None => match ready!(this.connection.poll_take_reader(cx)) {
                Some(reader) => this.reader.insert(reader),
                // The session is over.
                None => return Poll::Ready(Batch::Stopped),
            },
        };
        let connection = &**this.connection;
        // The largest part of the work is in proportion to the bytes: it is not begun before its turn.
        let must_wait = match this.turn {
            Some(_) => connection.engine.is_shedding(),
            None => *this.holds_input && this.transport.unread_bytes() > READ_BATCH_BYTES,
        };
        if must_wait {
            return Poll::Ready(Batch::Full);
        }
        let (mut batch, mut bytes, mut sent, mut begin) = (0_usize, 0, 0, None);
        loop {
            if connection.poll_reader_ready(&mut **reader, cx).is_pending() {
                *this.holds_input = true;
                return Poll::Pending;
            }
            let packet = match this.turn.as_ref().and_then(|_| this.held.take()) {
                Some(packet) => Poll::Ready(Some(Ok(*packet))),
                None => this.transport.as_mut().poll_next(cx),
            };
            let Poll::Ready(packet) = packet else {
                if batch > 0 {
                    *this.holds_input = !reader.is_idle();
                }
                *this.holds_input |= this.transport.unread_bytes() > 0;
                return Poll::Pending;
            };
            let mut is_direct = false;
            match packet {
                Some(Ok(packet)) => {
                    bytes += packet.len();
                    if bytes > READ_BATCH_BYTES && this.turn.is_none() {
                        *this.held = Some(Box::new(packet));
                        return Poll::Ready(Batch::Full);
                    }
                    connection.engine.meters.received(connection, &packet);
                    if connection.handle_packet(&packet, true) {
                        let (transport, unflushed) = (this.transport.as_mut(), &mut *this.unflushed);
                        let mut send = send_now(connection, transport, unflushed);
                        let mut direct = Direct::new(if *this.sends_now { Some(&mut send) } else { None });
                        reader.receive(packet, &mut direct, cx);
                        is_direct = direct.was_used();
                    }
                }
                Some(Err(error)) => connection.abort(error.cause()),
                None => connection.abort(CloseCause::TransportClose),
            }
            // What it led to is given to the transport at once, while it is in the processor's cache. After a direct reply, packets that
            // other tasks have queued are sent with the next packet, or before the driver rests.
            if !is_direct {
                match poll_send(connection, this.transport.as_mut(), this.unflushed, &mut sent, cx) {
                    Poll::Ready(Ok(true)) => {}
                    Poll::Ready(Ok(false)) => return Poll::Ready(Batch::Stopped),
                    Poll::Ready(Err(error)) => connection.abort(error.cause()),
                    Poll::Pending if connection.inspect(Session::closed).is_some() => {
                        return Poll::Ready(Batch::Stopped);
                    }
                    Poll::Pending => {}
                }
            }
            batch += 1;
            let is_full = batch == READ_BATCH
                || bytes >= READ_BATCH_BYTES
                || sent >= SENT_BATCH_BYTES
                || connection.engine.is_shedding();
            if is_full || batch > 1 && batch.is_power_of_two() && takes_long(&mut begin) {
                return Poll::Ready(Batch::Full);
            }
        }
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
    fn begin_end(mut self: Pin<&mut Self>) {
        if self.turn.is_some() {
            self.as_mut().end_turn();
        }
        let mut this = self.project();
        this.connection.finish();
        *this.reader = None;
        *this.held = None;
        // Closing may take a while, and the peer's message is of no use any more.
        if this.transport.unread_bytes() > READ_BATCH_BYTES {
            this.transport.as_mut().forget_unread();
        }
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

/// Whether a batch has taken its time since this was first asked.
#[inline(never)]
fn takes_long(begin: &mut Option<Instant>) -> bool {
    begin.get_or_insert_with(Instant::now).elapsed() > READ_BATCH_TIME
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
    sent: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<Result<bool, TransportError>> {
    let mut taken = OutboxDepth::before(connection);
    for _ in 0..SEND_BATCH {
        ready!(transport.as_mut().poll_ready(cx))?;
        match connection.pop_output() {
            Output::Packet { packet, more } => {
                taken.take(connection, &packet);
                *unflushed = true;
                *sent += packet.len();
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
        ready!(poll_send(connection, transport.as_mut(), unflushed, &mut 0, cx))?;
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
    fn drop(mut self: Pin<&mut Self>) {
        if self.turn.is_some() {
            self.as_mut().end_turn();
        }
        self.connection.abort(CloseCause::TransportClose);
        self.connection.finish();
        self.connection.mark_ended();
    }
}
