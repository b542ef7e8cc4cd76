use std::{
    convert::Infallible,
    fmt,
    marker::PhantomData,
    task::{Context, Poll},
};

use tower_service::Service;

use crate::namespace::EventRequest;

use super::{EventHandler, EventResponse, route::RouteFuture};

/// A handler with its state, as a service. Made by [`EventHandler::with_state`].
pub struct HandlerService<H, T, S> {
    handler: H,
    state: S,
    marker: PhantomData<fn() -> T>,
}

impl<H, T, S> HandlerService<H, T, S> {
    pub(super) fn new(handler: H, state: S) -> Self {
        Self { handler, state, marker: PhantomData }
    }
}

impl<H: Clone, T, S: Clone> Clone for HandlerService<H, T, S> {
    fn clone(&self) -> Self {
        Self::new(self.handler.clone(), self.state.clone())
    }
}

impl<H, T, S> fmt::Debug for HandlerService<H, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerService").finish_non_exhaustive()
    }
}

impl<H, T, S> Service<EventRequest> for HandlerService<H, T, S>
where
    H: EventHandler<T, S>,
    S: Clone,
{
    type Response = EventResponse;
    type Error = Infallible;
    type Future = RouteFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: EventRequest) -> RouteFuture {
        RouteFuture::new(self.handler.clone().call(request, self.state.clone()))
    }
}
