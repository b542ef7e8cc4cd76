use crate::engine::ConnectionSpan;

use super::meters::NamespaceMeters;

/// The connection and the namespace to which something belongs.
#[cfg_attr(not(all(feature = "metrics", feature = "tracing")), allow(dead_code))]
pub(crate) struct Scope<'a> {
    pub(crate) connection: &'a ConnectionSpan,
    pub(crate) namespace: &'a str,
    /// Whether a pattern or a predicate has made the namespace.
    pub(crate) is_dynamic: bool,
    /// The name with which the namespace was configured: that of a dynamic one is its pattern.
    pub(crate) label: &'a str,
    pub(crate) meters: &'a NamespaceMeters,
}

/// What a handler is called with.
#[cfg_attr(not(all(feature = "metrics", feature = "tracing")), allow(dead_code))]
pub(crate) struct Event<'a> {
    pub(crate) name: &'a str,
    /// The id of the ack that the client waits for.
    pub(crate) ack: Option<u64>,
    /// Why the socket is disconnected, if that is the event.
    pub(crate) disconnect: Option<&'static str>,
}

#[cfg_attr(not(feature = "metrics"), allow(dead_code))]
impl<'a> Event<'a> {
    /// The name of what a client has emitted.
    pub(super) fn of_client(self) -> Option<&'a str> {
        if self.disconnect.is_none() { Some(self.name) } else { None }
    }
}
