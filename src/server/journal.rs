//! Recovery with the journal of a cluster: events are appended to it, and delivered when they are read from it.

use std::{
    mem::take,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt;
use serde::Deserialize;
use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};

use crate::{
    cluster::{
        BroadcastFlags, BroadcastOptions, ClusterCommand, ClusterError, ClusterErrorKind, ClusterMessage, EventBody,
        Journal, Offset, Payload, PublishError, RecordedEvent, SessionRecord, TakenSession,
    },
    engine::{CloseCause, ProtocolVersion, SendError, Wakeups},
    packet::{Encoded, Target},
    recovery::RecoveryConfig,
    room::{Room, Selection},
    util::{Mutex, log, shrink},
};

use super::{
    claimed::{Claimed, Delivered},
    reason::DisconnectReason,
    recovery_session::{Journaled, Progress},
    settings::SlowClientPolicy,
    socket::{ACCEPTING, ADMITTING, CLOSED, LOST},
    state::{Client, JournalState, NamespaceState, Server, Socket},
};

/// The part of the auth payload by which a client asks to be recovered.
#[derive(Deserialize)]
struct ClaimedAuth {
    pid: String,
    offset: String,
}

/// A client's request to be recovered.
pub(super) struct Claim {
    private_id: Arc<str>,
    offset: Offset,
}

impl Server {
    pub(crate) fn not_saving() -> watch::Sender<usize> {
        watch::channel(0).0
    }

    /// Waits until the sessions of lost sockets have been stored.
    pub(crate) async fn saved(&self) {
        const LIMIT: Duration = Duration::from_secs(5);
        let mut saving = self.saving.subscribe();
        let _ = timeout(LIMIT, saving.wait_for(|saving| *saving == 0)).await;
    }
}

impl NamespaceState {
    /// Returns the journal of the cluster, if the namespace uses it.
    fn used_journal(&self) -> Option<(&dyn Journal, &RecoveryConfig)> {
        self.journal.as_ref()?;
        Some((self.settings.adapter.as_ref()?.journal()?, self.settings.recovery.as_ref()?))
    }

    /// Returns `true` if events are delivered when they are read from the journal.
    #[inline]
    pub(crate) fn is_journaled(&self) -> bool {
        self.journal.is_some()
    }

    /// Returns `true` if the client of a lost socket may return.
    fn may_return(&self, journaled: &Journaled) -> bool {
        let limit = self.settings.recovery.as_ref().map(RecoveryConfig::max_disconnection_time);
        limit.is_some_and(|limit| journaled.was_lost_within(limit))
    }

    /// Appends an event to the journal. Fails if it is dropped, after reporting the failure.
    pub(crate) fn append(&self, options: BroadcastOptions, event: EventBody) -> Result<(), PublishError> {
        let (Some((journal, _)), Some(server)) = (self.used_journal(), self.server.upgrade()) else {
            return Err(PublishError::Disconnected);
        };
        let command = ClusterCommand::Emit { options, event, request: None };
        let message = ClusterMessage::new(server.requests.node().clone(), self.shared_name(), command);
        let appended = server.catch_panic(|| journal.append(message)).unwrap_or(Err(PublishError::Disconnected));
        appended.inspect_err(|error| {
            server.report(&ClusterError::new(ClusterErrorKind::Lost { count: 1 }).caused_by(*error));
        })
    }

    /// Returns the packet of an event from the journal. `None` if clients would reject it.
    fn packet(&self, event: &EventBody, options: &BroadcastOptions) -> Option<Encoded> {
        let packet = event.to_packet(Target { namespace: self.name(), id: None })?;
        Some(self.settings.compress_shared(packet, options.flags.compress != Some(false)))
    }

    /// Delivers an event that was read from the journal.
    pub(crate) fn deliver_recorded(self: &Arc<Self>, offset: Offset, options: BroadcastOptions, event: EventBody) {
        let (Some(journal), Some(server)) = (&self.journal, self.server.upgrade()) else { return };
        let Some(packet) = self.packet(&event, &options) else { return };
        let volatile = options.flags.volatile;
        let stamped = if volatile { packet.clone() } else { packet.with_offset(&offset.to_string()) };
        let selection = Selection { rooms: options.rooms.clone(), except: options.except.clone() };
        let lets_slow_clients_go = self.settings.slow_client_policy == SlowClientPolicy::Disconnect;
        let mut state = journal.lock();
        if !volatile {
            if offset < state.last {
                self.begin_anew(&mut state);
            }
            state.last = offset;
            if !state.watching.is_empty() {
                let recorded = Arc::new(RecordedEvent::new(offset, options, event));
                state.watching.retain(|delivered| match delivered.upgrade() {
                    Some(delivered) => {
                        delivered.lock().push(&recorded);
                        true
                    }
                    None => false,
                });
            }
        }
        let recipients = self.with_registry(|registry| registry.select(&selection, None));
        let (mut wakeups, mut failed) = (Wakeups::collect(recipients.len()), Vec::new());
        for socket in recipients.iter() {
            let mut progress = socket.journaled().map(Journaled::progress);
            if let Some(progress) = progress.as_ref().filter(|_| !volatile)
                && (offset <= progress.last || progress.has_missed)
            {
                continue;
            }
            let form = if progress.is_some() { &stamped } else { &packet };
            let sent = socket.try_deliver(form, volatile);
            if let Some(progress) = progress.as_mut().filter(|_| !volatile) {
                progress.has_missed = sent.is_err() && lets_slow_clients_go;
                if !progress.has_missed {
                    progress.last = offset;
                }
            }
            drop(progress);
            match sent {
                Ok(sent) => wakeups.add(&socket.client.connection, sent),
                Err(error) => failed.push((socket.clone(), error)),
            }
        }
        drop(state);
        wakeups.wake();
        failed.iter().for_each(|(socket, error)| socket.on_send_error(*error));
        server.catch_panic(|| recipients.iter().for_each(|socket| socket.observe(&packet)));
    }

    /// The journal has lost its events, and its offsets begin anew.
    fn begin_anew(&self, state: &mut JournalState) {
        let sockets = self.with_registry(|registry| registry.select(&Selection::default(), None));
        for journaled in sockets.iter().filter_map(|socket| socket.journaled()) {
            *journaled.progress() = Progress::default();
        }
        for delivered in state.watching.drain(..).filter_map(|delivered| delivered.upgrade()) {
            delivered.lock().overflow();
        }
        log!(warn, "the journal of the cluster has lost its events");
    }

    /// Returns the claim of a client that asks to be recovered from the journal.
    pub(super) fn claim_of(&self, client: &Client, auth: &[u8]) -> Option<Claim> {
        self.journal.as_ref()?;
        if client.connection.wire_format.protocol != ProtocolVersion::V4 {
            return None;
        }
        let claim: ClaimedAuth = serde_json::from_slice(auth).ok()?;
        Some(Claim { private_id: claim.pid.into(), offset: Offset::parse(&claim.offset)? })
    }

    /// Takes the claimed session from the journal. Ends the previous socket of the client if it is still on this node.
    pub(super) async fn claim(self: &Arc<Self>, claim: Claim) -> Option<Arc<Claimed>> {
        let state = self.journal.as_ref()?;
        let server = self.server.upgrade()?;
        let predecessor = state.lock().live.get(&claim.private_id).and_then(Weak::upgrade);
        let record = predecessor.and_then(|socket| socket.supersede());
        let delivered = Arc::new(Mutex::new(Delivered::default()));
        // Before the journal is read, so that no event falls in between.
        state.lock().watching.push(Arc::downgrade(&delivered));
        let (sender, receiver) = oneshot::channel();
        let namespace = self.clone();
        // A task of its own, because a session that has been taken must not be lost if the connection ends meanwhile.
        server.try_runtime()?.spawn(async move {
            let limit = namespace.settings.adapter.as_ref().map_or(Duration::ZERO, |adapter| adapter.request_timeout());
            let taken = timeout(limit, namespace.take_session(&claim, record)).await;
            let claimed = match taken {
                Ok(Ok(taken)) => taken.map(|taken| {
                    let saving = namespace.clone();
                    Claimed::new(taken, claim.offset, delivered, move |record| saving.save(record))
                }),
                Ok(Err(error)) => {
                    namespace.report(&error);
                    None
                }
                Err(elapsed) => {
                    namespace.report(&ClusterError::new(ClusterErrorKind::Disconnected).caused_by(elapsed));
                    None
                }
            };
            // If the admission has ended, the session is stored again when it is dropped.
            drop(sender.send(claimed));
        });
        receiver.await.ok().flatten().map(Arc::new)
    }

    /// Reads a session from the journal, after storing the one of a predecessor.
    async fn take_session(
        &self,
        claim: &Claim,
        predecessor: Option<SessionRecord>,
    ) -> Result<Option<TakenSession>, ClusterError> {
        let Some((journal, config)) = self.used_journal() else { return Ok(None) };
        if let Some(record) = predecessor {
            journal.save(self.name(), record, config.max_disconnection_time()).await?;
        }
        let taken = journal.take(self.name(), &claim.private_id, claim.offset, config.max_missed()).await?;
        // Other programs may write to the broker.
        let is_plain = |id: &str| id.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
        Ok(taken.filter(|taken| taken.session.private_id == claim.private_id && is_plain(&taken.session.id)))
    }

    fn report(&self, error: &ClusterError) {
        if let Some(server) = self.server.upgrade() {
            server.report(error);
        }
    }

    /// Stores a session. What has to wait continues in a task.
    fn save(self: &Arc<Self>, record: SessionRecord) {
        let Some(server) = self.server.upgrade() else { return };
        server.saving.send_modify(|saving| *saving += 1);
        let (namespace, saving) = (self.clone(), Saving(server.clone()));
        let mut save = Box::pin(async move {
            namespace.save_now(record).await;
            drop(saving);
        });
        // The client may return soon: the adapter starts at once.
        let is_done = server.catch_panic(|| save.as_mut().now_or_never().is_some()).unwrap_or(true);
        if let (false, Some(runtime)) = (is_done, server.try_runtime()) {
            runtime.spawn(save);
        }
    }

    async fn save_now(&self, record: SessionRecord) {
        let Some((journal, config)) = self.used_journal() else { return };
        if let Err(error) = journal.save(self.name(), record, config.max_disconnection_time()).await {
            self.report(&error);
        }
    }
}

/// Counts a session that is being stored.
struct Saving(Arc<Server>);

impl Drop for Saving {
    fn drop(&mut self) {
        self.0.saving.send_modify(|saving| *saving -= 1);
    }
}

impl Socket {
    /// Returns the part of the session for namespaces with a journal.
    pub(super) fn journaled(&self) -> Option<&Journaled> {
        self.session.as_ref()?.journaled.as_deref()
    }

    /// Emits an event to this socket through the journal. Returns `None` if it has to be delivered immediately.
    pub(super) fn append(self: &Arc<Self>, packet: &Encoded) -> Option<Result<(), SendError>> {
        let journaled = self.journaled()?;
        match self.phase() {
            ADMITTING => return None,
            CLOSED => return Some(Err(SendError::Closed)),
            // The client may return, on any node.
            LOST if !self.namespace.may_return(journaled) => return Some(Err(SendError::Closed)),
            _ => {}
        }
        let compress = packet.packets().first().is_none_or(|text| text.may_be_compressed());
        let flags = BroadcastFlags { compress: (!compress).then_some(false), ..BroadcastFlags::default() };
        let options = BroadcastOptions::new(vec![self.id.room()], Vec::new()).flags(flags);
        let event = EventBody::from_packet(packet, Target { namespace: self.namespace.name(), id: None });
        self.namespace.append(options, event).ok().map(Ok)
    }

    /// Makes a socket known by the private id of its session.
    pub(super) fn register_session(self: &Arc<Self>) {
        if let (Some(journal), Some(session)) = (&self.namespace.journal, &self.session) {
            let mut state = journal.lock();
            if !self.is_closed() {
                state.live.insert(session.private_id.clone(), Arc::downgrade(self));
            }
        }
    }

    /// Like [`enter_namespace`](Self::enter_namespace), for a namespace with a journal.
    pub(super) fn enter_journaled(self: &Arc<Self>) -> bool {
        let Some((journal, journaled)) = self.namespace.journal.as_ref().zip(self.journaled()) else { return true };
        let claimed = journaled.claimed();
        // Most of them, before locking.
        let mut missed: Vec<_> =
            claimed.iter().flat_map(|claimed| claimed.missed()).filter_map(|event| self.missed(event)).collect();
        let mut state = journal.lock();
        let mut buffer = self.buffer();
        if self.phase() != ADMITTING {
            return true;
        }
        let since = match &claimed {
            Some(claimed) => claimed.missed_since(),
            None => Some((Vec::new(), Offset::default())),
        };
        let Some((since, last)) = since else {
            drop(buffer);
            drop(state);
            // The client reconnects, and gets a new session.
            claimed.iter().for_each(|claimed| claimed.settle());
            self.client
                .connection
                .abort(CloseCause::Forced("what the client missed was forgotten before it was admitted"));
            self.close(DisconnectReason::TransportClose);
            return false;
        };
        let changes = buffer.as_mut().map(|buffer| (take(&mut buffer.rooms), take(&mut buffer.left)));
        let (rooms, left) = changes.unwrap_or_default();
        let session = claimed.as_ref().map(|claimed| claimed.session());
        let own = self.id.room();
        let was_in = session.iter().flat_map(|session| &session.rooms);
        let stayed_in: Vec<Room> = was_in.filter(|room| **room != own && !left.contains(room)).cloned().collect();
        let Some(joined) = self.enter_rooms(&stayed_in, &rooms) else {
            drop(buffer);
            drop(state);
            self.close(DisconnectReason::ServerNamespaceDisconnect);
            return false;
        };
        let mut stays = session.map(|session| session.joined.clone()).unwrap_or_default();
        stays.retain(|room, _| stayed_in.contains(room));
        stays.extend(joined.into_iter().map(|room| (room, state.last)));
        *journaled.progress() = Progress { last, has_missed: false, joined: stays };
        self.phase.store(ACCEPTING, Ordering::Release);
        state.watching.retain(|delivered| delivered.strong_count() > 0);
        drop(buffer);
        drop(state);
        missed.extend(since.iter().filter_map(|event| self.missed(event)));
        // Without the locks: this may run a parser.
        for packet in &missed {
            self.client.packets_of(packet);
        }
        if !missed.is_empty() {
            self.buffer().get_or_insert_default().missed = missed;
        }
        true
    }

    fn missed(&self, missed: &RecordedEvent) -> Option<Encoded> {
        let packet = self.namespace.packet(&missed.event, &missed.options)?;
        Some(packet.with_offset(&missed.offset.to_string()))
    }

    /// Joins rooms under the lock of the journal, so that it is known which events of a room were for the socket.
    pub(super) fn join_journaled(&self, journaled: &Journaled, rooms: &[Room]) {
        let Some(journal) = &self.namespace.journal else { return };
        let state = journal.lock();
        self.change_rooms(|registry, id| {
            let mut progress = journaled.progress();
            for room in rooms {
                if let Some(room) = registry.join(id, room) {
                    progress.joined.insert(room.clone(), state.last);
                }
            }
        });
    }

    /// Removes the socket from its namespace, and stores its session if its client may return.
    pub(super) fn leave_journaled(self: &Arc<Self>, recoverable: bool) {
        let (Some(journal), Some(session)) = (&self.namespace.journal, &self.session) else { return };
        let Some(journaled) = &session.journaled else { return };
        // Before the socket leaves: events that it still gets are missed events to its client.
        if recoverable && session.is_accepted() && journaled.end() {
            journaled.lose();
            self.namespace.save(self.record(self.rooms()));
        }
        self.leave_rooms();
        let mut state = journal.lock();
        let is_it = |live: &Weak<Self>| std::ptr::eq(live.as_ptr(), Arc::as_ptr(self));
        if state.live.get(&session.private_id).is_some_and(is_it) {
            state.live.remove(&session.private_id);
            shrink(&mut state.live);
        }
        drop(state);
        // If the socket was not accepted, this stores the session again.
        drop(journaled.take_claimed());
    }

    /// Ends a socket whose client returns on another connection. Returns its session, unless it has been stored.
    fn supersede(self: &Arc<Self>) -> Option<SessionRecord> {
        let session = self.session.as_ref()?;
        let journaled = session.journaled.as_ref()?;
        let record = match journaled.take_claimed() {
            // It has not been accepted.
            Some(claimed) => {
                claimed.settle();
                Some(claimed.session().clone())
            }
            None => {
                let is_continued = session.is_accepted() && !self.was_dismissed() && journaled.end();
                is_continued.then(|| self.record(self.rooms()))
            }
        };
        self.leave_rooms();
        self.client.connection.abort(CloseCause::TransportClose);
        self.close(DisconnectReason::TransportClose);
        record
    }

    fn record(&self, rooms: Vec<Room>) -> SessionRecord {
        let private_id = self.session.as_ref().map(|session| session.private_id.clone()).unwrap_or_default();
        let data = self.data_bytes().and_then(Payload::of_json).unwrap_or_else(Payload::empty);
        let mut record = SessionRecord::new(self.id.as_str(), private_id, rooms, data);
        if let Some(journaled) = self.journaled() {
            let joined = &journaled.progress().joined;
            // Joined before any event, or left since.
            let counts =
                |(room, offset): &(&Room, &Offset)| **offset > Offset::default() && record.rooms.contains(room);
            record.joined = joined.iter().filter(counts).map(|(room, offset)| (room.clone(), *offset)).collect();
        }
        record
    }
}
