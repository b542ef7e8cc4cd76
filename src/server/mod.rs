//! The Socket.IO server: clients, their sockets, and what is sent to them.
//!
//! `state` defines the central types. Files below it define the types of their fields, files above it their methods. The
//! module depends neither on axum nor on tower: namespaces are behind the trait [`Application`].

mod acks;
mod admission;
mod buffer;
mod claimed;
mod client;
mod cluster;
mod connect_error;
mod emit;
mod error;
mod event_cost;
mod journal;
mod layer_data;
mod leave;
mod memory;
mod namespace_request;
mod namespace_table;
mod namespaces;
mod observers;
mod reason;
mod receive;
mod recovery_session;
mod request;
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
    namespace_table::{NamespaceTable, Predicate, is_pattern},
    request::{Missing, Request},
    requests::{Requests, Response},
    settings::Settings,
    state::{
        Application, Change, Client, Counters, Definition, Event, Hooks, Memory, NamespaceState, Namespaces, Server,
        ServerSideHandler, Socket,
    },
};
pub use self::{
    error::EmitError, namespace_request::NamespaceRequest, reason::DisconnectReason, settings::SlowClientPolicy,
};
