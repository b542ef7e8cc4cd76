//! A client: a connection and its sockets.

use std::{
    any::Any,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use futures_util::task::AtomicWaker;
use tokio::task::AbortHandle;

use crate::{
    engine::{CloseCause, Connect, Connection, Packet, Peer, Reader, SendError, Transport},
    packet::{Encoded, Form},
    util::{Mutex, log},
};

use super::{
    admission::admit_implicitly,
    reason::DisconnectReason,
    receive::Inbound,
    settings::SlowClientPolicy,
    state::{Change, Client, Server, Socket},
};

/// Creates a client for each session of the engine.
pub(crate) struct Clients {
    server: Weak<Server>,
    is_observed: bool,
}

impl Clients {
    pub(crate) fn new(server: Weak<Server>, is_observed: bool) -> Self {
        Self { server, is_observed }
    }
}

impl Connect for Clients {
    fn connect(&self, connection: &Arc<Connection>) -> Option<(Arc<dyn Peer>, Box<dyn Reader>)> {
        let client = Arc::new(Client::new(connection.clone(), self.server.upgrade()?));
        Some((client.clone(), Box::new(Inbound::new(client))))
    }

    fn is_observed(&self) -> bool {
        self.is_observed
    }
}

impl Server {
    /// Returns the client of a session.
    pub(crate) fn client(&self, sid: &str) -> Option<Arc<Client>> {
        self.engine.sessions.get(sid).and_then(|connection| client_of(&connection))
    }

    /// Returns the clients of all sessions.
    pub(crate) fn clients(&self) -> Vec<Arc<Client>> {
        self.engine.sessions.all().iter().filter_map(|connection| client_of(connection)).collect()
    }
}

/// Returns the client of a connection, or `None` if it has ended.
fn client_of(connection: &Connection) -> Option<Arc<Client>> {
    connection.peer()?.into_any().downcast().ok()
}

// Values of `Client::leaving`.
const STAYS: u8 = 0;
/// Shuts down when its handlers have ended.
const LEAVES: u8 = 1;
/// Like [`LEAVES`], and its sockets send DISCONNECT.
const LEAVES_FOR_GOOD: u8 = 2;

impl Client {
    pub(super) fn new(connection: Arc<Connection>, server: Arc<Server>) -> Self {
        Self {
            form: server.settings.parsers.chosen_form(connection.request.query()),
            connection,
            server,
            sockets: Mutex::default(),
            reader: AtomicWaker::new(),
            event_bytes: AtomicUsize::new(0),
            leaving: AtomicU8::new(STAYS),
            is_slow: AtomicBool::new(false),
        }
    }

    // Sending.

    /// Queues a packet and wakes the driver. A `volatile` packet is dropped, without an error, if it cannot be sent immediately.
    fn send(&self, packet: &Encoded, volatile: bool) -> Result<(), SendError> {
        if let Some(waker) = self.connection.send(self.packets_of(packet), volatile, || true)?.waker {
            waker.wake();
        }
        Ok(())
    }

    /// Returns the packet in the client's wire format. Runs a parser, unless the result is cached from another recipient.
    #[inline(always)]
    pub(crate) fn packets_of<'a>(&self, packet: &'a Encoded) -> &'a [Packet] {
        match self.form {
            Form::JSON if self.connection.wire_format.wants_ascii(self.connection.is_websocket()) => {
                packet.ascii_packets()
            }
            Form::JSON => packet.packets(),
            form => self.server.settings.parsers.encoded(packet, form, || self.server.count_panic()),
        }
    }

    /// Queues the packets that were buffered until the socket was accepted. The limit was checked when they were buffered.
    /// Returns the waker to call.
    ///
    /// `accept` is called before the packets become visible: the client's responses must find the socket accepted.
    pub(crate) fn release<'a>(
        &self,
        packets: impl Iterator<Item = &'a Encoded>,
        accept: impl FnOnce(),
    ) -> Option<Waker> {
        self.connection.send_unlimited(packets.map(|packet| self.packets_of(packet)), accept)
    }

    /// Queues a response to the client. Disconnects a client without room for it.
    pub(crate) fn reply(&self, packet: &Encoded) {
        if self.send(packet, false) == Err(SendError::Full) {
            self.connection.abort(CloseCause::SlowClient);
        }
    }

    /// Applies the slow-client policy to a packet that did not fit. The hook runs once, in a task.
    pub(crate) fn refuse_packet(&self, socket: &Arc<Socket>) {
        self.note_slow(Some(socket));
        if self.server.settings.slow_client_policy == SlowClientPolicy::Disconnect {
            self.connection.abort(CloseCause::SlowClient);
        }
    }

    fn note_slow(&self, socket: Option<&Arc<Socket>>) {
        let is_known = match self.server.settings.slow_client_policy {
            SlowClientPolicy::Disconnect => self.is_slow.swap(true, Ordering::Relaxed),
            SlowClientPolicy::DropPacket => self.connection.mark_slow(),
        };
        if is_known {
            return;
        }
        self.server.count_slow_client();
        self.connection.span.in_scope(|| log!(warn, "the client is too slow"));
        let socket = socket.cloned().or_else(|| self.any_socket());
        if let (Some(hook), Some(socket)) = (&self.server.hooks.on_slow_client, socket) {
            let (hook, server) = (hook.clone(), self.server.clone());
            self.connection.runtime.spawn(async move { server.catch_panic(|| hook(&socket)) });
        }
    }

    // Closing.

    /// Closes the sockets immediately, and the connection after its queued packets have been sent.
    pub(crate) fn close(&self, cause: CloseCause) {
        let at_once = self.connection.close(cause);
        let reason = match cause {
            CloseCause::Forced(detail) if !at_once => DisconnectReason::ForcedServerClose { detail },
            cause => cause.into(),
        };
        self.disconnect_sockets(reason, false);
    }

    /// Closes the connection because of a violation of the Socket.IO protocol.
    pub(crate) fn violation(&self, detail: &'static str) {
        self.connection.span.in_scope(|| log!(debug, detail = %detail, "protocol violation"));
        self.close(CloseCause::Forced(detail));
    }

    /// Closes every socket. With `tell`, sends DISCONNECT for each.
    fn disconnect_sockets(&self, reason: DisconnectReason, tell: bool) {
        for socket in self.take_sockets() {
            if tell {
                socket.send_disconnect();
            }
            socket.close(reason);
        }
    }

    /// Closes every socket with a DISCONNECT packet, and then the connection.
    pub(crate) fn disconnect_all(&self) {
        self.disconnect_sockets(DisconnectReason::ServerNamespaceDisconnect, true);
        self.close(CloseCause::Forced("disconnected by the server"));
    }

    #[inline]
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed) != STAYS
    }

    // Handlers.

    /// Polls user code once and spawns it if it is pending. Returns the task if it was spawned.
    pub(super) fn poll_or_spawn<F>(&self, cx: &mut Context<'_>, mut task: F) -> Option<AbortHandle>
    where
        F: Future<Output = ()> + Send + Unpin + 'static,
    {
        let _entered = self.connection.runtime.enter();
        match Pin::new(&mut task).poll(cx) {
            Poll::Ready(()) => None,
            Poll::Pending => Some(self.connection.runtime.spawn(task).abort_handle()),
        }
    }

    /// Returns `true` if handlers of events or of disconnections are running.
    #[inline]
    pub(crate) fn runs_handlers(&self) -> bool {
        self.event_bytes() > 0
    }

    /// Returns the bytes that running events take.
    #[inline]
    pub(crate) fn event_bytes(&self) -> usize {
        self.event_bytes.load(Ordering::SeqCst)
    }

    pub(crate) fn add_running(&self, cost: usize) {
        self.event_bytes.fetch_add(cost, Ordering::SeqCst);
    }

    /// Records the end of a handler that was [added](Self::add_running).
    pub(crate) fn remove_running(self: &Arc<Self>, cost: usize) {
        let is_last = self.event_bytes.fetch_sub(cost, Ordering::SeqCst) == cost;
        self.reader.wake();
        if is_last && self.connection.has_ended() {
            self.connection.engine.ended.notify_waiters();
        } else if is_last && self.is_leaving() {
            let for_good = self.leaving.load(Ordering::SeqCst) == LEAVES_FOR_GOOD;
            let client = self.clone();
            // In a task, because the caller may hold a lock.
            self.connection.runtime.spawn(async move { client.shut_down(for_good) });
        }
    }
}

impl Peer for Client {
    fn opened(self: Arc<Self>, cx: &mut Context<'_>) {
        if self.server.is_observed() {
            self.server.tell(&Change::ConnectionOpened(&self));
        }
        admit_implicitly(&self, cx);
    }

    fn upgraded(self: Arc<Self>, _: Transport) {
        if self.server.is_observed() {
            self.server.tell(&Change::ConnectionUpgraded(&self));
        }
    }

    fn sent(self: Arc<Self>, packet: &Packet) {
        self.server.tell(&Change::PacketSent(&self, packet));
    }

    fn closed(self: Arc<Self>, cause: CloseCause) {
        if cause == CloseCause::SlowClient {
            self.note_slow(None);
        }
        self.disconnect_sockets(cause.into(), false);
        if self.server.is_observed() {
            self.server.tell(&Change::ConnectionClosed(&self, cause.into()));
        }
    }

    /// Starts no further event, and [shuts down](Self::shut_down) when the running handlers have ended, so that their acks are
    /// sent. Acks from the client are still read, because handlers may wait for them.
    fn leave(&self, for_good: bool) {
        let leaving = if for_good { LEAVES_FOR_GOOD } else { LEAVES };
        // Set before checking the handlers: the last handler that ends reads it.
        if self.leaving.compare_exchange(STAYS, leaving, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            self.reader.wake();
        }
        if !self.runs_handlers() {
            self.shut_down(for_good);
        }
    }

    /// Closes the sockets, with a DISCONNECT packet if the client must not reconnect, and sends what is queued.
    fn shut_down(&self, for_good: bool) {
        self.disconnect_sockets(DisconnectReason::ServerShuttingDown, for_good);
        self.close(CloseCause::ShuttingDown);
    }

    fn is_busy(&self) -> bool {
        self.runs_handlers()
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
