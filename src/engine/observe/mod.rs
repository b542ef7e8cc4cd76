//! The span of a connection (feature `tracing`) and metrics of connections, requests and bytes (feature `metrics`).
//!
//! Without its feature, each module is replaced by one with empty types and functions.

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

#[cfg(feature = "metrics")]
pub(crate) use self::meters::has_recorder;
pub(crate) use self::{
    meters::{EngineMeters, SendMeter},
    spans::ConnectionSpan,
};
