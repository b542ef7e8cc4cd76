//! Recovery with the journal of a cluster: events are appended to it, and delivered when they are read from it.

use std::{
    borrow::Cow,
    mem::take,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};

use crate::{
    cluster::{
        BroadcastFlags, BroadcastOptions, ClusterCommand, ClusterError, ClusterErrorKind, ClusterMessage, EventBody,
        Journal, Offset, Payload, PublishError, RecordedEvent, SessionRecord,
    },
    engine::{CloseCause, ProtocolVersion, SendError},
    packet::{Encoded, Target},
    recovery::RecoveryConfig,
    room::{Room, Selection},
    util::shrink,
};

use super::{
    claimed::{Claimed, Delivered},
    reason::DisconnectReason,
    recovery_session::{Journaled, Progress},
    settings::SlowClientPolicy,
    socket::{ADMITTING, CLOSED, HELD},
    state::{Client, NamespaceState, Server, Socket},
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

    /// Returns `true` if events are delivered when they are read from the journal.
    pub(crate) fn uses_journal(&self) -> bool {
        self.settings.recovery.is_some()
            && self.settings.adapter.as_ref().is_some_and(|adapter| adapter.journal().is_some())
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

    /// Delivers an event that was read from the journal.
    pub(crate) fn deliver_recorded(self: &Arc<Self>, offset: Offset, options: BroadcastOptions, event: EventBody) {
        let (Some(journal), Some(server)) = (&self.journal, self.server.upgrade()) else { return };
        let target = Target { namespace: self.name(), id: None };
        let Some(packet) = event.to_packet(target) else { return };
        let uncompressed = options.flags.compress == Some(false);
        let packet = if uncompressed { packet.uncompressed() } else { packet };
        let volatile = options.flags.volatile;
        let stamped = if volatile { packet.clone() } else { packet.with_offset(&offset.to_string()) };
        let selection = Selection { rooms: options.rooms.clone(), except: options.except.clone() };
        let lets_slow_clients_go = self.settings.slow_client_policy == SlowClientPolicy::Disconnect;
        let (mut wakers, mut failed) = (Vec::new(), Vec::new());
        let mut state = journal.lock();
        if !volatile && !state.watching.is_empty() {
            let recorded = RecordedEvent::new(offset, options, event);
            state.watching.retain(|delivered| match delivered.upgrade() {
                Some(delivered) => {
                    delivered.lock().push(&recorded);
                    true
                }
                None => false,
            });
        }
        let recipients = self.with_registry(|registry| registry.select(&selection, None));
        for socket in recipients.iter() {
            let journaled = socket.session.as_ref().and_then(|session| session.journaled.as_ref());
            let before = journaled.map(Journaled::progress).unwrap_or_default();
            if journaled.is_some() && !volatile && (offset <= before.last || before.has_missed) {
                continue;
            }
            let form = if journaled.is_some() { &stamped } else { &packet };
            let sent = socket.try_deliver(Cow::Borrowed(form), volatile);
            if let Some(journaled) = journaled.filter(|_| !volatile) {
                let has_missed = sent.is_err() && lets_slow_clients_go;
                let last = if has_missed { before.last } else { offset };
                journaled.set_progress(Progress { last, has_missed });
            }
            match sent {
                Ok(sent) => wakers.extend(sent.waker),
                Err(error) => failed.push((socket.clone(), error)),
            }
        }
        drop(state);
        wakers.into_iter().for_each(std::task::Waker::wake);
        failed.iter().for_each(|(socket, error)| socket.on_send_error(*error));
        server.catch_panic(|| recipients.iter().for_each(|socket| socket.observe(&packet)));
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
    pub(super) async fn claim(self: &Arc<Self>, Claim { private_id, offset }: Claim) -> Option<Arc<Claimed>> {
        let state = self.journal.as_ref()?;
        let server = self.server.upgrade()?;
        let predecessor = state.lock().live.get(&private_id).and_then(Weak::upgrade);
        let record = predecessor.and_then(|socket| socket.supersede());
        let delivered = Arc::new(Mutex::new(Delivered::default()));
        // Before the journal is read, so that no event falls in between.
        state.lock().watching.push(Arc::downgrade(&delivered));
        let (sender, receiver) = oneshot::channel();
        let namespace = self.clone();
        // A task of its own, because a session that has been taken must not be lost if the connection ends meanwhile.
        server.try_runtime()?.spawn(async move {
            if let Some(record) = record {
                namespace.save_now(record).await;
            }
            let claimed = namespace.take_session(private_id, offset, delivered).await;
            // If the admission has ended, the session is stored again when it is dropped.
            drop(sender.send(claimed));
        });
        receiver.await.ok().flatten().map(Arc::new)
    }

    async fn take_session(
        self: &Arc<Self>,
        private_id: Arc<str>,
        offset: Offset,
        delivered: Arc<Mutex<Delivered>>,
    ) -> Option<Claimed> {
        let (journal, config) = self.used_journal()?;
        let limit = self.settings.adapter.as_ref()?.request_timeout();
        let taking = journal.take(self.name(), &private_id, offset, config.max_missed());
        match timeout(limit, taking).await {
            Ok(Ok(taken)) => {
                let namespace = self.clone();
                Some(Claimed::new(taken?, offset, delivered, move |record| namespace.save(record)))
            }
            Ok(Err(error)) => {
                self.report(&error);
                None
            }
            Err(_) => {
                self.report(&ClusterError::new(ClusterErrorKind::Timeout { missing: 0 }));
                None
            }
        }
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
        self.session.as_ref()?.journaled.as_ref()
    }

    /// Emits an event to this socket through the journal. Returns `None` if it has to be delivered immediately.
    pub(super) fn append(self: &Arc<Self>, packet: &Encoded) -> Option<Result<(), SendError>> {
        self.journaled()?;
        match self.phase() {
            ADMITTING => return None,
            CLOSED => return Some(Err(SendError::Closed)),
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
            journal.lock().live.insert(session.private_id.clone(), Arc::downgrade(self));
        }
    }

    /// Joins the namespace, after the layers have called the inner service. See [`hold`](Self::hold).
    pub(super) fn hold_journaled(self: &Arc<Self>) -> bool {
        let Some((journal, journaled)) = self.namespace.journal.as_ref().zip(self.journaled()) else { return true };
        let claimed = journaled.claimed();
        let mut state = journal.lock();
        let mut buffer = self.buffer();
        if self.phase() != ADMITTING {
            return true;
        }
        let missed = match &claimed {
            Some(claimed) => claimed.missed(),
            None => Some((Vec::new(), Offset::default())),
        };
        let Some((missed, last)) = missed else {
            drop(buffer);
            drop(state);
            self.client
                .connection
                .abort(CloseCause::Forced("what the client missed was forgotten before it was admitted"));
            self.close(DisconnectReason::TransportClose);
            return false;
        };
        let changes = buffer.as_mut().map(|buffer| (take(&mut buffer.rooms), take(&mut buffer.left)));
        let (rooms, left) = changes.unwrap_or_default();
        let was_in = claimed.iter().flat_map(|claimed| &claimed.session().rooms);
        let own = self.id.room();
        let stayed_in: Vec<Room> = was_in.filter(|room| **room != own && !left.contains(room)).cloned().collect();
        if self.enter(&stayed_in, &rooms).is_none() {
            drop(buffer);
            drop(state);
            self.close(DisconnectReason::ServerNamespaceDisconnect);
            return false;
        }
        journaled.set_progress(Progress { last, has_missed: false });
        if !missed.is_empty() {
            buffer.get_or_insert_default().missed = missed.iter().filter_map(|event| self.missed(event)).collect();
        }
        self.phase.store(HELD, Ordering::Release);
        state.watching.retain(|delivered| delivered.strong_count() > 0);
        drop(buffer);
        drop(state);
        true
    }

    fn missed(&self, missed: &RecordedEvent) -> Option<Encoded> {
        let packet = missed.event.to_packet(Target { namespace: self.namespace.name(), id: None })?;
        let packet = packet.with_offset(&missed.offset.to_string());
        let uncompressed = missed.options.flags.compress == Some(false);
        let packet = if uncompressed { packet.uncompressed() } else { packet };
        Some(packet)
    }

    /// Removes the socket from its namespace, and stores its session if its client may return.
    pub(super) fn leave_journaled(self: &Arc<Self>, recoverable: bool) {
        let (Some(journal), Some(session)) = (&self.namespace.journal, &self.session) else { return };
        let is_superseded = session.journaled.as_ref().is_some_and(Journaled::is_superseded);
        if recoverable && session.is_accepted() && !is_superseded {
            // Before the socket leaves: events that it still gets are missed events to its client.
            self.namespace.save(self.record());
        }
        self.leave_rooms();
        let mut state = journal.lock();
        let is_it = |live: &Weak<Self>| std::ptr::eq(live.as_ptr(), Arc::as_ptr(self));
        if state.live.get(&session.private_id).is_some_and(is_it) {
            state.live.remove(&session.private_id);
            shrink(&mut state.live);
        }
    }

    /// Ends a socket whose client returns on another connection. Returns its session.
    fn supersede(self: &Arc<Self>) -> Option<SessionRecord> {
        let session = self.session.as_ref().filter(|session| session.is_accepted())?;
        let record = self.record();
        session.journaled.as_ref()?.supersede();
        self.client.connection.abort(CloseCause::TransportClose);
        self.close(DisconnectReason::TransportClose);
        self.is_lost().then_some(record)
    }

    fn record(&self) -> SessionRecord {
        let private_id = self.session.as_ref().map(|session| session.private_id.clone()).unwrap_or_default();
        let data = self.data_bytes().and_then(Payload::of_json).unwrap_or_else(Payload::empty);
        SessionRecord::new(self.id.as_str(), private_id, self.rooms(), data)
    }
}
