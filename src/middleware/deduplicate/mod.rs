//! Deduplicates events that clients retry.

mod cache;
mod key;
mod scopes;
mod service;

pub use self::service::{Deduplicate, DeduplicateFuture, DeduplicateLayer};
