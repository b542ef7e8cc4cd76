//! The description of a socket for other nodes of a cluster.

use std::{borrow::Cow, time::SystemTime};

use bytes::Bytes;

use crate::{
    cluster::{HandshakeDescription, Payload, SocketDescription},
    packet::{Value, value::Map},
    util::date_string,
};

use super::{handshake::Handshake, socket_ref::SocketRef};

/// Describes a socket of this node.
pub(crate) fn describe(socket: &SocketRef) -> SocketDescription {
    let rooms = socket.rooms().into_iter().collect();
    let data = socket.inner().data_bytes().and_then(Payload::of_json).unwrap_or_else(Payload::empty);
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
        query: object(handshake.query(), |before, value| Value::Array(vec![before.into(), value.into()])),
        auth: auth.and_then(|auth| Payload::of_json(Bytes::from(auth))).unwrap_or_else(Payload::empty),
    }
}

/// Returns an object of strings. `merge` joins the values of a repeated key.
fn object<'a>(
    entries: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    merge: impl Fn(&str, &str) -> Value,
) -> Payload {
    let mut object = Map::new();
    for (key, value) in entries {
        match object.get_mut(&key) {
            Some(Value::Array(values)) => values.push(Value::from(&*value)),
            Some(before) => *before = merge(before.as_str().unwrap_or_default(), &value),
            None => drop(object.insert(key.into_owned(), Value::from(&*value))),
        }
    }
    Payload::encode(&Value::Object(object)).unwrap_or_else(|_| Payload::empty())
}
