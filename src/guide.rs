//! Longer explanations, page by page.

#[doc = include_str!("../docs/middleware.md")]
pub mod middleware {}

#[cfg(feature = "typed")]
#[doc = include_str!("../docs/typed-events.md")]
pub mod typed_events {}
