use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use crate::engine::ProtocolVersion;

/// The rejection of a CONNECT by the services of a namespace.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The status of the response. `None` after a panic.
    pub(crate) status: Option<StatusCode>,
    pub(crate) error: ConnectError,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, error: ConnectError) -> Self {
        Self { status: Some(status), error }
    }

    pub(crate) fn panicked() -> Self {
        Self { status: None, error: ConnectError::new("Internal Server Error") }
    }
}

/// The payload of CONNECT_ERROR. Socket.IO protocol 5, section "Connection to a namespace".
#[derive(Debug, Serialize, PartialEq)]
pub(crate) struct ConnectError {
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Value>,
}

impl ConnectError {
    pub(crate) fn new(message: &str) -> Self {
        Self { message: message.to_owned(), data: None }
    }

    /// Encodes the payload. Clients of Engine.IO 3 get only the data, or the message if there is no data.
    pub(crate) fn to_json(&self, protocol: ProtocolVersion) -> String {
        match (protocol, &self.data) {
            (ProtocolVersion::V4, _) => serde_json::to_string(self),
            (ProtocolVersion::V3, Some(data)) => serde_json::to_string(data),
            (ProtocolVersion::V3, None) => serde_json::to_string(&self.message),
        }
        .expect("strings and JSON values are JSON")
    }
}
