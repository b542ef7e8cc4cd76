//! What layers keep on a socket.

use std::{
    any::Any,
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::{Mutex, MutexGuard};

use super::Socket;

/// Values that layers keep on a socket until it is closed, however long somebody holds a handle to it.
///
/// Sockets on which nothing is kept allocate nothing.
#[derive(Default)]
pub(super) struct Kept(Mutex<Option<Box<Values>>>);

#[derive(Default)]
struct Values(Vec<(Option<LayerId>, Box<dyn Any + Send>)>);

/// Tells the values of one layer from those of another of its kind. Clones of a layer share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LayerId(u64);

impl LayerId {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Option<Box<Values>>> {
        self.0.lock()
    }

    /// Takes everything out, to be dropped where no lock is held.
    pub(super) fn take(&self) -> impl Sized + use<> {
        self.lock().take()
    }
}

impl Socket {
    /// Keeps a value until the socket is closed. If it is closed already, the value is dropped at once.
    pub(crate) fn keep(&self, value: impl Any + Send) {
        let mut kept = self.kept.lock();
        if !self.is_closed() {
            kept.get_or_insert_default().0.push((None, Box::new(value)));
            return;
        }
        drop(kept);
        drop(value);
    }

    /// Changes the value that a layer keeps on this socket, which is made if there is none. What is made for a closed
    /// socket is not kept.
    ///
    /// `change` must not run user code: a lock is held.
    pub(crate) fn with_kept<T: Any + Send, R>(
        &self,
        layer: LayerId,
        make: impl FnOnce() -> T,
        change: impl FnOnce(&mut T) -> R,
    ) -> R {
        let mut kept = self.kept.lock();
        if self.is_closed() {
            drop(kept);
            return change(&mut make());
        }
        let values = &mut kept.get_or_insert_default().0;
        let own = values.iter_mut().find(|(owner, _)| *owner == Some(layer));
        if let Some(value) = own.and_then(|(_, value)| value.downcast_mut::<T>()) {
            return change(value);
        }
        let mut value = Box::new(make());
        let result = change(&mut value);
        values.push((Some(layer), value));
        result
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}
