use std::{net::SocketAddr, sync::Arc};

use parking_lot::{Mutex, MutexGuard};
use tracing::{field::Empty, info_span};

use crate::engine::{CloseCause, Protocol, Transport};

/// The span of a connection, from its handshake to its end: those of its CONNECTs and events are its children.
///
/// Taken out at the end, so that a socket that somebody keeps does not keep it open. The lock is a leaf: the subscriber is
/// not called under it.
#[derive(Debug)]
pub(crate) struct ConnectionSpan(Mutex<Option<Arc<tracing::Span>>>);

impl ConnectionSpan {
    /// A root: the connection outlives the request that opens it, which it follows from.
    pub(crate) fn open(address: impl FnOnce() -> Option<SocketAddr>, transport: Transport, protocol: Protocol) -> Self {
        let address = address();
        let span = info_span!(
            target: "tower_socketio::connection",
            parent: None,
            "connection",
            messaging.system = "socketio",
            network.protocol.name = "engine.io",
            network.protocol.version = protocol_version(protocol),
            client.address = address.map(|address| tracing::field::display(address.ip())),
            client.port = address.map(|address| address.port()),
            socketio.transport = transport.as_str(),
            socketio.disconnect.reason = Empty,
            "error.type" = Empty,
        );
        span.follows_from(tracing::Span::current());
        Self(Mutex::new(Some(Arc::new(span))))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<tracing::Span>>> {
        self.0.lock()
    }

    pub(crate) fn get(&self) -> Option<Arc<tracing::Span>> {
        self.lock().clone()
    }

    pub(crate) fn in_scope<R>(&self, f: impl FnOnce() -> R) -> R {
        match self.get() {
            Some(span) => span.in_scope(f),
            None => f(),
        }
    }

    pub(crate) fn end(&self, cause: CloseCause) {
        let span = self.lock().take();
        if let Some(span) = span {
            span.record("socketio.disconnect.reason", cause.as_str());
            if is_error(cause) {
                span.record("error.type", cause.as_str());
            }
        }
    }
}

fn protocol_version(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::V3 => "3",
        Protocol::V4 => "4",
    }
}

/// Whether a fault ended the connection.
fn is_error(cause: CloseCause) -> bool {
    !matches!(cause, CloseCause::TransportClose | CloseCause::ShuttingDown)
}
