//! Longer explanations, page by page.

#[doc = include_str!("../docs/middleware.md")]
pub mod middleware {}

#[doc = include_str!("../docs/limits.md")]
pub mod limits {}

#[doc = include_str!("../docs/clusters.md")]
pub mod clusters {}

#[doc = include_str!("../docs/recovery.md")]
pub mod recovery {}

#[cfg(feature = "test-util")]
#[doc = include_str!("../docs/testing.md")]
pub mod testing {}

#[doc = include_str!("../docs/observability.md")]
pub mod observability {}

#[cfg(feature = "admin-ui")]
#[doc = include_str!("../docs/admin-ui.md")]
pub mod admin_ui {}

#[doc = include_str!("../docs/parsers.md")]
pub mod parsers {}

#[doc = include_str!("../docs/comparison.md")]
pub mod comparison {}

#[doc = include_str!("../docs/server-api.md")]
pub mod server_api {}

#[doc = include_str!("../docs/migrating-from-node.md")]
pub mod migrating_from_node {}

#[cfg(feature = "typed")]
#[doc = include_str!("../docs/typed-events.md")]
pub mod typed_events {}
