use std::{borrow::Cow, fmt, net::SocketAddr, time::SystemTime};

use http::{HeaderMap, Uri};
use serde::de::{DeserializeOwned, Error as _};

use crate::{packet::read_json, server::Socket};

use super::{remote_handshake::RemoteHandshake, socket_ref::SocketRef};

/// The handshake of a socket: the request that opened the connection, and the `auth` payload of CONNECT.
///
/// The request is the same for all namespaces of a connection. Each namespace has its own `auth` payload.
///
/// ```
/// use tower_socketio::SocketRef;
///
/// fn locale(socket: &SocketRef) -> Option<String> {
///     let handshake = socket.handshake();
///     handshake.query_param("locale").map(|locale| locale.into_owned())
/// }
/// # let _ = locale;
/// ```
pub struct Handshake<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    Socket(&'a Socket),
    OtherNode(&'a RemoteHandshake),
}

impl<'a> Handshake<'a> {
    pub(super) fn of_other_node(handshake: &'a RemoteHandshake) -> Self {
        Self(Source::OtherNode(handshake))
    }

    /// Returns the headers of the request.
    #[must_use]
    pub fn headers(&self) -> &'a HeaderMap {
        match self.0 {
            Source::Socket(socket) => socket.client.connection.request.headers(),
            Source::OtherNode(handshake) => handshake.headers(),
        }
    }

    /// Returns the target of the request, with its query.
    #[must_use]
    pub fn uri(&self) -> &'a Uri {
        match self.0 {
            Source::Socket(socket) => socket.client.connection.request.uri(),
            Source::OtherNode(handshake) => handshake.uri(),
        }
    }

    /// Returns the decoded query parameters of the request, including those of Engine.IO.
    pub fn query(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
        let query = match self.0 {
            Source::Socket(socket) => socket.client.connection.request.query(),
            Source::OtherNode(handshake) => handshake.uri().query(),
        };
        form_urlencoded::parse(query.unwrap_or_default().as_bytes())
    }

    /// Returns the value of a query parameter. If it occurs several times, the last one.
    #[must_use]
    pub fn query_param(&self, name: &str) -> Option<Cow<'a, str>> {
        self.query().filter(|(key, _)| key == name).last().map(|(_, value)| value)
    }

    /// Deserializes the `auth` payload of the client. A missing payload is `{}`.
    ///
    /// # Errors
    ///
    /// Returns an error if the payload does not match the type, or if the socket has left and its
    /// [`on_disconnect`](crate::Namespace::on_disconnect) has ended, because the payload is dropped then.
    pub fn auth<T: DeserializeOwned + Send>(&self) -> serde_json::Result<T> {
        let forgotten = || serde_json::Error::custom("the socket has left, and its auth payload has been dropped");
        match self.0 {
            Source::Socket(socket) => read_json(&socket.auth().ok_or_else(forgotten)?),
            Source::OtherNode(handshake) => read_json(handshake.auth().as_bytes()),
        }
    }

    /// Returns the address of the peer, which may be a proxy.
    ///
    /// The address is known if the server was created with axum's `into_make_service_with_connect_info::<SocketAddr>()`, or if
    /// another layer set `ConnectInfo<SocketAddr>` on the request.
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        match self.0 {
            Source::Socket(socket) => socket.client.connection.request.remote_addr(),
            Source::OtherNode(handshake) => handshake.remote_addr(),
        }
    }

    /// Returns the time at which the connection was opened.
    #[must_use]
    pub fn time(&self) -> SystemTime {
        match self.0 {
            Source::Socket(socket) => socket.client.connection.request.time(),
            Source::OtherNode(handshake) => handshake.time(),
        }
    }

    /// Returns `true` if the scheme of the request was `https`.
    ///
    /// Servers often do not set the scheme. Behind a proxy that terminates TLS, read the header that the proxy sets.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        match self.0 {
            Source::Socket(_) => self.uri().scheme_str() == Some("https"),
            Source::OtherNode(handshake) => handshake.is_secure(),
        }
    }

    /// Returns `true` if the request has an `Origin` header, which means that it comes from a page.
    #[must_use]
    pub fn is_cross_origin(&self) -> bool {
        self.headers().contains_key(http::header::ORIGIN)
    }
}

impl SocketRef {
    /// Returns the request that opened the connection, and the auth payload.
    #[must_use]
    pub fn handshake(&self) -> Handshake<'_> {
        Handshake(Source::Socket(self.inner()))
    }
}

impl fmt::Debug for Handshake<'_> {
    /// Leaves out headers, query and auth payload, which may contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("address", &self.remote_addr())
            .field("time", &self.time())
            .finish_non_exhaustive()
    }
}
