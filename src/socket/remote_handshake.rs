//! The handshake of a socket of another node of a cluster.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::{
    cluster::{HandshakeDescription, Payload},
    packet::{Value, value::Map},
};

/// What another node has told about the handshake of a socket. Values that cannot be parsed are left out.
#[derive(Debug)]
pub(super) struct RemoteHandshake {
    pub(super) headers: HeaderMap,
    pub(super) uri: Uri,
    pub(super) auth: Payload,
    pub(super) remote_addr: Option<SocketAddr>,
    pub(super) time: SystemTime,
    pub(super) secure: bool,
}

impl RemoteHandshake {
    pub(super) fn new(description: &HandshakeDescription) -> Self {
        let mut headers = HeaderMap::new();
        let described: Map = description.headers.read().unwrap_or_default();
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
        let address: Option<IpAddr> = description.address.parse().ok();
        Self {
            headers,
            uri: description.url.parse().unwrap_or_default(),
            auth: description.auth.clone(),
            remote_addr: address.map(|address| SocketAddr::new(address, 0)),
            time: SystemTime::UNIX_EPOCH
                .checked_add(Duration::from_millis(description.issued))
                .unwrap_or(SystemTime::UNIX_EPOCH),
            secure: description.secure,
        }
    }
}
