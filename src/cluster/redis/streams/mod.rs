//! [`RedisStreamsAdapter`]: a task adds messages to streams, and a task for each stream reads them.

mod adapter;
mod commands;
mod config;
mod group;
mod identity;
mod journal;
mod pages;
mod reader;
mod writer;

pub use self::{adapter::RedisStreamsAdapter, config::RedisStreamsConfig};
