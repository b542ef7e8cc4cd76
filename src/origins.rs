//! Which pages may connect.

use std::{fmt, sync::Arc};

use http::{HeaderValue, Method, Uri, header, request::Parts, uri::Authority};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};

/// The pages that may connect, by their origin. See [`SocketIoConfig::origins`](crate::SocketIoConfig::origins).
///
/// Made from a list of texts, each one of
///
/// | text | allows |
/// |---|---|
/// | `https://example.com` | this origin; another port than the scheme's own is named |
/// | `https://*.example.com` | all subdomains of `example.com`, but not itself |
/// | `example.com:8080`, `example.com:*`, `*:8080` | host and port, whatever the scheme, as Socket.IO 1.x has it; `*` stands for any |
/// | `example.com` | the host, on any port |
/// | `*`, `*:*` | all pages, those without an origin (`null`) too |
///
/// or by [`predicate`](Self::predicate) from a function.
#[derive(Clone)]
pub struct Origins(Repr);

#[derive(Clone)]
enum Repr {
    List(Arc<[Pattern]>),
    Predicate(Arc<dyn Fn(&HeaderValue, &Parts) -> bool + Send + Sync>),
}

impl Origins {
    /// Asks a function, which gets the value of the `Origin` header and the request.
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

    /// Whether a request may open a session. Those that come from no page have no origin, and may; but the script elements
    /// of JSONP send none either, and are judged by the page that they name as their referrer.
    pub(crate) fn allow(&self, request: &Parts, jsonp: bool) -> bool {
        if jsonp && !request.headers.contains_key(header::ORIGIN) {
            let referrer = request.headers.get(header::REFERER).and_then(|referrer| origin_of(referrer.to_str().ok()?));
            return referrer.is_some_and(|origin| self.allows(&origin, request));
        }
        request.headers.get_all(header::ORIGIN).iter().all(|origin| self.allows(origin, request))
    }

    fn allows(&self, origin: &HeaderValue, request: &Parts) -> bool {
        match &self.0 {
            Repr::Predicate(allows) => allows(origin, request),
            Repr::List(patterns) => {
                let page = origin.to_str().ok().and_then(Page::parse);
                patterns.iter().any(|pattern| pattern.matches(page.as_ref()))
            }
        }
    }

    /// What browsers are told.
    pub(crate) fn cors(&self) -> CorsLayer {
        let origins = self.clone();
        CorsLayer::new()
            .allow_origin(AllowOrigin::predicate(move |origin, request| origins.allows(origin, request)))
            .allow_credentials(true)
            .allow_methods(AllowMethods::list([Method::GET, Method::POST]))
            .allow_headers(AllowHeaders::mirror_request())
    }
}

/// Several may stand in one text, with spaces between them.
impl From<&str> for Origins {
    #[track_caller]
    fn from(text: &str) -> Self {
        Self(Repr::List(text.split_whitespace().map(Pattern::parse).collect()))
    }
}

impl<T: AsRef<str>, const N: usize> From<[T; N]> for Origins {
    #[track_caller]
    fn from(texts: [T; N]) -> Self {
        Self(Repr::List(texts.iter().map(|text| Pattern::parse(text.as_ref())).collect()))
    }
}

impl<T: AsRef<str>> From<Vec<T>> for Origins {
    #[track_caller]
    fn from(texts: Vec<T>) -> Self {
        Self(Repr::List(texts.iter().map(|text| Pattern::parse(text.as_ref())).collect()))
    }
}

/// The origin of a page.
struct Page {
    scheme: String,
    host: String,
    port: u16,
}

impl Page {
    fn parse(origin: &str) -> Option<Self> {
        let uri: Uri = origin.parse().ok()?;
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let port = uri.port_u16().or_else(|| default_port(&scheme))?;
        Some(Self { host: uri.host()?.to_ascii_lowercase(), scheme, port })
    }
}

/// The origin of an address.
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

#[derive(Debug, PartialEq)]
enum Pattern {
    All,
    Some { scheme: Option<String>, host: Host, port: Option<u16> },
}

#[derive(Debug, PartialEq)]
enum Host {
    Any,
    Named(String),
    /// With a dot in front.
    Beneath(String),
}

impl Pattern {
    #[track_caller]
    fn parse(text: &str) -> Self {
        match Self::try_parse(text) {
            Some(pattern) => pattern,
            None => panic!("`{text}` is no origin: write `https://example.com`, `example.com:443`, or `*`"),
        }
    }

    fn try_parse(text: &str) -> Option<Self> {
        if matches!(text, "*" | "*:*") {
            return Some(Self::All);
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, text),
        };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, "*")) => (host, None),
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (rest, scheme.as_deref().and_then(default_port)),
        };
        let host = host.to_ascii_lowercase();
        let (host, checked) = match host.strip_prefix('*') {
            Some("") => (Host::Any, "any"),
            Some(domain) if domain.starts_with('.') => (Host::Beneath(domain.to_owned()), &domain[1..]),
            _ => (Host::Named(host.clone()), &*host),
        };
        if checked.contains('*') {
            return None;
        }
        let authority: Authority = checked.parse().ok()?;
        (authority.as_str() == authority.host()).then_some(Self::Some { scheme, host, port })
    }

    fn matches(&self, page: Option<&Page>) -> bool {
        match (self, page) {
            (Self::All, _) => true,
            (Self::Some { .. }, None) => false,
            (Self::Some { scheme, host, port }, Some(page)) => {
                scheme.as_ref().is_none_or(|scheme| *scheme == page.scheme)
                    && port.is_none_or(|port| port == page.port)
                    && match host {
                        Host::Any => true,
                        Host::Named(host) => *host == page.host,
                        Host::Beneath(domain) => page.host.ends_with(domain.as_str()),
                    }
            }
        }
    }
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::List(patterns) => f.debug_tuple("Origins").field(patterns).finish(),
            Repr::Predicate(_) => f.debug_struct("Origins").finish_non_exhaustive(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origins: &Origins, origin: &str) -> bool {
        let request = http::Request::builder().header("origin", origin).body(()).unwrap();
        origins.allow(&request.into_parts().0, false)
    }

    #[test]
    fn each_form_allows_what_it_says() {
        let cases: [(&str, &[&str], &[&str]); 8] = [
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
        ];
        for (text, allows, refuses) in cases {
            let origins = Origins::from(text);
            allows.iter().for_each(|origin| assert!(allowed(&origins, origin), "{text} allows {origin}"));
            refuses.iter().for_each(|origin| assert!(!allowed(&origins, origin), "{text} refuses {origin}"));
        }
    }

    #[test]
    #[should_panic(expected = "`*example.com` is no origin")]
    fn an_asterisk_stands_for_whole_labels() {
        let _ = Origins::from("*example.com");
    }

    #[test]
    #[should_panic(expected = "`https://a b` is no origin")]
    fn what_is_no_origin_is_refused_at_once() {
        let _ = Origins::from(["https://a b"]);
    }
}
