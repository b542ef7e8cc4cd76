//! Layers for Socket.IO that tower does not have.
//!
//! | layer | used with | purpose |
//! |---|---|---|
//! | [`ConnectionLimitLayer`] | [`Namespace::layer`](crate::Namespace::layer) | limits the connected sockets of an address, a user or any other key |
//! | [`DeadlineLayer`] | [`Namespace::layer`](crate::Namespace::layer) | disconnects a socket when its token expires |
//! | [`OriginLayer`] | [`Namespace::layer`](crate::Namespace::layer), any HTTP service | rejects pages of other origins |
//! | [`EventRateLimitLayer`] | [`Namespace::event_layer`](crate::Namespace::event_layer), [`EventHandler::layer`](crate::handler::EventHandler::layer) | limits the rate of a socket's events |
//! | [`DeduplicateLayer`] | [`Namespace::event_layer`](crate::Namespace::event_layer), [`EventHandler::layer`](crate::handler::EventHandler::layer) | handles an event that a client retries only once |
//!
//! Their state for a socket is released when the socket is disconnected, even if a [`SocketRef`](crate::SocketRef) still exists.
//! The [guide](crate::guide::middleware) explains how to combine them.

mod connection_limit;
mod deadline;
mod deduplicate;
mod event_future;
mod event_rate_limit;
pub mod future;
mod http_future;
mod origin;

pub use self::{
    connection_limit::{ConnectionLimit, ConnectionLimitLayer},
    deadline::{Deadline, DeadlineHandle, DeadlineLayer, Expires},
    deduplicate::{Deduplicate, DeduplicateLayer},
    event_rate_limit::{EventRateLimit, EventRateLimitLayer, RateLimitPolicy},
    origin::{OriginCheck, OriginLayer},
};
