//! What can be observed of a cluster: some hundred operations, executed by one node, with clients of all nodes. Clusters of Node.js nodes
//! show what the results must be, those with nodes in Rust that they are the same.
//!
//! [`backends`] lists the adapters. One of them: `cargo test --all-features --test tests -- --ignored matrix::backends::redis::`

mod backends;
mod case;
mod client;
mod cluster;
mod emits;
mod node;
mod operation;
mod requests;
mod result;
