//! The messages of Node.js's adapters as bytes, and back. Pure.
//!
//! | module | adapter |
//! |---|---|
//! | `classic` | `@socket.io/redis-adapter`, `createAdapter` |
//! | `sharded` | `@socket.io/redis-adapter`, `createShardedAdapter` |
//! | `streams` | `@socket.io/redis-streams-adapter` |
//! | `postgres` | `@socket.io/postgres-adapter` |
//! | `nats` | none: this crate alone |
//!
//! All but the first have the messages of `family`. `input` reads and `output` writes JSON or msgpack, so that the other modules
//! need not distinguish them.

pub(super) mod classic;
mod data;
mod ends;
mod family;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod input;
mod json;
mod msgpack;
pub(super) mod nats;
mod number;
mod output;
pub(super) mod postgres;
pub(crate) mod sharded;
pub(super) mod streams;
#[cfg(test)]
mod tests;

use crate::parser::ParserError;

use super::payload::InvalidPayload;

use super::emitter::EMITTER;

/// Bytes that are not a message, or a message that the adapter does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("{0}")]
    Message(&'static str),
    #[error(transparent)]
    Msgpack(#[from] ParserError),
    #[error(transparent)]
    Payload(#[from] InvalidPayload),
}

type Result<T> = std::result::Result<T, WireError>;

const NOT_A_MAP: WireError = WireError::Message("not a map");
const NOT_A_LIST: WireError = WireError::Message("not a list");
const INCOMPLETE: WireError = WireError::Message("the message lacks a field, or it is of another type");
pub(super) const OTHER_NAMESPACE: WireError = WireError::Message("the message is for another namespace");
const NOT_ON_THIS_WIRE: WireError = WireError::Message("this adapter has no such message");

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Msgpack,
}
