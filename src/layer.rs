use std::{
    fmt,
    sync::{Arc, Weak},
};

use axum::Router;
use tower_layer::Layer;

use crate::{
    config::SocketIoConfig,
    engine::NotFound,
    io::SocketIo,
    server::Server,
    service::{Attached, SocketIoService},
    util::Mutex,
};

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
/// axum's `Router::layer` surrounds the routes and the fallback that the router has at that time. The requests of Socket.IO have no
/// route, so the layer gets them through the fallback. Add it after the fallback:
///
/// | composition | requests of Socket.IO |
/// |---|---|
/// | `.fallback(..).layer(io)`, or `.fallback_service(..).layer(io)` | work |
/// | `.merge(socket_io.router())`, before or after a fallback | work |
/// | `.nest_service("/api", router.layer(io))` | work under `/api/socket.io/` |
/// | `.nest("/api", router.fallback(..).layer(io))` | work under `/api/socket.io/` |
/// | `.nest("/api", router.layer(io))` | 404: `nest` passes on only what a route or a fallback of the inner router accepts |
/// | `.layer(io).fallback(..)` | answered by the fallback |
/// | `.layer(io).merge(router)` where `router` has a fallback | answered by the fallback |
/// | `.route_layer(io)` | 404: the layer surrounds routes only |
///
/// [`router`](Self::router) returns routes that work in any order. If all services of a layer are dropped before one has got a
/// request, as in `Router::new().layer(io).fallback(..)`, a warning is logged.
///
/// Layers outside of this one also see the requests of Socket.IO, so a `CorsLayer` belongs there. A timeout outside of it must be
/// longer than [`ping_interval`](SocketIoConfig::ping_interval), because polls last that long.
#[derive(Clone)]
pub struct SocketIoLayer {
    server: Arc<Server>,
    services: Arc<Mutex<Weak<Attached>>>,
}

impl SocketIoLayer {
    /// Creates a layer with a new server.
    #[must_use]
    pub fn new(config: SocketIoConfig) -> Self {
        Self { server: config.build(), services: Arc::default() }
    }

    /// Returns a router with the path of Socket.IO only, to be merged into the router of an application.
    ///
    /// ```
    /// use axum::Router;
    /// use tower_socketio::{SocketIoConfig, SocketIoLayer};
    ///
    /// let socket_io = SocketIoLayer::new(SocketIoConfig::new());
    /// let app: Router = Router::new()
    ///     .merge(socket_io.router())
    ///     .fallback(async || "the page of a single-page application");
    /// # let _ = app;
    /// ```
    ///
    /// Unlike the layer, it works wherever it is merged or nested, because a route takes precedence over fallbacks. As it does not
    /// surround the other routes, their handlers cannot extract [`SocketIo`]. Give them the [handle](Self::io) as their state.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        self.server.engine.config.routes(self.layer(NotFound))
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
        let mut services = self.services.lock();
        let attached = services.upgrade().unwrap_or_else(|| Arc::new(Attached::new(self.server.clone())));
        *services = Arc::downgrade(&attached);
        SocketIoService::wrap(inner, attached)
    }
}

impl fmt::Debug for SocketIoLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketIoLayer").field("path", &self.server.engine.config.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(feature = "permessage-deflate")]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    use futures_core::Stream;
    use futures_sink::Sink;
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::*;
    use crate::{
        RecoveryConfig,
        engine::{Packet, PerMessageDeflate, TransportError},
    };

    /// A transport, which yields the packets of the server as they are.
    struct Pipe(UnboundedReceiver<Packet>, UnboundedSender<Packet>);

    impl Stream for Pipe {
        type Item = Result<Packet, TransportError>;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            self.0.poll_recv(cx).map(|packet| packet.map(Ok))
        }
    }

    impl Sink<Packet> for Pipe {
        type Error = TransportError;

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
            Poll::Ready(Ok(()))
        }

        fn start_send(self: Pin<&mut Self>, packet: Packet) -> Result<(), TransportError> {
            self.1.send(packet).map_err(|_| TransportError::new("the test has ended"))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
            Poll::Ready(Ok(()))
        }
    }

    struct Member {
        from_server: UnboundedReceiver<Packet>,
        _to_server: UnboundedSender<Packet>,
    }

    impl Member {
        async fn join(io: &SocketIo) -> Self {
            let (to_server, received) = unbounded_channel();
            let (sent, mut from_server) = unbounded_channel();
            let (io, pipe) = (io.clone(), Pipe(received, sent));
            tokio::spawn(async move { io.accept(http::Request::new(()).into_parts().0, pipe).await });
            assert!(from_server.recv().await.unwrap().data().starts_with(b"{"));
            to_server.send(Packet::message("0")).unwrap();
            assert!(from_server.recv().await.unwrap().data().starts_with(b"0{"));
            Self { from_server, _to_server: to_server }
        }

        /// Returns the address of the shared compressed form of the next packet.
        async fn next(&mut self) -> Option<usize> {
            self.from_server.recv().await.unwrap().deflated().map(|shared| std::ptr::from_ref(shared).addr())
        }
    }

    #[tokio::test]
    async fn the_packets_of_a_broadcast_share_their_compressed_form() {
        let deflate = PerMessageDeflate::new().threshold(100);
        for recovery in [false, true] {
            let mut config = SocketIoConfig::new().per_message_deflate(deflate);
            if recovery {
                config = config.recovery(RecoveryConfig::default());
            }
            let io = SocketIoLayer::new(config).io();
            let mut members = [Member::join(&io).await, Member::join(&io).await];
            let text = "a".repeat(100);
            let everyone = io.all();
            everyone.emit("n", &text).unwrap();
            everyone.emit("n", &bytes::Bytes::from(text.clone())).unwrap();
            everyone.emit_with_report("n", &text).unwrap();
            everyone.emit_yielding("n", &text).await.unwrap();
            let _acks = everyone.emit_with_ack::<()>("n", &text).unwrap();
            let [first, second] = &mut members;
            for packet in 0..6 {
                let form = first.next().await;
                assert!(form.is_some(), "{packet}");
                assert_eq!(second.next().await, form, "{packet}");
            }
            everyone.emit("n", "short").unwrap();
            everyone.clone().compress(false).emit("n", &text).unwrap();
            io.sockets().iter().for_each(|socket| socket.emit("n", &text).unwrap());
            for _ in 0..3 {
                assert_eq!((first.next().await, second.next().await), (None, None));
            }
        }
    }
}
