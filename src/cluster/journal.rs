use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{room::Room, util::BoxFuture};

use super::{
    error::{ClusterError, PublishError},
    message::{BroadcastOptions, ClusterMessage},
    payload::{EventBody, Payload},
};

/// Stores events and sessions outside of the nodes, so that clients can be recovered on any node and after a restart.
///
/// Returned by [`ClusterAdapter::journal`](super::ClusterAdapter::journal), and used if
/// [`recovery`](crate::SocketIoConfig::recovery) is configured. An event is then emitted in two steps: it is appended to the
/// journal, and all nodes, including the one that emits, deliver it when they read it. So all clients get the events of a
/// namespace in the order of their offsets.
pub trait Journal: Send + Sync {
    /// Queues an event for the journal. Must not block.
    ///
    /// The adapter passes it to [`ClusterNode::deliver_recorded`](super::ClusterNode::deliver_recorded) when it is read, on the
    /// node that appends it too. The message is a [`ClusterCommand::Emit`](super::ClusterCommand::Emit) without a request. Each
    /// event that is accepted must be delivered once, and in the order of appending, also if the broker is not reachable for
    /// some time.
    ///
    /// # Errors
    ///
    /// Returns an error if the event is dropped, because the queue is full. The server then delivers it to its own clients only.
    fn append(&self, message: ClusterMessage) -> Result<(), PublishError>;

    /// Stores the session of a socket that has lost its connection, for `keep`.
    fn save(&self, namespace: &str, session: SessionRecord, keep: Duration) -> BoxFuture<Result<(), ClusterError>>;

    /// Takes a session, so that it can be taken once, and reads the events of the namespace after `offset`, the last one that the
    /// client has seen. `private_id` is what a client has sent, and may be anything.
    ///
    /// Returns `None` if there is no such session, if the journal does not have the event at `offset` (any more), or if there are
    /// more than `max_events`.
    fn take(
        &self,
        namespace: &str,
        private_id: &str,
        offset: Offset,
        max_events: usize,
    ) -> BoxFuture<Result<Option<TakenSession>, ClusterError>>;
}

/// The position of an event in a [`Journal`]. Clients see it as text, `major-minor`, the form of the ids of Redis streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset {
    /// The first number: the milliseconds of an id of Redis, or a sequence number.
    pub major: u64,
    /// The second number.
    pub minor: u64,
}

impl Offset {
    /// Creates an offset.
    #[must_use]
    pub const fn new(major: u64, minor: u64) -> Self {
        Self { major, minor }
    }

    /// Parses an offset. Returns `None` if the text is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('-')?;
        let number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?;
        Some(Self { major: number(major)?, minor: number(minor)? })
    }

    /// Returns the next larger offset, if there is one.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        match self.minor.checked_add(1) {
            Some(minor) => Some(Self { minor, ..self }),
            None => Some(Self { major: self.major.checked_add(1)?, minor: 0 }),
        }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.major, self.minor)
    }
}

/// The session of a socket that has lost its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionRecord {
    /// The public id of the socket.
    pub id: Arc<str>,
    /// The private id, by which the client claims the session.
    pub private_id: Arc<str>,
    /// The rooms of the socket, including that of its id.
    pub rooms: Vec<Room>,
    /// The data that the application has stored.
    pub data: Payload,
    /// For rooms that the socket joined after events of the namespace, the offset of the last of them. Earlier events of the room were
    /// not for the socket. Servers of Node.js do not store it.
    pub joined: HashMap<Room, Offset>,
}

impl SessionRecord {
    /// Creates a record.
    #[must_use]
    pub fn new(id: impl Into<Arc<str>>, private_id: impl Into<Arc<str>>, rooms: Vec<Room>, data: Payload) -> Self {
        Self { id: id.into(), private_id: private_id.into(), rooms, data, joined: HashMap::new() }
    }

    /// Returns `true` if an event was for this socket.
    pub(crate) fn was_meant(&self, RecordedEvent { offset, options, .. }: &RecordedEvent) -> bool {
        let had_joined = |room: &Room| self.joined.get(room).is_none_or(|joined| joined < offset);
        let was_in = |room: &Room| self.rooms.contains(room) && had_joined(room);
        (options.rooms.is_empty() || options.rooms.iter().any(was_in)) && !options.except.iter().any(was_in)
    }
}

/// A session that was taken from a [`Journal`], with the events that its client may have missed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TakenSession {
    /// The session.
    pub session: SessionRecord,
    /// All events of the namespace after the client's offset, in the order of their offsets. Volatile events are left out.
    pub events: Vec<RecordedEvent>,
}

impl TakenSession {
    /// Creates a session with the events after the client's offset.
    #[must_use]
    pub fn new(session: SessionRecord, events: Vec<RecordedEvent>) -> Self {
        Self { session, events }
    }
}

/// An event of a [`Journal`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedEvent {
    /// Its position.
    pub offset: Offset,
    /// The sockets that it is for.
    pub options: BroadcastOptions,
    /// The event.
    pub event: EventBody,
}

impl RecordedEvent {
    /// Creates an event.
    #[must_use]
    pub fn new(offset: Offset, options: BroadcastOptions, event: EventBody) -> Self {
        Self { offset, options, event }
    }

    /// Returns the memory that it takes.
    pub(crate) fn cost(&self) -> usize {
        let attachments: usize = self.event.attachments().iter().map(Bytes::len).sum();
        size_of::<Self>() + self.event.json().len() + attachments
    }
}

#[cfg(test)]
mod tests {
    use super::Offset;

    #[test]
    fn offsets_are_parsed_as_they_are_written() {
        for text in ["0-0", "1795824968000-12", "18446744073709551615-18446744073709551615"] {
            assert_eq!(Offset::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "-", "1", "1-", "-1", "1-2-3", "+1-0", "1-+0", "1 -0", "18446744073709551616-0", "a-b", "$"] {
            assert_eq!(Offset::parse(text), None, "{text}");
        }
        assert_eq!(Offset::new(1, u64::MAX).next(), Some(Offset::new(2, 0)));
        assert_eq!(Offset::new(u64::MAX, u64::MAX).next(), None);
        assert!(Offset::new(1, 9) < Offset::new(2, 0));
    }
}
