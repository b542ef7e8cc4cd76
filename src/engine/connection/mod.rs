//! A connection: a session behind its lock, and the tasks that wait for it.

mod budget;
mod drive;
mod gathering;
mod head;
mod holding;
mod idle;
mod inspections;
mod lifecycle;
mod pressure;
mod reader;
mod reader_slot;
mod request;
mod send;
mod sessions;
mod shared;
mod state;
mod turnstile;
mod wakeups;

pub use self::request::ConnectionRequest;
pub(crate) use self::{
    budget::{Budget, UNCOUNTED},
    head::{HeadError, size as head_size},
    idle::IdleSessions,
    inspections::Inspections,
    send::{SendError, Sent},
    sessions::Sessions,
    shared::{Connect, Connection, Engine, Opening, Outlet},
    state::{OpenError, Output, Park},
    turnstile::{Turn, Turnstile},
    wakeups::Wakeups,
};
