//! What can be observed of a cluster: some hundred operations, executed by one node or an emitter, with clients of all nodes. Clusters of
//! Node.js nodes show what the results are, and those with nodes in Rust must have the same.
//!
//! `backends` lists the adapters. The tests of one: `cargo test --all-features --test tests -- --ignored matrix::backends::redis::`

mod backends;
mod case;
mod client;
mod cluster;
mod emits;
mod emitter;
pub mod node;
pub mod operation;
mod requests;
mod result;
mod rust;
mod value;
