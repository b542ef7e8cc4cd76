//! The commands for streams, and their replies.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use redis::{Cmd, RedisError, Value, cmd};

use crate::cluster::{
    ClusterError, ClusterErrorKind, ClusterMessage, Offset,
    wire::{
        WireError,
        streams::{self, Entry},
    },
};

use super::super::{
    error::into_error,
    queue::{OVERHEAD, Queued},
};

/// An entry that is to be added to a stream.
pub(super) struct Addition {
    pub(super) stream: Arc<str>,
    pub(super) entry: Entry,
}

impl Queued for Addition {
    fn size(&self) -> usize {
        2 * OVERHEAD + self.stream.len() + self.entry.namespace.len() + self.entry.data.len()
    }
}

/// Adds an entry. Without `max_len`, the stream grows.
pub(super) fn add(Addition { stream, entry }: &Addition, mark: Option<&str>, max_len: Option<usize>) -> Cmd {
    let mut command = Cmd::with_capacity(16, stream.len() + entry.namespace.len() + entry.data.len() + 96);
    command.arg("XADD").arg(&**stream);
    if let Some(max_len) = max_len {
        command.arg("MAXLEN").arg("~").arg(max_len);
    }
    command.arg("*");
    for (name, value) in entry.fields() {
        command.arg(name).arg(value);
    }
    if let Some(mark) = mark {
        command.arg(MARK).arg(mark);
    }
    command
}

/// A field that readers ignore.
const MARK: &str = "from";

/// Reads entries, the first of which is at this offset or after it.
pub(super) fn range(stream: &str, from: Offset, to: Option<Offset>, count: usize) -> Cmd {
    let to = to.map_or_else(|| "+".to_owned(), |to| to.to_string());
    let mut command = cmd("XRANGE");
    command.arg(stream).arg(from.to_string()).arg(to).arg("COUNT").arg(count);
    command
}

/// Reads the last entry.
pub(super) fn last(stream: &str) -> Cmd {
    let mut command = cmd("XREVRANGE");
    command.arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
    command
}

/// Counts the entries.
pub(super) fn length(stream: &str) -> Cmd {
    cmd("XLEN").arg(stream).to_owned()
}

/// Asks for a [`State`].
pub(super) fn info(stream: &str) -> Cmd {
    cmd("XINFO").arg("STREAM").arg(stream).to_owned()
}

/// Waits for entries after this offset.
pub(super) fn read(stream: &str, after: Offset, count: usize, block: Duration) -> Cmd {
    let mut command = cmd("XREAD");
    command.arg("COUNT").arg(count).arg("BLOCK").arg(block.as_millis().max(1) as u64);
    command.arg("STREAMS").arg(stream).arg(after.to_string());
    command
}

/// An entry that was read from a stream.
pub(super) struct Recorded {
    pub(super) offset: Offset,
    fields: Vec<(Vec<u8>, Bytes)>,
}

impl Recorded {
    fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(field, _)| field == name.as_bytes()).map(|(_, value)| &value[..])
    }

    /// Returns how many bytes it has.
    pub(super) fn size(&self) -> usize {
        self.fields.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    pub(super) fn is_from(&self, sender: &str) -> bool {
        self.get("uid") == Some(sender.as_bytes())
    }

    /// Returns `true` if this is what was added.
    pub(super) fn is(&self, entry: &Entry, mark: Option<&str>) -> bool {
        entry.fields().iter().all(|(name, value)| self.get(name) == Some(value))
            && mark.is_none_or(|mark| self.get(MARK) == Some(mark.as_bytes()))
    }

    pub(super) fn message(&self) -> Result<ClusterMessage, WireError> {
        streams::decode_entry(self.fields.iter().map(|(name, value)| (&name[..], value)))
    }
}

fn unexpected() -> ClusterError {
    ClusterError::new(ClusterErrorKind::Rejected).caused_by("an unexpected reply")
}

/// Reads the reply to [`range`] and [`last`].
pub(super) fn entries(reply: Value) -> Result<Vec<Recorded>, ClusterError> {
    match reply {
        Value::Array(entries) => entries.into_iter().map(entry).collect(),
        Value::Nil => Ok(Vec::new()),
        Value::ServerError(error) => Err(into_error(RedisError::from(error))),
        _ => Err(unexpected()),
    }
}

/// Reads the reply to [`read`], which is for one stream.
pub(super) fn read_entries(reply: Value) -> Result<Vec<Recorded>, ClusterError> {
    let streams = match reply {
        Value::Array(streams) => streams,
        reply => return entries(reply),
    };
    match streams.into_iter().next() {
        Some(Value::Array(mut stream)) if stream.len() == 2 => entries(stream.remove(1)),
        _ => Err(unexpected()),
    }
}

/// What a stream has.
pub(super) struct State {
    /// The first entry, if there is one.
    pub(super) first: Option<Offset>,
    /// The last entry that was added, even if it was removed.
    pub(super) last: Offset,
}

/// Reads the reply to [`info`]. Returns `None` if the stream does not exist.
pub(super) fn state(reply: Value) -> Result<Option<State>, ClusterError> {
    let fields = match reply {
        Value::Array(fields) => fields,
        Value::ServerError(error) if error.details().is_some_and(|details| details.contains("no such key")) => {
            return Ok(None);
        }
        Value::ServerError(error) => return Err(into_error(RedisError::from(error))),
        _ => return Err(unexpected()),
    };
    let (mut first, mut last) = (None, None);
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        match (name, value) {
            (Value::BulkString(name), id) if name == b"last-generated-id" => last = offset(id),
            (Value::BulkString(name), Value::Array(entry)) if name == b"first-entry" => {
                first = entry.into_iter().next().and_then(offset);
            }
            _ => {}
        }
    }
    Ok(Some(State { first, last: last.ok_or_else(unexpected)? }))
}

fn entry(reply: Value) -> Result<Recorded, ClusterError> {
    let Value::Array(parts) = reply else { return Err(unexpected()) };
    let mut parts = parts.into_iter();
    let offset = parts.next().and_then(offset).ok_or_else(unexpected)?;
    let values = match parts.next() {
        Some(Value::Array(values)) => values,
        _ => Vec::new(),
    };
    let mut texts = values.into_iter().map(|value| match value {
        Value::BulkString(bytes) => bytes,
        _ => Vec::new(),
    });
    let mut fields = Vec::with_capacity(4);
    while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
        fields.push((name, value.into()));
    }
    Ok(Recorded { offset, fields })
}

/// Reads the id of an entry.
pub(super) fn offset(id: Value) -> Option<Offset> {
    match id {
        Value::BulkString(id) => Offset::parse(str::from_utf8(&id).ok()?),
        _ => None,
    }
}
