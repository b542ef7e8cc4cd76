use std::sync::Arc;

use redis::{Pipeline, Value, aio::MultiplexedConnection, cmd, from_redis_value};
use tokio::time::timeout;

use crate::cluster::{ClusterError, ClusterErrorKind, Offset, emitter::EMITTER};

use super::{
    super::{
        connection::Connector,
        error::{into_error, timed_out},
    },
    commands::{self, Addition},
    pages::PageSize,
};

/// Entries of one stream, of which all are added, or none.
pub(super) struct Group {
    pub(super) stream: Arc<str>,
    pub(super) additions: Vec<Addition>,
    /// Whether they may have been added.
    pub(super) is_sent: bool,
}

impl Group {
    /// Collects the entries of each stream, in their order.
    pub(super) fn collect(additions: Vec<Addition>) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for addition in additions {
            match groups.iter_mut().find(|group| group.stream == addition.stream) {
                Some(group) => group.additions.push(addition),
                None => {
                    let stream = addition.stream.clone();
                    groups.push(Self { stream, additions: vec![addition], is_sent: false });
                }
            }
        }
        groups
    }

    /// Adds the entries. Returns the offset of the last one.
    pub(super) async fn add(
        &self,
        max_len: Option<usize>,
        mark: &str,
        connection: &mut MultiplexedConnection,
        connector: &Connector,
    ) -> Result<Offset, ClusterError> {
        let is_transaction = self.additions.len() > 1;
        let mut pipeline = Pipeline::with_capacity(self.additions.len() + 2);
        if is_transaction {
            pipeline.add_command(cmd("MULTI"));
        }
        for addition in &self.additions {
            pipeline.add_command(commands::add(addition, mark_of(addition, mark), max_len));
        }
        if is_transaction {
            pipeline.add_command(cmd("EXEC"));
        }
        let replies = connection.send_packed_commands(&pipeline, 0, pipeline.len());
        let mut last = Value::Nil;
        // The first error is the cause of that of `EXEC`.
        for reply in connector.reply(replies).await? {
            last = reply.extract_error().map_err(into_error)?;
        }
        if let Value::Array(ids) = last {
            last = ids.into_iter().next_back().unwrap_or(Value::Nil);
        }
        commands::offset(last.extract_error().map_err(into_error)?).ok_or_else(|| {
            ClusterError::new(ClusterErrorKind::Rejected).caused_by("the reply to XADD is not the id of an entry")
        })
    }

    /// Looks for the entries in the stream. They can only be after `tail`, which was its last entry before they were sent.
    pub(super) async fn find(
        &self,
        tail: Offset,
        max_len: usize,
        mark: &str,
        pages: &mut PageSize,
        connection: &mut MultiplexedConnection,
        connector: &Connector,
    ) -> Result<Outcome, ClusterError> {
        // Streams are trimmed from the front, so the last one is there for the longest.
        let Some(sought) = self.additions.last() else { return Ok(Outcome::NotAdded) };
        let mark = mark_of(sought, mark);
        let (mut next, mut found, mut is_untrimmed) = (Some(tail), None, false);
        while let Some(from) = next {
            let command = commands::range(&self.stream, from, None, pages.count());
            let reply = timeout(connector.reply_timeout, connection.send_packed_command(&command)).await;
            let page = match reply {
                Ok(reply) => commands::entries(reply.map_err(into_error)?)?,
                Err(_) => {
                    pages.halve();
                    return Err(into_error(timed_out()));
                }
            };
            if from == tail {
                // If there is nothing from there on, the server has lost its newest data, or all.
                is_untrimmed = page.first().is_none_or(|entry| entry.offset == tail);
            }
            let matching = page.iter().rfind(|entry| entry.is(&sought.entry, mark) && entry.offset > tail);
            found = matching.map(|entry| entry.offset).or(found);
            let last = page.last().map(|entry| entry.offset);
            next = if pages.adapt(&page) { last.and_then(Offset::next) } else { None };
        }
        Ok(match found {
            Some(last) => Outcome::Added(last),
            None if is_untrimmed || self.length(connection, connector).await? < max_len => Outcome::NotAdded,
            // They may have been added and removed again.
            None => Outcome::Unknown,
        })
    }

    async fn length(
        &self,
        connection: &mut MultiplexedConnection,
        connector: &Connector,
    ) -> Result<usize, ClusterError> {
        let command = commands::length(&self.stream);
        let reply = connector.reply(connection.send_packed_command(&command)).await?;
        let length = reply.extract_error().map_err(into_error)?;
        from_redis_value(length).map_err(|error| into_error(error.into()))
    }
}

/// What became of entries that were sent but not confirmed.
pub(super) enum Outcome {
    /// They were added. The offset is that of the last one.
    Added(Offset),
    NotAdded,
    Unknown,
}

/// Returns the offset of the last entry, or zero if there is none.
pub(super) async fn read_tail(
    stream: &str,
    connection: &mut MultiplexedConnection,
    connector: &Connector,
) -> Result<Offset, ClusterError> {
    let last = commands::last(stream);
    let last = commands::entries(connector.reply(connection.send_packed_command(&last)).await?)?;
    Ok(last.first().map(|entry| entry.offset).unwrap_or_default())
}

/// All emitters have the same sender, so that their entries need a mark.
fn mark_of<'a>(addition: &Addition, mark: &'a str) -> Option<&'a str> {
    (&*addition.entry.sender == EMITTER).then_some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::wire::streams::Entry;

    #[test]
    fn each_stream_has_a_group_in_the_order_of_entries() {
        let addition = |stream: &str, kind| {
            let entry = Entry { sender: "a".into(), namespace: "/".into(), kind, data: Vec::new() };
            Addition { stream: stream.into(), entry }
        };
        let groups = Group::collect(vec![addition("x", 1), addition("y", 2), addition("x", 3)]);
        let kinds = |group: &Group| group.additions.iter().map(|addition| addition.entry.kind).collect::<Vec<_>>();
        assert_eq!(
            groups.iter().map(|group| (&*group.stream, kinds(group))).collect::<Vec<_>>(),
            [("x", vec![1, 3]), ("y", vec![2])]
        );
    }
}
