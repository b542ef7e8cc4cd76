use std::{error::Error, fmt};

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Error returned by methods of [`TestClient`](super::TestClient).
#[derive(Debug)]
pub struct TestError(Kind);

#[derive(Debug)]
enum Kind {
    Refused {
        message: String,
        data: Option<Value>,
    },
    /// The handler answered with an `EventError`.
    Answered {
        message: String,
        data: Option<Value>,
    },
    Closed,
    /// Names what did not arrive.
    Timeout(String),
    Mismatch {
        answer: String,
        error: String,
    },
}

impl TestError {
    pub(super) fn refused(message: String, data: Option<Value>) -> Self {
        Self(Kind::Refused { message, data })
    }

    pub(super) fn answered(message: String, data: Option<Value>) -> Self {
        Self(Kind::Answered { message, data })
    }

    pub(super) fn closed() -> Self {
        Self(Kind::Closed)
    }

    pub(super) fn timeout(what: String) -> Self {
        Self(Kind::Timeout(what))
    }

    pub(super) fn mismatch(answer: String, error: String) -> Self {
        Self(Kind::Mismatch { answer, error })
    }

    /// Returns `true` if the namespace rejected the client.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.0, Kind::Refused { .. })
    }

    /// Returns `true` if the ack is an [`EventError`](crate::EventError), and the requested type is not one that reads it, such as
    /// [`Value`](crate::Value).
    #[must_use]
    pub fn is_event_error(&self) -> bool {
        matches!(self.0, Kind::Answered { .. })
    }

    /// Returns `true` if the socket was disconnected before the response arrived.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.0, Kind::Closed)
    }

    /// Returns `true` if the response did not arrive within the [timeout](super::TestClientBuilder::timeout).
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.0, Kind::Timeout(_))
    }

    /// Returns `true` if the response does not match the requested type. The text of the error contains the response.
    #[must_use]
    pub fn is_mismatch(&self) -> bool {
        matches!(self.0, Kind::Mismatch { .. })
    }

    /// Returns the `message` of the `connect_error` if the client was rejected, or that of the `EventError`, otherwise an empty
    /// string.
    #[must_use]
    pub fn message(&self) -> &str {
        match &self.0 {
            Kind::Refused { message, .. } | Kind::Answered { message, .. } => message,
            Kind::Closed | Kind::Timeout(_) | Kind::Mismatch { .. } => "",
        }
    }

    /// Returns the `data` of the `connect_error` or of the `EventError`. Returns `None` if there is none, or if it does not match the type.
    #[must_use]
    pub fn data<T: DeserializeOwned>(&self) -> Option<T> {
        match &self.0 {
            Kind::Refused { data, .. } | Kind::Answered { data, .. } => T::deserialize(data.as_ref()?).ok(),
            Kind::Closed | Kind::Timeout(_) | Kind::Mismatch { .. } => None,
        }
    }
}

impl fmt::Display for TestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Refused { message, data: None } => write!(f, "refused: {message}"),
            Kind::Refused { message, data: Some(data) } => write!(f, "refused: {message} {data}"),
            Kind::Answered { message, data: None } => write!(f, "the server answered with an error: {message}"),
            Kind::Answered { message, data: Some(data) } => {
                write!(f, "the server answered with an error: {message} {data}")
            }
            Kind::Closed => f.write_str("the client was disconnected"),
            Kind::Timeout(what) => write!(f, "{what} did not come in time"),
            Kind::Mismatch { answer, error } => write!(f, "the answer is of another type: {error} in {answer}"),
        }
    }
}

impl Error for TestError {}
