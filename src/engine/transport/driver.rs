use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{Ordering, fence},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use pin_project::{pin_project, pinned_drop};
use tokio::{
    task::unconstrained,
    time::{Instant, Sleep},
};

use crate::{
    engine::{
        CloseCause, Connection, Direct, HeldInput, Outlet, Packet, ProtocolVersion, Reader, Session,
        connection::{Output, Park, Turn},
        observe::SendMeter,
    },
    util::{Mutex, MutexGuard, now},
};

use super::{
    error::TransportError,
    packet_io::{CLOSE_TIMEOUT, PacketIo},
};

/// How many packets are read before the output is flushed and other tasks run.
pub(super) const READ_BATCH: usize = 64;

/// How many bytes of packets are read before the output is flushed and other tasks run. A larger packet gets its own turn.
pub(super) const READ_BATCH_BYTES: usize = 16 * 1024;

/// How many bytes of output a batch may lead to. A packet that leads to more is the last of its batch.
const SENT_BATCH_BYTES: usize = 32 * 1024;

/// How long a batch may take. The clock is read after 2, 4, 8, .. packets.
const READ_BATCH_TIME: Duration = Duration::from_millis(1);

/// How many packets are passed to the transport before it is flushed.
const SEND_BATCH: usize = 1024;

/// How many iterations a poll makes before other tasks run.
const ROUNDS: usize = 16;

/// The task of a connection over a stream.
///
/// It reads and handles available packets, passes the output of each to the transport, flushes once, and parks until the
/// transport, the outbox or the timer wakes it.
#[pin_project]
pub(crate) struct Driver<T> {
    #[pin]
    task: Task,
    line: Arc<Mutex<Line<T>>>,
}

/// What a driver has besides its stream.
#[pin_project(PinnedDrop)]
struct Task {
    /// The session is new, and the driver has not been polled.
    is_new: bool,
    connection: Arc<Connection>,
    /// Whether responses may bypass the outbox. Requires support by the transport, and a client that needs no other encoding.
    sends_direct: bool,
    /// Whether unhandled input may exist.
    holds_input: bool,
    #[pin]
    timer: Sleep,
    closing: Option<Closing>,
    /// The timer has been set to limit the time that closing takes.
    closing_is_timed: bool,
    /// The connection's turn, if it has more input than fits into one batch.
    turn: Option<Turn>,
    /// A packet that has been read and waits for a turn.
    held: Option<Box<Packet>>,
}

/// A stream, which its driver shares with [tasks that write for it](Outlet). Neither waits for its lock.
struct Line<T> {
    transport: T,
    /// Receives what arrives.
    reader: Option<Box<dyn Reader>>,
    /// Set while packets taken from the outbox have not been flushed.
    unflushed: bool,
}

impl<T: PacketIo + Unpin + Send> Outlet for Mutex<Line<T>> {
    fn write(&self, connection: &Connection) -> bool {
        if connection.is_under_pressure() {
            return false;
        }
        let Some(mut line) = self.try_lock() else { return false };
        let parked = line.write(connection);
        drop(line);
        fence(Ordering::SeqCst);
        !connection.awaits_stream.load(Ordering::Relaxed) && parked
    }
}

impl<T: PacketIo + Unpin> Line<T> {
    /// Writes what is queued, and parks the driver again. Returns `false` if the driver must be woken.
    fn write(&mut self, connection: &Connection) -> bool {
        for _ in 0..ROUNDS {
            let (transport, mut cx) = (Pin::new(&mut self.transport), Context::from_waker(Waker::noop()));
            match poll_flush(connection, transport, &mut self.unflushed, &mut cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    connection.abort(error.cause());
                    return false;
                }
                Poll::Pending => return false,
            }
            if let Poll::Ready(parked) = connection.park_again() {
                return parked;
            }
        }
        false
    }

    /// Locks the stream for its driver. Returns `None` if another task writes, which then wakes the driver.
    fn try_lock<'a>(line: &'a Mutex<Self>, connection: &Connection) -> Option<MutexGuard<'a, Self>> {
        line.try_lock().or_else(|| {
            connection.awaits_stream.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            line.try_lock()
        })
    }
}

/// The phase of closing a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    /// The transport sends its close.
    SendingClose,
    /// Input is read and dropped until the peer closes: unread input could make the kernel drop output.
    Draining,
}

/// Why a batch ended, if not for lack of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Batch {
    /// The batch has reached a limit.
    Full,
    /// Output must be written first, or the session has ended.
    Stopped,
}

impl<T: PacketIo + Unpin> Driver<T> {
    /// Drives a new session. The first poll notifies the handler that the session is open.
    pub(crate) fn start(connection: Arc<Connection>, transport: T) -> Self {
        let mut driver = Self::new(connection, transport);
        driver.task.is_new = true;
        driver
    }

    /// Takes over a session from another transport.
    pub(crate) fn new(connection: Arc<Connection>, transport: T) -> Self {
        let task = Task {
            is_new: false,
            sends_direct: T::CAN_SEND_DIRECT && connection.wire_format.protocol == ProtocolVersion::V4,
            connection,
            holds_input: false,
            timer: tokio::time::sleep(Duration::ZERO),
            closing: None,
            closing_is_timed: false,
            turn: None,
            held: None,
        };
        Self { task, line: Arc::new(Mutex::new(Line { transport, reader: None, unflushed: false })) }
    }
}

impl<T: PacketIo + Unpin + Send + 'static> Driver<T> {
    /// Lets other tasks write to the stream.
    pub(crate) fn shared(self) -> Self {
        let outlet: Weak<Mutex<Line<T>>> = Arc::downgrade(&self.line);
        let _ = self.task.connection.outlet.set(outlet);
        self
    }
}

impl<T: PacketIo + Unpin> Future for Driver<T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        // Handlers run under this lock.
        let Some(mut line) = Line::try_lock(this.line, &this.task.connection) else { return Poll::Pending };
        this.task.connection.awaits_stream.store(false, Ordering::Relaxed);
        this.task.poll(&mut line, cx)
    }
}

impl Task {
    fn poll<T: PacketIo + Unpin>(mut self: Pin<&mut Self>, line: &mut Line<T>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::take(self.as_mut().project().is_new) {
            self.connection.opened(cx);
        }
        for _ in 0..ROUNDS {
            if self.closing.is_some() {
                return self.poll_end(&mut line.transport, cx);
            }
            let waits = self.turn.is_some() && self.waits_for_turn(cx);
            let read = if waits { Poll::Pending } else { self.as_mut().poll_read(line, cx) };
            let rest = self.as_mut().poll_write(line, read.is_pending() && !waits, cx);
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

    /// Returns `true` if other connections have their turn first.
    #[cold]
    fn waits_for_turn(&self, cx: &Context<'_>) -> bool {
        self.turn.as_ref().is_some_and(|turn| self.connection.engine.turnstile.is_waiting(turn, cx.waker()))
    }

    /// Queues the connection for another turn, after those of other connections.
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

    /// Reads and handles a batch of packets. Returns ready if more input may be available.
    fn poll_read<T: PacketIo + Unpin>(self: Pin<&mut Self>, line: &mut Line<T>, cx: &mut Context<'_>) -> Poll<Batch> {
        let this = self.project();
        let Line { transport, reader, unflushed } = line;
        let reader = match reader {
            Some(reader) => reader,
            // A POST may still be under way when the upgrade completes.
            None => match ready!(this.connection.poll_take_reader(cx)) {
                Some(new) => reader.insert(new),
                // The session has ended.
                None => return Poll::Ready(Batch::Stopped),
            },
        };
        let connection = &**this.connection;
        // Decoding takes time in proportion to the bytes, so much input waits for a turn.
        let must_wait = match this.turn {
            Some(_) => connection.engine.is_shedding(),
            None => *this.holds_input && transport.unread_bytes() > READ_BATCH_BYTES,
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
                None => Pin::new(&mut *transport).poll_next(cx),
            };
            let Poll::Ready(packet) = packet else {
                if batch > 0 {
                    *this.holds_input = !reader.is_idle();
                }
                *this.holds_input |= transport.unread_bytes() > 0;
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
                    connection.engine.meters.received(T::TRANSPORT, &packet);
                    if connection.handle_packet(&packet, true) {
                        let mut send = try_send_direct(connection, Pin::new(&mut *transport), unflushed);
                        let mut direct = Direct::new(if *this.sends_direct { Some(&mut send) } else { None });
                        reader.receive(packet, &mut direct, cx);
                        is_direct = direct.was_used();
                    }
                }
                Some(Err(error)) => connection.abort(error.cause()),
                None => connection.abort(CloseCause::TransportClose),
            }
            // Pass the output to the transport at once, while it is in the CPU cache. After a direct response, packets that other tasks
            // have queued are sent with the next packet, or before the driver parks.
            if !is_direct {
                match poll_send(connection, Pin::new(&mut *transport), unflushed, &mut sent, cx) {
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

    /// Writes queued packets, flushes and parks. Returns ready if the driver cannot park yet. `all_read` is `true` if all
    /// available input has been read.
    fn poll_write<T: PacketIo + Unpin>(
        mut self: Pin<&mut Self>,
        line: &mut Line<T>,
        all_read: bool,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let Line { transport, reader, unflushed } = line;
        for _ in 0..ROUNDS {
            let mut this = self.as_mut().project();
            let flushed = match poll_flush(this.connection, Pin::new(&mut *transport), unflushed, cx) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(error)) => {
                    this.connection.abort(error.cause());
                    true
                }
                Poll::Pending => false,
            };
            if !flushed || *this.holds_input || this.connection.is_under_pressure() {
                let input = all_read.then(|| held_input(transport, reader.as_deref()));
                this.connection.note_pressure(flushed, Pin::new(&mut *transport).take_written(), input);
            }
            match this.connection.park(cx.waker(), flushed) {
                Park::Closed => {
                    self.begin_end(line);
                    return Poll::Ready(());
                }
                Park::HasOutput => {}
                Park::Until { deadline, known } => {
                    if !known {
                        this.timer.as_mut().reset(Instant::from_std(deadline));
                    } else if !this.timer.is_elapsed() {
                        return Poll::Pending;
                    }
                    // Polled outside of tokio's task budget: `known` is only valid if the timer has registered the current waker.
                    ready!(Pin::new(&mut unconstrained(this.timer.as_mut())).poll(cx));
                    if let Some(heard) = Pin::new(&mut *transport).take_heard() {
                        this.connection.update(|session| session.extend_heartbeat(heard));
                    }
                    this.connection.handle_timeout(now(), reader.is_some());
                }
            }
        }
        Poll::Ready(())
    }

    /// Finishes the connection after its session has ended, and begins to close the transport.
    fn begin_end<T: PacketIo + Unpin>(mut self: Pin<&mut Self>, line: &mut Line<T>) {
        if self.turn.is_some() {
            self.as_mut().end_turn();
        }
        let this = self.project();
        this.connection.finish();
        line.reader = None;
        *this.held = None;
        // Closing may take a while. Do not keep the input meanwhile.
        if line.transport.unread_bytes() > READ_BATCH_BYTES {
            Pin::new(&mut line.transport).forget_unread();
        }
        *this.closing = Some(Closing::SendingClose);
    }

    fn poll_end(mut self: Pin<&mut Self>, transport: &mut (impl PacketIo + Unpin), cx: &mut Context<'_>) -> Poll<()> {
        if self.as_mut().poll_close(transport, cx).is_ready() {
            return Poll::Ready(());
        }
        // The timer is armed only now. Usually the peer has already closed, and arming a timer may wake tokio's time driver.
        let mut this = self.project();
        if !std::mem::replace(this.closing_is_timed, true) {
            this.timer.as_mut().reset(Instant::now() + CLOSE_TIMEOUT);
        }
        // Polled outside of tokio's task budget, which a peer that keeps sending may have used up.
        Pin::new(&mut unconstrained(this.timer)).poll(cx)
    }

    fn poll_close(self: Pin<&mut Self>, transport: &mut (impl PacketIo + Unpin), cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if *this.closing == Some(Closing::SendingClose) {
            if ready!(Pin::new(&mut *transport).poll_close(cx)).is_err() {
                return Poll::Ready(());
            }
            *this.closing = Some(Closing::Draining);
        }
        for _ in 0..READ_BATCH {
            if !matches!(ready!(Pin::new(&mut *transport).poll_next(cx)), Some(Ok(_))) {
                return Poll::Ready(());
            }
        }
        // The peer keeps sending: let other tasks run.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Returns `true` if a batch has taken too long since the first call for it.
#[inline(never)]
fn takes_long(begin: &mut Option<Instant>) -> bool {
    begin.get_or_insert_with(Instant::now).elapsed() > READ_BATCH_TIME
}

/// Returns the unhandled input: part of a frame, a packet without all of its attachments, an event that cannot start yet.
fn held_input<T: PacketIo>(transport: &T, reader: Option<&dyn Reader>) -> HeldInput {
    let unread = transport.unread_bytes();
    let mut held = reader.map_or(HeldInput::default(), |reader| reader.held());
    held.is_incomplete |= unread > 0 && !held.is_stalled;
    held.bytes += unread;
    held
}

/// Returns a function that bypasses the outbox if the outbox is empty and the transport has room.
fn try_send_direct<'a, T: PacketIo>(
    connection: &'a Connection,
    mut transport: Pin<&'a mut T>,
    unflushed: &'a mut bool,
) -> impl FnMut(&[u8], &[Packet]) -> bool + 'a {
    move |text, attachments| {
        let sent = connection.try_bypass() && transport.as_mut().try_send_direct(text, attachments);
        if sent {
            *unflushed = true;
            SendMeter::bypassed(&connection.engine.meters, T::TRANSPORT, text, attachments);
            connection.note_bypassed(text, attachments);
        }
        sent
    }
}

/// Passes queued packets to the transport. Returns `false` if the session has ended.
#[inline]
fn poll_send<T: PacketIo>(
    connection: &Connection,
    mut transport: Pin<&mut T>,
    unflushed: &mut bool,
    sent: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<Result<bool, TransportError>> {
    let mut taken = SendMeter::before(&connection.engine.meters, || connection.inspect(Session::buffered_bytes));
    for _ in 0..SEND_BATCH {
        ready!(transport.as_mut().poll_ready(cx))?;
        match connection.pop_output() {
            Output::Packet { packet, more } => {
                taken.take(&connection.engine.meters, T::TRANSPORT, &packet);
                connection.note_sent(&packet);
                *unflushed = true;
                *sent += packet.len();
                transport.as_mut().start_send(packet)?;
                if !more {
                    break;
                }
            }
            Output::Nothing => break,
            Output::Closed => return Poll::Ready(Ok(false)),
        }
    }
    Poll::Ready(Ok(true))
}

/// Passes queued packets to the transport and flushes it.
fn poll_flush<T: PacketIo>(
    connection: &Connection,
    mut transport: Pin<&mut T>,
    unflushed: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<Result<(), TransportError>> {
    // Flush what was already written while reading; usually the outbox is empty.
    if !*unflushed {
        ready!(poll_send(connection, transport.as_mut(), unflushed, &mut 0, cx))?;
    }
    if *unflushed {
        ready!(transport.poll_flush(cx))?;
        *unflushed = false;
    }
    Poll::Ready(Ok(()))
}

/// Ends the connection, also if the runtime drops the task.
#[pinned_drop]
impl PinnedDrop for Task {
    fn drop(mut self: Pin<&mut Self>) {
        if self.turn.is_some() {
            self.as_mut().end_turn();
        }
        self.connection.abort(CloseCause::TransportClose);
        self.connection.finish();
        self.connection.mark_ended();
    }
}
