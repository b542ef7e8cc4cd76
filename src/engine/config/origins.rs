//! The origins of pages that may connect.

use std::{fmt, sync::Arc};

use http::{HeaderValue, Method, Uri, header, request::Parts, uri::Authority};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, Any, CorsLayer};

use crate::util::{catch_panic, log};

/// The origins of pages that may connect. See [`SocketIoConfig::origins`](crate::SocketIoConfig::origins).
///
/// Created from a text or a list of texts, each of which is one of
///
/// | text | allows |
/// |---|---|
/// | `https://example.com` | this origin, on the default port of its scheme unless a port is given |
/// | `https://*.example.com` | all subdomains of `example.com`, but not `example.com` |
/// | `example.com:8080`, `example.com:*`, `*:8080` | host and port with any scheme, as in Socket.IO 1.x; `*` matches any |
/// | `example.com` | the host, on any port |
/// | `capacitor://localhost`, `tauri://localhost`, `chrome-extension://<id>`, `file://` | this origin of a web view or an extension |
/// | `null` | pages with an opaque origin: sandboxed frames, some local files |
/// | `*`, `*:*` | all pages |
///
/// or from a function by [`predicate`](Self::predicate). An origin that equals a text in the list is allowed, regardless of its
/// scheme.
///
/// A list also allows the pages of the server itself: those whose origin has the host and port of the request's `Host` header,
/// with the scheme `http`, `https`, `ws` or `wss`. Some native clients, such as those for React Native and Swift, send such an
/// origin. A server that is not protected against DNS rebinding should validate `Host` in an outer layer.
///
/// ```
/// use tower_socketio::{Origins, SocketIoConfig};
///
/// let config = SocketIoConfig::new().origins(["https://example.com", "https://*.example.com"]);
/// let local = Origins::from("http://localhost:* null");
/// # let _ = (config, local);
/// ```
#[derive(Clone)]
pub struct Origins(Repr);

#[derive(Clone)]
enum Repr {
    Everyone,
    List(Arc<[Pattern]>),
    Predicate(Arc<dyn Fn(&HeaderValue, &Parts) -> bool + Send + Sync>),
}

impl Origins {
    /// Creates origins from a predicate on the value of the `Origin` header and the request. If it panics, the origin is rejected.
    ///
    /// ```
    /// use tower_socketio::Origins;
    ///
    /// let origins = Origins::predicate(|origin, _request| origin.as_bytes().ends_with(b".example.com"));
    /// # let _ = origins;
    /// ```
    pub fn predicate(allows: impl Fn(&HeaderValue, &Parts) -> bool + Send + Sync + 'static) -> Self {
        Self(Repr::Predicate(Arc::new(allows)))
    }

    fn list(patterns: impl Iterator<Item = Pattern>) -> Self {
        let patterns: Arc<[Pattern]> = patterns.collect();
        match patterns.iter().any(|pattern| pattern.allows == Allows::Everyone) {
            true => Self(Repr::Everyone),
            false => Self(Repr::List(patterns)),
        }
    }

    /// Returns `true` if a request may open a session. Requests without an `Origin` may, except for JSONP, whose `Referer` is checked
    /// instead.
    ///
    /// `count_panic` is called if the predicate panics.
    pub(crate) fn allow(&self, request: &Parts, jsonp: bool, count_panic: impl Fn()) -> bool {
        if matches!(self.0, Repr::Everyone) {
            return true;
        }
        if jsonp && !request.headers.contains_key(header::ORIGIN) {
            let referrer = request.headers.get(header::REFERER).and_then(|referrer| origin_of(referrer.to_str().ok()?));
            return referrer.is_some_and(|origin| self.allows(&origin, request, &count_panic));
        }
        request.headers.get_all(header::ORIGIN).iter().all(|origin| self.allows(origin, request, &count_panic))
    }

    fn allows(&self, origin: &HeaderValue, request: &Parts, count_panic: impl Fn()) -> bool {
        match &self.0 {
            Repr::Everyone => true,
            Repr::Predicate(allows) => contained(|| allows(origin, request), count_panic),
            Repr::List(patterns) => {
                // Origins are ASCII.
                let Ok(origin) = origin.to_str() else { return false };
                let page = Page::parse(origin);
                patterns.iter().any(|pattern| pattern.matches(origin, page.as_ref()))
                    || page.is_some_and(|page| page.is_of(request))
            }
        }
    }

    /// Returns a layer that adds the CORS headers. As in Node's `cors`, `*` is sent as is and does not allow credentials.
    pub(crate) fn cors(&self, count_panic: impl Fn() + Clone + Send + Sync + 'static) -> CorsLayer {
        let cors = CorsLayer::new()
            .allow_methods(AllowMethods::list([Method::GET, Method::POST]))
            .allow_headers(AllowHeaders::mirror_request());
        if matches!(self.0, Repr::Everyone) {
            return cors.allow_origin(Any).vary([]);
        }
        let origins = self.clone();
        let allows = move |origin: &HeaderValue, request: &Parts| origins.allows(origin, request, &count_panic);
        cors.allow_origin(AllowOrigin::predicate(allows)).allow_credentials(true)
    }
}

/// Calls a predicate. Returns `false` if it panics.
fn contained(allows: impl FnOnce() -> bool, count_panic: impl Fn()) -> bool {
    catch_panic(allows).unwrap_or_else(|| {
        count_panic();
        log!(error, "user code panicked");
        false
    })
}

/// The text may contain several origins, separated by white space.
impl From<&str> for Origins {
    #[track_caller]
    fn from(text: &str) -> Self {
        Self::list(text.split_whitespace().map(Pattern::parse))
    }
}

impl<T: AsRef<str>, const N: usize> From<[T; N]> for Origins {
    #[track_caller]
    fn from(texts: [T; N]) -> Self {
        Self::list(texts.iter().map(|text| Pattern::parse(text.as_ref())))
    }
}

impl<T: AsRef<str>> From<Vec<T>> for Origins {
    #[track_caller]
    fn from(texts: Vec<T>) -> Self {
        Self::list(texts.iter().map(|text| Pattern::parse(text.as_ref())))
    }
}

/// The origin of a page.
struct Page {
    scheme: String,
    host: String,
    /// The scheme's default port if none is given. `None` for schemes of web views and extensions.
    port: Option<u16>,
}

impl Page {
    fn parse(origin: &str) -> Option<Self> {
        let uri: Uri = origin.parse().ok()?;
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let port = uri.port_u16().or_else(|| default_port(&scheme));
        Some(Self { host: uri.host()?.to_ascii_lowercase(), scheme, port })
    }

    /// Returns `true` if it is a page of the server that got the request.
    fn is_of(&self, request: &Parts) -> bool {
        let Some(own_port) = default_port(&self.scheme) else { return false };
        let is_it = |host: &Authority| {
            // The server does not know whether a proxy terminates TLS, so the default port is that of the page's scheme.
            host.host().eq_ignore_ascii_case(&self.host) && self.port == Some(host.port_u16().unwrap_or(own_port))
        };
        if let Some(authority) = request.uri.authority() {
            return is_it(authority);
        }
        let mut hosts = request.headers.get_all(header::HOST).iter();
        match (hosts.next(), hosts.next()) {
            (Some(host), None) => Authority::try_from(host.as_bytes()).is_ok_and(|host| is_it(&host)),
            _ => false,
        }
    }
}

/// Returns the origin of a URL.
fn origin_of(address: &str) -> Option<HeaderValue> {
    let uri: Uri = address.parse().ok()?;
    HeaderValue::try_from(format!("{}://{}", uri.scheme_str()?, uri.authority()?)).ok()
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

#[derive(Debug)]
struct Pattern {
    /// The original text.
    text: String,
    allows: Allows,
}

#[derive(Debug, PartialEq)]
enum Allows {
    Everyone,
    /// Only origins that equal the text.
    Literal,
    Pages {
        scheme: Option<String>,
        host: Host,
        port: Port,
    },
}

#[derive(Debug, PartialEq)]
enum Host {
    Any,
    Named(String),
    /// Subdomains. The text begins with a dot.
    Beneath(String),
}

#[derive(Debug, PartialEq)]
enum Port {
    Any,
    /// This port. `None` if the origin and its scheme have none.
    Is(Option<u16>),
}

impl Pattern {
    #[track_caller]
    fn parse(text: &str) -> Self {
        match Allows::parse(text) {
            Some(allows) => Self { text: text.to_owned(), allows },
            None => panic!(
                "`{text}` is not an origin: expected `https://example.com`, `example.com:443` or `*`, for example"
            ),
        }
    }

    fn matches(&self, origin: &str, page: Option<&Page>) -> bool {
        match (&self.allows, page) {
            (Allows::Everyone, _) => true,
            _ if self.text.eq_ignore_ascii_case(origin) => true,
            (Allows::Pages { scheme, host, port }, Some(page)) => {
                scheme.as_ref().is_none_or(|scheme| *scheme == page.scheme)
                    && (*port == Port::Any || *port == Port::Is(page.port))
                    && match host {
                        Host::Any => true,
                        Host::Named(host) => *host == page.host,
                        Host::Beneath(domain) => page.host.ends_with(domain.as_str()),
                    }
            }
            (Allows::Pages { .. } | Allows::Literal, _) => false,
        }
    }
}

impl Allows {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "*" | "*:*" => return Some(Self::Everyone),
            "null" => return Some(Self::Literal),
            _ => {}
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Self::pages(None, text);
        };
        let scheme = scheme.to_ascii_lowercase();
        let is_of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        if !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) || !scheme.bytes().all(is_of_scheme) {
            return None;
        }
        let is_for_the_web = default_port(&scheme).is_some();
        Self::pages(Some(scheme), rest).or_else(|| {
            // Some web views have origins without a host.
            let is_origin = HeaderValue::from_str(text).is_ok() && !rest.contains(['/', '*', ' ']);
            (!is_for_the_web && is_origin).then_some(Self::Literal)
        })
    }

    fn pages(scheme: Option<String>, authority: &str) -> Option<Self> {
        let own_port = || match &scheme {
            Some(scheme) => Port::Is(default_port(scheme)),
            None => Port::Any,
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, "*")) => (host, Port::Any),
            Some((host, port)) if !port.ends_with(']') => (host, Port::Is(Some(port.parse().ok()?))),
            _ => (authority, own_port()),
        };
        let host = host.to_ascii_lowercase();
        let (host, checked) = match host.strip_prefix('*') {
            Some("") => (Host::Any, "any"),
            Some(domain) if domain.starts_with('.') => (Host::Beneath(domain.to_owned()), &domain[1..]),
            _ => (Host::Named(host.clone()), &*host),
        };
        // A comma is not valid in a host: the text is meant as a list.
        if checked.contains(['*', ',']) {
            return None;
        }
        let authority: Authority = checked.parse().ok()?;
        (authority.as_str() == authority.host()).then_some(Self::Pages { scheme, host, port })
    }
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Everyone => f.write_str("Origins(\"*\")"),
            Repr::List(patterns) => {
                let texts = patterns.iter().map(|pattern| &pattern.text);
                f.write_str("Origins(")?;
                f.debug_list().entries(texts).finish()?;
                f.write_str(")")
            }
            Repr::Predicate(_) => f.debug_struct("Origins").finish_non_exhaustive(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn allowed(origins: &Origins, origin: &str) -> bool {
        origins.allow(&request(&[("origin", origin)]), false, || {})
    }

    #[test]
    fn each_form_matches_its_origins() {
        let cases: [(&str, &[&str], &[&str]); 14] = [
            (
                "https://example.com",
                &["https://example.com", "https://EXAMPLE.com:443"],
                &["http://example.com", "https://example.com:8443", "https://a.example.com", "null"],
            ),
            ("http://localhost:3000", &["http://localhost:3000"], &["http://localhost", "https://localhost:3000"]),
            (
                "https://*.example.com",
                &["https://a.example.com", "https://a.b.example.com"],
                &["https://example.com", "https://badexample.com"],
            ),
            ("example.com:443", &["https://example.com", "http://example.com:443"], &["http://example.com"]),
            ("example.com:*", &["https://example.com", "http://example.com:1"], &["http://example.org"]),
            ("example.com", &["https://example.com", "http://example.com:1"], &["http://example.org"]),
            ("*:8080 [::1]:3000", &["http://x:8080", "http://[::1]:3000"], &["http://x", "garbage", "http://[::1]"]),
            ("*:*", &["http://x", "null", "file://"], &[]),
            ("https://example.com *", &["http://x", "null"], &[]),
            (
                "capacitor://localhost ionic://localhost tauri://localhost",
                &["capacitor://localhost", "ionic://localhost", "tauri://localhost", "Tauri://localhost"],
                &["http://localhost", "capacitor://localhost:80", "capacitor://example.com", "null"],
            ),
            (
                "chrome-extension://mbniclmhobmnbdlbpiphghaielnnpgdp",
                &["chrome-extension://mbniclmhobmnbdlbpiphghaielnnpgdp"],
                &["chrome-extension://other", "moz-extension://mbniclmhobmnbdlbpiphghaielnnpgdp"],
            ),
            ("moz-extension://*", &["moz-extension://8a1b2c3d-0000-4000-8000-000000000000"], &["http://x"]),
            ("null", &["null"], &["http://null", "https://null:8080", "file://"]),
            ("file:// app://.", &["file://", "app://."], &["null", "app://"]),
        ];
        for (text, allows, refuses) in cases {
            let origins = Origins::from(text);
            allows.iter().for_each(|origin| assert!(allowed(&origins, origin), "{text} allows {origin}"));
            refuses.iter().for_each(|origin| assert!(!allowed(&origins, origin), "{text} refuses {origin}"));
        }
    }

    #[test]
    fn the_servers_own_pages_are_allowed() {
        let origins = Origins::from("https://example.com");
        let allowed =
            |host: &str, origin: &str| origins.allow(&request(&[("host", host), ("origin", origin)]), false, || {});
        for (host, origin) in [
            ("api.example.org", "http://api.example.org"),
            ("api.example.org", "wss://API.example.org"),
            ("api.example.org:443", "https://api.example.org"),
            ("api.example.org:80", "ws://api.example.org"),
            ("127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("[::1]:3000", "ws://[::1]:3000"),
        ] {
            assert!(allowed(host, origin), "{host} allows {origin}");
        }
        for (host, origin) in [
            ("api.example.org", "http://api.example.org:8080"),
            ("api.example.org:8080", "http://api.example.org"),
            ("api.example.org", "http://example.org"),
            ("api.example.org", "null"),
            ("localhost", "capacitor://localhost"),
            ("a b", "http://a b"),
        ] {
            assert!(!allowed(host, origin), "{host} refuses {origin}");
        }
        let two = request(&[("host", "a.example"), ("host", "b.example"), ("origin", "http://a.example")]);
        assert!(!origins.allow(&two, false, || {}), "the host is ambiguous");
        // As in HTTP/2.
        let mut parts = request(&[("origin", "https://a.example")]);
        parts.uri = "https://a.example/socket.io/".parse().unwrap();
        assert!(origins.allow(&parts, false, || {}));
    }

    #[test]
    fn an_origin_that_is_not_ascii_is_rejected() {
        let mut parts = request(&[]);
        parts.headers.insert("origin", HeaderValue::from_bytes(b"https://example.com\xff").unwrap());
        assert!(!Origins::from("https://example.com").allow(&parts, false, || {}));
        assert!(Origins::from("*").allow(&parts, false, || {}));
    }

    #[test]
    fn the_referer_of_jsonp_requests_is_checked() {
        let allowed = |text: &str, headers: &[(&str, &str)]| Origins::from(text).allow(&request(headers), true, || {});
        let listed = "https://example.com";
        assert!(allowed(listed, &[("referer", "https://example.com/page?a=b")]));
        assert!(allowed(listed, &[("host", "x:80"), ("referer", "http://x/page")]));
        assert!(!allowed(listed, &[("referer", "https://example.org/page")]));
        assert!(!allowed(listed, &[("host", "x")]) && !allowed(listed, &[("referer", "\u{e9}")]));
        // `*` needs no referrer.
        assert!(allowed("*", &[]) && allowed("*", &[("referer", "garbage")]));
    }

    #[test]
    fn a_predicate_that_panics_rejects_the_origin() {
        let origins = Origins::predicate(|_, _| panic!("on purpose"));
        assert!(!allowed(&origins, "https://example.com"));
    }

    /// A text that cannot match any page is a mistake of the user.
    #[test]
    fn a_text_that_is_not_an_origin_is_rejected() {
        for text in ["*://localhost", "http*://a", "://a", "1a://b", "a.example,b.example", "https://a,b", "https://ä"]
        {
            let parsed = std::panic::catch_unwind(|| Origins::from([text]));
            assert!(parsed.is_err(), "{text}");
        }
    }

    #[test]
    #[should_panic(expected = "`*example.com` is not an origin")]
    fn an_asterisk_matches_whole_labels() {
        let _ = Origins::from("*example.com");
    }

    #[test]
    #[should_panic(expected = "`https://a b` is not an origin")]
    fn an_invalid_origin_panics_at_once() {
        let _ = Origins::from(["https://a b"]);
    }

    #[test]
    #[should_panic(expected = "`capacitor://localhost/` is not an origin")]
    fn an_origin_has_no_path() {
        let _ = Origins::from("capacitor://localhost/");
    }
}
