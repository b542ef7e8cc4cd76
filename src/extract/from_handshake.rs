use std::fmt;

use axum::{
    body::to_bytes,
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{Request, StatusCode};

use crate::{
    event::{EventError, EventRequest, EventResponse, IntoEventResponse},
    socket::SocketRef,
};

use super::from_event::FromEvent;

/// Applies any axum extractor to the request that opened the connection.
///
/// The extractor gets the method, target and headers of that request, and the extensions that the layers of the namespace set on
/// the CONNECT request.
///
/// ```
/// use axum::extract::Query;
/// use tower_socketio::extract::FromHandshake;
///
/// #[derive(serde::Deserialize)]
/// struct Params { lang: String }
///
/// async fn greet(FromHandshake(Query(params)): FromHandshake<Query<Params>>) {}
/// # let _ = tower_socketio::Namespace::<()>::new().on("greet", greet);
/// ```
///
/// In a namespace with a pattern, `FromHandshake<Path<T>>` extracts the parameters of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FromHandshake<E>(pub E);

impl<S, E> FromEvent<S> for FromHandshake<E>
where
    S: Send + Sync,
    E: FromRequestParts<S>,
{
    type Rejection = HandshakeRejection;

    async fn from_event(request: &mut EventRequest, state: &S) -> Result<Self, HandshakeRejection> {
        let socket: SocketRef = request.socket().clone();
        let opened = &socket.inner().client.connection.request;
        let mut parts = Request::new(()).into_parts().0;
        parts.method = opened.method().clone();
        parts.uri = opened.uri().clone();
        parts.headers = opened.to_headers();
        parts.extensions = socket.inner().all_extensions();
        let response = match E::from_request_parts(&mut parts, state).await {
            Ok(extracted) => return Ok(Self(extracted)),
            Err(rejection) => rejection.into_response(),
        };
        Err(HandshakeRejection::read(response).await)
    }
}

/// The rejection of [`FromHandshake`]: the axum extractor rejected the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandshakeRejection {
    status: StatusCode,
    body_text: String,
}

impl HandshakeRejection {
    async fn read(response: Response) -> Self {
        /// A longer body is not kept.
        const MAX_BYTES: usize = 16 * 1024;
        let status = response.status();
        let body = to_bytes(response.into_body(), MAX_BYTES).await.unwrap_or_default();
        Self { status, body_text: String::from_utf8_lossy(&body).into_owned() }
    }

    /// Returns the status of the extractor's rejection.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the text of the extractor's rejection.
    #[must_use]
    pub fn body_text(&self) -> &str {
        &self.body_text
    }
}

impl fmt::Display for HandshakeRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the handshake was rejected: {}", self.status)?;
        if !self.body_text.is_empty() {
            write!(f, ": {}", self.body_text)?;
        }
        Ok(())
    }
}

impl std::error::Error for HandshakeRejection {}

impl IntoEventResponse for HandshakeRejection {
    fn into_event_response(self) -> EventResponse {
        EventError::new(self.to_string()).into()
    }
}
