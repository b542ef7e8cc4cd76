use std::{net::SocketAddr, sync::Arc};

use tracing::{field::Empty, info_span};

use crate::{
    engine::{CloseCause, ProtocolVersion, Transport},
    util::{Mutex, MutexGuard},
};

/// The span of a connection, from its handshake to its end. The spans of its CONNECTs and events are children.
///
/// Taken at the end, so that a socket that is still referenced does not keep the span open. The lock is a leaf: the subscriber is
/// not called under it. `None` if no subscriber has enabled the span.
#[derive(Debug)]
pub(crate) struct ConnectionSpan(Option<Box<Mutex<Option<Arc<tracing::Span>>>>>);

impl ConnectionSpan {
    /// Creates a root span that follows from the span of the request, which ends before the connection.
    pub(crate) fn open(
        address: impl FnOnce() -> Option<SocketAddr>,
        transport: Transport,
        protocol: ProtocolVersion,
    ) -> Self {
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
        if span.is_disabled() {
            return Self(None);
        }
        span.follows_from(tracing::Span::current());
        Self(Some(Box::new(Mutex::new(Some(Arc::new(span))))))
    }

    fn lock(&self) -> Option<MutexGuard<'_, Option<Arc<tracing::Span>>>> {
        self.0.as_ref().map(|span| span.lock())
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<Arc<tracing::Span>> {
        self.lock()?.clone()
    }

    pub(crate) fn in_scope<R>(&self, f: impl FnOnce() -> R) -> R {
        match self.get() {
            Some(span) => span.in_scope(f),
            None => f(),
        }
    }

    pub(crate) fn end(&self, cause: CloseCause) {
        let span = self.lock().and_then(|mut span| span.take());
        if let Some(span) = span {
            span.record("socketio.disconnect.reason", cause.as_str());
            if is_error(cause) {
                span.record("error.type", cause.as_str());
            }
        }
    }
}

fn protocol_version(protocol: ProtocolVersion) -> &'static str {
    match protocol {
        ProtocolVersion::V3 => "3",
        ProtocolVersion::V4 => "4",
    }
}

/// Returns `true` if the connection ended with an error.
fn is_error(cause: CloseCause) -> bool {
    !matches!(cause, CloseCause::TransportClose | CloseCause::ShuttingDown)
}
