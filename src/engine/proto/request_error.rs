use http::StatusCode;

/// The error with which the engine rejects an HTTP request.
///
/// The body of the response is `{"code":c,"message":m}`, as in Node. The protocol does not define the codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequestError {
    /// Code 0: the transport is unknown or disabled.
    UnknownTransport,
    /// Code 0: a session of WebTransport has another path.
    #[cfg(feature = "webtransport")]
    NotFound,
    /// Code 1: no session has this id.
    UnknownSession,
    /// Code 2: the method of a handshake is not GET.
    BadHandshakeMethod,
    /// Code 3: the request is invalid in another way, which the text describes.
    BadRequest(&'static str),
    /// Code 4: the origin of the request is not allowed.
    Forbidden,
    /// Code 5: the revision of the protocol is not supported.
    UnsupportedProtocol,
    /// Code 4: the server accepts no sessions at the moment.
    Overloaded(&'static str),
    /// Code 4: the client's address has reached its limit of sessions.
    TooManySessions,
    /// Code 2: the method of a request in a session is neither GET nor POST.
    MethodNotAllowed,
    /// Code 3: the target and the headers exceed `max_head_bytes`.
    HeadTooLarge,
    /// Code 3: the body of a POST exceeds `max_payload`.
    PayloadTooLarge,
    /// Code 3: a callback of the user panicked, which the text names.
    Internal(&'static str),
}

impl RequestError {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::UnknownTransport => 0,
            #[cfg(feature = "webtransport")]
            Self::NotFound => 0,
            Self::UnknownSession => 1,
            Self::BadHandshakeMethod | Self::MethodNotAllowed => 2,
            Self::BadRequest(_) | Self::HeadTooLarge | Self::PayloadTooLarge | Self::Internal(_) => 3,
            Self::Forbidden | Self::Overloaded(_) | Self::TooManySessions => 4,
            Self::UnsupportedProtocol => 5,
        }
    }

    pub(crate) fn message(&self) -> &str {
        match self {
            Self::UnknownTransport => "Transport unknown",
            #[cfg(feature = "webtransport")]
            Self::NotFound => "Not found",
            Self::UnknownSession => "Session ID unknown",
            Self::BadHandshakeMethod => "Bad handshake method",
            Self::BadRequest(_) => "Bad request",
            Self::Forbidden => "Forbidden",
            Self::Overloaded(message) => message,
            Self::TooManySessions => "Too many sessions from this address",
            Self::MethodNotAllowed => "Method not allowed",
            Self::HeadTooLarge => "The request head exceeds max_head_bytes",
            Self::PayloadTooLarge => "The payload exceeds max_payload",
            Self::Internal(_) => "Internal server error",
            Self::UnsupportedProtocol => "Unsupported protocol version",
        }
    }

    /// Returns a description for the server's log. The client does not see it.
    pub(crate) fn context(&self) -> &str {
        match self {
            Self::UnknownTransport => "the transport is unknown or turned off",
            #[cfg(feature = "webtransport")]
            Self::NotFound => "the path is not that of the server",
            Self::UnknownSession => "no session has this id, or it has ended",
            Self::BadHandshakeMethod => "a request without a session must be a GET",
            Self::BadRequest(context) | Self::Internal(context) => context,
            Self::Forbidden => "the origin is not allowed",
            Self::Overloaded(_) => "the server is being drained",
            Self::TooManySessions => "max_sessions_per_address is reached",
            Self::MethodNotAllowed => "a request of a session must be a GET or a POST",
            Self::HeadTooLarge => "the target and the headers are too large",
            Self::PayloadTooLarge => "the body of the POST is too large",
            Self::UnsupportedProtocol => "the revision of Engine.IO is not served",
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            #[cfg(feature = "webtransport")]
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Overloaded(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooManySessions => StatusCode::TOO_MANY_REQUESTS,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::UnknownTransport
            | Self::UnknownSession
            | Self::BadHandshakeMethod
            | Self::BadRequest(_)
            | Self::UnsupportedProtocol => StatusCode::BAD_REQUEST,
        }
    }

    /// Returns the JSON body of the response.
    pub(crate) fn body(&self) -> String {
        error_body(self.code(), self.message())
    }
}

/// Returns the JSON body of an error response.
pub(crate) fn error_body(code: u8, message: &str) -> String {
    #[derive(serde::Serialize)]
    struct Body<'a> {
        code: u8,
        message: &'a str,
    }
    serde_json::to_string(&Body { code, message }).expect("a number and a string are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_what_node_sends() {
        assert_eq!(RequestError::UnknownTransport.body(), r#"{"code":0,"message":"Transport unknown"}"#);
        assert_eq!(RequestError::UnsupportedProtocol.body(), r#"{"code":5,"message":"Unsupported protocol version"}"#);
    }
}
