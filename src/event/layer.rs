use axum::BoxError;
use tower_layer::Layer;
use tower_service::Service;

use super::{request::EventRequest, response::IntoEventResponse, route::EventRoute};

/// A layer around events, as [`Namespace::event_layer`](crate::Namespace::event_layer) accepts it.
///
/// Implemented for each `tower` layer that wraps an [`EventRoute`] in a service for [`EventRequest`]s.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a layer for events",
    label = "not a layer for events",
    note = "layers for HTTP requests, such as axum's `from_fn`, apply to CONNECT: use `Namespace::layer`",
    note = "a layer for events wraps an `EventRoute` in a `Service<EventRequest>` that is `Clone + Send + Sync`; its response is an \
            `IntoEventResponse`, and its error `Into<BoxError>`"
)]
pub trait EventLayer: Send + Sync + 'static {
    /// Applies the layer.
    #[doc(hidden)]
    fn apply(&self, route: EventRoute) -> EventRoute;
}

#[diagnostic::do_not_recommend]
impl<L> EventLayer for L
where
    L: Layer<EventRoute> + Send + Sync + 'static,
    L::Service: Service<EventRequest> + Clone + Send + Sync + 'static,
    <L::Service as Service<EventRequest>>::Response: IntoEventResponse + 'static,
    <L::Service as Service<EventRequest>>::Error: Into<BoxError> + 'static,
    <L::Service as Service<EventRequest>>::Future: Send + 'static,
{
    fn apply(&self, route: EventRoute) -> EventRoute {
        EventRoute::new(self.layer(route))
    }
}
