//! Response futures of the layers in [`middleware`](crate::middleware).

pub use super::{deduplicate::DeduplicateFuture, event_future::EventResponseFuture, http_future::HttpResponseFuture};
