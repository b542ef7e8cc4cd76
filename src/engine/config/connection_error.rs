use std::fmt;

use http::{StatusCode, request::Parts};

use crate::engine::Refusal;

/// A request that was refused. Shown to
/// [`SocketIoConfig::on_connection_error`](crate::SocketIoConfig::on_connection_error).
pub struct ConnectionError<'a> {
    request: &'a Parts,
    cause: &'a Refused,
}

/// Why a request is refused.
#[derive(Debug)]
pub(crate) enum Refused {
    Engine(Refusal),
    WebSocket(BadUpgrade),
}

/// An opening handshake that breaks the rules.
#[derive(Debug)]
pub(crate) struct BadUpgrade {
    pub(crate) status: StatusCode,
    pub(crate) message: &'static str,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Engine(refusal)
    }
}

impl From<BadUpgrade> for Refused {
    fn from(bad: BadUpgrade) -> Self {
        Self::WebSocket(bad)
    }
}

impl<'a> ConnectionError<'a> {
    pub(crate) fn new(request: &'a Parts, cause: &'a Refused) -> Self {
        Self { request, cause }
    }

    /// Engine.IO's code, from 0 to 5: 0 the transport, 1 the session, 2 the method, 3 the request, 4 forbidden, 5 the
    /// revision of the protocol. See [`message`](Self::message).
    #[must_use]
    pub fn code(&self) -> u8 {
        match self.cause {
            Refused::Engine(refusal) => refusal.code(),
            Refused::WebSocket(_) => Refusal::BadRequest("").code(),
        }
    }

    /// What the code means: "Transport unknown", "Session ID unknown", "Bad handshake method", "Bad request",
    /// "Forbidden", "Unsupported protocol version"; or which limit has been reached.
    #[must_use]
    pub fn message(&self) -> &str {
        match self.cause {
            Refused::Engine(refusal) => refusal.message(),
            Refused::WebSocket(_) => Refusal::BadRequest("").message(),
        }
    }

    /// What exactly is wrong, for the log: the client is not told, unless its WebSocket handshake is at fault.
    #[must_use]
    pub fn context(&self) -> &str {
        match self.cause {
            Refused::Engine(refusal) => refusal.context(),
            Refused::WebSocket(bad) => bad.message,
        }
    }

    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.cause {
            Refused::Engine(refusal) => refusal.status(),
            Refused::WebSocket(bad) => bad.status,
        }
    }

    /// The request.
    #[must_use]
    pub fn request(&self) -> &Parts {
        self.request
    }
}

impl fmt::Display for ConnectionError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.message(), self.context())
    }
}

impl fmt::Debug for ConnectionError<'_> {
    /// Leaves out the request, which holds secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionError")
            .field("code", &self.code())
            .field("message", &self.message())
            .field("context", &self.context())
            .finish_non_exhaustive()
    }
}

impl std::error::Error for ConnectionError<'_> {}
