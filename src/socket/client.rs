use std::{fmt, net::SocketAddr, sync::Arc};

use crate::{
    engine::{CloseCause, ConnectionRequest, ProtocolVersion, Session, Transport},
    server,
};

use super::socket_ref::SocketRef;

/// A client: one connection, and its sockets in as many namespaces as it has joined.
///
/// Made by [`SocketRef::client`]. Cloning is cheap.
#[derive(Clone)]
pub struct Client(Arc<server::Client>);

impl Client {
    pub(super) fn new(client: &Arc<server::Client>) -> Self {
        Self(client.clone())
    }

    /// The connection beneath.
    #[must_use]
    pub fn conn(&self) -> Conn {
        Conn(self.0.clone())
    }

    /// The request that opened the connection.
    #[must_use]
    pub fn request(&self) -> &ConnectionRequest {
        &self.0.connection.request
    }

    /// The client's sockets, one for each namespace that it is connected to.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketRef> {
        self.0.connected_sockets().into_iter().map(SocketRef::from).collect()
    }

    /// Disconnects all sockets, then closes the connection.
    pub fn disconnect(&self) {
        self.0.disconnect_all();
    }
}

/// A connection of the layer below, Engine.IO's: a session and the transport that carries it.
///
/// Made by [`SocketRef::conn`]. Cloning is cheap.
#[derive(Clone)]
pub struct Conn(Arc<server::Client>);

impl Conn {
    /// The id of the session. A secret: whoever knows it speaks for the client.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.connection.id
    }

    /// The revision of Engine.IO that the client speaks.
    #[must_use]
    pub fn protocol(&self) -> ProtocolVersion {
        self.0.connection.wire_format.protocol
    }

    /// What carries the session now: an upgrade changes it.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.0.connection.transport()
    }

    /// The request that opened the connection.
    #[must_use]
    pub fn request(&self) -> &ConnectionRequest {
        &self.0.connection.request
    }

    /// The address of the peer. See [`ConnectionRequest::remote_addr`].
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.0.connection.request.remote_addr()
    }

    /// Whether the session is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.connection.inspect(Session::is_open)
    }

    /// Closes the connection: what is queued is sent first. Clients see the loss of their connection, and may try again.
    pub fn close(&self) {
        self.0.close(CloseCause::Forced("closed by the server"));
    }
}

impl SocketRef {
    /// The client whose socket this is, with its sockets in other namespaces.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.inner().client)
    }

    /// The connection that carries this socket and those of the client's other namespaces.
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
    /// Leaves out the id, which is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn")
            .field("protocol", &self.protocol())
            .field("transport", &self.transport())
            .finish_non_exhaustive()
    }
}
