//! A connection for subscriptions.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use redis::{
    ErrorKind, Pipeline, PushInfo, PushKind, RedisError, RedisResult, Value,
    aio::{MultiplexedConnection, PubSub, PubSubSink},
    cmd,
};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use crate::cluster::{ClusterError, ClusterErrorKind};

use super::{
    error::{into_error, timed_out},
    receiver::Receiver,
    subscriptions::{Change, ChannelKind},
};

/// Why connections must be replaced.
#[derive(Debug)]
pub(super) enum Interruption {
    Failed(ClusterError),
    /// A node of a Redis Cluster ended a subscription, because another node has its slot, or the slots are distributed in another way.
    Moved,
}

impl Interruption {
    pub(super) fn closed() -> Self {
        let error = ClusterError::new(ClusterErrorKind::Disconnected);
        Self::Failed(error.caused_by("the connection for subscriptions was closed"))
    }

    /// A node of a Redis Cluster may say that another node has the slot of a channel.
    pub(super) fn from_reply(error: RedisError) -> Self {
        if error.code() == Some("MOVED") { Self::Moved } else { Self::Failed(into_error(error)) }
    }

    pub(super) fn into_error(self) -> ClusterError {
        match self {
            Self::Failed(error) => error,
            Self::Moved => ClusterError::new(ClusterErrorKind::Disconnected).caused_by("another server is responsible"),
        }
    }
}

impl From<ClusterError> for Interruption {
    fn from(error: ClusterError) -> Self {
        Self::Failed(error)
    }
}

pub(super) enum Subscriber {
    /// Messages are passed on by the task that reads the connection, which limits what is read. They are counted.
    Resp3(MultiplexedConnection, Arc<AtomicU64>),
    /// Before Redis 6. The task passes messages on.
    Resp2(PubSubSink, #[expect(dead_code, reason = "ends the task when dropped")] JoinSet<()>),
}

impl Subscriber {
    /// Returns what a connection calls for each message.
    pub(super) fn pushes(
        receiver: Arc<Receiver>,
        interruptions: mpsc::UnboundedSender<Interruption>,
        received: Arc<AtomicU64>,
    ) -> impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static {
        move |PushInfo { kind, data }| {
            received.fetch_add(1, Ordering::Relaxed);
            let mut data = data.into_iter().map(|value| match value {
                Value::BulkString(bytes) => bytes,
                _ => Vec::new(),
            });
            let mut next = || data.next().unwrap_or_default();
            match kind {
                PushKind::Message | PushKind::SMessage => {
                    let channel = next();
                    receiver.receive(&channel, &channel, next());
                }
                PushKind::PMessage => {
                    let pattern = next();
                    let channel = next();
                    receiver.receive(&pattern, &channel, next());
                }
                // This node removes a channel before it unsubscribes.
                PushKind::SUnsubscribe if receiver.has_channel(&next()) => {
                    let _ = interruptions.send(Interruption::Moved);
                }
                PushKind::Disconnection => {
                    let _ = interruptions.send(Interruption::closed());
                }
                _ => {}
            }
            Ok(())
        }
    }

    pub(super) fn older(
        pubsub: PubSub,
        receiver: Arc<Receiver>,
        interruptions: mpsc::UnboundedSender<Interruption>,
    ) -> Self {
        let (sink, mut messages) = pubsub.split();
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Some(message) = messages.next().await {
                let subscription = match message.get_pattern::<Option<Vec<u8>>>() {
                    Ok(Some(pattern)) => pattern,
                    _ => message.get_channel().unwrap_or_default(),
                };
                let channel = message.get_channel_name().as_bytes();
                receiver.receive(&subscription, channel, message.get_payload_bytes().to_vec());
            }
            let _ = interruptions.send(Interruption::closed());
        });
        Self::Resp2(sink, task)
    }

    /// Subscribes and unsubscribes, in this order.
    pub(super) async fn apply(&mut self, changes: &[&Change]) -> RedisResult<()> {
        match self {
            Self::Resp3(connection, _) => {
                let mut pipeline = Pipeline::with_capacity(changes.len());
                for Change { subscribe, channel } in changes {
                    let mut command = cmd(match (channel.kind, subscribe) {
                        (ChannelKind::Plain, true) => "SUBSCRIBE",
                        (ChannelKind::Plain, false) => "UNSUBSCRIBE",
                        (ChannelKind::Pattern, true) => "PSUBSCRIBE",
                        (ChannelKind::Pattern, false) => "PUNSUBSCRIBE",
                        (ChannelKind::Shard, true) => "SSUBSCRIBE",
                        (ChannelKind::Shard, false) => "SUNSUBSCRIBE",
                    });
                    command.arg(&*channel.name);
                    pipeline.add_command(command);
                }
                let replies = connection.send_packed_commands(&pipeline, 0, changes.len()).await?;
                replies.into_iter().try_for_each(|reply| reply.extract_error().map(drop))
            }
            Self::Resp2(sink, _) => {
                for Change { subscribe, channel } in changes {
                    let name = &*channel.name;
                    match (channel.kind, subscribe) {
                        (ChannelKind::Plain, true) => sink.subscribe(name).await?,
                        (ChannelKind::Plain, false) => sink.unsubscribe(name).await?,
                        (ChannelKind::Pattern, true) => sink.psubscribe(name).await?,
                        (ChannelKind::Pattern, false) => sink.punsubscribe(name).await?,
                        (ChannelKind::Shard, _) => {
                            return Err((ErrorKind::InvalidClientConfig, "sharded channels need RESP3").into());
                        }
                    }
                }
                Ok(())
            }
        }
    }

    /// Fails if the server does not reply in time, unless messages arrive meanwhile: the reply is behind them.
    pub(super) async fn check(&mut self, limit: Duration) -> RedisResult<()> {
        match self {
            Self::Resp3(connection, received) => {
                let before = received.load(Ordering::Relaxed);
                match timeout(limit, connection.send_packed_command(&cmd("PING"))).await {
                    Ok(reply) => reply?.extract_error().map(drop),
                    Err(_) if received.load(Ordering::Relaxed) != before => Ok(()),
                    Err(_) => Err(timed_out()),
                }
            }
            Self::Resp2(sink, _) => match timeout(limit, sink.ping::<Value>()).await {
                Ok(reply) => reply.map(drop),
                Err(_) => Err(timed_out()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_that_has_moved_is_not_a_failure() {
        let error = |reply: &str| {
            let reply = redis::parse_redis_value(reply.as_bytes()).unwrap();
            Interruption::from_reply(reply.extract_error().unwrap_err())
        };
        assert!(matches!(error("-MOVED 1 127.0.0.1:1\r\n"), Interruption::Moved));
        assert!(matches!(error("-NOPERM no\r\n"), Interruption::Failed(_)));
    }
}
