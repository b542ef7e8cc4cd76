//! Connection state recovery: a returning client gets its previous socket and the events that it missed.
//!
//! Each event is stamped with an offset and recorded for some time. When a socket loses its connection, its id, rooms and data
//! are kept under a private id, which only its client knows. The client sends that id and the last offset that it saw when it
//! returns. Socket.IO protocol 5, section "Connection to a namespace".
//!
//! [`History`] decides which events a client gets. It is pure: time is an argument, and it depends neither on sockets nor on
//! connections. `server::Memory` adds the lock under which a namespace emits.

mod config;
mod history;
mod log;
mod memberships;
mod offset;
mod scope;
mod session;

pub use self::config::RecoveryConfig;
#[cfg(any(test, fuzzing))]
pub(crate) use self::history::model::run as check_history;
pub(crate) use self::{
    history::History,
    offset::Stamp,
    scope::{Scope, SessionKey},
    session::Restored,
};
