//! Converting a response that rejects a CONNECT to the payload of CONNECT_ERROR.

use axum::{body::Body, response::Response};
use http::header;
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

use crate::server::ConnectError;

/// The maximum length of a body that is read.
const MAX_BODY: usize = 64 * 1024;

/// Reads the response of a layer or a handler.
///
/// A JSON object with a `message` is used as it is, other JSON becomes `data`, and text becomes the message. The default of the
/// message is the reason phrase of the status. The target of a redirect becomes `data.location`.
pub(super) async fn read_response(response: Response<Body>) -> ConnectError {
    let (parts, body) = response.into_parts();
    let reason = parts.status.canonical_reason().unwrap_or("refused");
    if let Some(location) = parts.headers.get(header::LOCATION)
        && parts.status.is_redirection()
    {
        let location = String::from_utf8_lossy(location.as_bytes());
        return ConnectError { message: reason.to_owned(), data: Some(serde_json::json!({ "location": location })) };
    }
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return ConnectError::new(reason),
    };
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if content_type.is_some_and(is_json)
        && let Ok(json) = serde_json::from_slice(&body)
    {
        return from_json(json, reason);
    }
    match std::str::from_utf8(&body) {
        Ok(text) if !text.is_empty() && !content_type.is_some_and(is_binary) => ConnectError::new(text),
        _ => ConnectError::new(reason),
    }
}

fn from_json(json: Value, reason: &str) -> ConnectError {
    if let Some(message) = json.get("message").and_then(Value::as_str)
        && json.as_object().is_some_and(|object| object.keys().all(|key| key == "message" || key == "data"))
    {
        return ConnectError { message: message.to_owned(), data: json.get("data").cloned() };
    }
    ConnectError { message: reason.to_owned(), data: Some(json) }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json") || essence.to_ascii_lowercase().ends_with("+json")
}

fn is_binary(content_type: &str) -> bool {
    content_type.starts_with("application/octet-stream")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{
        Json,
        response::{IntoResponse, Redirect},
    };
    use http::StatusCode;
    use serde_json::json;

    async fn refusal(response: impl IntoResponse) -> serde_json::Value {
        let error = read_response(response.into_response()).await;
        serde_json::from_str(&error.to_json(crate::engine::ProtocolVersion::V4)).unwrap()
    }

    #[tokio::test]
    async fn the_answer_becomes_message_and_data() {
        let status = StatusCode::FORBIDDEN;
        assert_eq!(refusal(status).await, json!({"message": "Forbidden"}));
        assert_eq!(refusal((status, "no entry")).await, json!({"message": "no entry"}));
        let both = json!({"message": "m", "data": {"a": 1}});
        assert_eq!(refusal((status, Json(both.clone()))).await, both);
        let other = json!({"content": "nope"});
        assert_eq!(refusal((status, Json(other.clone()))).await, json!({"message": "Forbidden", "data": other}));
        let more = json!({"message": "m", "code": 7});
        assert_eq!(refusal((status, Json(more.clone()))).await, json!({"message": "Forbidden", "data": more}));
        assert_eq!(
            refusal(Redirect::to("/login")).await,
            json!({"message": "See Other", "data": {"location": "/login"}})
        );
        assert_eq!(refusal((status, vec![1u8; 10])).await, json!({"message": "Forbidden"}));
        assert_eq!(refusal((status, "x".repeat(MAX_BODY + 1))).await, json!({"message": "Forbidden"}));
    }
}
