//! Connection state recovery: a client that was cut off comes back as the socket that it was, and gets what it missed.
//!
//! Every event that is emitted is stamped with an offset and kept for a while. A socket that loses its connection leaves
//! its id, its rooms and its data behind, under a private id that only its client knows; the client returns with it and
//! with the last offset that it saw. Socket.IO protocol 5, section "Connection to a namespace".
//!
//! [`History`] decides what a client gets. It is pure: time is an argument, and it knows neither sockets nor connections.
//! `server::Memory` is a history behind the lock under which a namespace emits.

mod config;
mod history;
mod log;
mod memberships;
mod offset;
mod scope;
mod session;
mod socket_session;

pub use self::config::RecoveryConfig;
#[cfg(any(test, fuzzing))]
pub(crate) use self::history::model::run as check_history;
pub(crate) use self::{
    history::History, offset::Stamp, scope::Scope, session::Restored, socket_session::RecoverySession,
};
