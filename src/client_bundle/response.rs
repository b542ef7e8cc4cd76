use axum::{body::Body, response::Response};
use http::{HeaderValue, StatusCode, header};

use crate::engine::error_body;

/// Sets the headers that Node's server sets, and the body of errors.
pub(super) fn finish(name: &str, mut response: Response) -> Response {
    if response.status().is_success() {
        let content_type = match name.ends_with(".map") {
            true => "application/json; charset=utf-8",
            false => "application/javascript; charset=utf-8",
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
    }
    match response.status() {
        status if !status.is_client_error() => response,
        StatusCode::METHOD_NOT_ALLOWED => refused(response, 2, "Method not allowed"),
        StatusCode::NOT_FOUND => refused(response, 3, "The file is not in the directory"),
        status => refused(response, 3, status.canonical_reason().unwrap_or("Bad request")),
    }
}

/// Sets a body like that of the engine's errors.
fn refused(mut response: Response, code: u8, message: &str) -> Response {
    let body = error_body(code, message);
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response.map(|_| Body::from(body))
}
