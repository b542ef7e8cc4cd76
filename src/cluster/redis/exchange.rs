use std::sync::Arc;

use redis::{Cmd, Pipeline, ServerError, Value, cmd, from_redis_value};

use crate::cluster::{ClusterError, ClusterErrorKind};

use super::queue::Publication;

/// How often a message is sent to another node of a Redis Cluster, because that has its channel.
const REDIRECTIONS: u8 = 3;

/// What became of messages and questions.
#[derive(Default)]
pub(super) struct Exchange {
    /// The number of subscriptions to each of the channels, if it is known.
    pub(super) counts: Vec<Option<usize>>,
    /// Why a server did not count. It may be busy.
    pub(super) uncounted: Option<ClusterError>,
    /// Messages whose channels are elsewhere.
    pub(super) redirected: Vec<Publication>,
    /// Nodes that do not receive what is for them: they do not exist.
    pub(super) absent: Vec<Arc<str>>,
    /// The number of messages that were not, or perhaps not, published.
    pub(super) lost: u64,
    pub(super) refusal: Option<ServerError>,
    /// The failure of a connection.
    pub(super) failure: Option<ClusterError>,
}

impl Exchange {
    /// Adds the replies of a server.
    pub(super) fn add(&mut self, replies: Vec<Value>, sent: Vec<Publication>, counting: usize, counts_receivers: bool) {
        let mut replies = replies.into_iter();
        for reply in replies.by_ref().take(counting) {
            // Names and numbers in turn.
            let Value::Array(reply) = reply else {
                self.uncounted =
                    Some(ClusterError::new(ClusterErrorKind::Rejected).caused_by("the command PUBSUB was rejected"));
                self.counts.fill(None);
                continue;
            };
            for (sum, count) in self.counts.iter_mut().zip(reply.into_iter().skip(1).step_by(2)) {
                let count = from_redis_value::<usize>(count).ok();
                *sum = sum.zip(count).map(|(sum, count)| sum + count);
            }
        }
        for (reply, mut publication) in replies.zip(sent) {
            let Value::ServerError(error) = reply else {
                if reply == Value::Int(0) && counts_receivers {
                    self.absent.extend(publication.node);
                }
                continue;
            };
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
pub(super) fn count(sharded: bool, channels: &[Arc<str>]) -> Pipeline {
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

pub(super) fn publish(sharded: bool, publication: &Publication) -> Cmd {
    let mut command = Cmd::with_capacity(3, publication.channel.len() + publication.payload.len() + 8);
    let name = if sharded { "SPUBLISH" } else { "PUBLISH" };
    command.arg(name).arg(&publication.channel).arg(publication.payload.as_slice());
    command
}

#[cfg(test)]
mod tests {
    use redis::parse_redis_value;

    use super::*;

    fn replies(replies: &[&str]) -> Vec<Value> {
        replies.iter().map(|reply| parse_redis_value(format!("{reply}\r\n").as_bytes()).unwrap()).collect()
    }

    fn publication(channel: &str) -> Publication {
        Publication { node: Some(channel.into()), ..Publication::new(channel.to_owned(), Vec::new()) }
    }

    #[test]
    fn a_server_that_is_too_busy_to_count_has_not_failed() {
        let mut exchange = Exchange { counts: vec![Some(1)], ..Exchange::default() };
        exchange.add(replies(&["-BUSY running a script", ":1"]), vec![publication("a")], 1, true);
        assert_eq!((exchange.counts.as_slice(), exchange.lost), (&[None][..], 0));
        assert!(exchange.uncounted.is_some() && exchange.failure.is_none());
        exchange.add(replies(&["*2\r\n$1\r\nc\r\n:3"]), Vec::new(), 1, true);
        assert_eq!(exchange.counts, [None]);
    }

    #[test]
    fn subscriptions_of_all_servers_are_counted() {
        let mut exchange = Exchange { counts: vec![Some(0), Some(0)], ..Exchange::default() };
        for count in 1..=2 {
            let reply = format!("*4\r\n$1\r\na\r\n:{count}\r\n$1\r\nb\r\n:0");
            exchange.add(replies(&[&reply]), Vec::new(), 1, true);
        }
        assert_eq!(exchange.counts, [Some(3), Some(0)]);
    }

    #[test]
    fn messages_are_sent_again_or_lost() {
        let mut exchange = Exchange::default();
        let mut sent: Vec<_> = ["a", "b", "c"].into_iter().map(publication).collect();
        sent[1].redirected = REDIRECTIONS;
        exchange.add(replies(&["-MOVED 1 x:1", "-MOVED 1 x:1", "-NOPERM no"]), sent, 0, true);
        assert_eq!(exchange.redirected.iter().map(|moved| &*moved.channel).collect::<Vec<_>>(), ["a"]);
        assert_eq!(exchange.lost, 2);
    }

    #[test]
    fn a_node_that_receives_nothing_is_absent() {
        for (counts_receivers, absent) in [(true, vec![Arc::from("a")]), (false, Vec::new())] {
            let mut exchange = Exchange::default();
            let everyone = Publication::new("c".to_owned(), Vec::new());
            let sent = vec![publication("a"), publication("b"), everyone];
            exchange.add(replies(&[":0", ":1", ":0"]), sent, 0, counts_receivers);
            assert_eq!(exchange.absent, absent);
        }
    }
}
