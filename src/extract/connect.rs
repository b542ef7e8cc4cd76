use axum::response::{IntoResponse, Response};
use http::StatusCode;

/// `SocketRef` was asked for outside of a CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a `SocketRef` exists only on the CONNECT request of a namespace")]
pub struct NotAConnect;

impl IntoResponse for NotAConnect {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}
