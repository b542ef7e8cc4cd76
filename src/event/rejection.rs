use std::{fmt, sync::Arc};

use crate::{server::Socket, socket::SocketRef, util::log};

use super::{
    request::EventRequest,
    response::{EventResponse, IntoEventResponse},
};

/// An event that an extractor rejected, so that its handler did not run.
///
/// Passed to [`SocketIoConfig::on_rejection`](crate::SocketIoConfig::on_rejection) and
/// [`SocketIoConfig::argument_error`](crate::SocketIoConfig::argument_error).
///
/// ```
/// use tower_socketio::SocketIoConfig;
///
/// let config = SocketIoConfig::new().on_rejection(|rejected| {
///     println!("{} from {}: {}", rejected.event(), rejected.socket().id(), rejected.message());
/// });
/// # let _ = config;
/// ```
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

    /// Returns the socket that received the event.
    #[must_use]
    pub fn socket(&self) -> &SocketRef {
        &self.socket
    }

    /// Returns the name of the event.
    #[must_use]
    pub fn event(&self) -> &str {
        self.event
    }

    /// Returns the message of the extractor.
    #[must_use]
    pub fn message(&self) -> &str {
        self.message
    }
}

impl EventRequest {
    /// Reports a rejection and converts it to a response.
    pub(crate) fn reject<R: IntoEventResponse + fmt::Display>(mut self, rejection: R) -> EventResponse {
        if !self.is_well_formed() {
            return EventResponse::none();
        }
        let message = rejection.to_string();
        let socket = self.socket().inner();
        let (namespace, id, event) = (socket.namespace.name(), &socket.id, self.event());
        if rejection.is_ordinary() {
            log!(debug, namespace = %namespace, socket = %id, event = %event, rejection = %message, "an event was rejected");
        } else {
            log!(warn, namespace = %namespace, socket = %id, event = %event, rejection = %message, "an event was rejected");
        }
        let server = &socket.client.server;
        server.count_rejection();
        if let Some(hook) = &server.hooks.on_rejection {
            server.catch_panic(|| hook(self.socket().inner(), self.event(), &message));
        }
        rejection.into_event_response()
    }
}
