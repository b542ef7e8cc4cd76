//! The memory cost of events while their handlers run.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::packet::Json;

/// The cost of an event without its arguments: a task, the handler's future, and the request.
pub(crate) const EVENT: usize = 1024;

/// The cost of a value in the arguments without its text: an entry of a list or a map, and an allocation.
const VALUE: usize = 72;

/// In arguments longer than this, values are counted. In shorter ones their number is estimated from the length.
const LONG: usize = 4 * 1024;
const BYTES_PER_VALUE: usize = 10;

/// Events larger than this count towards the server's budget.
pub(super) const LARGE: usize = 64 * 1024;

/// The cost of an event. It is computed only if the handler is pending after its first poll.
#[derive(Debug, Default)]
pub(crate) struct EventCost {
    size: usize,
    /// The arguments, if they are longer than [`LONG`].
    json: Option<Json>,
}

impl EventCost {
    /// `size` is the length of the arguments and their attachments.
    #[inline]
    pub(crate) fn new(json: &Json, size: usize) -> Self {
        Self { size, json: (size > LONG).then(|| json.clone()) }
    }

    /// Estimates the memory that the event takes, in bytes: its text, its attachments, and its deserialized values.
    pub(crate) fn bytes(&self) -> usize {
        let values = match &self.json {
            Some(json) => memchr::memchr3_iter(b',', b'[', b'{', json.as_bytes()).count(),
            None => self.size / BYTES_PER_VALUE,
        };
        EVENT + self.size + values * VALUE
    }
}

/// The budget of all connections for large events, in units of [`UNIT`] bytes.
#[derive(Debug)]
pub(crate) struct EventBudget {
    units: u32,
    semaphore: Arc<Semaphore>,
}

const UNIT: usize = 1024;

/// The maximum that a semaphore supports on every platform.
const MAX_UNITS: u32 = u32::MAX >> 3;

/// The share of an [`EventBudget`] that an event holds or waits for. Dropping it returns the share.
pub(crate) enum Share {
    Waiting(Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>),
    Taken { _permit: Option<OwnedSemaphorePermit> },
}

impl EventBudget {
    pub(crate) fn new(bytes: usize) -> Self {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).clamp(1, MAX_UNITS);
        Self { units, semaphore: Arc::new(Semaphore::new(units as usize)) }
    }

    /// Acquires the share of an event, in order of arrival. An event larger than the budget acquires all of it.
    pub(super) fn take(&self, bytes: usize) -> Share {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).min(self.units);
        match self.semaphore.clone().try_acquire_many_owned(units) {
            Ok(permit) => Share::Taken { _permit: Some(permit) },
            Err(_) => {
                let acquiring = self.semaphore.clone().acquire_many_owned(units);
                Share::Waiting(Box::pin(async move { acquiring.await.ok() }))
            }
        }
    }
}

impl Share {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Waiting(acquiring) = self {
            let Poll::Ready(permit) = acquiring.as_mut().poll(cx) else {
                return Poll::Pending;
            };
            *self = Self::Taken { _permit: permit };
        }
        Poll::Ready(())
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share").finish_non_exhaustive()
    }
}
