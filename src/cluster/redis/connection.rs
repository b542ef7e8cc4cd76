//! Connections to Redis: opening them, and what is sent on them.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, Pipeline, ProtocolVersion, RedisError, RedisResult,
    Value, aio::MultiplexedConnection, cmd, from_redis_value,
};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use crate::cluster::{ClusterError, ClusterErrorKind};

use super::{
    RedisConfig,
    endpoints::{Endpoints, Sentinel, at},
    error::{into_error, timed_out},
    exchange::{Exchange, count, publish},
    queue::Publication,
    receiver::Receiver,
    slots::Slots,
    subscriber::{Interruption, Subscriber},
    subscriptions::{Change, ChannelKind, in_order},
};

/// How many subscriptions are sent at once.
const SUBSCRIPTIONS: usize = 1000;

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

    /// Connects to the server, to the master that the sentinels name, or to the masters of a Redis Cluster.
    pub(super) async fn open(&mut self) -> Result<Session, ClusterError> {
        let mut failure = ClusterError::new(ClusterErrorKind::Config);
        for (index, seed) in self.endpoints.seeds.clone().iter().enumerate() {
            match self.open_through(seed).await {
                Ok(session) => {
                    // Those that do not reply are not tried first the next time.
                    self.endpoints.seeds.rotate_left(index);
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
        for master in session.masters.iter().flatten() {
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
            return Ok(Session::new(vec![Some(Master::new(info, commands))], None, true));
        }
        let mut commands = self.commands(seed).await?;
        let Some(slots) = self.reply(read_slots(&mut commands)).await? else {
            return Ok(Session::new(vec![Some(Master::new(seed.clone(), commands))], None, false));
        };
        let connected = join_all(slots.masters.iter().map(|(host, port)| async {
            let info = at(seed, host, *port);
            let commands = self.commands(&info).await;
            (info, commands)
        }));
        let (mut masters, mut missing, mut failure) = (Vec::new(), Vec::new(), None);
        for (info, commands) in connected.await {
            match commands {
                Ok(commands) => masters.push(Some(Master::new(info, commands))),
                Err(error) => {
                    masters.push(None);
                    missing.push(info);
                    failure = Some(error);
                }
            }
        }
        match failure {
            Some(failure) if missing.len() == masters.len() => Err(failure),
            _ => Ok(Session { missing, ..Session::new(masters, Some(slots), false) }),
        }
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
        let received = Arc::default();
        let pushes = Subscriber::pushes(receiver.clone(), interruptions.clone(), Arc::clone(&received));
        match self.connect(newer, options().set_push_sender(pushes)).await {
            Ok(connection) => Ok(Subscriber::Resp3(connection, received)),
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
        self.limit(reply).await.map_err(into_error)
    }

    pub(super) async fn limit<T>(&self, reply: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
        timeout(self.reply_timeout, reply).await.unwrap_or_else(|_| Err(timed_out()))
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
    /// In the order of the slots. `None` if a master did not reply.
    masters: Vec<Option<Master>>,
    /// The masters that did not reply.
    missing: Vec<ConnectionInfo>,
    /// Tries to connect to them, and returns whether one has replied.
    probe: JoinSet<bool>,
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

impl Session {
    fn new(masters: Vec<Option<Master>>, slots: Option<Slots>, has_sentinel: bool) -> Self {
        let connected: Vec<_> = (0..masters.len()).filter(|index| masters[*index].is_some()).collect();
        let home = connected[getrandom::u32().unwrap_or_default() as usize % connected.len()];
        Self {
            masters,
            missing: Vec::new(),
            probe: JoinSet::new(),
            slots,
            observed: None,
            has_sentinel,
            interruptions: mpsc::unbounded_channel(),
            home,
        }
    }

    /// Returns the index of the master that has a channel. Returns `None` if it did not reply.
    fn index(&self, channel: &str, sharded: bool) -> Option<usize> {
        let slots = self.slots.as_ref().filter(|_| sharded);
        let index = slots.and_then(|slots| slots.master(channel.as_bytes())).unwrap_or(self.home);
        self.masters[index].is_some().then_some(index)
    }

    /// Returns the connection to the server that has a key.
    ///
    /// # Errors
    ///
    /// Returns an error if this server of a Redis Cluster did not reply.
    pub(super) fn commands(&self, key: &str) -> Result<MultiplexedConnection, ClusterError> {
        let index = self.index(key, true);
        let master = index.and_then(|index| self.masters[index].as_ref());
        master.map(|master| master.commands.clone()).ok_or_else(no_reply)
    }

    /// Returns the connections to all servers.
    pub(super) fn all_commands(&self) -> impl Iterator<Item = MultiplexedConnection> {
        self.masters.iter().flatten().map(|master| master.commands.clone())
    }

    /// Waits until a connection for subscriptions is lost.
    pub(super) async fn interrupted(&mut self) -> Interruption {
        self.interruptions.1.recv().await.unwrap_or_else(Interruption::closed)
    }

    /// Subscribes and unsubscribes. A node is counted last when it subscribes, and first when it unsubscribes.
    pub(super) async fn apply(
        &mut self,
        changes: &[Change],
        receiver: &Arc<Receiver>,
        connector: &Connector,
    ) -> Result<(), Interruption> {
        for order in in_order(changes) {
            for index in 0..self.masters.len() {
                let is_here = |change: &&Change| {
                    self.index(&change.channel.name, change.channel.kind == ChannelKind::Shard) == Some(index)
                };
                let here: Vec<&Change> = order.iter().copied().filter(is_here).collect();
                let Some(master) = self.masters[index].as_mut().filter(|_| !here.is_empty()) else { continue };
                if master.subscriber.is_none() {
                    let subscriber = connector.subscriber(&master.info, receiver, &self.interruptions.0).await?;
                    master.subscriber = Some(subscriber);
                }
                if let Some(subscriber) = &mut master.subscriber {
                    for some in here.chunks(SUBSCRIPTIONS) {
                        connector.limit(subscriber.apply(some)).await.map_err(Interruption::from_reply)?;
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
        // Otherwise, the reply does not count those that are connected to other masters.
        let counts_receivers = sharded || self.slots.is_none();
        let mut exchange = Exchange { counts: vec![Some(0); counted.len()], ..Exchange::default() };
        for (count, channel) in exchange.counts.iter_mut().zip(counted) {
            *count = self.index(channel, sharded).map(|_| 0);
        }
        let mut batches: Vec<(Pipeline, Vec<Publication>)> =
            self.masters.iter().map(|_| (count(sharded, counted), Vec::new())).collect();
        for publication in publications {
            let Some(index) = self.index(&publication.channel, sharded) else {
                exchange.lost += 1;
                continue;
            };
            let (pipeline, sent) = &mut batches[index];
            pipeline.add_command(publish(sharded, &publication));
            sent.push(publication);
        }
        let counting = usize::from(!counted.is_empty());
        let exchanges = self.masters.iter_mut().zip(batches).filter(|(_, (pipeline, _))| !pipeline.is_empty());
        let exchanges = exchanges.filter_map(|(master, (pipeline, sent))| {
            let commands = &mut master.as_mut()?.commands;
            Some(async move {
                let replies = commands.send_packed_commands(&pipeline, 0, counting + sent.len());
                (connector.reply(replies).await, sent)
            })
        });
        for (replies, sent) in join_all(exchanges).await {
            match replies {
                Ok(replies) => exchange.add(replies, sent, counting, counts_receivers),
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
        self.check_missing(connector)?;
        for (index, master) in self.masters.iter_mut().enumerate() {
            let Some(Master { commands, subscriber, .. }) = master else { continue };
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
            if let Some(subscriber) = subscriber {
                subscriber.check(connector.reply_timeout).await.map_err(into_error)?;
            }
        }
        Ok(())
    }

    /// Interrupts the session if a master that did not reply does so now. It is asked in the background.
    fn check_missing(&mut self, connector: &Connector) -> Result<(), Interruption> {
        if self.missing.is_empty() {
            return Ok(());
        }
        match self.probe.try_join_next() {
            Some(Ok(true)) => return Err(Interruption::Moved),
            None if !self.probe.is_empty() => {}
            _ => {
                let (missing, connector) = (self.missing.clone(), connector.clone());
                self.probe.spawn(async move {
                    let replies = join_all(missing.iter().map(|info| connector.commands(info))).await;
                    replies.iter().any(Result::is_ok)
                });
            }
        }
        Ok(())
    }
}

fn no_reply() -> ClusterError {
    ClusterError::new(ClusterErrorKind::Disconnected).caused_by("a master of the Redis Cluster did not reply")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

    use super::{super::scripted::Scripted, *};

    fn connector(url: String) -> Connector {
        let second = Duration::from_secs(1);
        Connector::new(&RedisConfig::new(url).connect_timeout(second).health_check(second)).unwrap()
    }

    /// A server that is not part of a Redis Cluster, and knows no command.
    fn unknown(_: &str) -> Option<String> {
        Some("-ERR unknown\r\n".to_owned())
    }

    #[tokio::test]
    async fn a_server_that_does_not_reply_is_not_tried_first_again() {
        let connections = Arc::new(AtomicU32::new(0));
        let counted = connections.clone();
        let silent = Scripted::start(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            None
        });
        let (silent, server) = (silent.await, Scripted::start(unknown).await);
        let mut connector = connector(format!("redis://127.0.0.1:{},127.0.0.1:{}", silent.port, server.port));
        connector.open().await.unwrap();
        let tried = connections.load(Ordering::Relaxed);
        assert!(tried > 0);
        connector.open().await.unwrap();
        assert_eq!(connections.load(Ordering::Relaxed), tried);
    }

    #[tokio::test]
    async fn a_redis_cluster_is_used_while_a_master_is_down() {
        let is_up = Arc::new(AtomicU32::new(0));
        let up = is_up.clone();
        let down = Scripted::start(move |_| (up.load(Ordering::Relaxed) > 0).then(|| "+OK\r\n".to_owned())).await;
        let ports = Arc::new(AtomicU32::new(u32::from(down.port)));
        let other = ports.clone();
        let server = Scripted::start(move |command| {
            Some(match command.split(' ').next() {
                Some("CLUSTER") => {
                    let other = other.load(Ordering::Relaxed);
                    let master = |port: u32| format!("*2\r\n$0\r\n\r\n:{port}\r\n");
                    let (here, there) = (master(other >> 16), master(other & 0xffff));
                    format!("*2\r\n*3\r\n:0\r\n:8191\r\n{here}*3\r\n:8192\r\n:16383\r\n{there}")
                }
                Some("PUBSUB") => "*2\r\n$1\r\na\r\n:2\r\n".to_owned(),
                _ => "+OK\r\n".to_owned(),
            })
        })
        .await;
        ports.fetch_or(u32::from(server.port) << 16, Ordering::Relaxed);
        let mut connector = connector(server.url());
        let mut session = connector.open().await.unwrap();
        let name = |here: bool| {
            let mut names = (0..).map(|number: u32| number.to_string());
            names.find(|name| (crate::cluster::redis::slots::slot(name.as_bytes()) < 8192) == here).unwrap()
        };
        let (here, there) = (name(true), name(false));
        assert!(session.commands(&here).is_ok());
        assert_eq!(session.commands(&there).err().unwrap().kind(), ClusterErrorKind::Disconnected);
        let publications = vec![Publication::new(there.clone(), Vec::new()), Publication::new(here, Vec::new())];
        let exchange = session.exchange(true, &[there.into()], publications, &connector).await;
        assert_eq!((exchange.counts, exchange.lost, exchange.failure.is_none()), (vec![None], 1, true));
        // It is found when it is back.
        session.check(&connector).await.unwrap();
        is_up.store(1, Ordering::Relaxed);
        let moved = async { while session.check(&connector).await.is_ok() {} };
        timeout(Duration::from_secs(60), moved).await.unwrap();
        assert!(connector.open().await.unwrap().masters.iter().all(Option::is_some));
    }

    #[tokio::test]
    async fn a_connection_on_which_messages_arrive_is_not_lost() {
        let server = Scripted::start(|command| (command != "PING").then(|| "+OK\r\n".to_owned())).await;
        let connector = connector(server.url());
        let received = Arc::new(AtomicU64::new(0));
        let commands = connector.commands(&connector.endpoints.seeds[0]).await.unwrap();
        let mut subscriber = Subscriber::Resp3(commands, received.clone());
        let limit = Duration::from_millis(50);
        assert!(subscriber.check(limit).await.is_err());
        let (checked, ()) = tokio::join!(subscriber.check(limit), async {
            received.fetch_add(1, Ordering::Relaxed);
        });
        checked.unwrap();
        assert!(subscriber.check(limit).await.is_err());
    }
}
