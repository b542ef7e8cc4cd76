//! Selecting the handlers of an event.

use std::{
    collections::HashMap,
    sync::Arc,
    task::{Poll, ready},
};

use foldhash::fast::RandomState;

use crate::{
    observe::EventWatch,
    server::{EVENT, Socket},
    util::log,
};

use super::{
    contained::Contained,
    future::EventFuture,
    listeners::{Matched, listeners_of},
    request::EventRequest,
    response::EventResponse,
    route::EventRoute,
};

/// The innermost event service. It selects the handler by the name of the event.
pub(crate) struct EventRouter {
    /// A fast hasher is safe: clients only look up names and cannot add any.
    pub(crate) events: HashMap<Box<str>, EventRoute, RandomState>,
    pub(crate) any: Option<EventRoute>,
    /// For events without a handler.
    pub(crate) fallback: Option<EventRoute>,
}

impl EventRouter {
    #[inline]
    pub(super) fn route(&self, mut request: EventRequest) -> EventFuture {
        let socket = request.socket().inner();
        let handler = self.events.get(request.event());
        match (handler, &self.any, listeners_of(socket)) {
            (Some(handler), None, None) => handler.start(request),
            (None, Some(any), None) if self.fallback.is_none() => any.start(request),
            (None, None, None) => {
                if let Some(fallback) = &self.fallback {
                    return fallback.start(request);
                }
                log!(debug, event = %request.event(), "no handler for an event");
                request.is_well_formed();
                EventFuture::ready(EventResponse::none())
            }
            (handler, any, listeners) => {
                let matched = listeners.map(|listeners| listeners.find(request.event())).unwrap_or_default();
                let handler = handler.or(self.fallback.as_ref().filter(|_| matched.named.is_empty()));
                route_to_all(request, handler, any.as_ref(), &matched)
            }
        }
    }
}

/// Passes an event to several handlers. One of them can send the ack: that of the namespace, or else the first listener of the
/// socket, or else the namespace's `on_any`.
fn route_to_all(
    request: EventRequest,
    handler: Option<&EventRoute>,
    any: Option<&EventRoute>,
    matched: &Matched,
) -> EventFuture {
    let (answering, rest) = match (handler, &*matched.named, any) {
        (Some(handler), rest, _) => (Some(handler), rest),
        (None, [first, rest @ ..], _) => (Some(&**first), rest),
        (None, [], any) => (any, &[][..]),
    };
    let socket = request.socket().inner().clone();
    let mut copy = request.clone();
    copy.ack = None;
    let watch = || EventWatch::unmeasured(copy.event());
    let start = |route: &EventRoute| Contained::call(watch(), || route.start(copy.clone()));
    let start_shared = |route: &Arc<EventRoute>| start(route);
    let of_all = any.filter(|any| !answering.is_some_and(|answering| std::ptr::eq(answering, *any)));
    let before = of_all.into_iter().map(start).chain(matched.any.iter().map(start_shared)).collect();
    let own = match answering {
        Some(route) => Contained::call(watch(), || route.start(request)),
        None => {
            let mut request = request;
            log!(debug, event = %request.event(), "no handler sends an ack for an event");
            if !request.is_well_formed() {
                return EventFuture::ready(EventResponse::none());
            }
            Contained::call(watch(), || EventFuture::ready(EventResponse::none()))
        }
    };
    let after = rest.iter().map(start_shared).collect();
    run_all(socket, before, own, after)
}

/// Polls the handlers in order. The response of `own` does not wait for the others, which are spawned if still pending.
fn run_all(
    socket: Arc<Socket>,
    mut before: Vec<Contained>,
    mut own: Contained,
    mut after: Vec<Contained>,
) -> EventFuture {
    let mut response = None;
    EventFuture::new(std::future::poll_fn(move |cx| {
        before.retain_mut(|other| other.poll_aside(&socket, cx).is_pending());
        if response.is_none()
            && let Poll::Ready(ready) = own.poll(&socket, cx)
        {
            response = Some(ready);
        }
        after.retain_mut(|other| other.poll_aside(&socket, cx).is_pending());
        let response = ready!(response.take().map_or(Poll::Pending, Poll::Ready));
        for other in before.drain(..).chain(after.drain(..)) {
            let (socket, running) = (socket.clone(), socket.running(EVENT));
            tokio::spawn(async move {
                other.run_aside(&socket).await;
                drop(running);
            });
        }
        Poll::Ready(response)
    }))
}
