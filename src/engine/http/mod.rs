//! HTTP requests to the engine, and their responses.

mod body;
mod client_address;
#[cfg(feature = "compression")]
mod compression;
mod error;
mod future;
mod hooks;
mod not_found;
mod origins;
mod response;
mod route;

pub(crate) use self::{
    body::EngineBody,
    client_address::{Counts, Permit, network},
    future::EngineFuture,
    hooks::HttpHooks,
};
pub use self::{
    body::ResponseBody, client_address::ClientAddress, error::ConnectionError, not_found::NotFound, origins::Origins,
};
