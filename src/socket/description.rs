//! The description of a socket for other nodes of a cluster.

use std::{borrow::Cow, time::SystemTime};

use bytes::Bytes;
use http::HeaderMap;
use serde::{Serialize, Serializer};

use crate::{
    cluster::{HandshakeDescription, Payload, SocketDescription},
    packet::{Value, value::Map},
    util::date_string,
};

use super::{handshake::Handshake, socket_ref::SocketRef};

/// Up to this number of parameters, each is compared to the others.
const FEW: usize = 16;

/// Describes a socket of this node.
pub(crate) fn describe(socket: &SocketRef) -> SocketDescription {
    let rooms = socket.rooms().into_iter().collect();
    let data = socket.inner().data_bytes().and_then(Payload::of_json);
    // Node's admin UI ends the process if the data is `null`.
    let data = data.filter(|data| !data.is_unset()).unwrap_or_else(Payload::empty);
    let mut description = SocketDescription::new(socket.id().as_str(), rooms, data);
    description.handshake = describe_handshake(socket);
    description
}

fn describe_handshake(socket: &SocketRef) -> HandshakeDescription {
    // The request is the same for all sockets of a connection, and at each time.
    let request = socket.inner().client.connection.request.description(|| describe_request(&socket.handshake()));
    let auth = socket.inner().auth().and_then(|auth| Payload::of_json(Bytes::from(auth)));
    let auth = auth.as_ref().map_or("{}", Payload::json);
    let object = [request, ",\"auth\":", auth, "}"].concat();
    let object = Payload::of_json(object.into()).and_then(|object| HandshakeDescription::new(object).ok());
    object.unwrap_or_default()
}

/// Returns an object that has not ended, because `auth` is missing.
fn describe_request(handshake: &Handshake<'_>) -> Box<str> {
    let millis = handshake.time().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let issued = u64::try_from(millis).unwrap_or(u64::MAX);
    let address = handshake.remote_addr().map(|address| address.ip().to_string()).unwrap_or_default();
    let url = Value::from(handshake.uri().path_and_query().map_or("/", |target| target.as_str()));
    format!(
        r#"{{"headers":{},"time":"{}","address":"{address}","xdomain":{},"secure":{},"issued":{issued},"url":{},"query":{}"#,
        headers(handshake.headers()).json(),
        date_string(issued),
        handshake.is_cross_origin(),
        handshake.is_secure(),
        serde_json::to_string(&url).unwrap_or_default(),
        query(handshake.query()).json(),
    )
    .into()
}

/// Returns an object of the headers. The values of a repeated one are joined.
fn headers(headers: &HeaderMap) -> Payload {
    let entries = headers.keys().map(|name| {
        let mut values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let first = values.next().unwrap_or_default();
        (name.as_str(), values.fold(first, |joined, value| format!("{joined}, {value}").into()))
    });
    object(entries)
}

/// Returns an object of the parameters. The values of a repeated one are an array.
fn query<'a>(parameters: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> Payload {
    let parameters: Vec<_> = parameters.collect();
    let is_repeated =
        |(place, (key, _)): (usize, &(Cow<'_, str>, _))| parameters[..place].iter().any(|(k, _)| k == key);
    if parameters.len() <= FEW && !parameters.iter().enumerate().any(is_repeated) {
        return object(parameters);
    }
    let mut map = Map::new();
    for (key, value) in parameters {
        match map.get_mut(&key) {
            Some(Value::Array(values)) => values.push(Value::from(&*value)),
            Some(before) => *before = Value::Array(vec![before.take(), Value::from(&*value)]),
            None => drop(map.insert(key.into_owned(), Value::from(&*value))),
        }
    }
    object(&map)
}

/// Returns an object whose keys are distinct.
fn object<K: Serialize, V: Serialize>(entries: impl IntoIterator<Item = (K, V)>) -> Payload {
    let mut json = Vec::with_capacity(512);
    let written = serde_json::Serializer::new(&mut json).collect_map(entries);
    written.ok().and_then(|()| Payload::of_json(json.into())).unwrap_or_else(Payload::empty)
}
