//! Sockets as the UI shows them.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::{
    SocketRef, Value,
    client::{Handshake, RemoteSocket},
    util::date_string,
    value::Map,
};

use super::state::Admin;

/// A socket, without secrets.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Described {
    id: String,
    client_id: String,
    transport: String,
    nsp: String,
    data: Value,
    handshake: DescribedHandshake,
    rooms: Vec<String>,
}

#[derive(Debug, Serialize)]
struct DescribedHandshake {
    address: String,
    headers: HashMap<String, String>,
    query: HashMap<String, String>,
    issued: u64,
    secure: bool,
    time: String,
    url: String,
    xdomain: bool,
}

/// What `fetch_sockets` does not return about the connection of a socket on another node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Connected {
    pub(super) client_id: String,
    pub(super) transport: String,
}

/// Replaces a value that may be a secret.
const REDACTED: &str = "[redacted]";

/// Headers without secrets.
const HEADERS: [&str; 29] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "dnt",
    "forwarded",
    "host",
    "origin",
    "pragma",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-websocket-extensions",
    "sec-websocket-version",
    "upgrade",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
];

/// Query parameters of Engine.IO without secrets.
const QUERY: [&str; 5] = ["EIO", "b64", "j", "t", "transport"];

/// Returns the data of a socket. As with Node, it is an empty object if there is none.
pub(super) fn data(socket: &SocketRef) -> Value {
    socket.data().ok().flatten().unwrap_or_else(|| Value::Object(Map::new()))
}

impl Admin {
    /// Returns an id of the client that does not reveal that of its session.
    pub(super) fn connected(&self, socket: &SocketRef) -> Connected {
        let client_id = format!("{:016x}", self.hash(socket.conn().id()));
        Connected { client_id, transport: socket.transport().as_str().to_owned() }
    }

    pub(super) fn describe(&self, socket: &SocketRef) -> Described {
        let rooms = socket.rooms().iter().map(|room| room.as_str().to_owned()).collect();
        let Connected { client_id, transport } = self.connected(socket);
        Described {
            id: socket.id().to_string(),
            client_id,
            transport,
            nsp: socket.namespace().name().to_owned(),
            data: data(socket),
            handshake: self.describe_handshake(&socket.handshake()),
            rooms,
        }
    }

    /// Describes a socket of another node. Node's servers put what is known about its connection into its data.
    pub(super) fn describe_remote(&self, nsp: &str, socket: &RemoteSocket, connected: Option<Connected>) -> Described {
        let mut data = socket.data().ok().flatten().unwrap_or_else(|| Value::Object(Map::new()));
        let of_node = data.as_object_mut().and_then(|data| data.remove("_admin"));
        let text = |key: &str| of_node.as_ref().and_then(|admin| admin[key].as_str()).unwrap_or("unknown").to_owned();
        let connected =
            connected.unwrap_or_else(|| Connected { client_id: text("clientId"), transport: text("transport") });
        Described {
            id: socket.id().to_string(),
            client_id: connected.client_id,
            transport: connected.transport,
            nsp: nsp.to_owned(),
            data,
            handshake: self.describe_handshake(&socket.handshake()),
            rooms: socket.rooms().iter().map(|room| room.as_str().to_owned()).collect(),
        }
    }

    fn describe_handshake(&self, handshake: &Handshake<'_>) -> DescribedHandshake {
        let since = handshake.time().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let issued = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let shows = |known: &[&str], name: &str| self.config.show_handshake || known.contains(&name);
        let headers = handshake.headers().iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            let value = if shows(&HEADERS, name.as_str()) { value } else { REDACTED.into() };
            (name.as_str().to_owned(), value.into_owned())
        });
        let query = handshake.query().map(|(name, value)| {
            let is_shown = shows(&QUERY, &name) && name != "sid";
            (name.into_owned(), if is_shown { value.into_owned() } else { REDACTED.to_owned() })
        });
        let query: Vec<_> = query.collect();
        let shown = form_urlencoded::Serializer::new(String::new()).extend_pairs(&query).finish();
        DescribedHandshake {
            address: handshake.remote_addr().map(|address| address.ip().to_string()).unwrap_or_default(),
            headers: headers.collect(),
            query: query.into_iter().collect(),
            issued,
            secure: handshake.is_secure(),
            time: date_string(issued),
            url: format!("{}?{shown}", handshake.uri().path()),
            xdomain: handshake.is_cross_origin(),
        }
    }
}
