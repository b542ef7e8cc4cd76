//! CONNECT as an HTTP request.

use axum::{body::Body, extract::MatchedPath};
use bytes::Bytes;
use http::{Extensions, HeaderName, HeaderValue, Method, Request, Uri, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{connection::ConnectionRequest, socket::SocketRef};

/// Headers that belong to the request that opened the connection alone.
const STRIPPED: [HeaderName; 9] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::EXPECT,
    header::ACCEPT_ENCODING,
];

/// What cannot stand in the pattern of a path, braces aside.
const PATTERN: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'%')
    .add(b'\\')
    .add(b'^')
    .add(b'|');

/// What cannot stand in the path of a URI.
const PATH: &AsciiSet = &PATTERN.add(b'{').add(b'}');

/// A pattern as it must be to match the path of [`connect_request`].
pub(super) fn encode_pattern(pattern: &str) -> String {
    utf8_percent_encode(pattern, PATTERN).to_string()
}

/// The request that a namespace's layers and `on_connect` see.
///
/// It is a POST: with a GET, layers against cross-site request forgery would let everything through.
pub(super) fn connect_request(
    opened: &ConnectionRequest,
    namespace: &str,
    auth: Bytes,
    socket: SocketRef,
) -> Request<Body> {
    let mut request = Request::new(Body::from(auth));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri(namespace, opened.query());
    let headers = request.headers_mut();
    *headers = opened.to_headers();
    for name in &STRIPPED {
        headers.remove(name);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut extensions = connect_extensions(opened);
    extensions.insert(socket);
    *request.extensions_mut() = extensions;
    request
}

/// What the layers outside of Socket.IO's put on the request that opened the connection.
pub(super) fn connect_extensions(opened: &ConnectionRequest) -> Extensions {
    let mut extensions = opened.extensions().clone();
    extensions.remove::<MatchedPath>();
    extensions
}

fn uri(namespace: &str, query: Option<&str>) -> Uri {
    let path = utf8_percent_encode(namespace, PATH).to_string();
    let target = match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    target.parse().unwrap_or_else(|_| Uri::from_static("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_paths_are_percent_encoded() {
        assert_eq!(uri("/chat", Some("EIO=4")), "/chat?EIO=4");
        assert_eq!(uri("/été 100%", None), "/%C3%A9t%C3%A9%20100%25");
        assert_eq!(uri("/a{b}\"c", None), "/a%7Bb%7D%22c");
    }
}
