//! The path of an event through layers to handlers, and the responses of these.

mod ack;
mod contained;
mod dispatch;
mod future;
mod listeners;
mod rejection;
mod request;
mod response;
mod route;
mod router;

pub(crate) use self::{
    ack::PendingAck,
    dispatch::{EventLayer, Events, run_detached},
    listeners::{Listeners, Trigger, listeners_of, listeners_or_new},
    router::EventRouter,
};
pub use self::{
    future::EventFuture,
    listeners::{ListenerId, OutgoingEvent},
    rejection::EventRejection,
    request::EventRequest,
    response::{Ack, EventError, EventResponse, IntoEventResponse},
    route::{EventRoute, RouteFuture},
};
