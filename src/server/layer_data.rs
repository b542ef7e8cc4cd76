//! What layers keep on a socket.

use std::{
    any::Any,
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::{Mutex, MutexGuard};

/// Values that layers keep on a socket until it is closed, however long somebody holds a handle to it.
///
/// Sockets on which nothing is kept allocate nothing.
#[derive(Default)]
pub(super) struct LayerData(Mutex<Option<Box<Values>>>);

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

impl LayerData {
    fn lock(&self) -> MutexGuard<'_, Option<Box<Values>>> {
        self.0.lock()
    }

    /// Takes everything out, to be dropped where no lock is held.
    pub(super) fn take(&self) -> impl Sized + use<> {
        self.lock().take()
    }

    /// Adds a value. If the socket is closed, it is dropped at once.
    pub(super) fn add(&self, value: impl Any + Send, is_closed: impl FnOnce() -> bool) {
        let mut values = self.lock();
        if !is_closed() {
            values.get_or_insert_default().0.push((None, Box::new(value)));
            return;
        }
        drop(values);
        drop(value);
    }

    /// Changes the value of a layer, which is made if there is none. What is made for a closed socket is not kept.
    ///
    /// `change` must not run user code: a lock is held.
    pub(super) fn with<T: Any + Send, R>(
        &self,
        layer: LayerId,
        is_closed: impl FnOnce() -> bool,
        make: impl FnOnce() -> T,
        change: impl FnOnce(&mut T) -> R,
    ) -> R {
        let mut values = self.lock();
        if is_closed() {
            drop(values);
            return change(&mut make());
        }
        let values = &mut values.get_or_insert_default().0;
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

impl fmt::Debug for LayerData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerData").finish_non_exhaustive()
    }
}
