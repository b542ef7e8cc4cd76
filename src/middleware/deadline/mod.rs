//! Disconnects sockets when their token expires.

mod expires;
mod handle;
mod service;

pub use self::{
    expires::Expires,
    handle::DeadlineHandle,
    service::{Deadline, DeadlineLayer},
};
