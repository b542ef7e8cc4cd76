use std::{fmt, sync::Arc};

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::{
    engine::{Connection, ConnectionRequest, Engine},
    packet::read_json,
};

/// A request to join a namespace that may not exist yet. See
/// [`SocketIoConfig::namespace_async_fn`](crate::SocketIoConfig::namespace_async_fn).
///
/// ```
/// use tower_socketio::{Namespace, SocketIoConfig, namespace::NamespaceRequest};
///
/// #[derive(serde::Deserialize)]
/// struct Auth { tenant: String }
///
/// async fn is_allowed(request: NamespaceRequest) -> bool {
///     let tenant = request.name().strip_prefix("/tenant/");
///     request.auth::<Auth>().is_ok_and(|auth| tenant == Some(&auth.tenant))
/// }
/// # let _ = is_allowed;
/// ```
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

    /// Returns the name of the requested namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Deserializes the `auth` payload of the client. A missing payload is `{}`.
    ///
    /// # Errors
    ///
    /// Returns an error if the payload does not match the type.
    pub fn auth<T: DeserializeOwned + Send>(&self) -> serde_json::Result<T> {
        read_json(&self.auth)
    }

    /// Returns the request that opened the connection.
    #[must_use]
    pub fn request(&self) -> &ConnectionRequest {
        &self.connection.request
    }
}

impl fmt::Debug for NamespaceRequest {
    /// Leaves out the auth payload, which may contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamespaceRequest").field("name", &self.name).finish_non_exhaustive()
    }
}
