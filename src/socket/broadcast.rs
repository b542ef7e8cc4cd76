use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use serde::Serialize;

use crate::{
    cluster::{ClusterCommand, ClusterError, ClusterMessage},
    engine::SendError,
    packet::Encoded,
    room::{IntoRooms, Recipients, Selection, SocketId},
    server::{EmitError, Memory, NamespaceState, Socket},
};

use super::{acks::AckStream, flags::Flags, remote::RemoteSocket, socket_ref::SocketRef};

/// After so many recipients [`BroadcastOperator::emit_yielding`] lets other tasks run.
const SLICE: usize = 1000;

/// Emits to many sockets of a namespace, or does something else to them.
///
/// Made by [`SocketRef::to`] and its like, and by [`SocketIo::to`](crate::SocketIo::to) and its like. Every method
/// returns a new operator, so that one can be kept and used again. Whom it means is looked up each time it is used.
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
/// An event is encoded once. Emitting is linear in the number of recipients, whatever else the namespace holds. No lock is
/// held meanwhile, unless the server has [`recovery`](crate::SocketIoConfig::recovery): then those who emit to one namespace
/// wait for one another. [`emit`](Self::emit) does not wait: where a room has many thousands of members,
/// [`emit_yielding`](Self::emit_yielding) lets other tasks run meanwhile.
#[derive(Clone)]
#[must_use = "an operator does nothing until something is emitted"]
pub struct BroadcastOperator {
    namespace: Arc<NamespaceState>,
    selection: Selection,
    /// Rooms were given: if there were none among them, nobody is meant.
    names_rooms: bool,
    /// The socket that broadcasts, which does not receive it.
    sender: Option<Arc<Socket>>,
    flags: Flags,
}

impl BroadcastOperator {
    pub(super) fn new(namespace: Arc<NamespaceState>, sender: Option<Arc<Socket>>, flags: Flags) -> Self {
        Self { namespace, selection: Selection::default(), names_rooms: false, sender, flags }
    }

    /// Everyone in a namespace.
    pub(crate) fn everyone(namespace: Arc<NamespaceState>) -> Self {
        Self::new(namespace, None, Flags::default())
    }

    /// Adds rooms. The recipients are the sockets that are in at least one of all rooms that were added; each receives an event once.
    ///
    /// An empty list adds nothing, and if only empty lists were added, there are no recipients. (In Node, they would be all
    /// sockets.)
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

    /// As [`to`](Self::to). (`in` is a keyword.)
    pub fn within(self, rooms: impl IntoRooms) -> Self {
        self.to(rooms)
    }

    /// Leaves out the sockets that are in at least one of these rooms. An empty list leaves out no socket.
    pub fn except(mut self, rooms: impl IntoRooms) -> Self {
        self.selection.except.extend(rooms.into_rooms());
        self
    }

    /// Means this node's sockets only.
    pub fn local(mut self) -> Self {
        self.flags.local = true;
        self
    }

    /// Drops the event for each recipient to whom it cannot leave at once.
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Whether the event may be compressed. See [`SocketRef::compress`].
    pub fn compress(mut self, compress: bool) -> Self {
        self.flags.uncompressed = !compress;
        self
    }

    /// Waits no longer than this for acks. Default: [`ack_timeout`](crate::SocketIoConfig::ack_timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.flags.timeout = Some(timeout);
        self
    }

    /// Whether only empty lists of rooms were given.
    fn is_empty(&self) -> bool {
        self.names_rooms && self.selection.rooms.is_empty()
    }

    fn recipients(&self) -> Recipients<Arc<Socket>> {
        if self.is_empty() {
            return Recipients::default();
        }
        self.namespace.with_registry(|registry| {
            // If it has ended, its client may have come back as another socket, with its id.
            let member = |socket: &Arc<Socket>| socket.member_id().or_else(|| registry.id_of(&socket.id));
            registry.select(&self.selection, self.sender.as_ref().and_then(member))
        })
    }

    /// Emits an event. A tuple is several arguments, anything else one.
    ///
    /// A recipient that is too slow is dealt with as
    /// [`slow_client_policy`](crate::SocketIoConfig::slow_client_policy) says; the others do not notice.
    ///
    /// # Errors
    ///
    /// If the arguments cannot be encoded, or the event's name is reserved; then nobody receives it.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        let packet = self.flags.encode(&self.namespace, None, event, args)?;
        self.send_everywhere(&packet);
        Ok(())
    }

    /// As [`emit`](Self::emit), and tells which of this node's sockets had no room for the event.
    ///
    /// What became of those, [`slow_client_policy`](crate::SocketIoConfig::slow_client_policy) says.
    ///
    /// # Errors
    ///
    /// As [`emit`](Self::emit).
    pub fn emit_with_report<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<EmitReport, EmitError> {
        let packet = self.flags.encode(&self.namespace, None, event, args)?;
        Ok(self.send_everywhere(&packet))
    }

    /// As [`emit_with_report`](Self::emit_with_report), for rooms of many thousands: other tasks of the runtime run after every
    /// thousand recipients.
    ///
    /// Recipients are those that are meant when it begins. What others emit meanwhile may reach the later ones first. On a
    /// server with [`recovery`](crate::SocketIoConfig::recovery) everyone is served at once, as by `emit`.
    ///
    /// # Errors
    ///
    /// As [`emit`](Self::emit).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, those that it has not come to get nothing, here and on other nodes.
    pub async fn emit_yielding<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<EmitReport, EmitError> {
        let packet = self.flags.encode(&self.namespace, None, event, args)?;
        if self.namespace.memory.is_some() {
            return Ok(self.send_everywhere(&packet));
        }
        let recipients = self.recipients();
        let mut report = EmitReport::default();
        for socket in recipients.iter() {
            if report.recipients > 0 && report.recipients % SLICE == 0 {
                tokio::task::yield_now().await;
            }
            report.deliver(socket, &packet, self.flags.volatile);
        }
        self.publish_event(&packet);
        Ok(report)
    }

    fn send_everywhere(&self, packet: &Encoded) -> EmitReport {
        let report = self.send(packet, self.flags.volatile);
        self.publish_event(packet);
        report
    }

    fn publish_event(&self, packet: &Encoded) {
        self.publish(|| ClusterCommand::Emit { packets: packet.packets().to_vec(), volatile: self.flags.volatile });
    }

    /// Sends a packet to the sockets of this node.
    pub(crate) fn send(&self, packet: &Encoded, volatile: bool) -> EmitReport {
        if let Some(memory) = self.namespace.memory.as_ref().filter(|_| !self.is_empty()) {
            return self.send_and_remember(memory, packet, volatile);
        }
        let mut report = EmitReport::default();
        self.recipients().iter().for_each(|socket| report.deliver(socket, packet, volatile));
        report
    }

    /// As [`send`](Self::send), where the namespace remembers events.
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
        // Before any user code runs.
        for (socket, error) in &failed {
            report.note(socket, *error);
            socket.on_send_error(*error);
        }
        recipients.iter().for_each(|socket| socket.observe(packet));
        report
    }

    /// Tells the other nodes of the cluster, if there is one.
    fn publish(&self, command: impl FnOnce() -> ClusterCommand) {
        if let Some(adapter) =
            self.namespace.settings.adapter.as_deref().filter(|_| !self.flags.local && !self.is_empty())
        {
            let message = ClusterMessage::to_selection(self.namespace.shared_name(), &self.selection, command());
            self.namespace.publish(adapter, message);
        }
    }

    /// Emits an event to this node's sockets and asks every recipient for an ack.
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
    /// As [`emit`](Self::emit). What happens to single recipients, the stream says.
    pub fn emit_with_ack<R>(&self, event: &str, args: &(impl Serialize + ?Sized)) -> Result<AckStream<R>, EmitError> {
        let id = self.namespace.next_ack_id();
        let packet = self.flags.encode(&self.namespace, Some(id), event, args)?;
        let timeout = self.flags.timeout.unwrap_or(self.namespace.settings.ack_timeout);
        Ok(AckStream::emit(self.recipients().iter(), id, &packet, timeout))
    }

    /// The sockets of this node that are meant, those among them whose `on_connect` is under way.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketRef> {
        self.recipients().iter().map(|socket| socket.clone().into()).collect()
    }

    /// How many sockets of this node are meant, those among them whose `on_connect` is under way.
    ///
    /// # Complexity
    ///
    /// Constant for one room or a whole namespace with nobody left out; otherwise linear in the members of the rooms.
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

    /// The sockets that are meant, as they are now; those of this node.
    ///
    /// # Errors
    ///
    /// If other nodes of a cluster cannot be asked. Today only this node is, which cannot fail.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    #[expect(clippy::unused_async, reason = "other nodes of a cluster will be asked here")]
    pub async fn fetch_sockets(&self) -> Result<Vec<RemoteSocket>, ClusterError> {
        Ok(self.sockets().into_iter().map(RemoteSocket::new).collect())
    }

    /// Makes the sockets join rooms.
    pub fn sockets_join(&self, rooms: impl IntoRooms) {
        let rooms: Vec<_> = rooms.into_rooms().collect();
        self.recipients().iter().for_each(|socket| socket.join(rooms.iter().cloned()));
        self.publish(|| ClusterCommand::Join(rooms));
    }

    /// Makes the sockets leave rooms.
    pub fn sockets_leave(&self, rooms: impl IntoRooms) {
        let rooms: Vec<_> = rooms.into_rooms().collect();
        for socket in self.recipients().iter() {
            rooms.iter().for_each(|room| socket.leave(room));
        }
        self.publish(|| ClusterCommand::Leave(rooms));
    }

    /// Disconnects the sockets from the namespace; with `close`, from all others of their clients too, and closes their
    /// connections.
    pub fn disconnect_sockets(&self, close: bool) {
        let disconnect = if close { SocketRef::disconnect_all } else { SocketRef::disconnect };
        self.sockets().iter().for_each(disconnect);
        self.publish(|| ClusterCommand::Disconnect { close });
    }
}

/// What became of a broadcast, as far as this node's sockets go. Made by [`BroadcastOperator::emit_with_report`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EmitReport {
    /// How many sockets it was for.
    pub recipients: usize,
    /// Those among them whose clients were too slow: more than
    /// [`max_buffered_bytes`](crate::SocketIoConfig::max_buffered_bytes) would have waited for them.
    pub slow: Vec<SocketId>,
}

impl EmitReport {
    fn deliver(&mut self, socket: &Arc<Socket>, packet: &Encoded, volatile: bool) {
        socket.observe(packet);
        self.recipients += 1;
        // Whoever is gone or too slow has been dealt with.
        if let Err(error) = socket.deliver(Cow::Borrowed(packet), volatile) {
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
