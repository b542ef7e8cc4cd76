//! Settings of the HTTP exchanges that carry connections.

use std::{fmt, sync::Arc};

use http::{HeaderMap, request::Parts};

use crate::service::ConnectionError;

use super::SocketIoConfig;

/// Looks at a request and changes the headers of its response.
type HeadersHook = Arc<dyn Fn(&mut HeaderMap, &Parts) + Send + Sync>;

/// User code that hears of HTTP exchanges. It runs with no lock held, by
/// [`Server::contain`](crate::server::Server::contain): a response that carries packets must leave.
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

impl SocketIoConfig {
    /// Compresses the answers to polls that have at least so many bytes; `None` compresses nothing. Default: 1024.
    ///
    /// With gzip or deflate, if the client accepts one of them, and if that makes the answer smaller. What should not be
    /// compressed is emitted with [`compress(false)`](crate::SocketRef::compress). It costs some milliseconds of one core
    /// for each megabyte. A `CompressionLayer` around this layer leaves alone what has been compressed here.
    #[cfg(feature = "compression")]
    pub fn http_compression(mut self, threshold: Option<usize>) -> Self {
        self.settings.http_compression = threshold;
        self
    }

    /// Is called with each request that is refused: what Node calls `connection_error`.
    ///
    /// That is one that is answered with an error of Engine.IO's, or whose opening handshake of WebSocket is at fault.
    /// Clients that a namespace refuses are not meant, nor are errors that end a session: these are reasons of a
    /// disconnection.
    ///
    /// ```
    /// use tower_socketio::SocketIoConfig;
    ///
    /// let config = SocketIoConfig::new().on_connection_error(|error| {
    ///     eprintln!("{} {}: {error}", error.request().method, error.code());
    /// });
    /// # let _ = config;
    /// ```
    pub fn on_connection_error<F>(mut self, hook: F) -> Self
    where
        F: Fn(&ConnectionError<'_>) + Send + Sync + 'static,
    {
        self.settings.hooks.connection_error = Some(Arc::new(hook));
        self
    }

    /// Is called with the headers of the first response of each session, the answer to a poll or a WebSocket's, and may
    /// change them: what Node calls `initial_headers`.
    ///
    /// The session's [`cookie`](Self::cookie) is not among them: it stands before every cookie that is set here.
    pub fn on_initial_headers<F>(mut self, hook: F) -> Self
    where
        F: Fn(&mut HeaderMap, &Parts) + Send + Sync + 'static,
    {
        self.settings.hooks.initial_headers = Some(Arc::new(hook));
        self
    }

    /// Is called with the headers of every successful answer to a poll, a POST or an opening WebSocket, and may change
    /// them: what Node calls `headers`.
    ///
    /// On the first response of a session it runs after [`on_initial_headers`](Self::on_initial_headers). Errors, CORS
    /// preflights and the files of the JavaScript client are not meant: for those put a layer around this one.
    pub fn on_headers<F>(mut self, hook: F) -> Self
    where
        F: Fn(&mut HeaderMap, &Parts) + Send + Sync + 'static,
    {
        self.settings.hooks.headers = Some(Arc::new(hook));
        self
    }
}

impl fmt::Debug for HttpHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpHooks").finish_non_exhaustive()
    }
}
