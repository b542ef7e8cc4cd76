//! What a server tells of itself.

#[cfg(feature = "metrics")]
mod figures;
#[cfg(feature = "tracing")]
mod spans;
