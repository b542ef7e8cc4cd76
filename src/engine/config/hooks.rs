//! Callbacks for HTTP requests to the engine.

use std::{fmt, sync::Arc};

use http::{HeaderMap, request::Parts};

use super::connection_error::ConnectionError;

/// Changes the headers of the response to a request.
type HeadersHook = Arc<dyn Fn(&mut HeaderMap, &Parts) + Send + Sync>;

/// Callbacks for HTTP requests. They run without a lock, by
/// [`Engine::catch_panic`](crate::engine::Engine::catch_panic), because a response that carries packets must be sent.
#[derive(Default)]
pub(crate) struct HttpHooks {
    pub(crate) connection_error: Option<Arc<dyn Fn(&ConnectionError<'_>) + Send + Sync>>,
    pub(crate) initial_headers: Option<HeadersHook>,
    pub(crate) headers: Option<HeadersHook>,
}

impl HttpHooks {
    /// Returns `true` if a callback needs the request of a handshake.
    pub(crate) fn want_handshakes(&self) -> bool {
        self.connection_error.is_some() || self.initial_headers.is_some() || self.headers.is_some()
    }
}

impl fmt::Debug for HttpHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpHooks").finish_non_exhaustive()
    }
}
