use std::{fmt, sync::Arc, time::Duration};

use serde::Serialize;

use crate::{
    cluster::{ClusterCommand, ClusterMessage},
    namespace::NamespaceState,
    packet::Encoded,
    recovery::Target,
    room::{IntoRooms, Recipients, Selection},
};

use super::{
    AckStream, EmitError, RemoteSocket, Socket, SocketRef,
    emit::{Flags, encode},
};

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
/// An event is encoded once. Emitting is linear in the number of recipients, whatever else the namespace holds; no lock
/// is held meanwhile.
#[derive(Clone)]
#[must_use = "an operator does nothing until something is emitted"]
pub struct BroadcastOperator {
    namespace: Arc<NamespaceState>,
    selection: Selection,
    /// The socket that broadcasts, which does not receive it.
    sender: Option<Arc<Socket>>,
    flags: Flags,
}

impl BroadcastOperator {
    pub(super) fn new(namespace: Arc<NamespaceState>, sender: Option<Arc<Socket>>, flags: Flags) -> Self {
        Self { namespace, selection: Selection::default(), sender, flags }
    }

    /// Everyone in a namespace.
    pub(crate) fn everyone(namespace: Arc<NamespaceState>) -> Self {
        Self::new(namespace, None, Flags::default())
    }

    /// Adds rooms: whoever is in any of all that were added is meant, once.
    pub fn to(mut self, rooms: impl IntoRooms) -> Self {
        self.selection.rooms.extend(rooms.into_rooms());
        self
    }

    /// As [`to`](Self::to). (`in` is a keyword.)
    pub fn within(self, rooms: impl IntoRooms) -> Self {
        self.to(rooms)
    }

    /// Leaves out whoever is in any of these rooms.
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

    /// Waits no longer than this for acks. Default: [`ack_timeout`](crate::SocketIoConfig::ack_timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.flags.timeout = Some(timeout);
        self
    }

    fn recipients(&self) -> Recipients<Arc<Socket>> {
        self.namespace.with_registry(|registry| {
            let sender = self.sender.as_ref().and_then(|socket| socket.member_id());
            registry.select(&self.selection, sender)
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
        let packet = encode(&self.namespace, None, event, args)?;
        self.send(&packet, self.flags.volatile);
        self.publish(|| ClusterCommand::Emit { packets: packet.packets().to_vec(), volatile: self.flags.volatile });
        Ok(())
    }

    /// Sends a packet to the sockets of this node.
    pub(crate) fn send(&self, packet: &Encoded, volatile: bool) {
        let Some(memory) = self.namespace.memory() else {
            for socket in self.recipients().iter() {
                // Whoever is gone or too slow has been dealt with.
                let _ = socket.deliver(packet, volatile);
            }
            return;
        };
        let sender = self.sender.as_ref().map(|sender| sender.id.clone());
        let target = Target::Selection(self.selection.clone(), sender);
        let failed = memory.emit(target, packet, volatile, |give| self.recipients().iter().for_each(give));
        self.namespace.clean_later();
        failed.into_iter().for_each(|(socket, error)| socket.report(error));
    }

    /// Tells the other nodes of the cluster, if there is one.
    fn publish(&self, command: impl FnOnce() -> ClusterCommand) {
        if let Some(adapter) = self.namespace.adapter().filter(|_| !self.flags.local) {
            adapter.publish(ClusterMessage::new(self.namespace.shared_name(), &self.selection, command()));
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
        let packet = encode(&self.namespace, Some(id), event, args)?;
        let timeout = self.flags.timeout.unwrap_or(self.namespace.ack_timeout());
        Ok(AckStream::emit(self.recipients().iter(), id, |_| packet.clone(), timeout))
    }

    /// The sockets of this node that are meant, those among them whose `on_connect` is under way.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketRef> {
        self.recipients().iter().map(|socket| socket.clone().into()).collect()
    }

    /// The sockets that are meant, as they are now; those of this node.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    #[expect(clippy::unused_async, reason = "other nodes of a cluster will be asked here")]
    pub async fn fetch_sockets(&self) -> Vec<RemoteSocket> {
        self.sockets().into_iter().map(RemoteSocket::new).collect()
    }

    /// Makes the sockets join rooms.
    pub fn join(&self, rooms: impl IntoRooms) {
        let rooms: Vec<_> = rooms.into_rooms().collect();
        self.recipients().iter().for_each(|socket| socket.join(rooms.iter().cloned()));
        self.publish(|| ClusterCommand::Join(rooms));
    }

    /// Makes the sockets leave rooms.
    pub fn leave(&self, rooms: impl IntoRooms) {
        let rooms: Vec<_> = rooms.into_rooms().collect();
        for socket in self.recipients().iter() {
            rooms.iter().for_each(|room| socket.leave(room));
        }
        self.publish(|| ClusterCommand::Leave(rooms));
    }

    /// Disconnects the sockets from the namespace. Their connections stay.
    pub fn disconnect(&self) {
        self.sockets().iter().for_each(SocketRef::disconnect);
        self.publish(|| ClusterCommand::Disconnect { close: false });
    }

    /// Disconnects the sockets and closes their connections, with all their other namespaces.
    pub fn disconnect_all(&self) {
        self.sockets().iter().for_each(SocketRef::disconnect_all);
        self.publish(|| ClusterCommand::Disconnect { close: true });
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
