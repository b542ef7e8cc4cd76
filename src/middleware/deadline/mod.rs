//! Sockets that are disconnected when their token expires.

mod expires;
mod handle;
mod service;

pub use self::{
    expires::Expires,
    handle::Deadline,
    service::{DeadlineLayer, DeadlineService},
};
