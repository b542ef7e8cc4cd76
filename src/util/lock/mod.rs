//! The locks of the crate: those of `parking_lot`, which `make locks` replaces by ones that measure.

#[cfg(any(test, tower_socketio_locks))]
#[cfg_attr(not(tower_socketio_locks), expect(dead_code, reason = "only the tests of this module use these locks"))]
pub(crate) mod measured;

#[cfg(not(tower_socketio_locks))]
pub(crate) use parking_lot::{Mutex, MutexGuard, RwLock};

#[cfg(tower_socketio_locks)]
pub(crate) use self::measured::{Mutex, MutexGuard, RwLock};
