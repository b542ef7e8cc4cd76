//! Communication between the nodes of a cluster.
//!
//! Rooms are local: each node knows only its own sockets. A broadcast is sent to the other nodes as a message with a selection of
//! sockets and a command. A [`ClusterAdapter`] carries these messages, for example over Redis.

mod adapter;
mod error;
mod message;

pub(crate) use self::{adapter::Node, message::is_event};
pub use self::{
    adapter::{ClusterAdapter, ClusterNode},
    error::ClusterError,
    message::{ClusterCommand, ClusterMessage, EventBody},
};
