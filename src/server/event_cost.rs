//! What events cost while their handlers run.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::packet::Json;

/// What each event costs besides its arguments: a task, the future of the handler, and the request.
pub(crate) const EVENT: usize = 1024;

/// What a value in the arguments costs besides its text: an entry of a list or a map, and an allocation.
const VALUE: usize = 72;

/// In arguments that are longer, values are counted. In others there is one for every so many bytes.
const LONG: usize = 4 * 1024;
const BYTES_PER_VALUE: usize = 10;

/// Events that are larger count towards the budget of the server.
pub(super) const LARGE: usize = 64 * 1024;

/// The cost of an event, which is computed when its handler turns out to wait.
#[derive(Debug, Default)]
pub(crate) struct EventCost {
    size: usize,
    /// The arguments, if they are long.
    json: Option<Json>,
}

impl EventCost {
    /// `size` is that of the arguments and their attachments.
    #[inline]
    pub(crate) fn new(json: &Json, size: usize) -> Self {
        Self { size, json: (size > LONG).then(|| json.clone()) }
    }

    /// The bytes that the event takes, by an estimate: its text and its attachments, and what becomes of its values when they are
    /// read.
    pub(crate) fn bytes(&self) -> usize {
        let values = match &self.json {
            Some(json) => memchr::memchr3_iter(b',', b'[', b'{', json.as_bytes()).count(),
            None => self.size / BYTES_PER_VALUE,
        };
        EVENT + self.size + values * VALUE
    }
}

/// What all connections together may spend on large events, in units of [`UNIT`] bytes.
#[derive(Debug)]
pub(crate) struct EventBudget {
    units: u32,
    semaphore: Arc<Semaphore>,
}

const UNIT: usize = 1024;

/// What a semaphore can count on every platform.
const MAX_UNITS: u32 = u32::MAX >> 3;

/// The part of an [`EventBudget`] that an event has, or waits for. It is given back when it is dropped.
pub(crate) enum Share {
    Waiting(Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>),
    Taken { _permit: Option<OwnedSemaphorePermit> },
}

impl EventBudget {
    pub(crate) fn new(bytes: usize) -> Self {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).clamp(1, MAX_UNITS);
        Self { units, semaphore: Arc::new(Semaphore::new(units as usize)) }
    }

    /// Takes the share of an event, or waits for it behind those that came first. An event that is larger than the whole budget takes
    /// all of it.
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
