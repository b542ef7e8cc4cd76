//! Connections to Redis: opening them, and what is sent on them.

use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, Pipeline, ProtocolVersion, RedisError, RedisResult,
    ServerError, Value, aio::MultiplexedConnection, cmd, from_redis_value,
};
use tokio::{sync::mpsc, time::timeout};

use crate::cluster::{ClusterError, ClusterErrorKind};

use super::{
    RedisConfig,
    endpoints::{Endpoints, Sentinel, at},
    error::{into_error, timed_out},
    queue::Publication,
    receiver::Receiver,
    slots::Slots,
    subscriber::{Interruption, Subscriber},
    subscriptions::{Change, ChannelKind},
};

/// How many subscriptions are sent at once.
const SUBSCRIPTIONS: usize = 1000;

/// How often a message is sent to another node of a Redis Cluster, because that has its channel.
const REDIRECTIONS: u8 = 3;

/// Opens connections.
#[derive(Clone)]
pub(super) struct Connector {
    endpoints: Endpoints,
    connect_timeout: Duration,
    /// How long Redis may take to reply.
    pub(super) reply_timeout: Duration,
}

impl Connector {
    pub(super) fn new(config: &RedisConfig) -> Result<Self, ClusterError> {
        Ok(Self {
            endpoints: Endpoints::new(config)?,
            connect_timeout: config.connect_timeout,
            reply_timeout: config.health_check,
        })
    }

    /// Connects to the server, to the master that the sentinels name, or to all masters of a Redis Cluster.
    pub(super) async fn open(&mut self) -> Result<Session, ClusterError> {
        let mut failure = ClusterError::new(ClusterErrorKind::Config);
        for seed in self.endpoints.seeds.clone() {
            match self.open_through(&seed).await {
                Ok(session) => {
                    self.remember(&session);
                    return Ok(session);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Keeps the masters of a Redis Cluster: each of them knows the others, also when the servers of the URL are gone.
    fn remember(&mut self, session: &Session) {
        if session.slots.is_none() {
            return;
        }
        const KNOWN: usize = 32;
        for master in &session.masters {
            let is_known = self.endpoints.seeds.iter().any(|seed| seed.addr() == master.info.addr());
            if !is_known && self.endpoints.seeds.len() < KNOWN {
                self.endpoints.seeds.push(master.info.clone());
            }
        }
    }

    async fn open_through(&self, seed: &ConnectionInfo) -> Result<Session, ClusterError> {
        if let Some(sentinel) = &self.endpoints.sentinel {
            let info = self.ask_sentinel(seed, sentinel).await?;
            let mut commands = self.commands(&info).await?;
            self.reply(check_role(&mut commands)).await?;
            return Ok(Session::new(vec![Master::new(info, commands)], None, true));
        }
        let mut commands = self.commands(seed).await?;
        let Some(slots) = self.reply(read_slots(&mut commands)).await? else {
            return Ok(Session::new(vec![Master::new(seed.clone(), commands)], None, false));
        };
        let mut masters = Vec::with_capacity(slots.masters.len());
        for (host, port) in &slots.masters {
            let info = at(seed, host, *port);
            let commands = self.commands(&info).await?;
            masters.push(Master::new(info, commands));
        }
        Ok(Session::new(masters, Some(slots), false))
    }

    async fn ask_sentinel(&self, seed: &ConnectionInfo, sentinel: &Sentinel) -> Result<ConnectionInfo, ClusterError> {
        let mut connection = self.commands(seed).await?;
        let question = cmd("SENTINEL").arg("get-master-addr-by-name").arg(&sentinel.name).to_owned();
        let reply = self.reply(connection.send_packed_command(&question)).await?;
        let address: Option<(String, u16)> = from_redis_value(reply).map_err(|error| into_error(error.into()))?;
        let (host, port) = address.ok_or_else(|| {
            ClusterError::new(ClusterErrorKind::Rejected).caused_by("the sentinel does not know a master of this name")
        })?;
        Ok(at(&sentinel.master, &host, port))
    }

    /// Opens a connection for commands.
    pub(super) async fn commands(&self, info: &ConnectionInfo) -> Result<MultiplexedConnection, ClusterError> {
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
        self.connect(info.clone().set_redis_settings(settings), options()).await.map_err(into_error)
    }

    /// Opens a connection for subscriptions. Servers before Redis 6 have only the older protocol.
    async fn subscriber(
        &self,
        info: &ConnectionInfo,
        receiver: &Arc<Receiver>,
        interruptions: &mpsc::UnboundedSender<Interruption>,
    ) -> Result<Subscriber, ClusterError> {
        let settings = info.redis_settings().clone();
        let newer = info.clone().set_redis_settings(settings.clone().set_protocol(ProtocolVersion::RESP3));
        let pushes = Subscriber::pushes(receiver.clone(), interruptions.clone());
        match self.connect(newer, options().set_push_sender(pushes)).await {
            Ok(connection) => Ok(Subscriber::new(connection)),
            Err(error) if lacks_resp3(&error) => {
                let older = info.clone().set_redis_settings(settings.set_protocol(ProtocolVersion::RESP2));
                let client = Client::open(older).map_err(into_error)?;
                let opening = timeout(self.connect_timeout, client.get_async_pubsub());
                let pubsub = opening.await.unwrap_or_else(|_| Err(timed_out())).map_err(into_error)?;
                Ok(Subscriber::older(pubsub, receiver.clone(), interruptions.clone()))
            }
            Err(error) => Err(into_error(error)),
        }
    }

    async fn connect(
        &self,
        info: ConnectionInfo,
        options: AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let client = Client::open(info)?;
        let opening = timeout(self.connect_timeout, client.get_multiplexed_async_connection_with_config(&options));
        opening.await.unwrap_or_else(|_| Err(timed_out()))
    }

    /// Waits for a reply, not longer than configured.
    pub(super) async fn reply<T>(&self, reply: impl Future<Output = RedisResult<T>>) -> Result<T, ClusterError> {
        timeout(self.reply_timeout, reply).await.unwrap_or_else(|_| Err(timed_out())).map_err(into_error)
    }
}

/// The command `HELLO` is unknown, or it does not know the version.
fn lacks_resp3(error: &RedisError) -> bool {
    error.kind() == ErrorKind::RESP3NotSupported
        || error.code() == Some("NOPROTO")
        || error.detail().is_some_and(|detail| detail.contains("HELLO"))
}

/// The limits of time are ours.
fn options() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None)
}

/// Returns `None` if the server is not part of a Redis Cluster.
async fn read_slots(commands: &mut MultiplexedConnection) -> RedisResult<Option<Slots>> {
    let reply = commands.send_packed_command(cmd("CLUSTER").arg("SLOTS")).await?;
    match &reply {
        // The instance is loading, or its master is gone.
        Value::ServerError(error) if matches!(error.code(), "LOADING" | "MASTERDOWN" | "NOAUTH") => {
            Err(error.clone().into())
        }
        // Disabled, unknown, or not permitted.
        Value::ServerError(_) => Ok(None),
        // A cluster that has no slots yet has no masters.
        reply => match Slots::read(reply) {
            None => Err((ErrorKind::Client, "the cluster has no slots").into()),
            slots => Ok(slots),
        },
    }
}

/// Fails if the server is not a master: sentinels may have promoted another one.
async fn check_role(commands: &mut MultiplexedConnection) -> RedisResult<()> {
    let reply = commands.send_packed_command(&cmd("ROLE")).await?.extract_error()?;
    let role = match &reply {
        Value::Array(values) => values.first(),
        _ => None,
    };
    match role {
        Some(Value::BulkString(role)) if role == b"master" => Ok(()),
        _ => Err((ErrorKind::Client, "the server is not the master").into()),
    }
}

/// The connections to one server, or to the masters of a Redis Cluster. If one is lost, all are replaced.
pub(super) struct Session {
    masters: Vec<Master>,
    slots: Option<Slots>,
    /// The slots as the home master sees them. Each master may name itself in another way.
    observed: Option<Slots>,
    has_sentinel: bool,
    interruptions: (mpsc::UnboundedSender<Interruption>, mpsc::UnboundedReceiver<Interruption>),
    /// The index of the master for everything that does not have a slot.
    home: usize,
}

struct Master {
    info: ConnectionInfo,
    commands: MultiplexedConnection,
    subscriber: Option<Subscriber>,
}

impl Master {
    fn new(info: ConnectionInfo, commands: MultiplexedConnection) -> Self {
        Self { info, commands, subscriber: None }
    }
}

/// What became of messages and questions.
#[derive(Default)]
pub(super) struct Exchange {
    /// The number of subscriptions to each of the channels.
    pub(super) counts: Vec<usize>,
    /// Messages whose channels are elsewhere.
    pub(super) redirected: Vec<Publication>,
    /// The number of messages that were not, or perhaps not, published.
    pub(super) lost: u64,
    pub(super) refusal: Option<ServerError>,
    /// The failure of a connection.
    pub(super) failure: Option<ClusterError>,
}

impl Session {
    fn new(masters: Vec<Master>, slots: Option<Slots>, has_sentinel: bool) -> Self {
        let home = getrandom::u32().unwrap_or_default() as usize % masters.len();
        Self { masters, slots, observed: None, has_sentinel, interruptions: mpsc::unbounded_channel(), home }
    }

    fn index(&self, channel: &str, sharded: bool) -> usize {
        let slots = self.slots.as_ref().filter(|_| sharded);
        slots.and_then(|slots| slots.master(channel.as_bytes())).unwrap_or(self.home)
    }

    /// Returns the connection to the server that has a key.
    pub(super) fn commands(&self, key: &str) -> MultiplexedConnection {
        self.masters[self.index(key, true)].commands.clone()
    }

    /// Returns the connections to all servers.
    pub(super) fn all_commands(&self) -> impl Iterator<Item = MultiplexedConnection> {
        self.masters.iter().map(|master| master.commands.clone())
    }

    /// Waits until a connection for subscriptions is lost.
    pub(super) async fn interrupted(&mut self) -> Interruption {
        self.interruptions.1.recv().await.unwrap_or_else(Interruption::closed)
    }

    /// Subscribes and unsubscribes. Channels that count nodes come last.
    pub(super) async fn apply(
        &mut self,
        changes: &[Change],
        receiver: &Arc<Receiver>,
        connector: &Connector,
    ) -> Result<(), ClusterError> {
        for counts in [false, true] {
            for index in 0..self.masters.len() {
                let is_here = |change: &&Change| {
                    let channel = &change.channel;
                    channel.counts == counts && self.index(&channel.name, channel.kind == ChannelKind::Shard) == index
                };
                let here: Vec<&Change> = changes.iter().filter(is_here).collect();
                if here.is_empty() {
                    continue;
                }
                let master = &mut self.masters[index];
                if master.subscriber.is_none() {
                    let subscriber = connector.subscriber(&master.info, receiver, &self.interruptions.0).await?;
                    master.subscriber = Some(subscriber);
                }
                if let Some(subscriber) = &mut master.subscriber {
                    for some in here.chunks(SUBSCRIPTIONS) {
                        connector.reply(subscriber.apply(some)).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Publishes messages, and counts the subscriptions to channels: one write and one wait for each server.
    pub(super) async fn exchange(
        &mut self,
        sharded: bool,
        counted: &[Arc<str>],
        publications: Vec<Publication>,
        connector: &Connector,
    ) -> Exchange {
        let mut batches: Vec<(Pipeline, Vec<Publication>)> =
            self.masters.iter().map(|_| (count(sharded, counted), Vec::new())).collect();
        for publication in publications {
            let (pipeline, sent) = &mut batches[self.index(&publication.channel, sharded)];
            pipeline.add_command(publish(sharded, &publication));
            sent.push(publication);
        }
        let counting = usize::from(!counted.is_empty());
        let exchanges = self.masters.iter_mut().zip(batches).filter(|(_, (pipeline, _))| !pipeline.is_empty());
        let exchanges = exchanges.map(|(master, (pipeline, sent))| async move {
            let replies = master.commands.send_packed_commands(&pipeline, 0, counting + sent.len());
            (connector.reply(replies).await, sent)
        });
        let mut exchange = Exchange { counts: vec![0; counted.len()], ..Exchange::default() };
        for (replies, sent) in futures_util::future::join_all(exchanges).await {
            match replies {
                Ok(replies) => exchange.add(replies, sent, counting),
                Err(failure) => {
                    exchange.lost += sent.len() as u64;
                    exchange.failure = Some(failure);
                }
            }
        }
        exchange
    }

    /// Checks that each server replies, and that it is still responsible.
    pub(super) async fn check(&mut self, connector: &Connector) -> Result<(), Interruption> {
        for (index, master) in self.masters.iter_mut().enumerate() {
            let commands = &mut master.commands;
            if self.has_sentinel {
                connector.reply(check_role(commands)).await?;
            } else if index == self.home && self.slots.is_some() {
                let slots = connector.reply(read_slots(commands)).await?;
                if self.observed.is_some() && self.observed != slots {
                    return Err(Interruption::Moved);
                }
                self.observed = slots;
            } else {
                connector.reply(commands.send_packed_command(&cmd("PING"))).await?;
            }
            if let Some(subscriber) = &mut master.subscriber {
                connector.reply(subscriber.ping()).await?;
            }
        }
        Ok(())
    }
}

impl Exchange {
    fn add(&mut self, replies: Vec<Value>, sent: Vec<Publication>, counting: usize) {
        let mut replies = replies.into_iter();
        for reply in replies.by_ref().take(counting) {
            // Names and numbers in turn.
            let Value::Array(reply) = reply else {
                self.failure =
                    Some(ClusterError::new(ClusterErrorKind::Rejected).caused_by("the command PUBSUB was rejected"));
                continue;
            };
            for (sum, count) in self.counts.iter_mut().zip(reply.into_iter().skip(1).step_by(2)) {
                *sum += from_redis_value::<usize>(count).unwrap_or_default();
            }
        }
        for (reply, mut publication) in replies.zip(sent) {
            let Value::ServerError(error) = reply else { continue };
            if error.code() == "MOVED" && publication.redirected < REDIRECTIONS {
                publication.redirected += 1;
                self.redirected.push(publication);
            } else {
                self.lost += 1;
                self.refusal = Some(error);
            }
        }
    }
}

/// The command that counts the subscriptions to channels, if there are some.
fn count(sharded: bool, channels: &[Arc<str>]) -> Pipeline {
    let mut pipeline = Pipeline::new();
    if !channels.is_empty() {
        let mut command = cmd("PUBSUB");
        command.arg(if sharded { "SHARDNUMSUB" } else { "NUMSUB" });
        for channel in channels {
            command.arg(&**channel);
        }
        pipeline.add_command(command);
    }
    pipeline
}

fn publish(sharded: bool, publication: &Publication) -> Cmd {
    let mut command = Cmd::with_capacity(3, publication.channel.len() + publication.payload.len() + 8);
    let name = if sharded { "SPUBLISH" } else { "PUBLISH" };
    command.arg(name).arg(&publication.channel).arg(publication.payload.as_slice());
    command
}
