//! [`NatsJetStreamAdapter`]: a stream of events, which a task appends to and another one reads, and a stream of sessions.
//!
//! | module | contents |
//! |---|---|
//! | `api` | requests to JetStream, which are JSON |
//! | `store` | the two streams |
//! | `stores` | the connection over which they are used, opened again when it is lost |
//! | `queue` | the batches of messages that wait to be appended |
//! | `writer`, `reader` | the two tasks |
//! | `sessions` | sessions, and the events that their clients have missed |
//! | `adapter` | the adapter |

mod adapter;
mod api;
mod config;
mod queue;
mod reader;
mod sessions;
mod store;
mod stores;
mod writer;

pub use self::{adapter::NatsJetStreamAdapter, config::NatsJetStreamConfig};
