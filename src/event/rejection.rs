use std::{fmt, sync::Arc};

use crate::{server::Socket, socket::SocketRef, util::log};

use super::{
    request::EventRequest,
    response::{EventResponse, IntoEventResponse},
};

/// An event that did not reach its handler, because an extractor rejected it.
///
/// Shown to [`SocketIoConfig::on_rejection`](crate::SocketIoConfig::on_rejection).
#[derive(Debug)]
pub struct EventRejection<'a> {
    socket: SocketRef,
    event: &'a str,
    message: &'a str,
}

impl<'a> EventRejection<'a> {
    pub(crate) fn new(socket: &Arc<Socket>, event: &'a str, message: &'a str) -> Self {
        Self { socket: socket.clone().into(), event, message }
    }

    /// The socket whose client emitted the event.
    #[must_use]
    pub fn socket(&self) -> &SocketRef {
        &self.socket
    }

    /// The name of the event.
    #[must_use]
    pub fn event(&self) -> &str {
        self.event
    }

    /// What the extractor says.
    #[must_use]
    pub fn message(&self) -> &str {
        self.message
    }
}

impl EventRequest {
    /// Reports a rejection, and makes the answer of it.
    pub(crate) fn reject<R: IntoEventResponse + fmt::Display>(mut self, rejection: R) -> EventResponse {
        if !self.is_well_formed() {
            return EventResponse::none();
        }
        let message = rejection.to_string();
        log!(warn, event = %self.event(), rejection = %message, "an event was rejected");
        let server = &self.socket().inner().client.server;
        server.count_rejection();
        if let Some(hook) = &server.hooks.on_rejection {
            server.catch_panic(|| hook(self.socket().inner(), self.event(), &message));
        }
        rejection.into_event_response()
    }
}
