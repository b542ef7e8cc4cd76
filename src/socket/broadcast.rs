use std::{fmt, sync::Arc, time::Duration};

use serde::Serialize;

use crate::{
    cluster::{BroadcastFlags, BroadcastOptions, ClusterCommand, EventBody},
    engine::{SendError, Wakeups},
    packet::{Encoded, Target},
    room::{IntoRooms, Recipients, Room, Selection, SocketId},
    server::{EmitError, Memory, NamespaceState, Request, Socket},
};

use super::{
    acks::AckStream,
    flags::Flags,
    remote::{FetchSocketsError, RemoteSocket},
    socket_ref::SocketRef,
};

/// The maximum time for which another node may wait for acks.
const MAX_FOREIGN_TIMEOUT: Duration = Duration::from_secs(3600);

/// The number of recipients after which [`BroadcastOperator::emit_yielding`] yields to other tasks.
const SLICE: usize = 1000;

/// Selects sockets of a namespace, to emit an event to them or to change them.
///
/// Created by methods such as [`SocketRef::to`] and [`SocketIo::to`](crate::SocketIo::to). Each method returns a new operator,
/// which can be stored and used repeatedly. The sockets are looked up at each use.
///
/// ```
/// # use tower_socketio::{SocketIo, SocketIoConfig, SocketIoLayer};
/// # let io = SocketIoLayer::new(SocketIoConfig::new()).io();
/// let players = io.to(["red", "blue"]).except("spectators");
/// players.emit("start", &())?;
/// players.volatile().emit("tick", &(1, 2))?;
/// # Ok::<(), tower_socketio::EmitError>(())
/// ```
///
/// # Complexity
///
/// An event is encoded once. Emitting takes time in proportion to the number of recipients. No lock is held meanwhile, except
/// with [`recovery`](crate::SocketIoConfig::recovery): broadcasts to the same namespace then wait for one another.
/// [`emit`](Self::emit) does not yield. For rooms with many thousands of members use [`emit_yielding`](Self::emit_yielding),
/// which does.
#[derive(Clone)]
#[must_use = "an operator does nothing until something is emitted"]
pub struct BroadcastOperator {
    namespace: Arc<NamespaceState>,
    selection: Selection,
    /// Whether rooms were given. If they were empty lists only, there are no recipients.
    names_rooms: bool,
    /// The broadcasting socket, which does not get the event.
    sender: Option<Arc<Socket>>,
    flags: Flags,
}

impl BroadcastOperator {
    pub(super) fn new(namespace: Arc<NamespaceState>, sender: Option<Arc<Socket>>, flags: Flags) -> Self {
        Self { namespace, selection: Selection::default(), names_rooms: false, sender, flags }
    }

    /// Selects all sockets of a namespace.
    pub(crate) fn everyone(namespace: Arc<NamespaceState>) -> Self {
        Self::new(namespace, None, Flags::default())
    }

    /// Adds rooms. Selects the sockets in at least one of the rooms added so far. Each socket gets an event once.
    ///
    /// An empty list adds no room. If only empty lists were added, there are no recipients. (Node would select all sockets.)
    ///
    /// ```
    /// # use tower_socketio::{SocketIo, SocketIoConfig, SocketIoLayer};
    /// # let io = SocketIoLayer::new(SocketIoConfig::new()).io();
    /// let banned: Vec<String> = Vec::new();
    /// io.to(banned).disconnect_sockets(true); // disconnects no socket
    /// ```
    pub fn to(mut self, rooms: impl IntoRooms) -> Self {
        self.selection.rooms.extend(rooms.into_rooms());
        self.names_rooms = true;
        self
    }

    /// Like [`to`](Self::to). Named `within` because `in` is a keyword.
    pub fn within(self, rooms: impl IntoRooms) -> Self {
        self.to(rooms)
    }

    /// Excludes the sockets in at least one of these rooms. An empty list excludes none.
    pub fn except(mut self, rooms: impl IntoRooms) -> Self {
        self.selection.except.extend(rooms.into_rooms());
        self
    }

    /// Selects only sockets of this node.
    pub fn local(mut self) -> Self {
        self.flags.local = true;
        self
    }

    /// Drops the event for recipients to which it cannot be sent immediately.
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Sets whether the event may be compressed. Default: `true`. See [`SocketRef::compress`].
    pub fn compress(mut self, compress: bool) -> Self {
        self.flags.uncompressed = !compress;
        self
    }

    /// Sets how long to wait for acks. Default: [`ack_timeout`](crate::SocketIoConfig::ack_timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.flags.timeout = Some(timeout);
        self
    }

    /// Returns `true` if only empty lists of rooms were given.
    fn is_empty(&self) -> bool {
        self.names_rooms && self.selection.rooms.is_empty()
    }

    fn recipients(&self) -> Recipients<Arc<Socket>> {
        if self.is_empty() {
            return Recipients::default();
        }
        self.namespace.with_registry(|registry| {
            // If the sender has been disconnected, its client may have returned as another socket with the same id.
            let member = |socket: &Arc<Socket>| socket.member_id().or_else(|| registry.id_of(&socket.id));
            registry.select(&self.selection, self.sender.as_ref().and_then(member))
        })
    }

    /// Emits an event. A tuple is sent as several arguments, other types as one.
    ///
    /// The [`slow_client_policy`](crate::SocketIoConfig::slow_client_policy) applies to recipients whose send buffer is full. It
    /// does not affect the others.
    ///
    /// # Errors
    ///
    /// Returns an error if the arguments cannot be encoded or the name of the event is reserved. The event is not emitted in that
    /// case.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        let packet = self.flags.encode_shared(&self.namespace, None, event, args)?;
        if !self.is_appended(&packet) {
            let _ = self.send_everywhere(&packet);
        }
        Ok(())
    }

    /// Like [`emit`](Self::emit), and returns which sockets of this node did not get the event because their send buffer is full.
    ///
    /// The [`slow_client_policy`](crate::SocketIoConfig::slow_client_policy) has been applied to them.
    ///
    /// # Errors
    ///
    /// Same as [`emit`](Self::emit).
    pub fn emit_with_report<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<EmitReport, EmitError> {
        let packet = self.flags.encode_shared(&self.namespace, None, event, args)?;
        Ok(self.send_everywhere(&packet))
    }

    /// Like [`emit_with_report`](Self::emit_with_report), but yields to other tasks after every 1,000 recipients. For rooms with
    /// many thousands of members.
    ///
    /// The recipients are selected at the start. Events emitted by others in the meantime may reach some recipients first. With
    /// [`recovery`](crate::SocketIoConfig::recovery) it does not yield.
    ///
    /// # Errors
    ///
    /// Same as [`emit`](Self::emit).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the remaining recipients and the other nodes do not get the event.
    pub async fn emit_yielding<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<EmitReport, EmitError> {
        let packet = self.flags.encode_shared(&self.namespace, None, event, args)?;
        if self.namespace.memory.is_some() || self.is_journaled() {
            return Ok(self.send_everywhere(&packet));
        }
        let recipients = self.recipients();
        let new_list = || Wakeups::collect_many(recipients.len().min(SLICE));
        let (mut report, mut wakeups) = (EmitReport::default(), new_list());
        for socket in recipients.iter() {
            if report.recipients > 0 && report.recipients % SLICE == 0 {
                std::mem::replace(&mut wakeups, new_list()).wake();
                tokio::task::yield_now().await;
            }
            report.deliver(socket, &packet, self.flags.volatile, &mut wakeups);
        }
        wakeups.wake();
        self.publish_event(&packet);
        Ok(report)
    }

    fn send_everywhere(&self, packet: &Encoded) -> EmitReport {
        if self.is_appended(packet) {
            return EmitReport { recipients: self.recipients().len(), slow: Vec::new() };
        }
        let report = self.send(packet, self.flags.volatile);
        self.publish_event(packet);
        report
    }

    fn publish_event(&self, packet: &Encoded) {
        self.publish(|options| ClusterCommand::Emit { options, event: self.event(packet, None), request: None });
    }

    fn event(&self, packet: &Encoded, id: Option<u64>) -> EventBody {
        EventBody::from_packet(packet, Target { namespace: self.namespace.name(), id })
    }

    /// Sends a packet to the sockets of this node.
    pub(crate) fn send(&self, packet: &Encoded, volatile: bool) -> EmitReport {
        if let Some(memory) = self.namespace.memory.as_ref().filter(|_| !self.is_empty()) {
            return self.send_and_remember(memory, packet, volatile);
        }
        let recipients = self.recipients();
        let (mut report, mut wakeups) = (EmitReport::default(), Wakeups::collect_many(recipients.len()));
        recipients.iter().for_each(|socket| report.deliver(socket, packet, volatile, &mut wakeups));
        wakeups.wake();
        report
    }

    /// Like [`send`](Self::send), for a namespace with recovery.
    #[inline(never)]
    fn send_and_remember(&self, memory: &Memory, packet: &Encoded, volatile: bool) -> EmitReport {
        let mut state = memory.lock();
        let recipients = self.recipients();
        let sender = self.sender.as_ref().map(|sender| sender.id.clone());
        let broadcast = state.broadcast(&recipients, &self.selection, sender, packet, volatile);
        drop(state);
        let failed = broadcast.wake();
        self.namespace.clean_later();
        let mut report = EmitReport { recipients: recipients.len(), slow: Vec::new() };
        // Counted before any user code runs.
        for (socket, error) in &failed {
            report.note(socket, *error);
            socket.on_send_error(*error);
        }
        recipients.iter().for_each(|socket| socket.observe(packet));
        report
    }

    /// Publishes a command to the other nodes of the cluster, if there is one.
    fn publish(&self, command: impl FnOnce(BroadcastOptions) -> ClusterCommand) {
        if self.is_clustered() {
            self.namespace.publish(command(self.options()), None);
        }
    }

    /// Returns `true` if the event is appended to the journal of the cluster, from which all nodes read it.
    fn is_journaled(&self) -> bool {
        self.namespace.is_journaled() && self.is_clustered() && !self.flags.volatile
    }

    /// Appends an event to the journal, if the namespace uses one. If that fails, the event reaches the sockets of this node at least.
    #[inline]
    fn is_appended(&self, packet: &Encoded) -> bool {
        self.is_journaled() && self.append(packet)
    }

    #[cold]
    fn append(&self, packet: &Encoded) -> bool {
        if self.namespace.append(self.options(), self.event(packet, None)).is_err() {
            let _ = self.send(packet, false);
        }
        true
    }

    /// Returns `true` if sockets of other nodes may be selected.
    fn is_clustered(&self) -> bool {
        self.namespace.settings.adapter.is_some() && !self.flags.local && !self.is_empty()
    }

    /// Returns the selection as it is sent to other nodes.
    #[cold]
    fn options(&self) -> BroadcastOptions {
        let Selection { rooms, mut except } = self.selection.clone();
        except.extend(self.sender.as_ref().map(|sender| Room::from(sender.id.as_str())));
        let flags = BroadcastFlags {
            volatile: self.flags.volatile,
            compress: self.flags.uncompressed.then_some(false),
            timeout: self.flags.timeout,
            expect_single_response: false,
        };
        BroadcastOptions::new(rooms, except).flags(flags)
    }

    /// Selects the sockets of this node that another node has selected.
    pub(crate) fn from_options(namespace: Arc<NamespaceState>, options: BroadcastOptions) -> Self {
        let BroadcastOptions { rooms, except, flags } = options;
        let flags = Flags {
            volatile: flags.volatile,
            local: true,
            uncompressed: flags.compress == Some(false),
            timeout: flags.timeout,
        };
        let selection = Selection { rooms, except };
        Self { namespace, selection, names_rooms: false, sender: None, flags }
    }

    /// Creates a request to the other nodes of the cluster.
    fn request(&self) -> Option<Request> {
        if self.is_clustered() { Request::new(&self.namespace, self.flags.timeout) } else { None }
    }

    /// Emits an event of another node to the sockets of this one.
    pub(crate) fn emit_foreign(&self, event: &EventBody) {
        if let Some(packet) = self.packet(event, None) {
            let _ = self.send(&packet, self.flags.volatile);
        }
    }

    /// Like [`emit_foreign`](Self::emit_foreign), and requests acks.
    pub(crate) fn emit_foreign_with_ack(&self, event: &EventBody) -> Option<AckStream<()>> {
        let id = self.namespace.next_ack_id();
        let packet = self.packet(event, Some(id))?;
        Some(AckStream::emit(self.recipients().iter(), id, &packet, self.ack_timeout().min(MAX_FOREIGN_TIMEOUT)))
    }

    fn packet(&self, event: &EventBody, id: Option<u64>) -> Option<Encoded> {
        let packet = event.to_packet(Target { namespace: self.namespace.name(), id })?;
        Some(self.namespace.settings.compress_shared(packet, !self.flags.uncompressed))
    }

    fn ack_timeout(&self) -> Duration {
        self.flags.timeout.unwrap_or(self.namespace.settings.ack_timeout)
    }

    /// Emits an event, and requests an ack from each recipient.
    ///
    /// With a [cluster](crate::cluster), the stream also yields the acks of other nodes. Those consist of the first argument only.
    ///
    /// ```no_run
    /// # async fn doc(io: tower_socketio::SocketIo) -> Result<(), tower_socketio::EmitError> {
    /// let votes = io.to("voters").emit_with_ack::<bool>("vote", "pizza?")?.responses().await;
    /// println!("{} voted, {} did not", votes.answers.len(), votes.missing.len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Same as [`emit`](Self::emit). The stream yields errors that concern single recipients.
    pub fn emit_with_ack<R>(&self, event: &str, args: &(impl Serialize + ?Sized)) -> Result<AckStream<R>, EmitError> {
        let id = self.namespace.next_ack_id();
        let packet = self.flags.encode_shared(&self.namespace, Some(id), event, args)?;
        let acks = AckStream::emit(self.recipients().iter(), id, &packet, self.ack_timeout());
        if !self.is_clustered() {
            return Ok(acks);
        }
        let request = Request::new(&self.namespace, Some(self.ack_timeout()));
        if let Some(request) = &request {
            let event = self.event(&packet, Some(id));
            request.publish(|request| ClusterCommand::Emit { options: self.options(), event, request: Some(request) });
        }
        Ok(acks.with_remote(request))
    }

    /// Returns the selected sockets of this node, including those whose `on_connect` is running.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketRef> {
        self.recipients().iter().map(|socket| socket.clone().into()).collect()
    }

    /// Returns the number of selected sockets on this node, including those whose `on_connect` is running.
    ///
    /// # Complexity
    ///
    /// Constant for one room or a whole namespace without exceptions, otherwise linear in the members of the rooms.
    ///
    /// ```
    /// # use tower_socketio::{SocketIo, SocketIoConfig, SocketIoLayer};
    /// # let io = SocketIoLayer::new(SocketIoConfig::new()).io();
    /// println!("{} sockets, {} of them in the lobby", io.socket_count(), io.to("lobby").socket_count());
    /// ```
    #[must_use]
    pub fn socket_count(&self) -> usize {
        self.recipients().len()
    }

    /// Returns a snapshot of the selected sockets, including those of other nodes of a [cluster](crate::cluster).
    ///
    /// The [`timeout`](Self::timeout) limits how long to wait for other nodes. Default: that of the
    /// [adapter](crate::cluster::ClusterAdapter::request_timeout), usually five seconds.
    ///
    /// # Errors
    ///
    /// Returns an error if other nodes do not respond. It contains the sockets that were found.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn fetch_sockets(&self) -> Result<Vec<RemoteSocket>, FetchSocketsError> {
        let mut sockets: Vec<_> = self.sockets().into_iter().map(RemoteSocket::new).collect();
        let Some(mut request) = self.request() else { return Ok(sockets) };
        request.publish(|request| ClusterCommand::FetchSockets { options: self.options(), request });
        let result = request.collect(|command| {
            let ClusterCommand::SocketsFetched { sockets: fetched, .. } = command else { return false };
            sockets.extend(fetched.into_iter().map(|socket| RemoteSocket::on_other_node(&self.namespace, socket)));
            true
        });
        match result.await {
            Ok(()) => Ok(sockets),
            Err(error) => Err(FetchSocketsError::new(error, sockets, request.missing())),
        }
    }

    /// Adds the sockets to rooms.
    pub fn sockets_join(&self, rooms: impl IntoRooms) {
        let rooms: Vec<_> = rooms.into_rooms().collect();
        self.recipients().iter().for_each(|socket| socket.join(rooms.iter().cloned()));
        self.publish(|options| ClusterCommand::Join { options, rooms });
    }

    /// Removes the sockets from rooms.
    pub fn sockets_leave(&self, rooms: impl IntoRooms) {
        let rooms: Vec<_> = rooms.into_rooms().collect();
        for socket in self.recipients().iter() {
            rooms.iter().for_each(|room| socket.leave(room));
        }
        self.publish(|options| ClusterCommand::Leave { options, rooms });
    }

    /// Disconnects the sockets from the namespace. With `close`, also disconnects their clients from all other namespaces and
    /// closes the connections. The clients get what was emitted before, and do not reconnect by themselves: see
    /// [`SocketRef::disconnect`].
    pub fn disconnect_sockets(&self, close: bool) {
        let disconnect = if close { SocketRef::disconnect_all } else { SocketRef::disconnect };
        self.sockets().iter().for_each(disconnect);
        self.publish(|options| ClusterCommand::Disconnect { options, close });
    }
}

/// The result of a broadcast on this node. Returned by [`BroadcastOperator::emit_with_report`].
///
/// ```
/// use tower_socketio::operators::EmitReport;
///
/// fn log(report: &EmitReport) {
///     println!("{} of {} clients were too slow", report.slow.len(), report.recipients);
/// }
/// # let _ = log;
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EmitReport {
    /// The number of recipients.
    pub recipients: usize,
    /// The recipients that did not get the event because their send buffer is full. See
    /// [`max_buffered_bytes`](crate::SocketIoConfig::max_buffered_bytes).
    pub slow: Vec<SocketId>,
}

impl EmitReport {
    fn deliver(&mut self, socket: &Arc<Socket>, packet: &Encoded, volatile: bool, wakeups: &mut Wakeups) {
        socket.observe(packet);
        self.recipients += 1;
        // `deliver_later` has already handled disconnected and slow recipients.
        if let Err(error) = socket.deliver_later(packet, volatile, wakeups) {
            self.note(socket, error);
        }
    }

    fn note(&mut self, socket: &Socket, error: SendError) {
        if error == SendError::Full {
            self.slow.push(socket.id.clone());
        }
    }
}

impl fmt::Debug for BroadcastOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastOperator")
            .field("namespace", &self.namespace.name())
            .field("selection", &self.selection)
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}
