use std::{fmt, net::SocketAddr, time::SystemTime};

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap, Method, Uri, request::Parts};
use hyper::upgrade::OnUpgrade;

/// The HTTP request that opened a connection.
///
/// Made by [`SocketRef::request`](crate::SocketRef::request).
pub struct ConnectionRequest {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    extensions: Extensions,
    time: SystemTime,
}

impl ConnectionRequest {
    pub(crate) fn new(mut parts: Parts) -> Self {
        parts.extensions.remove::<OnUpgrade>();
        Self {
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            extensions: parts.extensions,
            time: SystemTime::now(),
        }
    }

    /// The method: GET, or CONNECT if it opened a WebSocket over HTTP/2.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The target, with its query.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
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
            .field("path", &self.uri.path())
            .field("time", &self.time)
            .finish_non_exhaustive()
    }
}
