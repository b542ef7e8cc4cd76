//! Longer explanations, page by page.

#[doc = include_str!("../docs/middleware.md")]
pub mod middleware {}
