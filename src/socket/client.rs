use std::{fmt, net::SocketAddr, sync::Arc};

use crate::{
    engine::{CloseCause, ConnectionRequest, ProtocolVersion, Session, Transport},
    server,
};

use super::socket_ref::SocketRef;

/// A client: a connection, and its sockets in the namespaces that it has joined.
///
/// Returned by [`SocketRef::client`]. Cloning is cheap.
///
/// ```
/// use tower_socketio::SocketRef;
///
/// /// Disconnects a client from all namespaces.
/// fn ban(socket: &SocketRef) {
///     let client = socket.client();
///     println!("{} namespaces are affected", client.sockets().len());
///     client.disconnect();
/// }
/// # let _ = ban;
/// ```
#[derive(Clone)]
pub struct Client(Arc<server::Client>);

impl Client {
    pub(super) fn new(client: &Arc<server::Client>) -> Self {
        Self(client.clone())
    }

    /// Returns the connection.
    #[must_use]
    pub fn conn(&self) -> Conn {
        Conn::new(&self.0)
    }

    /// Returns the request that opened the connection.
    #[must_use]
    pub fn request(&self) -> &ConnectionRequest {
        &self.0.connection.request
    }

    /// Returns the client's sockets, one for each namespace that it has joined.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketRef> {
        self.0.connected_sockets().into_iter().map(SocketRef::from).collect()
    }

    /// Disconnects all sockets, and closes the connection.
    pub fn disconnect(&self) {
        self.0.disconnect_all();
    }
}

/// An Engine.IO connection: a session with its transport.
///
/// Returned by [`SocketRef::conn`], and for any session by [`SocketIo::conn`](crate::SocketIo::conn). Cloning is cheap.
///
/// ```
/// use tower_socketio::{SocketRef, Transport};
///
/// fn is_upgraded(socket: &SocketRef) -> bool {
///     socket.conn().transport() == Transport::WebSocket
/// }
/// # let _ = is_upgraded;
/// ```
#[derive(Clone)]
pub struct Conn(Arc<server::Client>);

impl Conn {
    pub(crate) fn new(client: &Arc<server::Client>) -> Self {
        Self(client.clone())
    }

    /// Returns the client, with its sockets in all namespaces.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.0)
    }

    /// Returns the id of the session. It is a secret: with it, another client could use the session.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.connection.id
    }

    /// Returns the revision of the Engine.IO protocol.
    #[must_use]
    pub fn protocol(&self) -> ProtocolVersion {
        self.0.connection.wire_format.protocol
    }

    /// Returns the current transport. An upgrade changes it.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.0.connection.transport()
    }

    /// Returns the request that opened the connection.
    #[must_use]
    pub fn request(&self) -> &ConnectionRequest {
        &self.0.connection.request
    }

    /// Returns the address of the peer. See [`ConnectionRequest::remote_addr`].
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.0.connection.request.remote_addr()
    }

    /// Returns `true` if the session is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.connection.inspect(Session::is_open)
    }

    /// Closes the connection after its queued packets have been sent. The client sees a lost connection and may reconnect.
    pub fn close(&self) {
        self.0.close(CloseCause::Forced("closed by the server"));
    }

    /// Closes the connection at once, and drops its queued packets. In Node: `close(true)`.
    pub fn abort(&self) {
        self.0.connection.abort(CloseCause::Forced("closed by the server"));
    }
}

impl SocketRef {
    /// Returns the client of this socket, with its sockets in other namespaces.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.inner().client)
    }

    /// Returns the connection, which this socket shares with the client's sockets in other namespaces.
    #[must_use]
    pub fn conn(&self) -> Conn {
        self.client().conn()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("sockets", &self.sockets()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Conn {
    /// Omits the id, which is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn")
            .field("protocol", &self.protocol())
            .field("transport", &self.transport())
            .finish_non_exhaustive()
    }
}
