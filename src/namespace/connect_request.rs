//! CONNECT as an HTTP request.

use axum::{body::Body, extract::MatchedPath};
use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{engine::ConnectionRequest, socket::SocketRef};

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
    // Two braces in a pattern are one in a name, where it is percent-encoded.
    utf8_percent_encode(pattern, PATTERN).to_string().replace("{{", "%7B").replace("}}", "%7D")
}

/// The request that a namespace's layers and `on_connect` see.
///
/// It is a POST: with a GET, layers against cross-site request forgery would let everything through.
///
/// `None` if there is no such request: the name and the query are longer together than a URI can be. Any other path in
/// its place would decide about access to the wrong namespace.
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

/// The headers of the request that opened the connection, with the host that HTTP/2 has in the target. `None` if there is
/// no room for one more.
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

/// What the layers outside of Socket.IO's put on the request that opened the connection.
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
    // What was asked for is what the layers see, or else nothing.
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
