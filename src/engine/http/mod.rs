//! Requests of the engine, and their responses.

mod body;
mod client_address;
#[cfg(feature = "compression")]
mod compression;
mod cookie;
mod error;
mod future;
mod hooks;
mod not_found;
mod origins;
mod response;
mod route;

pub(crate) use self::{
    body::OwnBody,
    client_address::{Counts, Permit, network},
    future::Answer,
    hooks::HttpHooks,
};
pub use self::{
    body::ResponseBody,
    client_address::ClientAddress,
    cookie::{SameSite, SessionCookie},
    error::ConnectionError,
    not_found::NotFound,
    origins::Origins,
};
