use std::{
    any::TypeId,
    fmt,
    net::SocketAddr,
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use axum::extract::{ConnectInfo, FromRequestParts, OriginalUri, RawPathParams};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Extensions, HeaderMap, HeaderValue, Method, Uri, request::Parts, uri};
use hyper::upgrade::OnUpgrade;

use super::head::{CompactHead, HeadError};

/// The HTTP request that opened a connection: its method, target, headers and extensions.
///
/// Returned by [`SocketRef::request`](crate::SocketRef::request) and
/// [`EngineSocket::request`](crate::engine::EngineSocket::request).
///
/// ```
/// use tower_socketio::SocketRef;
///
/// fn user_agent(socket: &SocketRef) -> Option<&str> {
///     socket.request().headers().get("user-agent")?.to_str().ok()
/// }
/// ```
pub struct ConnectionRequest {
    head: CompactHead,
    /// The parsed head, once it has been used.
    read: OnceLock<Box<Read>>,
    /// Without the [`OriginalUri`] if it equals the target, which it does outside of a nested router. Empty if they are equal to
    /// [`NO_PATH_PARAMS`].
    extensions: Extensions,
    has_original_uri: bool,
    has_no_path_params: bool,
    /// The time of arrival, in nanoseconds since the Unix epoch.
    nanos: u64,
}

/// The only extension that axum's router adds to most requests: an empty list of path parameters. Connections share it, because
/// it would take 240 bytes of each.
static NO_PATH_PARAMS: OnceLock<Extensions> = OnceLock::new();

struct Read {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    /// With the [`OriginalUri`].
    extensions: OnceLock<Extensions>,
    description: OnceLock<Box<str>>,
}

impl ConnectionRequest {
    /// Stores a request, without references to the buffers of the HTTP server. Extensions of unknown types may still have such
    /// references.
    ///
    /// # Errors
    ///
    /// Returns an error if the target and the headers are larger than `max_head_bytes`, or if the target cannot be stored exactly:
    /// access control must not depend on a changed target.
    pub(crate) fn new(mut parts: Parts, max_head_bytes: usize) -> Result<Self, HeadError> {
        let head = CompactHead::new(&parts, max_head_bytes)?;
        let extensions = &mut parts.extensions;
        extensions.remove::<OnUpgrade>();
        let has_original_uri = extensions.get::<OriginalUri>().is_some_and(|original| original.0 == parts.uri);
        if has_original_uri {
            extensions.remove::<OriginalUri>();
        }
        if !detach_extensions(extensions) {
            return Err(HeadError::UnreadableTarget);
        }
        let has_no_path_params = has_only_empty_path_params(&mut parts);
        let mut extensions = parts.extensions;
        if has_no_path_params {
            let unused = NO_PATH_PARAMS.set(std::mem::take(&mut extensions));
            drop(unused);
        } else if extensions.is_empty() {
            extensions = Extensions::new();
        }
        Ok(Self {
            head,
            read: OnceLock::new(),
            extensions,
            has_original_uri,
            has_no_path_params,
            nanos: nanos(SystemTime::now()),
        })
    }

    fn read(&self) -> &Read {
        self.read.get_or_init(|| {
            let (method, uri, headers) = (self.head.method(), self.head.uri(), self.head.headers());
            Box::new(Read { method, uri, headers, extensions: OnceLock::new(), description: OnceLock::new() })
        })
    }

    /// Returns what `describe` returned when this was first called.
    pub(crate) fn description(&self, describe: impl FnOnce() -> Box<str>) -> &str {
        self.read().description.get_or_init(describe)
    }

    /// Returns the query of the target.
    pub(crate) fn query(&self) -> Option<&str> {
        self.head.query()
    }

    /// Returns the authority of the target, which requests over HTTP/2 have.
    pub(crate) fn to_authority(&self) -> Option<uri::Authority> {
        match self.head.is_origin_form() {
            true => None,
            false => self.head.uri().into_parts().authority,
        }
    }

    /// Parses the headers, without caching them.
    pub(crate) fn to_headers(&self) -> HeaderMap {
        self.head.headers()
    }

    /// Returns the extensions, except an [`OriginalUri`] that is rebuilt.
    fn stored_extensions(&self) -> &Extensions {
        NO_PATH_PARAMS.get().filter(|_| self.has_no_path_params).unwrap_or(&self.extensions)
    }

    /// Returns a copy of the extensions.
    pub(crate) fn to_extensions(&self) -> Extensions {
        let mut extensions = self.stored_extensions().clone();
        if self.has_original_uri {
            extensions.insert(OriginalUri(self.head.uri()));
        }
        extensions
    }

    /// Returns the extension of a type.
    pub(crate) fn extension<T: Clone + Send + Sync + 'static>(&self) -> Option<&T> {
        match TypeId::of::<T>() == TypeId::of::<OriginalUri>() {
            true => self.extensions().get(),
            false => self.stored_extensions().get(),
        }
    }

    /// Returns the method: GET, or CONNECT if the request opened a WebSocket over HTTP/2.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.read().method
    }

    /// Returns the target, including the query.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.read().uri
    }

    /// Returns the headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.read().headers
    }

    /// Returns the extensions that outer layers have added to the request.
    ///
    /// They are kept as long as the connection. axum's `OriginalUri`, `http::Uri` and `HeaderValue` are copied, so that they do not
    /// keep the read buffer of the HTTP server, some 8 KiB. Values of other types that share the buffer keep it.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        match self.has_original_uri {
            true => self.read().extensions.get_or_init(|| self.to_extensions()),
            false => self.stored_extensions(),
        }
    }

    /// Returns the time of arrival.
    #[must_use]
    pub fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.nanos)
    }

    /// Returns the address of the peer, which may be a proxy. Returns `None` if it is unknown.
    ///
    /// It is known if the request has a `ConnectInfo<SocketAddr>` extension, which axum's
    /// `into_make_service_with_connect_info::<SocketAddr>()` and [`SocketIoService::serve`](crate::SocketIoService::serve) add.
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
    }
}

impl fmt::Debug for ConnectionRequest {
    /// Omits headers and query, which may contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionRequest")
            .field("path", &self.head.uri().path())
            .field("time", &self.time())
            .finish_non_exhaustive()
    }
}

/// Returns the nanoseconds since the Unix epoch, or 0 for an earlier time. They fit until 2554.
fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_secs().saturating_mul(1_000_000_000).saturating_add(since.subsec_nanos().into())
}

/// Returns `true` if the only extension is an empty list of path parameters. Its type is axum's own.
fn has_only_empty_path_params(parts: &mut Parts) -> bool {
    if parts.extensions.len() != 1 {
        return false;
    }
    let params = RawPathParams::from_request_parts(parts, &()).now_or_never();
    params.is_some_and(|params| params.is_ok_and(|params| params.iter().next().is_none()))
}

/// Copies the values of known types that may be slices of the HTTP server's read buffer. Returns `false` if one cannot be copied.
fn detach_extensions(extensions: &mut Extensions) -> bool {
    if extensions.is_empty() {
        return true;
    }
    let original = extensions.get_mut::<OriginalUri>().map(|original| &mut original.0);
    let detached = original.is_none_or(detach_uri);
    if let Some(value) = extensions.get_mut::<HeaderValue>() {
        *value = copied(value);
    }
    #[cfg(feature = "http2")]
    if extensions.get::<hyper::ext::Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket") {
        extensions.insert(hyper::ext::Protocol::from_static("websocket"));
    }
    detached && extensions.get_mut::<Uri>().is_none_or(detach_uri)
}

fn copied(value: &HeaderValue) -> HeaderValue {
    let mut copy = HeaderValue::from_bytes(value.as_bytes()).expect("it is the value of a header");
    copy.set_sensitive(value.is_sensitive());
    copy
}

/// Copies the parts of a URI. Returns `false` if they cannot be parsed again, which does not happen with a parsed URI.
fn detach_uri(uri: &mut Uri) -> bool {
    let copy = || {
        let mut parts = uri::Parts::default();
        let of = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        parts.scheme = uri.scheme().map(|scheme| scheme.as_str().parse()).transpose().ok()?;
        parts.authority = uri
            .authority()
            .map(|authority| uri::Authority::from_maybe_shared(of(authority.as_str())))
            .transpose()
            .ok()?;
        parts.path_and_query = uri
            .path_and_query()
            .map(|path| uri::PathAndQuery::from_maybe_shared(of(path.as_str())))
            .transpose()
            .ok()?;
        Uri::from_parts(parts).ok()
    };
    copy().map(|copy| *uri = copy).is_some()
}

#[cfg(test)]
mod tests {
    use http::{Request, header};

    use super::*;

    #[test]
    fn target_and_headers_survive_a_round_trip() {
        let mut secret = HeaderValue::from_static("Bearer a:b");
        secret.set_sensitive(true);
        let target = "https://user:word@example.org:8443/socket.io/?EIO=4&transport=polling&name=%C3%A9";
        let request = Request::get(target)
            .header("x-many", "1")
            .header(header::AUTHORIZATION, secret)
            .header("x-many", "2")
            .header("x-empty", "")
            .header("x-bytes", HeaderValue::from_bytes(b"a\xffb\tc").unwrap());
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let (uri, headers) = (parts.uri.clone(), parts.headers.clone());
        let kept = ConnectionRequest::new(parts, usize::MAX).unwrap();
        assert_eq!((kept.uri(), kept.headers()), (&uri, &headers));
        assert!(kept.headers()[header::AUTHORIZATION].is_sensitive());
        assert!(!kept.headers()["x-many"].is_sensitive());
        assert_eq!((kept.query(), kept.to_headers()), (uri.query(), headers));
        let shown = format!("{kept:?}");
        assert!(shown.contains(r#""/socket.io/""#) && !shown.contains("EIO") && !shown.contains("word"), "{shown}");
    }

    #[test]
    fn a_target_that_does_not_survive_a_round_trip_is_rejected() {
        let long = |length: usize| format!("/{}", "a".repeat(length - 1));
        let keeps = |uri: Uri| {
            let (parts, ()) = Request::get(uri.clone()).body(()).unwrap().into_parts();
            let kept = ConnectionRequest::new(parts, usize::MAX);
            kept.is_ok_and(|kept| *kept.uri() == uri)
        };
        assert!(keeps(long(65_534).parse().unwrap()));
        // As in HTTP/2, which limits the length of each part, but not of all together.
        let parts =
            |path: &str| Uri::builder().scheme("http").authority("example.org").path_and_query(path).build().unwrap();
        assert!(keeps(parts("/socket.io/?EIO=4")));
        assert!(!keeps(parts(&long(65_534))));
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = "X-QUITE-A-LONG-METHOD".parse().unwrap();
        assert_eq!(ConnectionRequest::new(parts.clone(), usize::MAX).unwrap().method(), parts.method);
        for form in ["*", "example.org:443", "http://user@[::1]:80?query", "/?a=\u{e9}"] {
            assert!(keeps(form.parse().unwrap()), "{form}");
        }
    }

    #[test]
    fn a_stored_request_shares_no_memory_with_the_original() {
        let buffer = Bytes::from(b"http://example.org:80/socket.io/?EIO=4 secret ".repeat(200));
        let is_inside = |text: &str| buffer.as_ptr_range().contains(&text.as_ptr());
        let uri = Uri::from_maybe_shared(buffer.slice(..38)).unwrap();
        let value = HeaderValue::from_maybe_shared(buffer.slice(39..45)).unwrap();
        assert!(is_inside(uri.path()) && is_inside(value.to_str().unwrap()));
        let (mut parts, ()) = Request::get(uri.clone()).header("x-value", value.clone()).body(()).unwrap().into_parts();
        parts.extensions.insert(uri.clone());
        parts.extensions.insert(value.clone());
        parts.extensions.insert("another");
        // The target itself, and that of an outer router.
        for original in [uri, Uri::from_maybe_shared(buffer.slice(..33)).unwrap()] {
            parts.extensions.insert(OriginalUri(original.clone()));
            let kept = ConnectionRequest::new(parts.clone(), usize::MAX).unwrap();
            for extensions in [kept.extensions(), &kept.to_extensions()] {
                let found = &extensions.get::<OriginalUri>().unwrap().0;
                assert_eq!((found, kept.uri()), (&original, &parts.uri));
                assert_eq!(extensions.get::<Uri>(), Some(&parts.uri));
                for copy in [kept.uri(), found, extensions.get().unwrap()] {
                    assert!(!is_inside(copy.path()) && !is_inside(copy.host().unwrap()));
                }
                for copy in [&kept.headers()["x-value"], extensions.get().unwrap()] {
                    assert_eq!(copy, value);
                    assert!(!is_inside(copy.to_str().unwrap()));
                }
                assert_eq!(extensions.get::<&str>(), Some(&"another"));
            }
            assert_eq!(kept.extension::<OriginalUri>().unwrap().0, original);
            assert_eq!(kept.extension::<&str>(), Some(&"another"));
        }
    }

    /// A request to a router, as its handler gets it, and the path parameters that the stored request has.
    async fn routed(target: &str, extension: Option<u8>) -> (ConnectionRequest, Vec<String>) {
        let handler = axum::routing::get(async |parts: Parts| axum::Extension(parts));
        let router: axum::Router = axum::Router::new().route("/{id}", handler.clone()).fallback_service(handler);
        let mut request = Request::get(target).body(axum::body::Body::empty()).unwrap();
        extension.map(|extension| request.extensions_mut().insert(extension));
        let response = tower::ServiceExt::oneshot(router, request).await.unwrap();
        let mut parts = response.extensions().get::<Parts>().unwrap().clone();
        parts.extensions.remove::<axum::extract::MatchedPath>();
        let kept = ConnectionRequest::new(parts, usize::MAX).unwrap();
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.extensions = kept.to_extensions();
        let params = RawPathParams::from_request_parts(&mut parts, &()).await.unwrap();
        (kept, params.iter().map(|(name, value)| format!("{name}={value}")).collect())
    }

    #[tokio::test]
    async fn path_parameters_are_kept_and_an_empty_list_of_them_is_shared() {
        for _ in 0..2 {
            let (kept, params) = routed("/", None).await;
            assert!(
                kept.extensions.is_empty() && kept.extensions().get::<OriginalUri>().is_some() && params.is_empty()
            );
            let (kept, params) = routed("/7", None).await;
            assert!(!kept.extensions.is_empty() && kept.extensions().get::<OriginalUri>().is_some());
            assert_eq!(params, ["id=7"]);
            let (kept, params) = routed("/", Some(7)).await;
            assert!(kept.extension::<u8>() == Some(&7) && params.is_empty());
        }
        let (parts, ()) = Request::new(()).into_parts();
        assert!(ConnectionRequest::new(parts, usize::MAX).unwrap().extensions().is_empty());
    }

    #[test]
    fn many_values_of_one_header_are_kept() {
        let mut headers = HeaderMap::new();
        for _ in 0..40_000 {
            headers.append("x", HeaderValue::from_static("1"));
        }
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.headers = headers.clone();
        assert_eq!(ConnectionRequest::new(parts, usize::MAX).unwrap().headers(), &headers);
    }
}
