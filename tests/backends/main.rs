//! Clusters over real brokers.

#![allow(clippy::unwrap_used, dead_code, missing_docs, unreachable_pub, unused_imports)]

#[path = "mod.rs"]
mod backends;
#[path = "../brokers/mod.rs"]
mod brokers;
#[path = "../support/mod.rs"]
mod support;
