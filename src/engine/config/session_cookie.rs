use std::{fmt::Write as _, time::Duration};

use http::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// Characters that RFC 6265 does not allow in the value of a cookie, and the one that starts an escape.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%').add(b',').add(b';').add(b'\\');

/// A cookie that a client gets when its session opens. Its value is the id of the session.
///
/// [`EngineIoConfig::cookie`](crate::engine::EngineIoConfig::cookie) and [`SocketIoConfig::cookie`](crate::SocketIoConfig::cookie) take it.
///
/// ```
/// use std::time::Duration;
/// use tower_socketio::{SocketIoConfig, engine::{SameSite, SessionCookie}};
///
/// // For pages of other sites, on a server that speaks HTTPS.
/// let cookie = SessionCookie::new("io")
///     .path("/")
///     .http_only(true)
///     .same_site(SameSite::None)
///     .partitioned(true)
///     .max_age(Duration::from_secs(24 * 60 * 60));
/// let config = SocketIoConfig::new().cookie(cookie);
/// # let _ = config;
/// ```
#[must_use]
#[derive(Debug, Clone)]
pub struct SessionCookie {
    name: String,
    path: Option<String>,
    domain: Option<String>,
    max_age: Option<Duration>,
    same_site: Option<SameSite>,
    secure: bool,
    http_only: bool,
    partitioned: bool,
}

/// The attribute `SameSite` of a cookie, which limits the requests with which a browser sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// With requests from pages of the same site.
    Strict,
    /// With requests from pages of the same site, and when a user follows a link to the site.
    Lax,
    /// With requests from all sites. Browsers demand that the cookie is secure, so it is then always marked as such.
    None,
}

impl SessionCookie {
    /// Creates a cookie with a name and without attributes.
    ///
    /// # Panics
    ///
    /// Panics if the name is empty or contains characters that are not allowed in the name of a cookie: controls, spaces, and
    /// any of `()<>@,;:\"/[]?={}`.
    #[track_caller]
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        let is_token = |byte: u8| byte.is_ascii_graphic() && !br#"()<>@,;:\"/[]?={}"#.contains(&byte);
        assert!(!name.is_empty() && name.bytes().all(is_token), "the cookie name {name:?} is not valid");
        Self {
            name,
            path: None,
            domain: None,
            max_age: None,
            same_site: None,
            secure: false,
            http_only: false,
            partitioned: false,
        }
    }

    /// Sets the path under which browsers send the cookie. Default: that of the request, without its last part.
    ///
    /// # Panics
    ///
    /// Panics if the path does not start with a slash, or contains controls, semicolons or characters that are not ASCII.
    #[track_caller]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        let path = path.into();
        let is_allowed = |byte: u8| (byte == b' ' || byte.is_ascii_graphic()) && byte != b';';
        assert!(path.starts_with('/') && path.bytes().all(is_allowed), "the cookie path {path:?} is not valid");
        self.path = Some(path);
        self
    }

    /// Sets the domain of the cookie. Browsers send it to all hosts of the domain. Default: only to the host of the request.
    ///
    /// # Panics
    ///
    /// Panics if the domain is empty or contains characters other than ASCII letters, digits, dots and hyphens.
    #[track_caller]
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        let domain = domain.into();
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
        assert!(!domain.is_empty() && domain.bytes().all(is_allowed), "the cookie domain {domain:?} is not valid");
        self.domain = Some(domain);
        self
    }

    /// Sets how long browsers keep the cookie, in whole seconds. Default: until the browser is closed.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Sets the attribute `SameSite`. Default: none. Most browsers then assume [`SameSite::Lax`].
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = Some(same_site);
        self
    }

    /// Sets whether browsers send the cookie over HTTPS only. Default: `false`.
    pub fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// Sets whether the cookie is hidden from the scripts of pages. Default: `false`.
    pub fn http_only(mut self, http_only: bool) -> Self {
        self.http_only = http_only;
        self
    }

    /// Sets whether browsers keep a separate cookie for each site that embeds the page. Default: `false`.
    ///
    /// Browsers demand that such a cookie is secure, so it is then always marked as such.
    pub fn partitioned(mut self, partitioned: bool) -> Self {
        self.partitioned = partitioned;
        self
    }

    /// Returns the `Set-Cookie` header of a session.
    pub(crate) fn header(&self, id: &str) -> HeaderValue {
        let mut text = format!("{}={}", self.name, utf8_percent_encode(id, ESCAPED));
        if self.http_only {
            text.push_str("; HttpOnly");
        }
        match self.same_site {
            Some(SameSite::Strict) => text.push_str("; SameSite=Strict"),
            Some(SameSite::Lax) => text.push_str("; SameSite=Lax"),
            Some(SameSite::None) => text.push_str("; SameSite=None"),
            None => {}
        }
        if self.partitioned {
            text.push_str("; Partitioned");
        }
        if self.secure || self.partitioned || self.same_site == Some(SameSite::None) {
            text.push_str("; Secure");
        }
        let mut attribute = |name, value: &dyn std::fmt::Display| {
            write!(text, "; {name}={value}").expect("strings can be written to");
        };
        if let Some(path) = &self.path {
            attribute("Path", path);
        }
        if let Some(domain) = &self.domain {
            attribute("Domain", domain);
        }
        if let Some(max_age) = self.max_age {
            attribute("Max-Age", &max_age.as_secs());
        }
        HeaderValue::try_from(text).expect("name and attributes were checked, and the value is percent-encoded")
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn attributes_stand_in_the_header() {
        let cookie = SessionCookie::new("io");
        assert_eq!(cookie.header("x"), "io=x");
        let cookie = cookie.path("/a b").domain("a.example").max_age(Duration::from_millis(90_500)).http_only(true);
        assert_eq!(cookie.header("x"), "io=x; HttpOnly; Path=/a b; Domain=a.example; Max-Age=90");
        let cookie = SessionCookie::new("io").same_site(SameSite::Strict).secure(true);
        assert_eq!(cookie.header("x"), "io=x; SameSite=Strict; Secure");
    }

    #[test]
    fn browsers_get_no_cookie_that_they_refuse() {
        let cookie = SessionCookie::new("io");
        assert_eq!(cookie.clone().same_site(SameSite::None).header("x"), "io=x; SameSite=None; Secure");
        assert_eq!(cookie.partitioned(true).header("x"), "io=x; Partitioned; Secure");
    }

    #[test]
    fn any_id_can_be_sent() {
        let cookie = SessionCookie::new("io");
        assert_eq!(cookie.header("a b;c,d\"e\\f%\r\n\0\u{7f}é"), "io=a%20b%3Bc%2Cd%22e%5Cf%25%0D%0A%00%7F%C3%A9");
        assert_eq!(cookie.header("aZ0-_.~!#$&'()*+/:<=>?@[]^`{|}"), "io=aZ0-_.~!#$&'()*+/:<=>?@[]^`{|}");
    }

    #[test]
    fn what_would_end_an_attribute_is_refused() {
        for name in ["", "a b", "a=b", "a;b", "a,b", "é", "a\n", "\"a\""] {
            assert!(catch_unwind(|| SessionCookie::new(name)).is_err(), "{name:?}");
        }
        for path in ["", "a", "/;", "/\n", "/é", "/\u{7f}"] {
            assert!(catch_unwind(|| SessionCookie::new("io").path(path)).is_err(), "{path:?}");
        }
        for domain in ["", "a b", "a;b", "a\r\nb", "é.example"] {
            assert!(catch_unwind(|| SessionCookie::new("io").domain(domain)).is_err(), "{domain:?}");
        }
    }
}
