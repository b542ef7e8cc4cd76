//! Sessions, and the events that their clients have missed.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::{
    cluster::{
        backoff::Backoff,
        error::{ClusterError, ClusterErrorKind},
        journal::{Offset, RecordedEvent, SessionRecord, TakenSession},
        message::ClusterCommand,
        wire::{
            WireError,
            nats::{decode_in_batch, split_batch},
            streams::{decode_session, encode_session},
        },
    },
    util::FOREVER,
};

use super::{
    reader::offset,
    store::{Store, Stored},
    stores::Stores,
};

/// How many batches are read at once.
const CONCURRENT: usize = 16;

/// Stores a session. Waits while NATS is not reachable, but not longer than the session is kept.
pub(super) async fn save(mut stores: Stores, session: SessionRecord, keep: Duration) -> Result<(), ClusterError> {
    // JetStream keeps messages for a second at least.
    let keep = keep.clamp(Duration::from_secs(1), FOREVER);
    let (value, until) = (encode_session(&session), Instant::now() + keep);
    // If it is stored twice, it could be taken twice.
    let id = format!("session-{:016x}", getrandom::u64().unwrap_or_default());
    let mut backoff = Backoff::default();
    let saving = async {
        loop {
            let Some(store) = stores.get().await else { return Err(closed()) };
            match store.save(&session.private_id, &id, value.clone(), keep).await {
                Ok(()) => return Ok(()),
                Err(failure) if failure.is_passing() => sleep(backoff.next()).await,
                Err(failure) => return Err(failure.into()),
            }
        }
    };
    timeout_at(until, saving).await.unwrap_or_else(|elapsed| Err(disconnected(elapsed)))
}

/// Takes a session, and reads the events after an offset. Waits while NATS is not reachable.
pub(super) async fn take(
    mut stores: Stores,
    namespace: String,
    private_id: String,
    seen: Offset,
    max_events: usize,
    limit: Duration,
) -> Result<Option<TakenSession>, ClusterError> {
    let taking = async {
        let Some(store) = stores.get().await else { return Err(closed()) };
        let Some(stored) = store.session(&private_id).await? else { return Ok(None) };
        let session = decode_session(&stored.payload().map_err(malformed)?).map_err(malformed)?;
        if *session.private_id != *private_id {
            return Ok(None);
        }
        let Some(events) = events(&store, &namespace, seen, max_events).await? else { return Ok(None) };
        // Last, so that the session is kept if its events cannot be read.
        let is_taken = store.delete_session(stored.sequence).await?;
        Ok(is_taken.then(|| TakenSession::new(session, events)))
    };
    timeout(limit, taking).await.unwrap_or_else(|elapsed| Err(disconnected(elapsed)))
}

/// Reads the events of a namespace after one that a client has seen. Returns `None` if any of them is not stored any more, or if there
/// are too many.
async fn events(
    store: &Store,
    namespace: &str,
    seen: Offset,
    max_events: usize,
) -> Result<Option<Vec<RecordedEvent>>, ClusterError> {
    let Some(first) = store.batch(seen.major).await? else { return Ok(None) };
    let Ok(first) = read(&first, namespace) else { return Ok(None) };
    if !first.offsets.contains(&seen) {
        return Ok(None);
    }
    let mut events: Vec<_> = first.events.into_iter().filter(|event| event.offset > seen).collect();
    let last = store.events().await?.state.last;
    let batches = stream::iter(seen.major + 1..=last).map(|sequence| store.batch(sequence)).buffered(CONCURRENT);
    let mut batches = std::pin::pin!(batches);
    while let Some(batch) = batches.next().await {
        let Some(batch) = batch? else { return Ok(None) };
        // Garbage is reported by the reader.
        if let Ok(batch) = read(&batch, namespace) {
            events.extend(batch.events);
        }
        if events.len() > max_events {
            return Ok(None);
        }
    }
    Ok(Some(events))
}

/// The content of a batch.
struct Read {
    /// The offsets of all of its messages.
    offsets: Vec<Offset>,
    /// The events that clients of the namespace may get later.
    events: Vec<RecordedEvent>,
}

fn read(stored: &Stored, namespace: &str) -> Result<Read, WireError> {
    let (number, messages) = split_batch(&stored.payload()?)?;
    let mut read = Read { offsets: Vec::new(), events: Vec::new() };
    for (index, message) in messages.into_iter().enumerate() {
        let offset = offset(stored.sequence, number, index);
        read.offsets.push(offset);
        let message = decode_in_batch(message).ok().filter(|message| *message.namespace == *namespace);
        if let Some(ClusterCommand::Emit { options, event, request: None }) = message.map(|message| message.command)
            && !options.flags.volatile
        {
            read.events.push(RecordedEvent::new(offset, options, event));
        }
    }
    Ok(read)
}

fn malformed(error: WireError) -> ClusterError {
    ClusterError::new(ClusterErrorKind::Malformed).caused_by(error)
}

fn closed() -> ClusterError {
    ClusterError::new(ClusterErrorKind::Disconnected).caused_by("the adapter is closed")
}

fn disconnected(cause: tokio::time::error::Elapsed) -> ClusterError {
    ClusterError::new(ClusterErrorKind::Disconnected).caused_by(cause)
}
