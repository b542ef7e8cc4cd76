//! HTTP requests to the engine, and their responses.

mod body;
#[cfg(feature = "compression")]
mod compression;
mod forward;
mod future;
mod not_found;
mod response;
mod route;

pub(crate) use self::{body::EngineBody, future::EngineFuture, response::report_rejection};
pub use self::{body::ResponseBody, not_found::NotFound};
