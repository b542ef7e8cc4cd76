//! Sessions, and the events that their clients have missed.

use std::time::Duration;

use redis::{Pipeline, ServerError, Value, aio::MultiplexedConnection, cmd};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    cluster::{
        BroadcastOptions, ClusterCommand, ClusterError, ClusterErrorKind, EventBody, Offset, RecordedEvent,
        SessionRecord, TakenSession,
        backoff::Backoff,
        wire::streams::{decode_session, encode_session, session_key},
    },
    util::FOREVER,
};

use super::{
    super::{
        connection::{Connector, Session},
        error::into_error,
    },
    commands::{self, Recorded},
    pages::PageSize,
};

/// How many entries are read at once at most.
const PAGE: usize = 100;

/// Stores sessions, and reads streams.
pub(super) struct Sessions {
    connection: Mutex<Connection>,
    /// How long Redis may take to reply.
    reply_timeout: Duration,
    key_prefix: String,
}

/// A connection that is opened when it is needed.
struct Connection {
    connector: Connector,
    session: Option<Session>,
    /// Changes with the session.
    generation: u64,
    backoff: Backoff,
    next_attempt: Instant,
}

impl Sessions {
    pub(super) fn new(connector: Connector, key_prefix: String) -> Self {
        let reply_timeout = connector.reply_timeout;
        let connection = Connection {
            connector,
            session: None,
            generation: 0,
            backoff: Backoff::default(),
            next_attempt: Instant::now(),
        };
        Self { connection: Mutex::new(connection), reply_timeout, key_prefix }
    }

    /// Opens the connection, so that the first session is stored at once.
    pub(super) async fn open(&self) {
        self.connect("").await;
    }

    /// Stores a session. Waits while Redis is not reachable, but not longer than the session is kept.
    pub(super) async fn save(&self, session: &SessionRecord, keep: Duration) -> Result<(), ClusterError> {
        let key = session_key(&self.key_prefix, &session.private_id);
        let value = encode_session(session);
        let keep = keep.min(FOREVER);
        let until = Instant::now() + keep;
        let saving = async {
            loop {
                let left = until.saturating_duration_since(Instant::now()).as_millis().max(1);
                let mut pipeline = Pipeline::with_capacity(1);
                pipeline.cmd("SET").arg(&key).arg(&value).arg("PX").arg(u64::try_from(left).unwrap_or(u64::MAX));
                if let Some(replies) = self.try_execute(&key, &pipeline).await? {
                    return replies
                        .into_iter()
                        .try_for_each(|reply| reply.extract_error().map(drop))
                        .map_err(into_error);
                }
            }
        };
        timeout(keep, saving).await.unwrap_or_else(|elapsed| Err(disconnected(elapsed)))
    }

    /// Takes a session, and reads the events after an offset. Waits while Redis is not reachable.
    pub(super) async fn take(
        &self,
        stream: &str,
        namespace: &str,
        private_id: &str,
        offset: Offset,
        max_events: usize,
    ) -> Result<Option<TakenSession>, ClusterError> {
        let Some(session) = self.session(private_id).await? else { return Ok(None) };
        let mut events = Vec::new();
        let mut end = None;
        let mut next = offset.next();
        let mut pages = PageSize::new(PAGE);
        while let Some(from) = next {
            let page = self.read(stream, offset, from, end, &mut pages).await?;
            // If the event that the client has seen is still there, so are those after it.
            if !page.has_offset {
                return Ok(None);
            }
            end = page.end;
            let last = page.entries.last().map(|entry| entry.offset);
            next = if pages.adapt(&page.entries) { last.and_then(Offset::next) } else { None };
            events.extend(page.entries.iter().filter_map(|entry| event_of(entry, namespace)));
            if events.len() > max_events {
                return Ok(None);
            }
        }
        // Last, so that the session is kept if its events cannot be read.
        let is_taken = self.delete_session(private_id).await?;
        Ok(is_taken.then(|| TakenSession::new(session, events)))
    }

    /// Deletes a session. Returns `false` if another node has taken it.
    async fn delete_session(&self, private_id: &str) -> Result<bool, ClusterError> {
        let key = session_key(&self.key_prefix, private_id);
        let mut pipeline = Pipeline::with_capacity(3);
        pipeline.add_command(cmd("MULTI"));
        pipeline.cmd("DEL").arg(&key);
        pipeline.add_command(cmd("EXEC"));
        Ok(self.execute(&key, &pipeline).await?.into_iter().next() == Some(Value::Int(1)))
    }

    async fn session(&self, private_id: &str) -> Result<Option<SessionRecord>, ClusterError> {
        let key = session_key(&self.key_prefix, private_id);
        let mut pipeline = Pipeline::with_capacity(3);
        pipeline.add_command(cmd("MULTI"));
        pipeline.cmd("GET").arg(&key);
        pipeline.add_command(cmd("EXEC"));
        let Some(Value::BulkString(value)) = self.execute(&key, &pipeline).await?.into_iter().next() else {
            return Ok(None);
        };
        let malformed = |error| ClusterError::new(ClusterErrorKind::Malformed).caused_by(error);
        let session = decode_session(&value).map_err(malformed)?;
        Ok((*session.private_id == *private_id).then_some(session))
    }

    /// Reads entries from an offset to the end, which is that of the stream if it is not known.
    async fn read(
        &self,
        stream: &str,
        seen: Offset,
        from: Offset,
        end: Option<Offset>,
        pages: &mut PageSize,
    ) -> Result<Page, ClusterError> {
        let replies = loop {
            let mut pipeline = Pipeline::with_capacity(5);
            pipeline.add_command(cmd("MULTI"));
            pipeline.add_command(commands::range(stream, seen, Some(seen), 1));
            pipeline.add_command(commands::last(stream));
            pipeline.add_command(commands::range(stream, from, end, pages.count()));
            pipeline.add_command(cmd("EXEC"));
            match self.try_execute(stream, &pipeline).await? {
                Some(replies) => break replies,
                None => pages.halve(),
            }
        };
        let mut replies = executed(replies)?.into_iter();
        let mut entries = || commands::entries(replies.next().unwrap_or(Value::Nil));
        let (seen, last, entries) = (entries()?, entries()?, entries()?);
        let end = end.or_else(|| last.first().map(|entry| entry.offset));
        Ok(Page { has_offset: !seen.is_empty(), end, entries })
    }

    /// Executes a transaction until it succeeds. Returns the replies to its commands.
    async fn execute(&self, key: &str, transaction: &Pipeline) -> Result<Vec<Value>, ClusterError> {
        loop {
            let Some(replies) = self.try_execute(key, transaction).await? else { continue };
            return executed(replies);
        }
    }

    /// Returns `None` if the connection was lost, or another server is responsible: then it can be tried again.
    async fn try_execute(&self, key: &str, pipeline: &Pipeline) -> Result<Option<Vec<Value>>, ClusterError> {
        let (mut connection, generation) = self.connect(key).await;
        let replies = connection.send_packed_commands(pipeline, 0, pipeline.len());
        let replies = timeout(self.reply_timeout, replies).await;
        let mut shared = self.connection.lock().await;
        match replies {
            Ok(Ok(replies)) if !replies.iter().any(is_elsewhere) => {
                shared.backoff.reset();
                Ok(Some(replies))
            }
            _ => {
                if shared.generation == generation {
                    shared.session = None;
                    shared.next_attempt = Instant::now() + shared.backoff.next();
                }
                Ok(None)
            }
        }
    }

    /// Returns the connection to the server that has a key, as soon as there is one.
    async fn connect(&self, key: &str) -> (MultiplexedConnection, u64) {
        let mut shared = self.connection.lock().await;
        loop {
            if let Some(session) = shared.session.take()
                && let Ok(commands) = session.commands(key)
            {
                shared.session = Some(session);
                return (commands, shared.generation);
            }
            sleep_until(shared.next_attempt).await;
            // If this is interrupted, the next attempt waits, too.
            shared.next_attempt = Instant::now() + shared.backoff.next();
            if let Ok(session) = shared.connector.open().await {
                shared.session = Some(session);
                shared.generation += 1;
            }
        }
    }
}

/// Returns the replies to the commands of a transaction.
fn executed(replies: Vec<Value>) -> Result<Vec<Value>, ClusterError> {
    let mut last = Value::Nil;
    for reply in replies {
        last = reply.extract_error().map_err(into_error)?;
    }
    match last {
        Value::Array(replies) => Ok(replies),
        _ => Err(ClusterError::new(ClusterErrorKind::Rejected).caused_by("the transaction was not executed")),
    }
}

/// Entries that were read at once.
struct Page {
    /// Whether the event that the client has seen is in the stream.
    has_offset: bool,
    /// The last entry of the stream when the first page was read.
    end: Option<Offset>,
    entries: Vec<Recorded>,
}

/// Returns the event of an entry, if it is one of the namespace, and clients may get it later.
fn event_of(entry: &Recorded, namespace: &str) -> Option<RecordedEvent> {
    let (options, event) = emit_of(entry, namespace)?;
    (!options.flags.volatile).then(|| RecordedEvent::new(entry.offset, options, event))
}

fn emit_of(entry: &Recorded, namespace: &str) -> Option<(BroadcastOptions, EventBody)> {
    // Garbage is reported by the reader.
    let message = entry.message().ok().filter(|message| *message.namespace == *namespace)?;
    match message.command {
        ClusterCommand::Emit { options, event, request: None } => Some((options, event)),
        _ => None,
    }
}

fn is_elsewhere(reply: &Value) -> bool {
    let is_elsewhere = |error: &ServerError| {
        matches!(error.code(), "MOVED" | "ASK" | "READONLY" | "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN")
    };
    matches!(reply, Value::ServerError(error) if is_elsewhere(error))
}

fn disconnected(cause: tokio::time::error::Elapsed) -> ClusterError {
    ClusterError::new(ClusterErrorKind::Disconnected).caused_by(cause)
}
