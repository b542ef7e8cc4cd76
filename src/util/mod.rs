//! Helpers that the standard library does not have.

use std::{future::Future, pin::Pin};

mod by_name;
mod catch;
mod clock;
mod counts;
mod date;
mod infallible;
#[cfg(test)]
pub(crate) mod interleave;
mod lock;
mod log;
mod order;
mod shrink;

pub(crate) use self::{
    by_name::{ByName, Named},
    catch::catch_panic,
    clock::{FOREVER, now},
    counts::{Counts, Permit},
    date::date_string,
    infallible::{FromError, InfallibleService},
    lock::{Mutex, MutexGuard, RwLock},
    log::{Chain, log},
    order::Order,
    shrink::shrink,
};

#[cfg(any(feature = "admin-ui", feature = "msgpack"))]
pub(crate) use self::date::iso_string;

#[cfg(any(test, tower_socketio_locks))]
pub use self::lock::measured::{LockUse, take_lock_report};

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
