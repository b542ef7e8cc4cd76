//! Events that clients send again are answered, but not handled again.

mod key;
mod memory;
mod scopes;
mod service;

pub use self::service::{Deduplicate, DeduplicateFuture, DeduplicateLayer};
