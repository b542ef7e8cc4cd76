//! Longer explanations, page by page.
//!
//! **First steps**: [getting started](getting_started), an application in steps; [recipes], patterns that most applications need;
//! [errors]; [testing]; [front ends](front_ends), with Vite, Next.js, React and Vue.
//!
//! **Features**: [middleware]; [typed events](typed_events), for TypeScript; [recovery] of connections; [parsers]; [compression]; [WebTransport](webtransport).
//!
//! **Production**: [deployment], with proxies, systemd and containers; [limits]; [clusters]; [observability]; the [admin UI](admin_ui); [performance].
//!
//! **Other servers**: [migrating from Node](migrating_from_node) and [from socketioxide](migrating_from_socketioxide);
//! the [API of Node's server](server_api); a [comparison] of all features.
//!
//! **This crate**: its [architecture].

/// Defines a module with a page. Links in a page refer to files, for readers of the repository. Here they refer to modules: Markdown uses
/// the first definition of a link.
macro_rules! page {
    ($(#[$attribute:meta])* $name:ident, $file:literal) => {
        $(#[$attribute])*
        #[doc = "[admin-ui]: crate::guide::admin_ui"]
        #[doc = "[architecture]: crate::guide::architecture"]
        #[doc = "[clusters]: crate::guide::clusters"]
        #[doc = "[comparison]: crate::guide::comparison"]
        #[doc = "[compression]: crate::guide::compression"]
        #[doc = "[deployment]: crate::guide::deployment"]
        #[doc = "[errors]: crate::guide::errors"]
        #[doc = "[front-ends]: crate::guide::front_ends"]
        #[doc = "[getting-started]: crate::guide::getting_started"]
        #[doc = "[limits]: crate::guide::limits"]
        #[doc = "[middleware]: crate::guide::middleware"]
        #[doc = "[migrating-from-node]: crate::guide::migrating_from_node"]
        #[doc = "[migrating-from-socketioxide]: crate::guide::migrating_from_socketioxide"]
        #[doc = "[observability]: crate::guide::observability"]
        #[doc = "[parsers]: crate::guide::parsers"]
        #[doc = "[performance]: crate::guide::performance"]
        #[doc = "[recipes]: crate::guide::recipes"]
        #[doc = "[recovery]: crate::guide::recovery"]
        #[doc = "[server-api]: crate::guide::server_api"]
        #[doc = "[testing]: crate::guide::testing"]
        #[doc = "[typed-events]: crate::guide::typed_events"]
        #[doc = "[webtransport]: crate::guide::webtransport"]
        #[doc = ""]
        #[doc = include_str!(concat!("../docs/", $file))]
        pub mod $name {}
    };
}

page!(getting_started, "getting-started.md");
page!(recipes, "recipes.md");
page!(errors, "errors.md");
page!(testing, "testing.md");
page!(front_ends, "front-ends.md");
page!(middleware, "middleware.md");
page!(
    // Without the feature, its examples do not compile.
    #[cfg(feature = "typed")]
    typed_events,
    "typed-events.md"
);
page!(recovery, "recovery.md");
page!(parsers, "parsers.md");
page!(
    // Without the feature, its examples do not compile.
    #[cfg(feature = "permessage-deflate")]
    compression,
    "compression.md"
);
page!(webtransport, "webtransport.md");
page!(
    // Without the feature, its examples do not compile.
    #[cfg(feature = "admin-ui")]
    admin_ui,
    "admin-ui.md"
);
page!(deployment, "deployment.md");
page!(limits, "limits.md");
page!(clusters, "clusters.md");
page!(observability, "observability.md");
page!(
    // The chart is a part of the page, because rustdoc has no images.
    #[doc = "Measurements of this server and of others."]
    #[doc = ""]
    #[doc = include_str!("../docs/performance.svg")]
    #[doc = ""]
    #[doc = "[chart]: data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="]
    performance,
    "performance.md"
);
page!(migrating_from_node, "migrating-from-node.md");
page!(migrating_from_socketioxide, "migrating-from-socketioxide.md");
page!(server_api, "server-api.md");
page!(comparison, "comparison.md");
page!(architecture, "architecture.md");
