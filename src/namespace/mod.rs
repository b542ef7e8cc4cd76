//! Namespaces: how they are declared, who is admitted, and where events go.

mod admission;
mod answer;
mod builder;
mod connect_request;
mod connect_route;
mod events;
mod state;
mod table;

pub(crate) use self::{
    admission::{admit, admit_implicitly},
    events::{PendingAck, Reply, run_disconnect, run_disconnecting, start_event},
    state::{Common, Definition, NamespaceState},
    table::{NamespaceTable, Namespaces, Predicate, absolute},
};
pub use self::{
    builder::Namespace,
    connect_route::{ConnectFuture, ConnectRoute},
    events::EventRequest,
    table::NamespaceRequest,
};
