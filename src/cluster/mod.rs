//! What a server that is one node of a cluster tells the others.
//!
//! Rooms are local: each node knows its own sockets, and a broadcast reaches the others as a message that says what to do
//! to whom. What carries these messages, Redis for example, implements [`ClusterAdapter`].

mod adapter;
mod error;
mod message;

pub(crate) use self::{adapter::Node, message::is_event};
pub use self::{
    adapter::{ClusterAdapter, ClusterNode},
    error::ClusterError,
    message::{ClusterCommand, ClusterMessage, EventBody},
};
