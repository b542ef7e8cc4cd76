//! The description of a socket for other nodes of a cluster, and what a node learns from it.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use bytestring::ByteString;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::{
    cluster::{HandshakeDescription, Payload, SocketDescription},
    packet::{Value, value::Map},
    util::date_string,
};

use super::{handshake::Handshake, socket_ref::SocketRef};

/// Describes a socket of this node.
pub(crate) fn describe(socket: &SocketRef) -> SocketDescription {
    let rooms = socket.rooms().into_iter().collect();
    let data = socket.inner().data_bytes().and_then(json).unwrap_or_else(Payload::empty);
    let mut description = SocketDescription::new(socket.id().as_str(), rooms, data);
    description.handshake = describe_handshake(&socket.handshake(), socket.inner().auth());
    description
}

fn describe_handshake(handshake: &Handshake<'_>, auth: Option<Box<[u8]>>) -> HandshakeDescription {
    let millis = handshake.time().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let issued = u64::try_from(millis).unwrap_or(u64::MAX);
    let headers = handshake
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().into(), String::from_utf8_lossy(value.as_bytes())));
    HandshakeDescription {
        headers: object(headers, |before, value| Value::from(format!("{before}, {value}"))),
        time: date_string(issued).into(),
        address: handshake.remote_addr().map(|address| address.ip().to_string()).unwrap_or_default().into(),
        xdomain: handshake.is_cross_origin(),
        secure: handshake.is_secure(),
        issued,
        url: handshake.uri().path_and_query().map_or("/", |target| target.as_str()).into(),
        // Of a repeated parameter, the last value counts.
        query: object(handshake.query(), |_, value| Value::from(value)),
        auth: auth.and_then(|auth| json(Bytes::from(auth))).unwrap_or_else(Payload::empty),
    }
}

/// Returns an object of strings. `merge` decides about repeated keys.
fn object<'a>(
    entries: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    merge: impl Fn(&str, &str) -> Value,
) -> Payload {
    let mut object = Map::new();
    for (key, value) in entries {
        let value = match object.get(&*key) {
            Some(Value::String(before)) => merge(before, &value),
            _ => Value::from(&*value),
        };
        object.insert(key.into_owned(), value);
    }
    Payload::encode(&Value::Object(object)).unwrap_or_else(|_| Payload::empty())
}

fn json(json: Bytes) -> Option<Payload> {
    Payload::trusted(ByteString::try_from(json).ok()?, Vec::new()).ok()
}

/// The handshake of a socket of another node.
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
                    headers.append(name, value);
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
