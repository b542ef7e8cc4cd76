//! Writing broadcasts for drivers.
//!
//! A broadcast to many connections would wake as many tasks, each to write some bytes. Instead, one task writes to the transports of
//! all drivers that are parked. It lets other tasks run first, so that what they emit is written together.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use tokio::{
    runtime::Handle,
    task::{unconstrained, yield_now},
};

use super::{
    gathering::Waiting,
    send::Sent,
    shared::{Connection, Engine},
};

/// With fewer connections, their drivers are woken.
const FEW: usize = 8;

/// How long a task writes before other tasks run.
const TURN: Duration = Duration::from_micros(200);

/// The drivers that a broadcast must wake, once no lock is held.
pub(crate) struct Wakeups {
    list: Vec<Waiting<Connection>>,
    /// Drivers are woken when they are added.
    at_once: bool,
}

impl Wakeups {
    /// Returns an empty list for at most `recipients` drivers.
    pub(crate) fn collect(recipients: usize) -> Self {
        Self { list: Vec::with_capacity(recipients), at_once: false }
    }

    /// Like [`collect`](Self::collect), but wakes few drivers when they are added. For callers that hold no lock.
    pub(crate) fn collect_many(recipients: usize) -> Self {
        if recipients < FEW { Self { list: Vec::new(), at_once: true } } else { Self::collect(recipients) }
    }

    /// Adds the driver of a connection if the packet that was sent must wake it.
    pub(crate) fn add(&mut self, connection: &Arc<Connection>, sent: Sent) {
        match sent.waker {
            Some(waker) if self.at_once => waker.wake(),
            Some(waker) => self.list.push((connection.clone(), waker)),
            None => {}
        }
    }

    /// Has the queued packets written. Must be called without a lock.
    pub(crate) fn wake(self) {
        drop(self);
    }
}

/// If user code that runs between the recipients panics, those before are woken.
impl Drop for Wakeups {
    fn drop(&mut self) {
        let mut list = std::mem::take(&mut self.list);
        if list.len() < FEW {
            list.into_iter().for_each(|(_, waker)| waker.wake());
            return;
        }
        list.retain(|(connection, waker)| {
            let is_writable = connection.outlet.get().is_some();
            if !is_writable {
                waker.wake_by_ref();
            }
            is_writable
        });
        if let Some((connection, _)) = list.first() {
            let (engine, runtime) = (connection.engine.clone(), connection.runtime.clone());
            engine.gather(list, &runtime);
        }
    }
}

impl Engine {
    fn gather(self: Arc<Self>, connections: Vec<Waiting<Connection>>, runtime: &Handle) {
        let new = self.gathering.lock().add(connections);
        for _ in 0..new {
            let writer = Writer { engine: self.clone() };
            runtime.spawn(unconstrained(writer.run()));
        }
    }
}

/// A task that writes.
struct Writer {
    engine: Arc<Engine>,
}

impl Writer {
    async fn run(self) {
        loop {
            yield_now().await;
            let begin = Instant::now();
            while begin.elapsed() < TURN {
                if !self.write_some() {
                    return;
                }
            }
        }
    }

    /// Writes to some connections. Returns `false` if none is left, and the task ends.
    fn write_some(&self) -> bool {
        let batch = self.engine.gathering.lock().take();
        let is_over = batch[0].is_none();
        for (connection, waker) in batch.into_iter().flatten() {
            let written = catch_unwind(AssertUnwindSafe(|| connection.write()));
            if !written.unwrap_or(false) {
                waker.wake();
            }
        }
        !is_over
    }
}

impl Drop for Writer {
    /// If the runtime drops the task, the drivers that are left are woken.
    fn drop(&mut self) {
        let left = self.engine.gathering.lock().end_task();
        left.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

impl Connection {
    /// Writes queued packets. Returns `false` if the driver must be woken.
    pub(in crate::engine) fn write(&self) -> bool {
        let outlet = self.outlet.get().and_then(Weak::upgrade);
        outlet.is_some_and(|outlet| outlet.write(self))
    }
}
