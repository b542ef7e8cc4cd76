//! Socket.IO at work: a server, its clients, their sockets, and what they send.
//!
//! `state` has the nouns. What their fields are made of stands in files below it, what is done with them in files above it. It names
//! neither axum nor tower: what a namespace does with its clients is an [`Application`].

mod acks;
mod admission;
mod buffer;
mod client;
mod connect_error;
mod emit;
mod error;
mod event_cost;
mod layer_data;
mod leave;
mod memory;
mod namespace_request;
mod namespace_table;
mod namespaces;
mod reason;
mod receive;
mod requests;
mod rooms;
mod running;
mod send;
mod settings;
mod socket;
mod socket_table;
mod state;

pub(crate) use self::{
    acks::{AckData, Waiter},
    client::Clients,
    connect_error::{ConnectError, Refusal},
    event_cost::{EVENT, EventBudget, EventCost, Share},
    layer_data::LayerId,
    namespace_table::{NamespaceTable, Predicate, absolute, is_pattern},
    requests::Requests,
    settings::Settings,
    state::{
        Application, Client, Counters, Definition, Event, Hooks, Memory, NamespaceState, Namespaces, Server,
        ServerSideHandler, Socket,
    },
};
pub use self::{
    error::EmitError, namespace_request::NamespaceRequest, reason::DisconnectReason, settings::SlowClientPolicy,
};
