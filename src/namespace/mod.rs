//! Namespaces: their declaration and admission.

mod builder;
mod complete;
mod connect_chain;
mod connect_handler;
mod connect_request;
pub(crate) mod connect_route;
mod handlers;
mod pattern;
mod refusal;
mod running;

pub use self::{
    builder::Namespace, complete::CompleteNamespace, connect_handler::ConnectHandler, connect_route::ConnectRoute,
    running::AddNamespaceError,
};
pub use crate::server::NamespaceRequest;
