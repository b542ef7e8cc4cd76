use std::{fmt, sync::Arc};

use bytes::Bytes;
use serde::Serialize;

use crate::{
    packet::{Target, encode_event, is_reserved, normalize_name},
    room::IntoRooms,
};

use super::{
    adapter::ClusterAdapter,
    error::{ClusterError, PublishError},
    journal::Offset,
    message::{BroadcastOptions, ClusterCommand, ClusterMessage, RequestId},
    node::{ClusterNode, Node},
    payload::EventBody,
};

/// The sender of messages from programs that are not nodes.
pub(crate) const EMITTER: &str = "emitter";

/// Emits to the clients of a cluster from a program without a server. Corresponds to Node's `@socket.io/redis-emitter` and similar
/// packages.
///
/// It publishes through an adapter that is not given to a server. Methods that select sockets return a new emitter.
///
/// ```
/// use tower_socketio::{SocketIoConfig, SocketIoLayer, cluster::{Emitter, Local}};
///
/// let cluster = Local::new();
/// let server = SocketIoLayer::new(SocketIoConfig::new().adapter(cluster.node()));
///
/// let emitter = Emitter::new(cluster.node());
/// emitter.of("/").to("room").except("muted").emit("news", "tea is ready")?;
/// emitter.to("banned").disconnect_sockets(true)?;
/// # let _ = server;
/// # Ok::<(), tower_socketio::cluster::EmitterError>(())
/// ```
#[derive(Clone)]
#[must_use = "an emitter does nothing until something is emitted"]
pub struct Emitter {
    adapter: Arc<dyn ClusterAdapter>,
    namespace: Arc<str>,
    options: BroadcastOptions,
    /// Whether rooms were given. If they were empty lists only, there are no recipients.
    names_rooms: bool,
    /// Keeps what the adapter reports to.
    observer: Option<Arc<dyn Node>>,
}

/// A node that does not receive anything.
struct Observer<F>(F);

impl<F: Fn(&ClusterError) + Send + Sync> Node for Observer<F> {
    fn deliver(self: Arc<Self>, _: ClusterMessage) {}

    fn deliver_recorded(self: Arc<Self>, _: ClusterMessage, _: Offset) {}

    fn namespaces(&self) -> Vec<Arc<str>> {
        Vec::new()
    }

    fn awaits(&self, _: &RequestId) -> bool {
        false
    }

    fn has_namespace(&self, _: &str) -> bool {
        false
    }

    fn has_room(&self, _: &str, _: &str) -> bool {
        false
    }

    fn peer_left(&self, _: &str) {}

    fn uses_journal(&self) -> bool {
        false
    }

    fn receive(self: Arc<Self>, _: Bytes) {}

    fn shares_sessions(&self) -> bool {
        false
    }

    fn report(&self, error: ClusterError) {
        (self.0)(&error);
    }
}

impl Emitter {
    /// Creates an emitter for the default namespace.
    pub fn new(adapter: impl ClusterAdapter) -> Self {
        Self {
            adapter: Arc::new(adapter),
            namespace: "/".into(),
            options: BroadcastOptions::default(),
            names_rooms: false,
            observer: None,
        }
    }

    /// Sets a function that is called for failures: for messages that were lost after they had been accepted, and for interruptions of
    /// the connection. Set it before anything is emitted, and once.
    ///
    /// The adapters over Redis report failures of emitters.
    pub fn on_cluster_error(mut self, observe: impl Fn(&ClusterError) + Send + Sync + 'static) -> Self {
        let observer: Arc<dyn Node> = Arc::new(Observer(observe));
        self.adapter.report_to(ClusterNode::new(EMITTER.into(), Arc::downgrade(&observer)));
        self.observer = Some(observer);
        self
    }

    /// Selects a namespace. A missing leading slash is added.
    pub fn of(&self, namespace: &str) -> Self {
        let mut selected = self.clone();
        selected.namespace = normalize_name(namespace).into();
        selected
    }

    /// Adds rooms. Selects the sockets in at least one of the rooms added so far. An empty list adds no room; if only empty lists
    /// were added, there are no recipients.
    pub fn to(&self, rooms: impl IntoRooms) -> Self {
        let mut selected = self.clone();
        selected.options.rooms.extend(rooms.into_rooms());
        selected.names_rooms = true;
        selected
    }

    /// Excludes the sockets in at least one of these rooms.
    pub fn except(&self, rooms: impl IntoRooms) -> Self {
        let mut selected = self.clone();
        selected.options.except.extend(rooms.into_rooms());
        selected
    }

    /// Drops the event for recipients to which it cannot be sent immediately.
    pub fn volatile(&self) -> Self {
        let mut selected = self.clone();
        selected.options.flags.volatile = true;
        selected
    }

    /// Sets whether the event may be compressed.
    pub fn compress(&self, compress: bool) -> Self {
        let mut selected = self.clone();
        selected.options.flags.compress = Some(compress);
        selected
    }

    /// Emits an event to the selected sockets. A tuple is sent as several arguments, other types as one.
    ///
    /// # Errors
    ///
    /// Returns an error if the arguments cannot be encoded, the name of the event is reserved, or the message cannot be published.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitterError> {
        let event = self.encode(event, args)?;
        self.publish(|options| ClusterCommand::Emit { options, event, request: None })
    }

    /// Adds the selected sockets to rooms.
    ///
    /// # Errors
    ///
    /// Returns an error if the message cannot be published.
    pub fn sockets_join(&self, rooms: impl IntoRooms) -> Result<(), EmitterError> {
        let rooms = rooms.into_rooms().collect();
        self.publish(|options| ClusterCommand::Join { options, rooms })
    }

    /// Removes the selected sockets from rooms.
    ///
    /// # Errors
    ///
    /// Same as [`sockets_join`](Self::sockets_join).
    pub fn sockets_leave(&self, rooms: impl IntoRooms) -> Result<(), EmitterError> {
        let rooms = rooms.into_rooms().collect();
        self.publish(|options| ClusterCommand::Leave { options, rooms })
    }

    /// Disconnects the selected sockets from the namespace. With `close`, also closes their connections.
    ///
    /// # Errors
    ///
    /// Same as [`sockets_join`](Self::sockets_join).
    pub fn disconnect_sockets(&self, close: bool) -> Result<(), EmitterError> {
        self.publish(|options| ClusterCommand::Disconnect { options, close })
    }

    /// Emits an event to the servers. It is handled by their [`on_server_side`](crate::SocketIoConfig::on_server_side) handlers.
    ///
    /// # Errors
    ///
    /// Same as [`emit`](Self::emit).
    pub fn server_side_emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitterError> {
        let event = self.encode(event, args)?;
        self.publish(|_| ClusterCommand::ServerSideEmit { event, request: None })
    }

    fn encode<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<EventBody, EmitterError> {
        if is_reserved(event.as_bytes()) {
            return Err(EmitterError::Reserved);
        }
        let target = Target { namespace: &self.namespace, id: None };
        let packet = encode_event(target, event, args).map_err(EmitterError::Encode)?;
        Ok(EventBody::from_packet(&packet, target))
    }

    fn publish(&self, command: impl FnOnce(BroadcastOptions) -> ClusterCommand) -> Result<(), EmitterError> {
        if self.names_rooms && self.options.rooms.is_empty() {
            return Ok(());
        }
        let message = ClusterMessage::new(EMITTER, self.namespace.clone(), command(self.options.clone()));
        let is_recorded = matches!(message.command, ClusterCommand::Emit { .. }) && !self.options.flags.volatile;
        let published = match self.adapter.journal().filter(|_| is_recorded) {
            Some(journal) => journal.append(message),
            None => self.adapter.publish(message),
        };
        published.map_err(EmitterError::Publish)
    }

    /// Sends what is queued, and disconnects from the broker. Call it before the program ends.
    pub async fn close(self) {
        self.adapter.close().await;
    }
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter")
            .field("namespace", &self.namespace)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Error returned by the methods of an [`Emitter`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitterError {
    /// The arguments cannot be encoded as JSON.
    #[error("the arguments cannot be encoded as JSON")]
    Encode(#[source] serde_json::Error),
    /// The event name is reserved by the protocol.
    #[error("the event name is reserved by the protocol")]
    Reserved,
    /// The message was dropped.
    #[error("the message cannot be published")]
    Publish(#[source] PublishError),
}
