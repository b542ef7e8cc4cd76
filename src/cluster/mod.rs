//! Communication between the nodes of a cluster.
//!
//! Rooms are local: each node knows only its own sockets. A broadcast is sent to the other nodes as a message with a selection of
//! sockets and a command. A [`ClusterAdapter`] carries these messages, for example over Redis.

mod adapter;
#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
mod backoff;
#[cfg(any(feature = "nats", feature = "postgres"))]
mod broker;
mod emitter;
mod error;
#[cfg(any(feature = "nats", feature = "postgres"))]
mod heartbeat;
mod journal;
mod local;
mod message;
#[cfg(feature = "nats")]
pub mod nats;
mod node;
mod payload;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(any(feature = "nats", feature = "postgres-tls"))]
mod tls;
#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
#[cfg_attr(
    not(all(feature = "nats", feature = "postgres", feature = "redis")),
    allow(dead_code, reason = "each backend uses a part")
)]
pub(crate) mod wire;

pub(crate) use self::node::Node;
pub use self::{
    adapter::{ClusterAdapter, LocalChange, Peers},
    emitter::{Emitter, EmitterError},
    error::{ClusterError, ClusterErrorKind, PublishError},
    journal::{Journal, Offset, RecordedEvent, SessionRecord, TakenSession},
    local::{Local, LocalNode},
    message::{
        BroadcastFlags, BroadcastOptions, ClusterCommand, ClusterMessage, HandshakeDescription, RequestId,
        SocketDescription,
    },
    node::ClusterNode,
    payload::{EventBody, InvalidPayload, Payload},
};
