//! Layers that Socket.IO needs and tower lacks.
//!
//! | layer | goes on | does |
//! |---|---|---|
//! | [`ConnectionLimitLayer`] | [`Namespace::layer`](crate::Namespace::layer) | caps the connected sockets of one address, user, or any key |
//! | [`DeadlineLayer`] | [`Namespace::layer`](crate::Namespace::layer) | disconnects a socket when its token expires |
//! | [`OriginLayer`] | [`Namespace::layer`](crate::Namespace::layer), any HTTP service | refuses pages of other origins |
//! | [`EventRateLimitLayer`] | [`Namespace::event_layer`](crate::Namespace::event_layer), [`EventHandler::layer`](crate::EventHandler::layer) | caps the events that one socket emits in a time |
//! | [`DeduplicateLayer`] | [`Namespace::event_layer`](crate::Namespace::event_layer), [`EventHandler::layer`](crate::EventHandler::layer) | answers an event that a client sends again, without handling it again |
//!
//! What they keep for a socket is released when the socket is disconnected, whoever still holds a
//! [`SocketRef`](crate::SocketRef). The [guide](crate::guide::middleware) has them in context.

mod connection_limit;
mod deadline;
mod deduplicate;
mod event_future;
mod event_rate_limit;
mod http_future;
mod origin;

pub use self::{
    connection_limit::{ConnectionLimit, ConnectionLimitLayer},
    deadline::{Deadline, DeadlineLayer, DeadlineService, Expires},
    deduplicate::{Deduplicate, DeduplicateFuture, DeduplicateLayer},
    event_future::EventResponseFuture,
    event_rate_limit::{EventRateLimit, EventRateLimitLayer, ExcessPolicy},
    http_future::HttpResponseFuture,
    origin::{OriginCheck, OriginLayer},
};
