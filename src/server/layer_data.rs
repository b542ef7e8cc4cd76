//! Values that layers store on a socket.

use std::{
    any::Any,
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::util::{Mutex, MutexGuard};

/// Values that layers store on a socket until it is closed, even if handles to the socket live longer.
///
/// Allocated with the first value.
#[derive(Default)]
pub(super) struct LayerData(Mutex<Option<Box<Values>>>);

#[derive(Default)]
struct Values(Vec<(Option<LayerId>, Box<dyn Any + Send>)>);

/// Distinguishes the values of several layers of the same type. Clones of a layer share its id.
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

    /// Removes all values. The caller drops them without holding a lock.
    pub(super) fn take(&self) -> impl Sized + use<> {
        self.lock().take()
    }

    /// Adds a value. If the socket is closed, the value is dropped immediately.
    pub(super) fn add(&self, value: impl Any + Send, is_closed: impl FnOnce() -> bool) {
        let mut values = self.lock();
        if !is_closed() {
            values.get_or_insert_default().0.push((None, Box::new(value)));
            return;
        }
        drop(values);
        drop(value);
    }

    /// Calls `change` with the value of a layer, which is created if missing. A value created for a closed socket is not stored.
    ///
    /// `change` must not run user code, because a lock is held.
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
