use std::fmt;

use http::{StatusCode, request::Parts};

use crate::engine::RequestError;

/// A rejected request. Passed to the callback of
/// [`SocketIoConfig::on_connection_error`](crate::SocketIoConfig::on_connection_error).
pub struct ConnectionError<'a> {
    request: &'a Parts,
    cause: &'a Rejection,
}

/// Why a request is rejected.
#[derive(Debug)]
pub(crate) enum Rejection {
    Engine(RequestError),
    WebSocket(UpgradeError),
}

/// An invalid opening handshake.
#[derive(Debug)]
pub(crate) struct UpgradeError {
    pub(crate) status: StatusCode,
    pub(crate) message: &'static str,
}

impl From<RequestError> for Rejection {
    fn from(error: RequestError) -> Self {
        Self::Engine(error)
    }
}

impl From<UpgradeError> for Rejection {
    fn from(error: UpgradeError) -> Self {
        Self::WebSocket(error)
    }
}

impl<'a> ConnectionError<'a> {
    pub(crate) fn new(request: &'a Parts, cause: &'a Rejection) -> Self {
        Self { request, cause }
    }

    /// Returns the Engine.IO error code, from 0 to 5.
    ///
    /// | code | error |
    /// |---|---|
    /// | 0 | unknown transport |
    /// | 1 | unknown session |
    /// | 2 | wrong method |
    /// | 3 | bad request |
    /// | 4 | forbidden, or a limit is reached |
    /// | 5 | unsupported revision of the protocol |
    #[must_use]
    pub fn code(&self) -> u8 {
        match self.cause {
            Rejection::Engine(error) => error.code(),
            Rejection::WebSocket(_) => RequestError::BadRequest("").code(),
        }
    }

    /// Returns the message that the client gets, for example "Transport unknown" or "Bad request".
    #[must_use]
    pub fn message(&self) -> &str {
        match self.cause {
            Rejection::Engine(error) => error.message(),
            Rejection::WebSocket(_) => RequestError::BadRequest("").message(),
        }
    }

    /// Returns a more precise description for the log. The client does not get it, except for an invalid WebSocket handshake.
    #[must_use]
    pub fn context(&self) -> &str {
        match self.cause {
            Rejection::Engine(error) => error.context(),
            Rejection::WebSocket(error) => error.message,
        }
    }

    /// Returns the status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.cause {
            Rejection::Engine(error) => error.status(),
            Rejection::WebSocket(error) => error.status,
        }
    }

    /// Returns the request.
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
    /// Omits the request, which may contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionError")
            .field("code", &self.code())
            .field("message", &self.message())
            .field("context", &self.context())
            .finish_non_exhaustive()
    }
}

impl std::error::Error for ConnectionError<'_> {}
