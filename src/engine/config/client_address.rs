//! The address of a client: that of its connection, or what a trusted proxy says.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap, HeaderName, header};

/// Where the address of a client comes from. See
/// [`SocketIoConfig::client_address`](crate::SocketIoConfig::client_address).
///
/// A header can be forged, except for what the server's own proxies append to it. So it is read from its end: with one
/// proxy the last address is the client's, with two the last but one.
///
/// ```
/// use tower_socketio::{ClientAddress, SocketIoConfig};
///
/// // One proxy, which sets `X-Forwarded-For`.
/// let config = SocketIoConfig::new().client_address(ClientAddress::x_forwarded_for(1)).max_sessions_per_address(100);
/// # let _ = config;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientAddress {
    header: Option<ForwardingHeader>,
    trusted_proxies: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ForwardingHeader {
    XForwardedFor,
    Forwarded,
}

impl ClientAddress {
    /// The address of the connection. It is the default.
    ///
    /// It is known if the server was made with axum's `into_make_service_with_connect_info::<SocketAddr>()`, or by
    /// [`SocketIoService::serve`](crate::SocketIoService::serve).
    #[must_use]
    pub fn peer() -> Self {
        Self::default()
    }

    /// The header `X-Forwarded-For`, to which this number of trusted proxies append.
    ///
    /// Where the header has fewer addresses, the first of them is taken; where one cannot be read, the next one towards
    /// the server, and in the end the address of the connection.
    ///
    /// # Panics
    ///
    /// If the number is zero.
    #[must_use]
    #[track_caller]
    pub fn x_forwarded_for(trusted_proxies: usize) -> Self {
        Self::from_header(ForwardingHeader::XForwardedFor, trusted_proxies)
    }

    /// The header `Forwarded` of RFC 7239, likewise.
    ///
    /// # Panics
    ///
    /// If the number is zero.
    #[must_use]
    #[track_caller]
    pub fn forwarded(trusted_proxies: usize) -> Self {
        Self::from_header(ForwardingHeader::Forwarded, trusted_proxies)
    }

    #[track_caller]
    fn from_header(header: ForwardingHeader, trusted_proxies: usize) -> Self {
        assert!(trusted_proxies > 0, "without a trusted proxy the header is the client's: use `ClientAddress::peer`");
        Self { header: Some(header), trusted_proxies }
    }

    /// The address of the client that sent a request. `None` if the address of the connection is not known.
    pub(crate) fn of(self, headers: &HeaderMap, extensions: &Extensions) -> Option<IpAddr> {
        let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        self.header.and_then(|header| header.client(headers, self.trusted_proxies)).or(peer)
    }
}

impl ForwardingHeader {
    fn name(self) -> HeaderName {
        match self {
            Self::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
            Self::Forwarded => header::FORWARDED,
        }
    }

    /// The farthest address that a trusted proxy has appended and that can be read.
    ///
    /// The lists are split at every comma, from the end: what a client has sent first, such as a quotation mark that is
    /// never closed, does not change how the rest is read.
    fn client(self, headers: &HeaderMap, trusted_proxies: usize) -> Option<IpAddr> {
        let lists = headers.get_all(self.name()).iter().rev();
        let entries = lists.flat_map(|list| list.as_bytes().rsplit(|byte| *byte == b','));
        entries.take(trusted_proxies).filter_map(|entry| self.address(std::str::from_utf8(entry).ok()?)).last()
    }

    fn address(self, entry: &str) -> Option<IpAddr> {
        match self {
            Self::XForwardedFor => address(entry.trim()),
            Self::Forwarded => {
                let is_for =
                    |pair: &&str| pair.trim_start().get(..4).is_some_and(|key| key.eq_ignore_ascii_case("for="));
                let pair = entry.split(';').find(is_for)?;
                address(pair.trim()[4..].trim_matches('"'))
            }
        }
    }
}

/// An address, with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// What one host has to itself: an address, or an IPv6 network of 64 bits.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    const NETWORK: u128 = !0 << 64;
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & NETWORK)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(address: ClientAddress, name: &'static str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::from(([10, 0, 0, 1], 80))));
        address.of(&headers, &extensions).unwrap().to_string()
    }

    #[test]
    fn the_header_is_counted_from_its_end() {
        let one = |lines: &[&str]| client(ClientAddress::x_forwarded_for(1), "x-forwarded-for", lines);
        assert_eq!(one(&["1.1.1.1, 2.2.2.2"]), "2.2.2.2");
        assert_eq!(one(&["1.1.1.1", "2.2.2.2:8080 "]), "2.2.2.2");
        assert_eq!(one(&["\u{fe}\u{ff}\",, 2001:db8::1"]), "2001:db8::1");
        assert_eq!(one(&["[2001:db8::1]:80"]), "2001:db8::1");
        let two = |lines: &[&str]| client(ClientAddress::x_forwarded_for(2), "x-forwarded-for", lines);
        assert_eq!(two(&["1.1.1.1, 2.2.2.2", "3.3.3.3"]), "2.2.2.2");
        // Of a client that came in by the second proxy only.
        assert_eq!(two(&["3.3.3.3"]), "3.3.3.3");
    }

    #[test]
    fn what_cannot_be_read_counts_as_the_address_of_the_proxy() {
        let two = |lines: &[&str]| client(ClientAddress::x_forwarded_for(2), "x-forwarded-for", lines);
        assert_eq!(two(&["unknown, 3.3.3.3"]), "3.3.3.3");
        assert_eq!(two(&["1.1.1.1, unknown, garbage"]), "10.0.0.1");
        assert_eq!(two(&[]), "10.0.0.1");
        assert_eq!(client(ClientAddress::peer(), "x-forwarded-for", &["1.1.1.1"]), "10.0.0.1");
        // The other header is not the proxy's.
        assert_eq!(client(ClientAddress::forwarded(1), "x-forwarded-for", &["1.1.1.1"]), "10.0.0.1");
    }

    #[test]
    fn forwarded_has_pairs() {
        let one = |line| client(ClientAddress::forwarded(1), "forwarded", &[line]);
        assert_eq!(one("for=1.1.1.1, for=2.2.2.2;proto=https"), "2.2.2.2");
        assert_eq!(one(r#"proto=https; For="[2001:db8::1]:4711""#), "2001:db8::1");
        assert_eq!(one(r#"for="never closed, for=2.2.2.2"#), "2.2.2.2");
        assert_eq!(one("for=_hidden"), "10.0.0.1");
        assert_eq!(one("by=2.2.2.2"), "10.0.0.1");
    }

    #[test]
    fn a_host_has_a_network_of_64_bits() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!((of("::ffff:1.2.3.4"), of("1.2.3.4")), ("1.2.3.4".to_owned(), "1.2.3.4".to_owned()));
    }
}
