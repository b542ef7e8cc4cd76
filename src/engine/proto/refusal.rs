use http::StatusCode;

/// Why the engine refuses an HTTP request, as the client is told.
///
/// Engine.IO protocol 4, section "Handshake": the body is `{"code":c,"message":m}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Code 0: the transport is unknown or disabled.
    UnknownTransport,
    /// Code 1: no session has this id.
    UnknownSession,
    /// Code 2: a handshake is a GET.
    BadHandshakeMethod,
    /// Code 3: everything else that is malformed; and what that is.
    BadRequest(&'static str),
    /// Code 4: the request comes from a page of a foreign origin.
    Forbidden,
    /// Code 5: the protocol revision is not served.
    UnsupportedProtocol,
    /// Code 4, with a status that says that trying later may help.
    Overloaded(&'static str),
    /// Code 4: the client's address has as many sessions as it may have.
    TooManySessions,
    /// Code 2: a session takes GET and POST.
    MethodNotAllowed,
    /// Code 3: the target and the headers are larger than the server allows.
    HeadTooLarge,
    /// Code 3: the body of a POST is larger than the server allows.
    PayloadTooLarge,
    /// Code 3: a user callback failed, and which.
    Internal(&'static str),
}

impl Refusal {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::UnknownTransport => 0,
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

    /// What exactly is wrong, for this side.
    pub(crate) fn context(&self) -> &str {
        match self {
            Self::UnknownTransport => "the transport is unknown or turned off",
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

    /// The JSON body.
    pub(crate) fn body(&self) -> String {
        error_body(self.code(), self.message())
    }
}

/// The JSON body of a response that refuses a request.
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
        assert_eq!(Refusal::UnknownTransport.body(), r#"{"code":0,"message":"Transport unknown"}"#);
        assert_eq!(Refusal::UnsupportedProtocol.body(), r#"{"code":5,"message":"Unsupported protocol version"}"#);
    }
}
