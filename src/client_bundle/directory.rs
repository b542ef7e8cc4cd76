//! Client files from a directory, served by tower-http.

use std::path::Path;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderName, Request, header};
use tower::ServiceExt;
use tower_http::services::ServeDir;

use crate::util::BoxFuture;

use super::response::finish;

/// The files that are served from the directory.
const NAMES: [&str; 8] = [
    "socket.io.js",
    "socket.io.js.map",
    "socket.io.min.js",
    "socket.io.min.js.map",
    "socket.io.esm.min.js",
    "socket.io.esm.min.js.map",
    "socket.io.msgpack.min.js",
    "socket.io.msgpack.min.js.map",
];

/// The headers of a request that apply to a file. Conditions on its date are ignored, because the dates may differ between the
/// nodes of a cluster.
const HEADERS: [HeaderName; 5] =
    [header::ACCEPT_ENCODING, header::IF_NONE_MATCH, header::IF_MATCH, header::RANGE, header::IF_RANGE];

pub(super) fn open(path: &Path) -> ServeDir {
    ServeDir::new(path).append_index_html_on_directories(false).precompressed_gzip().precompressed_br()
}

pub(super) fn serve<B>(directory: &ServeDir, name: &str, request: &Request<B>) -> Option<BoxFuture<Response<Body>>> {
    let name = NAMES.into_iter().find(|known| *known == name)?;
    let mut file_request = Request::new(Body::empty());
    file_request.method_mut().clone_from(request.method());
    *file_request.uri_mut() = format!("/{name}").parse().expect("the name of a file is a path");
    for header in &HEADERS {
        for value in request.headers().get_all(header) {
            file_request.headers_mut().append(header, value.clone());
        }
    }
    let response = directory.clone().oneshot(file_request);
    Some(Box::pin(async move {
        let mut response = response.await.into_response();
        response.headers_mut().remove(header::LAST_MODIFIED);
        finish(name, response)
    }))
}
