//! The locks of the crate.

pub(crate) use parking_lot::{Mutex, MutexGuard, RwLock};
