//! The handshake of a socket of another node of a cluster.

use std::{
    net::{IpAddr, SocketAddr},
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::{
    cluster::HandshakeDescription,
    packet::{Value, read_json, value::Map},
};

/// What another node has told about the handshake of a socket. Most are never read, so it is parsed when it is.
#[derive(Debug)]
pub(super) struct RemoteHandshake {
    description: HandshakeDescription,
    parsed: OnceLock<Box<Parsed>>,
}

/// Values that cannot be parsed are left out.
#[derive(Debug)]
struct Parsed {
    headers: HeaderMap,
    uri: Uri,
    auth: String,
    remote_addr: Option<SocketAddr>,
    time: SystemTime,
    is_secure: bool,
}

impl RemoteHandshake {
    pub(super) fn new(description: HandshakeDescription) -> Self {
        Self { description, parsed: OnceLock::new() }
    }

    fn parsed(&self) -> &Parsed {
        self.parsed.get_or_init(|| Box::new(parse(&self.description)))
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.parsed().headers
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.parsed().uri
    }

    pub(super) fn auth(&self) -> &str {
        &self.parsed().auth
    }

    pub(super) fn remote_addr(&self) -> Option<SocketAddr> {
        self.parsed().remote_addr
    }

    pub(super) fn time(&self) -> SystemTime {
        self.parsed().time
    }

    pub(super) fn is_secure(&self) -> bool {
        self.parsed().is_secure
    }
}

fn parse(description: &HandshakeDescription) -> Parsed {
    let object: Map = read_json(description.payload().json().as_bytes()).unwrap_or_default();
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let address: Option<IpAddr> = text("address").parse().ok();
    let issued = Duration::from_millis(object.get("issued").and_then(Value::as_u64).unwrap_or(0));
    Parsed {
        headers: object.get("headers").and_then(Value::as_object).map(headers).unwrap_or_default(),
        uri: text("url").parse().unwrap_or_default(),
        auth: object.get("auth").and_then(|auth| serde_json::to_string(auth).ok()).unwrap_or_else(|| "{}".to_owned()),
        remote_addr: address.map(|address| SocketAddr::new(address, 0)),
        time: SystemTime::UNIX_EPOCH.checked_add(issued).unwrap_or(SystemTime::UNIX_EPOCH),
        is_secure: object.get("secure").and_then(Value::as_bool).unwrap_or(false),
    }
}

fn headers(described: &Map) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in described {
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
}
