use std::path::PathBuf;

use axum::{
    Router,
    extract::{OriginalUri, Request},
    middleware::{Next, from_fn},
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderName, HeaderValue, header};
use tower_http::services::ServeDir;

/// Serves the files of the UI from a directory: `ui/dist` of the npm package `@socket.io/admin-ui`.
///
/// They are not part of this crate, because they would add 1.3 MB to it, and take fonts and icons from the internet in any case.
/// `npm install @socket.io/admin-ui` in the build of the application's image is enough.
///
/// The result is nested under a path. The UI then has the origin of the server, and
/// [`origins`](crate::SocketIoConfig::origins) need not allow it. Other pages cannot put it into a frame.
///
/// ```
/// # use axum::Router;
/// use tower_socketio::admin;
///
/// let app: Router = Router::new().nest_service("/admin-ui", admin::ui("node_modules/@socket.io/admin-ui/ui/dist"));
/// ```
pub fn ui(directory: impl Into<PathBuf>) -> Router {
    Router::new().fallback_service(ServeDir::new(directory.into())).layer(from_fn(finish))
}

const HEADERS: [(HeaderName, HeaderValue); 3] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("frame-ancestors 'none'")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
];

async fn finish(OriginalUri(uri): OriginalUri, request: Request, next: Next) -> Response {
    // The links of the page are relative to its folder.
    if request.uri().path() == "/" && !uri.path().ends_with('/') {
        return Redirect::permanent(&format!("{}/", uri.path())).into_response();
    }
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, value);
    }
    response
}
