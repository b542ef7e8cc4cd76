//! The span of a connection, with the feature `tracing`; counters of connections, requests and bytes, with `metrics`.
//!
//! Without its feature, each half is a twin of empty types and functions.

#[cfg(feature = "metrics")]
mod meters;
#[cfg(not(feature = "metrics"))]
#[path = "no_meters.rs"]
mod meters;
#[cfg(feature = "tracing")]
mod spans;
#[cfg(not(feature = "tracing"))]
#[path = "no_spans.rs"]
mod spans;

pub(crate) use self::{
    meters::{EngineMeters, OutboxDepth},
    spans::ConnectionSpan,
};
