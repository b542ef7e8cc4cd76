use std::{error::Error, fmt};

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Why a [`TestClient`](super::TestClient) did not get what it asked for.
#[derive(Debug)]
pub struct TestError(Kind);

#[derive(Debug)]
enum Kind {
    Refused {
        message: String,
        data: Option<Value>,
    },
    Closed,
    /// What did not come.
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

    pub(super) fn closed() -> Self {
        Self(Kind::Closed)
    }

    pub(super) fn timeout(what: String) -> Self {
        Self(Kind::Timeout(what))
    }

    pub(super) fn mismatch(answer: String, error: String) -> Self {
        Self(Kind::Mismatch { answer, error })
    }

    /// The namespace did not let the client in.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.0, Kind::Refused { .. })
    }

    /// The socket was disconnected, or the connection closed, before there was an answer.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.0, Kind::Closed)
    }

    /// There was no answer within the client's [patience](super::TestClientBuilder::patience).
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.0, Kind::Timeout(_))
    }

    /// The answer does not fit the type that was asked for; the text of this error shows it.
    #[must_use]
    pub fn is_mismatch(&self) -> bool {
        matches!(self.0, Kind::Mismatch { .. })
    }

    /// What a client that was refused is told: the `message` of its `connect_error`. Empty if it was not refused.
    #[must_use]
    pub fn message(&self) -> &str {
        match &self.0 {
            Kind::Refused { message, .. } => message,
            Kind::Closed | Kind::Timeout(_) | Kind::Mismatch { .. } => "",
        }
    }

    /// The `data` that a client that was refused is given. `None` if there is none, or it does not fit the type.
    #[must_use]
    pub fn data<T: DeserializeOwned>(&self) -> Option<T> {
        match &self.0 {
            Kind::Refused { data, .. } => T::deserialize(data.as_ref()?).ok(),
            Kind::Closed | Kind::Timeout(_) | Kind::Mismatch { .. } => None,
        }
    }
}

impl fmt::Display for TestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Refused { message, data: None } => write!(f, "refused: {message}"),
            Kind::Refused { message, data: Some(data) } => write!(f, "refused: {message} {data}"),
            Kind::Closed => f.write_str("the client was disconnected"),
            Kind::Timeout(what) => write!(f, "{what} did not come in time"),
            Kind::Mismatch { answer, error } => write!(f, "the answer is of another type: {error} in {answer}"),
        }
    }
}

impl Error for TestError {}
