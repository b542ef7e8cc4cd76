use std::{fmt, sync::Arc};

use tower_layer::Layer;

use crate::{config::SocketIoConfig, io::SocketIo, server::Server, service::SocketIoService};

/// A layer that adds Socket.IO to a service.
///
/// All services created by one layer and its clones share one server. axum creates a service for each route.
///
/// ```
/// use axum::{Router, routing::get};
/// use tower_socketio::{SocketIoConfig, SocketIoLayer};
///
/// let layer = SocketIoLayer::new(SocketIoConfig::new());
/// let io = layer.io();
/// let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(layer);
/// ```
///
/// # Placement
///
/// Layers outside of this one also see the requests of Socket.IO, so a `CorsLayer` belongs there. A timeout outside of it must be
/// longer than [`ping_interval`](SocketIoConfig::ping_interval), because polls last that long.
#[derive(Clone)]
pub struct SocketIoLayer {
    server: Arc<Server>,
}

impl SocketIoLayer {
    /// Creates a layer with a new server.
    #[must_use]
    pub fn new(config: SocketIoConfig) -> Self {
        Self { server: config.build() }
    }

    /// Returns a handle to the server.
    #[must_use]
    pub fn io(&self) -> SocketIo {
        SocketIo::new(self.server.clone())
    }
}

impl<S> Layer<S> for SocketIoLayer {
    type Service = SocketIoService<S>;

    fn layer(&self, inner: S) -> SocketIoService<S> {
        SocketIoService::wrap(inner, self.server.clone())
    }
}

impl fmt::Debug for SocketIoLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketIoLayer").field("path", &self.server.engine.config.path).finish_non_exhaustive()
    }
}
