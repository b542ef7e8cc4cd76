//! Longer explanations, page by page.

#[doc = include_str!("../docs/middleware.md")]
pub mod middleware {}

#[doc = include_str!("../docs/limits.md")]
pub mod limits {}

#[cfg(feature = "permessage-deflate")]
#[doc = include_str!("../docs/compression.md")]
pub mod compression {}

/// How responses to polls and WebSocket messages are compressed. The page requires the feature `permessage-deflate`.
#[cfg(not(feature = "permessage-deflate"))]
pub mod compression {}

#[doc = include_str!("../docs/clusters.md")]
pub mod clusters {}

#[doc = include_str!("../docs/recovery.md")]
pub mod recovery {}

#[cfg(feature = "test-util")]
#[doc = include_str!("../docs/testing.md")]
pub mod testing {}

#[doc = include_str!("../docs/webtransport.md")]
pub mod webtransport {}

#[doc = include_str!("../docs/observability.md")]
pub mod observability {}

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
