//! Callbacks for the HTTP exchanges that carry connections.

use std::{fmt, sync::Arc};

use http::{HeaderMap, request::Parts};

use super::connection_error::ConnectionError;

/// Looks at a request and changes the headers of its response.
type HeadersHook = Arc<dyn Fn(&mut HeaderMap, &Parts) + Send + Sync>;

/// Callbacks for HTTP exchanges. They run with no lock held, by
/// [`Engine::contain`](crate::engine::Engine::contain): a response that carries packets must leave.
#[derive(Default)]
pub(crate) struct HttpHooks {
    pub(crate) connection_error: Option<Arc<dyn Fn(&ConnectionError<'_>) + Send + Sync>>,
    pub(crate) initial_headers: Option<HeadersHook>,
    pub(crate) headers: Option<HeadersHook>,
}

impl HttpHooks {
    /// Whether the request of a handshake will be looked at once more.
    pub(crate) fn want_handshakes(&self) -> bool {
        self.connection_error.is_some() || self.initial_headers.is_some() || self.headers.is_some()
    }
}

impl fmt::Debug for HttpHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpHooks").finish_non_exhaustive()
    }
}
