use std::{fmt, sync::Arc, time::Duration};

use crate::{
    cluster::ClusterAdapter,
    packet::{Encoded, Limits},
    parser::Parsers,
    recovery::RecoveryConfig,
};

/// What happens to a packet that does not fit into the send buffer of its client.
///
/// See [`SocketIoConfig::slow_client_policy`](crate::SocketIoConfig::slow_client_policy).
///
/// ```
/// use tower_socketio::{SlowClientPolicy, SocketIoConfig};
///
/// let config = SocketIoConfig::new()
///     .max_buffered_bytes(256 * 1024)
///     .slow_client_policy(SlowClientPolicy::DropPacket);
/// # let _ = config;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SlowClientPolicy {
    /// The client is disconnected. It can reconnect and catch up.
    #[default]
    Disconnect,
    /// The packet is dropped, and [`on_slow_client`](crate::SocketIoConfig::on_slow_client) is called.
    DropPacket,
}

/// Limits and policies that the server reads while it handles packets.
pub(crate) struct Settings {
    pub(crate) recovery: Option<RecoveryConfig>,
    pub(crate) parsers: Parsers,
    pub(crate) ack_timeout: Duration,
    pub(crate) slow_client_policy: SlowClientPolicy,
    pub(crate) max_event_bytes: usize,
    pub(crate) max_attachments: usize,
    /// `None` means ten times `max_payload`.
    pub(crate) max_attachment_bytes: Option<usize>,
    pub(crate) max_json_depth: usize,
    pub(crate) max_concurrent_events: usize,
    pub(crate) max_namespaces: usize,
    pub(crate) max_namespace_length: usize,
    pub(crate) max_dynamic_namespaces_per_connection: usize,
    pub(crate) max_auth_bytes: usize,
    /// The minimum size of broadcasts whose recipients share the compressed form. `None` if WebSocket messages are not compressed.
    #[cfg(feature = "permessage-deflate")]
    pub(crate) deflate_threshold: Option<usize>,
    /// The adapter that carries broadcasts to other nodes.
    pub(crate) adapter: Option<Arc<dyn ClusterAdapter>>,
    /// Requests are passed to the nodes that own their sessions.
    pub(crate) share_sessions: bool,
    /// There are observers.
    pub(crate) is_observed: bool,
}

impl Settings {
    /// Returns `true` if events are delivered when they are read from the journal of the cluster.
    pub(crate) fn uses_journal(&self) -> bool {
        self.recovery.is_some() && self.adapter.as_ref().is_some_and(|adapter| adapter.journal().is_some())
    }

    /// Sets how transports may compress a packet for many recipients.
    pub(crate) fn compress_shared(&self, packet: Encoded, compress: bool) -> Encoded {
        if !compress {
            return packet.uncompressed();
        }
        #[cfg(feature = "permessage-deflate")]
        if let Some(threshold) = self.deflate_threshold {
            return packet.shared(threshold);
        }
        packet
    }

    pub(crate) fn packet_limits(&self) -> Limits {
        Limits { attachments: self.max_attachments, depth: self.max_json_depth }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            recovery: None,
            parsers: Parsers::default(),
            ack_timeout: Duration::from_secs(30),
            slow_client_policy: SlowClientPolicy::default(),
            max_event_bytes: 512 << 10,
            max_attachments: 10,
            max_attachment_bytes: None,
            max_json_depth: 100,
            max_concurrent_events: 32,
            max_namespaces: 32,
            max_namespace_length: 256,
            max_dynamic_namespaces_per_connection: 10,
            max_auth_bytes: 64 * 1024,
            #[cfg(feature = "permessage-deflate")]
            deflate_threshold: None,
            adapter: None,
            share_sessions: false,
            is_observed: false,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").finish_non_exhaustive()
    }
}
