//! The handshake of a socket of another node of a cluster.

use std::{
    net::{IpAddr, SocketAddr},
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::{
    cluster::HandshakeDescription,
    packet::{Value, value::Map},
};

/// What another node has told about the handshake of a socket. Values that cannot be parsed are left out. Most are never read, so they are
/// parsed when they are.
#[derive(Debug)]
pub(super) struct RemoteHandshake {
    description: HandshakeDescription,
    headers: OnceLock<HeaderMap>,
    uri: OnceLock<Uri>,
}

impl RemoteHandshake {
    pub(super) fn new(description: HandshakeDescription) -> Self {
        Self { description, headers: OnceLock::new(), uri: OnceLock::new() }
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.headers.get_or_init(|| {
            let mut headers = HeaderMap::new();
            let described: Map = self.description.headers.read().unwrap_or_default();
            for (name, value) in &described {
                let values = match value {
                    Value::Array(values) => values.as_slice(),
                    value => std::slice::from_ref(value),
                };
                for value in values.iter().filter_map(Value::as_str) {
                    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                        // Fails if there are more than a map can hold.
                        let _ = headers.try_append(name, value);
                    }
                }
            }
            headers
        })
    }

    pub(super) fn uri(&self) -> &Uri {
        self.uri.get_or_init(|| self.description.url.parse().unwrap_or_default())
    }

    pub(super) fn auth(&self) -> &str {
        self.description.auth.json()
    }

    pub(super) fn remote_addr(&self) -> Option<SocketAddr> {
        let address: IpAddr = self.description.address.parse().ok()?;
        Some(SocketAddr::new(address, 0))
    }

    pub(super) fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_millis(self.description.issued))
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    pub(super) fn is_secure(&self) -> bool {
        self.description.secure
    }
}
