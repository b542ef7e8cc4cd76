use std::sync::Arc;

use redis::{Pipeline, Value, aio::MultiplexedConnection, cmd};

use crate::cluster::{ClusterError, ClusterErrorKind, Offset, emitter::EMITTER};

use super::{
    super::{connection::Connector, error::into_error},
    commands::{self, Addition},
};

/// How many entries are read at once, to find others among them.
const PAGE: usize = 1000;

/// Entries of one stream, of which all are added, or none.
pub(super) struct Group {
    pub(super) stream: Arc<str>,
    pub(super) additions: Vec<Addition>,
}

impl Group {
    /// Collects the entries of each stream, in their order.
    pub(super) fn collect(additions: Vec<Addition>) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for addition in additions {
            match groups.iter_mut().find(|group| group.stream == addition.stream) {
                Some(group) => group.additions.push(addition),
                None => groups.push(Self { stream: addition.stream.clone(), additions: vec![addition] }),
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

    /// Looks for the entries in the stream. Returns the offset of the last one.
    pub(super) async fn find(
        &self,
        after: Offset,
        mark: &str,
        connection: &mut MultiplexedConnection,
        connector: &Connector,
    ) -> Result<Option<Offset>, ClusterError> {
        let Some(first) = self.additions.first() else { return Ok(None) };
        let mark = mark_of(first, mark);
        let mut next = after.next();
        while let Some(from) = next {
            let page = read(&self.stream, from, PAGE, connection, connector).await?;
            if let Some(found) = page.iter().find(|entry| entry.is(&first.entry, mark)) {
                // They are in a row.
                let all = read(&self.stream, found.offset, self.additions.len(), connection, connector).await?;
                return Ok(Some(all.last().unwrap_or(found).offset));
            }
            next = page.get(PAGE - 1).and_then(|last| last.offset.next());
        }
        Ok(None)
    }
}

async fn read(
    stream: &str,
    from: Offset,
    count: usize,
    connection: &mut MultiplexedConnection,
    connector: &Connector,
) -> Result<Vec<commands::Recorded>, ClusterError> {
    let command = commands::range(stream, from, None, count);
    commands::entries(connector.reply(connection.send_packed_command(&command)).await?)
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
