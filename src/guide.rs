//! Longer explanations, page by page.

#[doc = include_str!("../docs/middleware.md")]
pub mod middleware {}

#[doc = include_str!("../docs/parsers.md")]
pub mod parsers {}

#[doc = include_str!("../docs/server-api.md")]
pub mod server_api {}

#[doc = include_str!("../docs/migrating-from-node.md")]
pub mod migrating_from_node {}
