//! The address of a client: that of its connection, or one that a trusted proxy forwards.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap, HeaderName, header};

/// How the address of a client is determined. See
/// [`SocketIoConfig::client_address`](crate::SocketIoConfig::client_address).
///
/// Clients can forge forwarding headers, except for the entries that trusted proxies append. So a header is read from its end:
/// with one proxy the client's address is the last entry, with two the last but one.
///
/// ```
/// use tower_socketio::{SocketIoConfig, engine::ClientAddress};
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
    /// Uses the address of the connection. This is the default.
    ///
    /// It is known with [`SocketIoService::serve`](crate::SocketIoService::serve), and with axum's
    /// `into_make_service_with_connect_info::<SocketAddr>()`.
    #[must_use]
    pub fn peer() -> Self {
        Self::default()
    }

    /// Uses the `X-Forwarded-For` header, to which each of this number of trusted proxies appends an entry.
    ///
    /// If the header has fewer entries, the first one is used. An invalid entry is replaced by the next one, and after the last one
    /// by the address of the connection.
    ///
    /// # Panics
    ///
    /// Panics if the number is zero.
    #[must_use]
    #[track_caller]
    pub fn x_forwarded_for(trusted_proxies: usize) -> Self {
        Self::from_header(ForwardingHeader::XForwardedFor, trusted_proxies)
    }

    /// Uses the `Forwarded` header of RFC 7239, like [`x_forwarded_for`](Self::x_forwarded_for).
    ///
    /// # Panics
    ///
    /// Panics if the number is zero.
    #[must_use]
    #[track_caller]
    pub fn forwarded(trusted_proxies: usize) -> Self {
        Self::from_header(ForwardingHeader::Forwarded, trusted_proxies)
    }

    #[track_caller]
    fn from_header(header: ForwardingHeader, trusted_proxies: usize) -> Self {
        assert!(trusted_proxies > 0, "without a trusted proxy the header cannot be trusted: use `ClientAddress::peer`");
        Self { header: Some(header), trusted_proxies }
    }

    /// Returns the address of the client that sent a request, or `None` if it is unknown.
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

    /// Returns the valid address that is farthest from the end among those that trusted proxies have appended.
    ///
    /// Lists are split at commas from the end, so that the client's part of the header, such as an unclosed quotation mark, does not
    /// affect the rest.
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

/// Parses an address with an optional port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// Returns an IPv4 address, or the 64-bit network of an IPv6 address, which usually belongs to one host.
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
    fn the_header_is_read_from_its_end() {
        let one = |lines: &[&str]| client(ClientAddress::x_forwarded_for(1), "x-forwarded-for", lines);
        assert_eq!(one(&["1.1.1.1, 2.2.2.2"]), "2.2.2.2");
        assert_eq!(one(&["1.1.1.1", "2.2.2.2:8080 "]), "2.2.2.2");
        assert_eq!(one(&["\u{fe}\u{ff}\",, 2001:db8::1"]), "2001:db8::1");
        assert_eq!(one(&["[2001:db8::1]:80"]), "2001:db8::1");
        let two = |lines: &[&str]| client(ClientAddress::x_forwarded_for(2), "x-forwarded-for", lines);
        assert_eq!(two(&["1.1.1.1, 2.2.2.2", "3.3.3.3"]), "2.2.2.2");
        // The client has bypassed the first proxy.
        assert_eq!(two(&["3.3.3.3"]), "3.3.3.3");
    }

    #[test]
    fn an_invalid_entry_is_replaced_by_the_next_one() {
        let two = |lines: &[&str]| client(ClientAddress::x_forwarded_for(2), "x-forwarded-for", lines);
        assert_eq!(two(&["unknown, 3.3.3.3"]), "3.3.3.3");
        assert_eq!(two(&["1.1.1.1, unknown, garbage"]), "10.0.0.1");
        assert_eq!(two(&[]), "10.0.0.1");
        assert_eq!(client(ClientAddress::peer(), "x-forwarded-for", &["1.1.1.1"]), "10.0.0.1");
        // The other header is ignored.
        assert_eq!(client(ClientAddress::forwarded(1), "x-forwarded-for", &["1.1.1.1"]), "10.0.0.1");
    }

    #[test]
    fn the_for_pair_of_forwarded_is_read() {
        let one = |line| client(ClientAddress::forwarded(1), "forwarded", &[line]);
        assert_eq!(one("for=1.1.1.1, for=2.2.2.2;proto=https"), "2.2.2.2");
        assert_eq!(one(r#"proto=https; For="[2001:db8::1]:4711""#), "2001:db8::1");
        assert_eq!(one(r#"for="never closed, for=2.2.2.2"#), "2.2.2.2");
        assert_eq!(one("for=_hidden"), "10.0.0.1");
        assert_eq!(one("by=2.2.2.2"), "10.0.0.1");
    }

    #[test]
    fn an_ipv6_address_is_reduced_to_its_network() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!((of("::ffff:1.2.3.4"), of("1.2.3.4")), ("1.2.3.4".to_owned(), "1.2.3.4".to_owned()));
    }
}
