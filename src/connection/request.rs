use std::{fmt, net::SocketAddr, sync::OnceLock, time::SystemTime};

use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Uri, request::Parts};
use hyper::upgrade::OnUpgrade;

/// The HTTP request that opened a connection.
///
/// Made by [`SocketRef::request`](crate::SocketRef::request).
pub struct ConnectionRequest {
    method: Method,
    head: Head,
    /// What has been read of it, once somebody has asked.
    read: OnceLock<Box<(Uri, HeaderMap)>>,
    extensions: Extensions,
    time: SystemTime,
}

impl ConnectionRequest {
    pub(crate) fn new(mut parts: Parts) -> Self {
        parts.extensions.remove::<OnUpgrade>();
        if parts.extensions.is_empty() {
            parts.extensions = Extensions::new();
        }
        Self {
            method: parts.method,
            head: Head::new(&parts.uri, &parts.headers),
            read: OnceLock::new(),
            extensions: parts.extensions,
            time: SystemTime::now(),
        }
    }

    fn read(&self) -> &(Uri, HeaderMap) {
        self.read.get_or_init(|| Box::new((self.head.uri().unwrap_or_default(), self.head.headers())))
    }

    /// The query of the target.
    pub(crate) fn query(&self) -> Option<&str> {
        self.head.query()
    }

    /// The headers, for somebody who does not keep them.
    pub(crate) fn to_headers(&self) -> HeaderMap {
        self.head.headers()
    }

    /// The method: GET, or CONNECT if it opened a WebSocket over HTTP/2.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The target, with its query.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.read().0
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.read().1
    }

    /// What the layers outside of Socket.IO's put on the request.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// When it arrived.
    #[must_use]
    pub fn time(&self) -> SystemTime {
        self.time
    }

    /// The address of the peer, which may be a proxy.
    ///
    /// Known if the server was made with axum's `into_make_service_with_connect_info::<SocketAddr>()`, or put
    /// `ConnectInfo<SocketAddr>` on the request by other means.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
    }
}

impl fmt::Debug for ConnectionRequest {
    /// Leaves out headers and query, which hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionRequest")
            .field("path", &self.head.uri().unwrap_or_default().path())
            .field("time", &self.time)
            .finish_non_exhaustive()
    }
}

/// The target and the headers of a request, as text: one allocation, in its final size.
///
/// As the HTTP server has them, they are a kilobyte of tables, and parts of the buffer that was read into.
struct Head {
    /// Lines: the target, then the headers, each behind [`SENSITIVE`] or [`PLAIN`].
    text: Bytes,
}

/// Marks a header that must not be shown.
const SENSITIVE: u8 = b'!';
const PLAIN: u8 = b' ';

impl Head {
    fn new(uri: &Uri, headers: &HeaderMap) -> Self {
        let uri = uri.to_string();
        let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 3;
        let mut text = Vec::with_capacity(uri.len() + headers.iter().map(size).sum::<usize>());
        text.extend_from_slice(uri.as_bytes());
        for (name, value) in headers {
            text.extend_from_slice(&[b'\n', if value.is_sensitive() { SENSITIVE } else { PLAIN }]);
            text.extend_from_slice(name.as_str().as_bytes());
            text.push(b':');
            text.extend_from_slice(value.as_bytes());
        }
        Self { text: text.into() }
    }

    fn target(&self) -> &str {
        let target = self.text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        std::str::from_utf8(target).unwrap_or_default()
    }

    fn query(&self) -> Option<&str> {
        self.target().split_once('?').map(|(_, query)| query)
    }

    fn uri(&self) -> Option<Uri> {
        self.target().parse().ok()
    }

    fn headers(&self) -> HeaderMap {
        let lines = self.text.split(|byte| *byte == b'\n').skip(1);
        let mut headers = HeaderMap::with_capacity(lines.clone().count());
        for line in lines {
            let Some(colon) = memchr::memchr(b':', line) else { continue };
            let (Ok(name), Ok(mut value)) =
                (HeaderName::from_bytes(&line[1..colon]), HeaderValue::from_bytes(&line[colon + 1..]))
            else {
                continue;
            };
            value.set_sensitive(line[0] == SENSITIVE);
            headers.append(name, value);
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, header};

    use super::*;

    #[test]
    fn target_and_headers_are_as_they_were() {
        let mut secret = HeaderValue::from_static("Bearer a:b");
        secret.set_sensitive(true);
        let target = "https://user:word@example.org:8443/socket.io/?EIO=4&transport=polling&name=%C3%A9";
        let request = Request::get(target)
            .header("x-many", "1")
            .header(header::AUTHORIZATION, secret)
            .header("x-many", "2")
            .header("x-empty", "")
            .header("x-bytes", HeaderValue::from_bytes(b"a\xffb\tc").unwrap());
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let (uri, headers) = (parts.uri.clone(), parts.headers.clone());
        let kept = ConnectionRequest::new(parts);
        assert_eq!((kept.uri(), kept.headers()), (&uri, &headers));
        assert!(kept.headers()[header::AUTHORIZATION].is_sensitive());
        assert!(!kept.headers()["x-many"].is_sensitive());
        assert_eq!((kept.query(), kept.to_headers()), (uri.query(), headers));
        let shown = format!("{kept:?}");
        assert!(shown.contains(r#""/socket.io/""#) && !shown.contains("EIO") && !shown.contains("word"), "{shown}");
    }
}
