use std::fmt;

use crate::{
    handler::{EventResponse, IntoEventResponse},
    namespace::EventRequest,
    socket::SocketRef,
    util::log,
};

/// An event that did not reach its handler, because an extractor rejected it.
///
/// Shown to [`SocketIoConfig::on_rejection`](crate::SocketIoConfig::on_rejection).
#[derive(Debug)]
pub struct Rejected<'a> {
    request: &'a EventRequest,
    message: &'a str,
}

impl Rejected<'_> {
    /// The socket whose client emitted the event.
    #[must_use]
    pub fn socket(&self) -> &SocketRef {
        self.request.socket()
    }

    /// The name of the event.
    #[must_use]
    pub fn event(&self) -> &str {
        self.request.event()
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
        if let Some(hook) = &server.settings.on_rejection {
            server.contain(|| hook(&Rejected { request: &self, message: &message }));
        }
        rejection.into_event_response()
    }
}
