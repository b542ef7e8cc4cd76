//! Namespaces: their declaration and admission.

mod builder;
mod connect_request;
mod connect_route;
mod handlers;
mod pattern;
mod refusal;
mod running;

pub use self::{
    builder::Namespace,
    connect_route::{ConnectFuture, ConnectRoute},
    running::AddNamespaceError,
};
