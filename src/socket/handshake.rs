use std::{borrow::Cow, fmt, net::SocketAddr, time::SystemTime};

use http::{HeaderMap, Uri};
use serde::de::{DeserializeOwned, Error as _};

use crate::{packet::read_json, server::Socket};

use super::socket_ref::SocketRef;

/// How a socket came to be: the request that opened its connection, and what the client sent with its CONNECT.
///
/// The request is the same for all namespaces of a connection; `auth` is the namespace's own.
pub struct Handshake<'a> {
    socket: &'a Socket,
}

impl<'a> Handshake<'a> {
    /// The headers of the connection's first request.
    #[must_use]
    pub fn headers(&self) -> &'a HeaderMap {
        self.socket.client.connection.request.headers()
    }

    /// The target of the connection's first request, with its query.
    #[must_use]
    pub fn uri(&self) -> &'a Uri {
        self.socket.client.connection.request.uri()
    }

    /// The query of the connection's first request, decoded, the engine's own parameters among them.
    pub fn query(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
        form_urlencoded::parse(self.socket.client.connection.request.query().unwrap_or_default().as_bytes())
    }

    /// The value of a query parameter; of several with one name, the last.
    #[must_use]
    pub fn query_param(&self, name: &str) -> Option<Cow<'a, str>> {
        self.query().filter(|(key, _)| key == name).last().map(|(_, value)| value)
    }

    /// What the client sent as `auth`. `{}` if it sent nothing.
    ///
    /// # Errors
    ///
    /// If it does not fit the type, or if the socket has left and its [`on_disconnect`](crate::Namespace::on_disconnect)
    /// has ended: then it is not kept any longer.
    pub fn auth<T: DeserializeOwned + Send>(&self) -> serde_json::Result<T> {
        let forgotten = || serde_json::Error::custom("the socket has left, and its auth payload is not kept");
        read_json(&self.socket.auth().ok_or_else(forgotten)?)
    }

    /// The address of the peer, which may be a proxy.
    ///
    /// Known if the server was made with axum's `into_make_service_with_connect_info::<SocketAddr>()`, or put
    /// `ConnectInfo<SocketAddr>` on the request by other means.
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.socket.client.connection.request.remote_addr()
    }

    /// When the connection was opened.
    #[must_use]
    pub fn time(&self) -> SystemTime {
        self.socket.client.connection.request.time()
    }

    /// Whether the request's scheme was `https`.
    ///
    /// Servers often do not tell: behind a proxy that ends TLS, look at the header that it sets.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.uri().scheme_str() == Some("https")
    }

    /// Whether the request came with an `Origin`: from a page, that is.
    #[must_use]
    pub fn is_cross_origin(&self) -> bool {
        self.headers().contains_key(http::header::ORIGIN)
    }
}

impl SocketRef {
    /// The request and the auth payload with which the client connected.
    #[must_use]
    pub fn handshake(&self) -> Handshake<'_> {
        Handshake { socket: self.inner() }
    }
}

impl fmt::Debug for Handshake<'_> {
    /// Leaves out headers, query and auth, which hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("address", &self.remote_addr())
            .field("time", &self.time())
            .finish_non_exhaustive()
    }
}
