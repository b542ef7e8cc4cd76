//! The promises to the user, one module each, over a real server and clients that speak raw frames.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod support;

mod accept;
mod acks;
mod broadcast;
mod client;
mod client_bundle;
mod cluster;
mod compile_errors;
mod connect;
mod disconnect;
mod docs;
mod eio3;
mod events;
mod examples;
mod handshake;
mod jsonp;
mod layer_compat;
mod limits;
mod options;
#[cfg(feature = "msgpack")]
mod parser;
mod polling;
mod recovery;
mod routing;
mod slow_client;
mod upgrade;
mod websocket;
