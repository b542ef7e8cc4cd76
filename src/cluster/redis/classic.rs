use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    cluster::{
        ClusterAdapter, ClusterCommand, ClusterError, ClusterMessage, ClusterNode, LocalChange, Peers, PublishError,
        wire::{
            WireError,
            classic::{self, Channels},
        },
    },
    util::BoxFuture,
};

use super::{
    RedisConfig,
    client::{Client, buffer},
    queue::Publication,
    receiver::{Receiver, Wire, session_channel},
    subscriptions::{Channel, ChannelKind, Role, Route},
};

/// Carries messages over Redis Pub/Sub. Corresponds to `createAdapter` of Node's `@socket.io/redis-adapter`, with which it forms
/// one cluster.
///
/// An adapter is for one server. See the [module](super) for what happens if Redis is unavailable.
///
/// ```no_run
/// use tower_socketio::{SocketIoConfig, SocketIoLayer, cluster::redis::{RedisAdapter, RedisConfig}};
///
/// # async fn run() -> Result<(), tower_socketio::cluster::ClusterError> {
/// let adapter = RedisAdapter::connect(RedisConfig::new("redis://127.0.0.1")).await?;
/// let layer = SocketIoLayer::new(SocketIoConfig::new().adapter(adapter));
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
pub struct RedisAdapter {
    client: Client,
    prefix: Arc<str>,
    specific_responses: bool,
}

impl RedisAdapter {
    /// Connects to Redis. The connection is kept by a task in the current runtime of tokio.
    ///
    /// # Errors
    ///
    /// Returns an error if the configuration is invalid, Redis is unavailable, or it rejects the password.
    pub async fn connect(config: RedisConfig) -> Result<Self, ClusterError> {
        let client = Client::connect(&config, false).await?;
        Ok(Self { client, prefix: config.prefix.into(), specific_responses: false })
    }

    /// Sets whether a response is published to a channel of the node that made the request, not to that of all nodes. Default:
    /// `false`. Node's option `publishOnSpecificResponseChannel`.
    ///
    /// It saves the other nodes the decoding. Nodes with and without it can be in one cluster.
    #[must_use]
    pub fn specific_responses(mut self, specific: bool) -> Self {
        self.specific_responses = specific;
        self
    }

    fn channels<'a>(&'a self, namespace: &'a str) -> Channels<'a> {
        Channels::new(&self.prefix, namespace)
    }
}

impl ClusterAdapter for RedisAdapter {
    fn start(&self, node: ClusterNode) {
        let own = OwnBroadcasts::new(node.id());
        self.client.start(node, Arc::new(ClassicWire { prefix: self.prefix.clone(), own }));
    }

    fn report_to(&self, node: ClusterNode) {
        self.client.report_to(node);
    }

    fn publish(&self, message: ClusterMessage) -> Result<(), PublishError> {
        let mut payload = buffer(&message.command);
        classic::encode(&message, &mut payload).map_err(|_| PublishError::Unsupported)?;
        let channel = self.channels(&message.namespace).of(&message, self.specific_responses);
        self.client.publish(&message.command, channel, payload)
    }

    fn peers(&self, namespace: &str) -> BoxFuture<Result<Peers, ClusterError>> {
        self.client.peers(namespace, &self.channels(namespace).request())
    }

    fn request_timeout(&self) -> Duration {
        self.client.request_timeout()
    }

    fn send(&self, node: &str, message: Bytes) -> Result<(), PublishError> {
        self.client.publish_session(&self.prefix, node, message)
    }

    fn local_change(&self, change: LocalChange<'_>) {
        self.client.local_change(change);
    }

    fn close(&self) -> BoxFuture<()> {
        self.client.close()
    }
}

impl fmt::Debug for RedisAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisAdapter")
            .field("prefix", &self.prefix)
            .field("specific_responses", &self.specific_responses)
            .finish_non_exhaustive()
    }
}

struct ClassicWire {
    prefix: Arc<str>,
    own: OwnBroadcasts,
}

/// What the broadcasts of this node begin with. They come back to it, and need not be decoded.
struct OwnBroadcasts(Vec<u8>);

impl OwnBroadcasts {
    /// A list of three, of which the first is the id of the node.
    fn new(node: &str) -> Self {
        let mut prefix = vec![0x93];
        // A string of up to 31 bytes. Other ids are not recognized.
        prefix.push(0xa0 | u8::try_from(node.len()).unwrap_or_default() & 0x1f);
        prefix.extend_from_slice(node.as_bytes());
        Self(prefix)
    }
}

impl Wire for ClassicWire {
    fn namespace_channels(&self, namespace: &str, node: &str) -> Vec<Channel> {
        let channels = Channels::new(&self.prefix, namespace);
        vec![
            Channel::new(channels.pattern(), ChannelKind::Pattern, Role::Broadcasts),
            Channel::new(channels.response(), ChannelKind::Plain, Role::Responses),
            Channel::new(channels.response_to(node), ChannelKind::Plain, Role::Responses),
            Channel::new(channels.request(), ChannelKind::Plain, Role::Requests).counting(),
        ]
    }

    fn session_channel(&self, node: &str) -> Channel {
        Channel::new(session_channel(&self.prefix, node), ChannelKind::Plain, Role::Sessions)
    }

    fn receive(&self, receiver: &Receiver, route: &Route, channel: &[u8], payload: Bytes) -> Result<(), WireError> {
        let Route { namespace, role } = route;
        let node = &receiver.node;
        match role {
            Role::Broadcasts if payload.starts_with(&self.own.0) => {}
            Role::Broadcasts => {
                let room = Channels::new(&self.prefix, namespace).room(channel).unwrap_or_default();
                let has_room = |room| str::from_utf8(room).is_ok_and(|room| node.has_room(namespace, room));
                if room.is_empty() || has_room(room) {
                    node.deliver(classic::decode_broadcast(namespace, payload)?);
                }
            }
            Role::Requests => {
                let classic::Request { message, legacy } = classic::decode_request(namespace, payload)?;
                // Asked before the socket is gone.
                let answered = legacy.filter(|_| match &message.command {
                    ClusterCommand::Join { options, .. }
                    | ClusterCommand::Leave { options, .. }
                    | ClusterCommand::Disconnect { options, .. } => {
                        options.rooms.iter().any(|socket| node.has_room(namespace, socket))
                    }
                    _ => false,
                });
                node.deliver(message);
                if let Some(request) = answered {
                    let mut payload = Vec::new();
                    classic::encode_done(&request, &mut payload);
                    let channel = Channels::new(&self.prefix, namespace).response();
                    receiver.respond(Publication::answer(channel, payload));
                }
            }
            // Responses to others come to this node as well, even its own ones.
            Role::Responses if classic::request_of_list(&payload).is_some_and(|request| !node.awaits(&request)) => {}
            Role::Responses => node.deliver(classic::decode_response(namespace, payload)?),
            Role::Sessions => {}
        }
        Ok(())
    }
}
