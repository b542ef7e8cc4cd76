//! The documented behaviour, one module per topic, tested over a real server with clients that send raw frames.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod support;

mod accept;
mod acks;
#[cfg(all(feature = "admin-ui", feature = "redis"))]
mod admin_fleet;
#[cfg(feature = "admin-ui")]
mod admin_ui;
mod architecture;
mod attachments;
mod auto_traits;
#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
mod backends;
mod broadcast;
mod brokers;
mod checklist;
mod client;
mod client_bundle;
mod cluster;
#[cfg(feature = "compression")]
mod compression;
mod connect;
#[cfg(feature = "macros")]
mod debug_handler;
#[cfg(feature = "permessage-deflate")]
mod deflate;
mod disconnect;
mod docs;
mod dynamic;
mod eio3;
mod engine;
mod events;
mod examples;
mod flood;
mod guide;
mod handshake;
mod hooks;
#[cfg(feature = "http2")]
mod http2;
mod journal;
mod json;
mod jsonp;
mod kit;
mod layer_compat;
mod lifetime;
mod limits;
mod listeners;
mod matrix;
mod middleware;
mod namespace_parts;
mod observability;
mod observer;
mod options;
#[cfg(feature = "msgpack")]
mod parser;
mod polling;
mod recovery;
#[cfg(feature = "redis")]
mod redis;
mod routing;
mod running_namespaces;
mod serve;
mod share_sessions;
mod shutdown;
mod slow_client;
#[cfg(feature = "typed")]
mod typed;
mod upgrade;
mod websocket;
mod webtransport;
