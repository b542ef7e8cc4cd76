use std::{fmt, marker::PhantomData};

use axum::BoxError;
use tower::ServiceExt;
use tower_layer::Layer;
use tower_service::Service;

use crate::namespace::EventRequest;

use super::{EventFuture, EventHandler, EventRoute, HandlerService, IntoEventResponse};

/// A handler with a layer around it. Made by [`EventHandler::layer`].
pub struct Layered<L, H, T, S> {
    layer: L,
    handler: H,
    marker: PhantomData<fn() -> (T, S)>,
}

impl<L, H, T, S> Layered<L, H, T, S> {
    pub(super) fn new(layer: L, handler: H) -> Self {
        Self { layer, handler, marker: PhantomData }
    }
}

impl<L: Clone, H: Clone, T, S> Clone for Layered<L, H, T, S> {
    fn clone(&self) -> Self {
        Self::new(self.layer.clone(), self.handler.clone())
    }
}

impl<L, H, T, S> fmt::Debug for Layered<L, H, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layered").finish_non_exhaustive()
    }
}

#[diagnostic::do_not_recommend]
impl<L, H, T, S> EventHandler<T, S> for Layered<L, H, T, S>
where
    L: Layer<HandlerService<H, T, S>> + Clone + Send + Sync + 'static,
    L::Service: Service<EventRequest> + Clone + Send + Sync + 'static,
    <L::Service as Service<EventRequest>>::Response: IntoEventResponse + 'static,
    <L::Service as Service<EventRequest>>::Error: Into<BoxError> + 'static,
    <L::Service as Service<EventRequest>>::Future: Send + 'static,
    H: EventHandler<T, S>,
    S: Send + 'static,
    T: 'static,
{
    /// Applies the layer anew: its state is not shared with other calls. A namespace applies it once instead.
    fn call(self, request: EventRequest, state: S) -> EventFuture {
        let route = EventRoute::new(self.layer.layer(self.handler.with_state(state)));
        EventFuture::new(async move { route.oneshot(request).await.unwrap_or_else(|never| match never {}) })
    }

    fn into_route(self, state: S) -> EventRoute
    where
        S: Clone + Send + Sync + 'static,
    {
        EventRoute::new(self.layer.layer(self.handler.with_state(state)))
    }
}
