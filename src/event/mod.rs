//! The path of an event through layers to its handlers, and their responses.

mod ack;
mod contained;
mod dispatch;
pub(crate) mod future;
mod layer;
mod listeners;
mod rejection;
mod request;
mod response;
pub(crate) mod route;
mod router;

pub(crate) use self::{
    ack::PendingAck,
    dispatch::{Events, run_detached},
    future::EventFuture,
    listeners::{Listeners, Trigger, listeners_of, listeners_or_new},
    response::FailureCause,
    route::RouteFuture,
    router::EventRouter,
};
pub use self::{
    layer::EventLayer,
    listeners::{ListenerId, OutgoingEvent},
    rejection::EventRejection,
    request::EventRequest,
    response::{Ack, EventError, EventResponse, IntoEventResponse},
    route::EventRoute,
};
