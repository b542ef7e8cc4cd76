use std::{
    borrow::Cow,
    cell::RefCell,
    collections::VecDeque,
    fmt,
    mem::take,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Extensions;
use parking_lot::{Mutex, MutexGuard};

use crate::{
    engine::{CloseCause, ProtocolVersion, SendError, Sent},
    handler::EventRoute,
    namespace::{self, NamespaceState},
    observe::SentKind,
    packet::{Encoded, encode_simple},
    recovery::{Memory, RecoverySession, Restored},
    room::{Handle, MemberId, Registry, Room},
    server::Client,
};

use super::{DisconnectReason, SocketId, acks::Acks, kept::Kept, listeners::Listeners};

/// A client in a namespace.
///
/// ```text
///   Admitting ──on_connect reached──▶ Held ──answered 2xx──▶ Connected
///       │                              │                         │
///       └──────────────┬───────────────┴─────────────────────────┘
///                      ▼
///                    Closed
/// ```
///
/// While a socket is held it is a member of the namespace already, so that what `on_connect` broadcasts reaches it too;
/// but nothing is sent to it before it has been accepted, and then CONNECT comes first.
pub(crate) struct Socket {
    pub(crate) id: SocketId,
    pub(crate) namespace: Arc<NamespaceState>,
    pub(crate) client: Arc<Client>,
    pub(crate) acks: Acks,
    /// There are none as long as they are those of the request that opened the connection.
    extensions: Mutex<Option<Extensions>>,
    pub(super) kept: Kept,
    /// The JSON object that came with CONNECT, or nothing for an empty one. `None` once the socket has left.
    auth: Mutex<Option<Box<[u8]>>>,
    /// Recovery state; `None` if recovery is off or the client speaks revision 3.
    pub(crate) session: Option<Box<RecoverySession>>,
    /// JSON: what handlers keep about the socket.
    data: Mutex<Option<Bytes>>,
    listeners: OnceLock<Box<Listeners>>,
    /// The client is to be sent a DISCONNECT packet.
    untold: AtomicBool,
    /// `on_connect` itself has refused the client.
    declined: AtomicBool,
    phase: AtomicU8,
    /// There is none once the socket has been accepted.
    pending: Mutex<Option<Box<Pending>>>,
    /// Its place in the namespace's registry; changed only under the registry's lock.
    member: Mutex<Option<MemberId>>,
    /// Event handlers under way.
    running: AtomicUsize,
    /// The namespace's event service, if that has to be asked whether it is ready: a clone for each socket.
    events: Mutex<Option<EventRoute>>,
}

/// What a client is taken to have sent that sends nothing.
pub(crate) const EMPTY_AUTH: &[u8] = b"{}";

const ADMITTING: u8 = 0;
const HELD: u8 = 1;
const CONNECTED: u8 = 2;
/// It ended, and its client shall not come back as this socket.
const CLOSED: u8 = 3;
/// It ended because its connection was lost.
const LOST: u8 = 4;

/// What was emitted and joined before the socket was accepted.
#[derive(Debug, Default)]
struct Pending {
    packets: Vec<Held>,
    bytes: usize,
    /// What a socket that returns has not seen yet.
    missed: Vec<Encoded>,
    rooms: Vec<Room>,
    /// The rooms of a socket that returns which it left before it joined the namespace.
    left: Vec<Room>,
}

#[derive(Debug)]
struct Held {
    packet: Encoded,
    /// It is to be stamped when the socket joins its namespace.
    early: bool,
}

impl Pending {
    fn hold(&mut self, packet: &Encoded, early: bool, limit: usize) -> Result<Sent, SendError> {
        let bytes = self.bytes + packet.cost();
        if bytes > limit && !self.packets.is_empty() {
            return Err(SendError::Full);
        }
        self.bytes = bytes;
        self.packets.push(Held { packet: packet.clone(), early });
        Ok(Sent { queued: true, waker: None })
    }
}

impl Socket {
    pub(crate) fn new(
        client: Arc<Client>,
        namespace: Arc<NamespaceState>,
        auth: &[u8],
        restored: Option<Arc<Restored>>,
    ) -> Arc<Self> {
        let saved = restored.as_ref().map(|restored| &*restored.saved);
        let recoverable = namespace.memory().is_some() && client.connection.wire_format.protocol == ProtocolVersion::V4;
        Arc::new(Self {
            id: saved.map_or_else(
                || SocketId::new(client.connection.wire_format.protocol, &client.connection.id, namespace.name()),
                |saved| saved.id.clone(),
            ),
            data: Mutex::new(saved.and_then(|saved| saved.data.clone())),
            session: recoverable.then(|| Box::new(RecoverySession::new(restored))),
            namespace,
            client,
            acks: Acks::default(),
            extensions: Mutex::default(),
            kept: Kept::default(),
            auth: Mutex::new(Some(if auth == EMPTY_AUTH { Box::default() } else { auth.into() })),
            listeners: OnceLock::new(),
            untold: AtomicBool::new(false),
            declined: AtomicBool::new(false),
            phase: AtomicU8::new(ADMITTING),
            pending: Mutex::default(),
            member: Mutex::new(None),
            running: AtomicUsize::new(0),
            events: Mutex::new(None),
        })
    }

    fn phase(&self) -> u8 {
        self.phase.load(Ordering::Acquire)
    }

    fn pending(&self) -> MutexGuard<'_, Option<Box<Pending>>> {
        self.pending.lock()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.phase() == CONNECTED
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.phase() >= CLOSED
    }

    /// What remembers it, and as what, if it can be recovered.
    fn recovery(&self) -> Option<(&Memory, &RecoverySession)> {
        Some((self.namespace.memory()?, self.session.as_deref()?))
    }

    /// `on_connect` has been reached, or would have been if there were one.
    pub(crate) fn was_reached(&self) -> bool {
        self.phase() != ADMITTING
    }

    /// `on_connect` refuses the client: it has cleaned up after itself, and no handler of a disconnection runs.
    pub(crate) fn decline(&self) {
        self.declined.store(true, Ordering::Release);
    }

    pub(crate) fn is_admitting(&self) -> bool {
        matches!(self.phase(), ADMITTING | HELD)
    }

    // What it carries.

    /// What came with CONNECT, as JSON. `None` once the socket has left.
    pub(super) fn auth(&self) -> Option<Box<[u8]>> {
        self.auth.lock().clone().map(|auth| if auth.is_empty() { EMPTY_AUTH.into() } else { auth })
    }

    /// Drops the auth payload, so that a `SocketRef` that outlives the socket does not keep it.
    pub(crate) fn forget_auth(&self) {
        let auth = self.auth.lock().take();
        drop(auth);
    }

    /// What handlers keep about the socket, as JSON.
    pub(crate) fn data_bytes(&self) -> Option<Bytes> {
        self.data.lock().clone()
    }

    pub(super) fn set_data(&self, json: Option<Bytes>) {
        *self.data.lock() = json;
    }

    pub(super) fn extension<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        match &*self.extensions.lock() {
            Some(own) => own.get().cloned(),
            None => self.client.connection.request.extension().cloned(),
        }
    }

    pub(super) fn change_extensions<R>(&self, change: impl FnOnce(&mut Extensions) -> R) -> R {
        let mut own = self.extensions.lock();
        let result = change(own.get_or_insert_with(|| self.client.connection.request.to_extensions()));
        drop(own);
        // After its last handler, what is set is not kept.
        if self.is_closed() && self.auth.lock().is_none() {
            self.drop_extensions();
        }
        result
    }

    /// Drops the extensions of a socket that has left once its last handler has ended: one of them may hold the socket.
    pub(crate) fn drop_extensions(&self) {
        if self.is_closed() && self.running_events() == 0 {
            let own = self.extensions.lock().take();
            self.client.server.contain(|| drop(own));
        }
    }

    pub(crate) fn all_extensions(&self) -> Extensions {
        self.extensions.lock().clone().unwrap_or_else(|| self.client.connection.request.to_extensions())
    }

    /// The socket's own listeners, if it has ever had one.
    pub(crate) fn listeners(&self) -> Option<&Listeners> {
        self.listeners.get().map(|listeners| &**listeners)
    }

    pub(super) fn listeners_or_new(&self) -> &Listeners {
        self.listeners.get_or_init(Box::default)
    }

    /// Shows an event to those who listen to what leaves.
    pub(crate) fn observe(&self, packet: &Encoded) {
        if let Some(listeners) = self.listeners() {
            listeners.observe(&self.client.server, packet);
        }
    }

    // Admission.

    /// The layers have let the CONNECT through: the socket joins the namespace, held.
    ///
    /// What the layers put on the request stays on the socket; if there are none, nothing has to be kept.
    ///
    /// Returns false if the session of a client that returns cannot go on any more. The connection is closed then: the client
    /// connects again, and gets a new session.
    pub(crate) fn hold(self: &Arc<Self>, extensions: Option<Extensions>) -> bool {
        if let Some(extensions) = extensions {
            self.merge_extensions(extensions);
        }
        match self.recovery() {
            Some((memory, session)) => self.hold_recoverable(memory, session),
            None => {
                let mut pending = self.pending();
                if self.phase() == ADMITTING {
                    let rooms = pending.as_mut().map(|pending| take(&mut pending.rooms)).unwrap_or_default();
                    self.enter(&[], &rooms);
                    self.phase.store(HELD, Ordering::Release);
                }
                true
            }
        }
    }

    /// As [`hold`](Self::hold). The session begins, or goes on in the rooms that it was in.
    fn hold_recoverable(self: &Arc<Self>, memory: &Memory, session: &RecoverySession) -> bool {
        let restored = session.restored();
        let mut state = memory.lock();
        let mut pending = self.pending();
        if self.phase() != ADMITTING {
            return true;
        }
        let Some(missed) = state.join(self, session, restored.as_deref()) else {
            drop(pending);
            drop(state);
            self.client
                .connection
                .abort(CloseCause::Forced("what the client missed was forgotten before it was admitted"));
            self.close(DisconnectReason::TransportClose);
            return false;
        };
        let changes = pending.as_mut().map(|pending| (take(&mut pending.rooms), take(&mut pending.left)));
        let (rooms, left) = changes.unwrap_or_default();
        let was_in = restored.iter().flat_map(|restored| restored.rooms());
        let stayed_in: Vec<Room> = was_in.filter(|room| !left.contains(room)).cloned().collect();
        let joined = self.enter(&stayed_in, &rooms);
        left.iter().for_each(|room| state.exit(session, room));
        joined.into_iter().for_each(|room| state.enter(session, room));
        // What layers emitted to the socket before it was there follows what its client missed.
        for held in pending.iter_mut().flat_map(|pending| &mut pending.packets).filter(|held| held.early) {
            *held = Held { packet: state.stamp_early(self, session, &held.packet), early: false };
        }
        self.phase.store(HELD, Ordering::Release);
        drop(pending);
        drop(state);
        // Without the locks: this may run a parser.
        for packet in &missed {
            self.client.packets_of(packet);
        }
        if !missed.is_empty() {
            self.pending().get_or_insert_default().missed = missed;
        }
        true
    }

    /// Enters the namespace, the rooms that the socket was in, and new ones. Returns those that are new indeed.
    fn enter(self: &Arc<Self>, was_in: &[Room], rooms: &[Room]) -> Vec<Room> {
        self.namespace.with_registry(|registry| {
            let id = registry.insert(self.id.room(), self.clone());
            for room in was_in {
                registry.join(id, room);
            }
            rooms.iter().filter_map(|room| registry.join(id, room).cloned()).collect()
        })
    }

    /// What the socket had before it was lost, what layers gave it, what they put on the request: the last one counts.
    fn merge_extensions(&self, request: Extensions) {
        // Values are the user's: they are cloned and dropped while nothing is locked.
        let mut merged = self.session.as_ref().map(|session| session.restored_extensions()).unwrap_or_default();
        let own = self.extensions.lock().take();
        merged.extend(own.unwrap_or_default());
        merged.extend(request);
        let before = self.extensions.lock().replace(merged);
        drop(before);
    }

    /// The socket is accepted: CONNECT goes out, then what the client missed, then everything that was held.
    ///
    /// Node sends what was missed first. But the JavaScript client keeps events that precede CONNECT in a buffer, which it
    /// neither clears when the connection is cut nor counts in its offset: a cut in between would give duplicates.
    ///
    /// Answers whether the socket had not been closed in the meantime.
    pub(crate) fn accept(self: &Arc<Self>) -> bool {
        let payload = match (self.client.connection.wire_format.protocol, &self.session) {
            (ProtocolVersion::V3, _) => String::new(),
            (ProtocolVersion::V4, None) => format!(r#"{{"sid":"{}"}}"#, self.id),
            (ProtocolVersion::V4, Some(session)) => {
                format!(r#"{{"sid":"{}","pid":"{}"}}"#, self.id, session.private_id)
            }
        };
        let connect = encode_simple(b'0', self.namespace.name(), &payload);
        self.client.packets_of(&connect);
        let mut pending = self.pending();
        if self.phase() != HELD {
            return false;
        }
        self.client.connection.establish();
        let Pending { packets, missed, .. } = pending.take().map(|pending| *pending).unwrap_or_default();
        let held = packets.iter().map(|held| &held.packet);
        let settled = self.session.as_ref().map(|session| session.settle());
        let accept = || self.phase.store(CONNECTED, Ordering::Release);
        let waker = self.client.release([&connect].into_iter().chain(&missed).chain(held), accept);
        drop(pending);
        drop(settled);
        self.namespace.meters().joined();
        if let Some(waker) = waker {
            waker.wake();
        }
        self.client.release_admission(self);
        true
    }

    // Sending.

    /// Emits an event to this socket: it is delivered, and kept if the namespace remembers events.
    pub(super) fn emit(self: &Arc<Self>, packet: Encoded, volatile: bool) -> Result<(), SendError> {
        self.observe(&packet);
        let Some((memory, session)) = self.recovery() else {
            return self.deliver(Cow::Owned(packet), volatile);
        };
        let emitted = memory.emit(self, session, &packet, volatile);
        self.namespace.clean_later();
        emitted
    }

    /// Queues a packet for the client; holds it back while the socket is not accepted.
    pub(crate) fn deliver(self: &Arc<Self>, packet: Cow<'_, Encoded>, volatile: bool) -> Result<(), SendError> {
        let sent = self.try_deliver(packet, volatile).inspect_err(|error| self.deal_with(*error))?;
        if let Some(waker) = sent.waker {
            waker.wake();
        }
        Ok(())
    }

    /// As [`deliver`](Self::deliver), but nobody is woken, and a failure has no consequences yet: see
    /// [`deal_with`](Self::deal_with).
    pub(crate) fn try_deliver(&self, packet: Cow<'_, Encoded>, volatile: bool) -> Result<Sent, SendError> {
        let kind = SentKind::of(&packet);
        let sent = match self.phase() {
            CONNECTED => self.client.try_send(packet, volatile),
            CLOSED | LOST => Err(SendError::Closed),
            _ => self.hold_back(packet, volatile),
        };
        self.namespace.meters().sent(kind, &sent);
        sent
    }

    /// There was no room for a packet: the policy says what follows.
    pub(crate) fn deal_with(self: &Arc<Self>, error: SendError) {
        if error == SendError::Full {
            self.client.refuse_packet(self);
        }
    }

    // What is sent to sockets that are connected is not to pay for this.
    #[inline(never)]
    fn hold_back(&self, packet: Cow<'_, Encoded>, volatile: bool) -> Result<Sent, SendError> {
        // Before the lock: this may run a parser.
        self.client.packets_of(&packet);
        let mut pending = self.pending();
        match self.phase() {
            CONNECTED => {
                drop(pending);
                return self.client.try_send(packet, volatile);
            }
            CLOSED | LOST => return Err(SendError::Closed),
            _ => {}
        }
        if volatile {
            return Ok(Sent::default());
        }
        pending.get_or_insert_default().hold(&packet, false, self.client.server.engine.config.max_buffered_bytes)
    }

    /// Holds an event back that is emitted before the socket has joined its namespace, when it is stamped. `None` if the
    /// socket has joined.
    pub(crate) fn hold_early(&self, packet: &Encoded, volatile: bool) -> Option<Result<Sent, SendError>> {
        let mut pending = self.pending();
        if self.phase() != ADMITTING {
            return None;
        }
        if volatile {
            return Some(Ok(Sent::default()));
        }
        Some(pending.get_or_insert_default().hold(packet, true, self.client.server.engine.config.max_buffered_bytes))
    }

    pub(crate) fn send_disconnect(&self) {
        if self.is_connected() || self.untold.swap(false, Ordering::AcqRel) {
            self.client.reply(&encode_simple(b'1', self.namespace.name(), ""));
        }
    }

    // Rooms.

    fn member(&self) -> MutexGuard<'_, Option<MemberId>> {
        self.member.lock()
    }

    /// The socket's place in the registry, for use under the registry's lock.
    pub(crate) fn member_id(&self) -> Option<MemberId> {
        *self.member()
    }

    pub(crate) fn join(&self, rooms: impl Iterator<Item = Room>) {
        // Before any lock: the iterator may be the user's.
        let rooms: Vec<Room> = rooms.collect();
        if self.phase() == ADMITTING {
            let mut pending = self.pending();
            if self.phase() == ADMITTING {
                pending.get_or_insert_default().rooms.extend(rooms);
                return;
            }
        }
        match self.recovery() {
            Some((memory, session)) => {
                let mut state = memory.lock();
                self.change_rooms(|registry, id| {
                    for room in &rooms {
                        if let Some(room) = registry.join(id, room) {
                            state.enter(session, room.clone());
                        }
                    }
                });
            }
            None => self.change_rooms(|registry, id| {
                for room in &rooms {
                    registry.join(id, room);
                }
            }),
        }
    }

    pub(crate) fn leave(&self, room: &str) {
        let mut pending = self.pending();
        if self.phase() == ADMITTING {
            if let Some(pending) = &mut *pending {
                pending.rooms.retain(|joined| joined != room);
            }
            if self.recovered() {
                pending.get_or_insert_default().left.push(room.into());
            }
            return;
        }
        drop(pending);
        let mut memory = self.recovery().map(|(memory, session)| (memory.lock(), session));
        self.change_rooms(|registry, id| {
            if registry.leave(id, room)
                && let Some((state, session)) = &mut memory
            {
                state.exit(session, room);
            }
        });
    }

    /// Changes the rooms of the socket, unless it is not in the namespace.
    fn change_rooms(&self, change: impl FnOnce(&mut Registry<Arc<Self>>, MemberId)) {
        self.namespace.with_registry(|registry| {
            if let Some(id) = self.member_id() {
                change(registry, id);
            }
        });
    }

    pub(crate) fn rooms(&self) -> Vec<Room> {
        self.namespace.with_registry(|registry| self.member_id().map(|id| registry.rooms_of(id)).unwrap_or_default())
    }

    pub(crate) fn is_in(&self, room: &str) -> bool {
        self.namespace.with_registry(|registry| self.member_id().is_some_and(|id| registry.is_in(id, room)))
    }

    // Events.

    /// Waits until another event may start: the socket has not too many under way, and the event service is ready.
    pub(crate) fn poll_may_start(&self, cx: &mut Context<'_>) -> Poll<EventStart<'_>> {
        if !self.is_connected() || self.client.is_leaving() {
            return Poll::Ready(EventStart::Gone);
        }
        // Nothing is under way, most of the time.
        if self.client.runs_handlers() && !self.is_below_limits() {
            return Poll::Pending;
        }
        let events = self.namespace.events();
        if !events.needs_readiness() {
            return Poll::Ready(EventStart::At(events));
        }
        // A layer is user code: it is asked while no lock is held.
        let mut own = self.events().take().unwrap_or_else(|| events.clone());
        match catch_unwind(AssertUnwindSafe(|| own.poll_route_ready(cx))) {
            Ok(Poll::Ready(())) => Poll::Ready(EventStart::Ready(own)),
            Ok(Poll::Pending) => {
                self.keep_events(own);
                Poll::Pending
            }
            Err(_) => Poll::Ready(EventStart::Panicked),
        }
    }

    /// Whether neither the socket nor its connection has too many events under way.
    pub(crate) fn is_below_limits(&self) -> bool {
        let settings = &self.client.server.settings;
        self.running_events() < settings.max_concurrent_events && self.client.event_bytes() < settings.max_event_bytes
    }

    fn events(&self) -> MutexGuard<'_, Option<EventRoute>> {
        self.events.lock()
    }

    /// Keeps a service that is not ready yet, but not past the end of the socket: it may hold, or come to hold, a permit
    /// that others wait for.
    fn keep_events(&self, route: EventRoute) {
        let mut events = self.events();
        if self.is_closed() {
            drop(events);
            drop(route);
        } else {
            *events = Some(route);
        }
    }

    pub(crate) fn running_events(&self) -> usize {
        self.running.load(Ordering::Acquire)
    }

    /// Counts an event handler as under way until the guard is dropped. `cost` is what its event takes in bytes.
    pub(crate) fn running(self: &Arc<Self>, cost: usize) -> Running {
        self.running.fetch_add(1, Ordering::AcqRel);
        self.client.add_running(cost);
        Running { socket: self.clone(), cost }
    }

    // The end.

    /// Disconnects the socket, once: handlers of the disconnection run, and whatever they do, the socket is in no room,
    /// in no table, and holds no ack afterwards.
    pub(crate) fn close(self: &Arc<Self>, reason: DisconnectReason) {
        self.end(reason, false);
    }

    /// As [`close`](Self::close), and tells the client, once it may join again.
    pub(crate) fn kick(self: &Arc<Self>) {
        self.end(DisconnectReason::ServerNamespaceDisconnect, true);
    }

    fn end(self: &Arc<Self>, reason: DisconnectReason, tell: bool) {
        let last = if reason.is_recoverable() { LOST } else { CLOSED };
        let (before, pending) = {
            let mut pending = self.pending();
            let pending = pending.take();
            let close = |phase| (phase < CLOSED).then_some(last);
            (self.phase.fetch_update(Ordering::AcqRel, Ordering::Acquire, close), pending)
        };
        drop(pending);
        if let Ok(before) = before {
            let accepted = before == CONNECTED;
            let tells_handlers = accepted || before == HELD && !self.declined.load(Ordering::Acquire);
            self.untold.store(accepted && tell, Ordering::Release);
            End { socket: self.clone(), accepted, tells_handlers, reason }.run_or_queue();
        }
    }

    /// Whether the connection was lost, and nobody wanted the socket to end.
    pub(crate) fn is_lost(&self) -> bool {
        self.phase() == LOST
    }

    /// Whether either side wanted the socket to end.
    pub(crate) fn was_dismissed(&self) -> bool {
        self.phase() == CLOSED
    }

    /// Whether its client lost its connection, and came back as the socket that it was.
    pub(crate) fn recovered(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.recovered)
    }

    /// Takes the socket out of its namespace.
    pub(crate) fn leave_rooms(&self) {
        let removed = self.namespace.with_registry(|registry| {
            let id = self.member().take()?;
            registry.remove(id)
        });
        drop(removed);
    }

    fn leave_everything(self: &Arc<Self>, accepted: bool, tells_handlers: bool, reason: DisconnectReason) {
        if tells_handlers {
            namespace::run_disconnecting(self, reason);
        }
        match self.recovery() {
            Some((memory, session)) => {
                memory.leave(self, session, reason.is_recoverable());
                self.namespace.clean_later();
            }
            None => self.leave_rooms(),
        }
        // A socket that was not accepted keeps its place until its admission has ended, and the client has been told.
        if accepted {
            self.client.forget_socket(self, reason == DisconnectReason::ClientNamespaceDisconnect);
            self.send_disconnect();
            self.namespace.meters().left();
        }
        self.acks.close();
        let server = &self.client.server;
        server.namespaces.release(&self.namespace);
        // What is the user's is dropped here. Whatever that does, the rest goes on.
        let events = self.events().take();
        server.contain(|| drop(events));
        server.contain(|| drop(self.kept.take()));
        if tells_handlers {
            namespace::run_disconnect(self, reason);
        } else {
            self.forget_auth();
        }
        if let Some(listeners) = self.listeners() {
            listeners.clear();
        }
        self.drop_extensions();
        // The reader may be waiting for an event of this socket.
        self.client.reader.wake();
    }
}

/// A socket that is closed and has not left yet.
struct End {
    socket: Arc<Socket>,
    accepted: bool,
    /// It had reached `on_connect`, which did not refuse it.
    tells_handlers: bool,
    reason: DisconnectReason,
}

thread_local! {
    /// What handlers of a disconnection disconnect, one after the other: not one inside of the other, which would end with
    /// the stack.
    static ENDS: RefCell<Option<VecDeque<End>>> = const { RefCell::new(None) };
}

impl End {
    fn run_or_queue(self) {
        let first = ENDS.with_borrow_mut(|ends| match ends {
            Some(ends) => {
                ends.push_back(self);
                None
            }
            None => {
                *ends = Some(VecDeque::new());
                Some(self)
            }
        });
        let mut next = first;
        while let Some(Self { socket, accepted, tells_handlers, reason }) = next {
            // Handlers are contained; what else of the user's is dropped here must not keep the others from leaving.
            socket.client.server.contain(|| socket.leave_everything(accepted, tells_handlers, reason));
            next = ENDS.with_borrow_mut(|ends| {
                let end = ends.as_mut().and_then(VecDeque::pop_front);
                if end.is_none() {
                    *ends = None;
                }
                end
            });
        }
    }
}

/// Whether an event of a socket's may start.
#[derive(Debug)]
pub(crate) enum EventStart<'a> {
    /// By this service, which is always ready.
    At(&'a EventRoute),
    /// By this service, which is ready.
    Ready(EventRoute),
    /// A layer panicked when it was asked whether it is ready.
    Panicked,
    /// The socket is not connected any more, or its connection is about to close.
    Gone,
}

/// An event handler that is under way.
#[derive(Debug)]
pub(crate) struct Running {
    socket: Arc<Socket>,
    cost: usize,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.socket.running.fetch_sub(1, Ordering::AcqRel);
        self.socket.client.remove_running(self.cost);
        self.socket.drop_extensions();
    }
}

impl Handle for Arc<Socket> {
    fn moved(&self, id: MemberId) {
        *self.member() = Some(id);
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.id)
            .field("namespace", &self.namespace.name())
            .finish_non_exhaustive()
    }
}
