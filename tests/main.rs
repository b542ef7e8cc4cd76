//! The promises to the user, one module each, over a real server and clients that speak raw frames.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod support;

mod events;
mod handshake;
