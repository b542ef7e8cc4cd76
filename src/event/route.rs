use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::BoxError;
use futures_util::FutureExt;
use tower::{ServiceExt, util::BoxCloneSyncService};
use tower_service::Service;

use crate::util::InfallibleService;

use super::{
    future::EventFuture,
    request::EventRequest,
    response::{EventResponse, IntoEventResponse},
};

/// The inner service of event layers. It never fails.
///
/// See [`EventRequest`] for an example.
#[derive(Clone)]
pub struct EventRoute(Repr);

#[derive(Clone)]
enum Repr {
    /// A handler without layers. It is always ready.
    Handler(Arc<dyn Fn(EventRequest) -> EventFuture + Send + Sync>),
    /// A handler with layers.
    Service(BoxCloneSyncService<EventRequest, EventResponse, Infallible>),
}

impl EventRoute {
    pub(crate) fn handler(handler: impl Fn(EventRequest) -> EventFuture + Send + Sync + 'static) -> Self {
        Self(Repr::Handler(Arc::new(handler)))
    }

    /// Erases the type of a service with layers. Errors become responses.
    pub(crate) fn new<S>(service: S) -> Self
    where
        S: Service<EventRequest> + Clone + Send + Sync + 'static,
        S::Response: IntoEventResponse + 'static,
        S::Error: Into<BoxError> + 'static,
        S::Future: Send + 'static,
    {
        let service = InfallibleService::new(service, IntoEventResponse::into_event_response);
        Self(Repr::Service(BoxCloneSyncService::new(service)))
    }

    pub(super) fn poll_route_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Repr::Handler(_) => Poll::Ready(()),
            Repr::Service(service) => service.poll_ready(cx).map(|Ok(())| ()),
        }
    }

    /// Calls the service, which must be ready.
    pub(super) fn call_ready(self, request: EventRequest) -> EventFuture {
        match self.0 {
            Repr::Handler(handler) => handler(request),
            Repr::Service(mut service) => {
                let future = service.call(request);
                EventFuture::new(async move { future.await.unwrap_or_else(|never| match never {}) })
            }
        }
    }

    /// Waits until a clone of the service is ready and calls it.
    pub(super) fn start(&self, request: EventRequest) -> EventFuture {
        match &self.0 {
            Repr::Handler(handler) => handler(request),
            Repr::Service(service) => {
                let service = service.clone();
                EventFuture::new(async move { service.oneshot(request).await.unwrap_or_else(|never| match never {}) })
            }
        }
    }
}

impl Service<EventRequest> for EventRoute {
    type Response = EventResponse;
    type Error = Infallible;
    type Future = RouteFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.poll_route_ready(cx).map(Ok)
    }

    fn call(&mut self, request: EventRequest) -> RouteFuture {
        // Call the service that is ready, and keep a new clone.
        let fresh = self.clone();
        RouteFuture::new(std::mem::replace(self, fresh).call_ready(request))
    }
}

impl fmt::Debug for EventRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventRoute").finish_non_exhaustive()
    }
}

/// The future of [`EventRoute`]. It never fails.
#[derive(Debug)]
pub struct RouteFuture(EventFuture);

impl RouteFuture {
    pub(crate) fn new(future: EventFuture) -> Self {
        Self(future)
    }
}

impl Future for RouteFuture {
    type Output = Result<EventResponse, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_unpin(cx).map(Ok)
    }
}
