//! Connection state recovery: a client that was cut off comes back as the socket that it was, and gets what it missed.
//!
//! Every event that is emitted is stamped with an offset and kept for a while. A socket that loses its connection leaves
//! its id, its rooms and its data behind, under a private id that only its client knows; the client returns with it and
//! with the last offset that it saw. Socket.IO protocol 5, section "Connection to a namespace".
//!
//! [`History`] decides what a client gets. It is pure: time is an argument, and it knows neither sockets nor connections.
//! [`Memory`] is a history behind the lock under which a namespace emits, and the sockets that it delivers to.

mod config;
mod history;
mod log;
mod memberships;
mod memory;
mod offset;
mod session;
mod socket_session;

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash},
};

pub use self::config::Recovery;
#[cfg(any(test, fuzzing))]
pub(crate) use self::history::model::run as check_history;
use self::{
    history::History,
    log::{Log, Scope},
    memberships::Memberships,
    offset::{Offsets, Stamp},
    session::{Saved, SavedSessions, SessionKey},
};
pub(crate) use self::{memory::Memory, session::Restored, socket_session::RecoverySession};

/// Gives back what a map needed once most of it has been removed.
fn shrink<K: Eq + Hash, V, S: BuildHasher>(map: &mut HashMap<K, V, S>) {
    if map.capacity() > 16 && map.len() < map.capacity() / 4 {
        map.shrink_to(map.len() * 2);
    }
}
