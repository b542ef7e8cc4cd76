//! Converting CONNECT to an HTTP request.

use axum::{body::Body, extract::MatchedPath};
use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{engine::ConnectionRequest, socket::SocketRef};

/// Headers that concern only the request that opened the connection.
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

/// Characters to encode in the pattern of a path. Braces are handled separately.
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

/// Characters to encode in the path of a URI.
const PATH: &AsciiSet = &PATTERN.add(b'{').add(b'}');

/// Encodes a pattern so that it matches the path of [`connect_request`].
pub(super) fn encode_pattern(pattern: &str) -> String {
    // Doubled braces in a pattern stand for one in the name, which is percent-encoded in the path.
    utf8_percent_encode(pattern, PATTERN).to_string().replace("{{", "%7B").replace("}}", "%7D")
}

/// Returns the request for a namespace's layers and `on_connect`.
///
/// It is a POST, because layers against cross-site request forgery let GET requests pass.
///
/// Returns `None` if the name and the query are too long for a URI. A truncated path could grant access to another namespace.
pub(super) fn connect_request(
    opened: &ConnectionRequest,
    namespace: &str,
    auth: Bytes,
    socket: SocketRef,
) -> Option<Request<Body>> {
    let mut request = Request::new(Body::from(auth));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri(namespace, opened.query())?;
    *request.headers_mut() = headers(opened)?;
    let mut extensions = connect_extensions(opened);
    extensions.insert(socket);
    *request.extensions_mut() = extensions;
    Some(request)
}

/// Returns the headers of the request that opened the connection. With HTTP/2 the host is added from the target. Returns `None`
/// if there is no room for another header.
fn headers(opened: &ConnectionRequest) -> Option<HeaderMap> {
    let mut headers = opened.to_headers();
    for name in &STRIPPED {
        headers.remove(name);
    }
    headers.try_insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json")).ok()?;
    if let Some(authority) = opened.to_authority()
        && !headers.contains_key(header::HOST)
    {
        headers.try_insert(header::HOST, HeaderValue::from_str(authority.as_str()).ok()?).ok()?;
    }
    Some(headers)
}

/// Returns the extensions that layers outside of Socket.IO set on the request that opened the connection.
pub(super) fn connect_extensions(opened: &ConnectionRequest) -> Extensions {
    let mut extensions = opened.to_extensions();
    extensions.remove::<MatchedPath>();
    extensions
}

fn uri(namespace: &str, query: Option<&str>) -> Option<Uri> {
    let mut target: String = utf8_percent_encode(namespace, PATH).collect();
    let path = target.len();
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    let uri = Uri::try_from(&target).ok()?;
    // Layers must see exactly the requested path and query.
    (uri.path() == &target[..path] && uri.query() == query).then_some(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_paths_are_percent_encoded() {
        let uri = |namespace, query| uri(namespace, query).unwrap();
        assert_eq!(uri("/chat", Some("EIO=4")), "/chat?EIO=4");
        assert_eq!(uri("/été 100%", None), "/%C3%A9t%C3%A9%20100%25");
        assert_eq!(uri("/a{b}\"c", None), "/a%7Bb%7D%22c");
        assert_eq!(uri("//a/../b?c#d", Some("e")), "//a/../b%3Fc%23d?e");
    }

    #[test]
    fn what_is_too_long_for_a_uri_is_no_request() {
        let query = "x".repeat(65_530);
        assert!(uri("/", Some(&query)).is_some());
        assert_eq!(uri("/admin", Some(&query)), None);
    }
}
