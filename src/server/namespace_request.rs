use std::{fmt, sync::Arc};

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::{
    engine::{Connection, ConnectionRequest, Engine},
    packet::read_json,
};

/// A client's wish to join a namespace that may not exist yet. See
/// [`SocketIoConfig::namespace_async_fn`](crate::SocketIoConfig::namespace_async_fn).
#[derive(Clone)]
pub struct NamespaceRequest {
    connection: Arc<Connection>,
    name: Arc<str>,
    auth: Bytes,
}

impl NamespaceRequest {
    pub(super) fn new(connection: &Arc<Connection>, name: &str, auth: &Bytes) -> Self {
        Self { connection: connection.clone(), name: name.into(), auth: auth.clone() }
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.connection.engine
    }

    /// The name that the client asks for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the client sent as `auth`. `{}` if it sent nothing.
    ///
    /// # Errors
    ///
    /// If it does not fit the type.
    pub fn auth<T: DeserializeOwned + Send>(&self) -> serde_json::Result<T> {
        read_json(&self.auth)
    }

    /// The request that opened the connection.
    #[must_use]
    pub fn request(&self) -> &ConnectionRequest {
        &self.connection.request
    }
}

impl fmt::Debug for NamespaceRequest {
    /// Leaves out the auth payload, which holds secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamespaceRequest").field("name", &self.name).finish_non_exhaustive()
    }
}
