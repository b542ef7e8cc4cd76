//! Metrics and traces.

#[cfg(feature = "metrics")]
mod figures;
#[cfg(feature = "tracing")]
mod logs;
#[cfg(feature = "tracing")]
mod spans;
