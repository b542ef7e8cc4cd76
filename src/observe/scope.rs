use crate::{engine::ConnectionSpan, room::SocketId};

use super::meters::NamespaceMeters;

/// The connection and the namespace of a socket.
#[cfg_attr(not(all(feature = "metrics", feature = "tracing")), allow(dead_code))]
pub(crate) struct Scope<'a> {
    pub(crate) connection: &'a ConnectionSpan,
    pub(crate) namespace: &'a str,
    pub(crate) socket: &'a SocketId,
    /// Whether the namespace was created from a pattern or a predicate.
    pub(crate) is_dynamic: bool,
    /// The name of the namespace in the configuration, which may be a pattern.
    pub(crate) label: &'a str,
    pub(crate) meters: &'a NamespaceMeters,
}

/// The event that a handler is called for.
#[cfg_attr(not(all(feature = "metrics", feature = "tracing")), allow(dead_code))]
pub(crate) struct Event<'a> {
    pub(crate) name: &'a str,
    /// The id of the ack that the client requested.
    pub(crate) ack: Option<u64>,
    /// The reason of the disconnection, if the event is one.
    pub(crate) disconnect: Option<&'static str>,
}

#[cfg_attr(not(feature = "metrics"), allow(dead_code))]
impl<'a> Event<'a> {
    /// Returns the name of an event from a client, or `None` for a disconnection.
    pub(super) fn of_client(self) -> Option<&'a str> {
        if self.disconnect.is_none() { Some(self.name) } else { None }
    }
}
