//! One error for routes, CONNECT and events.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use tower_socketio::{
    EventError,
    event::{EventResponse, IntoEventResponse},
};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("unknown token")]
    Unauthorized,
    #[error("for agents only")]
    Forbidden,
    #[error("there is no such ticket")]
    NotFound,
    #[error("{0}")]
    Invalid(&'static str),
    #[error("the database failed")]
    Database(#[from] rusqlite::Error),
    #[error("a query panicked")]
    Panic(#[from] tokio::task::JoinError),
}

impl Error {
    fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Database(_) | Self::Panic(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns what a client may know. Details of failures are logged instead.
    fn message(&self) -> String {
        if self.status().is_server_error() {
            tracing::error!(error = self as &dyn std::error::Error, "a request failed");
            return "internal error".into();
        }
        self.to_string()
    }
}

/// The response of a route, or of a layer or `on_connect`: the client's `connect_error` gets the text as its message.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        (self.status(), self.message()).into_response()
    }
}

/// The response of an event handler: the ack is `{ error: { message, data } }`.
impl IntoEventResponse for Error {
    fn into_event_response(self) -> EventResponse {
        EventError::new(self.message()).data(self.status().as_u16()).into()
    }
}
