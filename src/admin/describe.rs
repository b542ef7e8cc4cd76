//! Sockets as the UI shows them.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::{
    SocketRef, Value,
    client::{Handshake, RemoteSocket},
    cluster::Payload,
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
#[serde(rename_all = "camelCase")]
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
    let data = socket.data::<Value>().ok().flatten();
    data.filter(|data| !data.is_null()).unwrap_or_else(|| Value::Object(Map::new()))
}

/// The key in the data of sockets under which Node's servers tell each other what `fetch_sockets` does not return.
const NODE_KEY: &str = "_admin";

/// Returns `true` if a server of Node.js has added to the data of a socket what is known of its connection.
pub(super) fn has_connected(socket: &RemoteSocket) -> bool {
    socket.data::<Value>().is_ok_and(|data| data.is_some_and(|mut data| take_connected(&mut data).is_some()))
}

fn take_connected(data: &mut Value) -> Option<Connected> {
    let admin = data.as_object_mut()?.remove(NODE_KEY)?;
    let text = |key: &str| Some(admin[key].as_str()?.to_owned());
    Some(Connected { client_id: text("clientId")?, transport: text("transport")? })
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

    /// Adds to the data of a socket what Node's servers show of its connection. Data other than objects cannot contain it.
    pub(super) fn data_for_node(&self, socket: &SocketRef, data: Payload) -> Payload {
        let Some(rest) = data.json().strip_prefix('{') else { return data };
        let Ok(connected) = serde_json::to_string(&self.connected(socket)) else { return data };
        let comma = if rest.trim_start() == "}" { "" } else { "," };
        let json = format!(r#"{{"{NODE_KEY}":{connected}{comma}{rest}"#);
        Payload::of_json(json.into()).unwrap_or(data)
    }

    /// Describes a socket of another node.
    pub(super) fn describe_remote(&self, nsp: &str, socket: &RemoteSocket, connected: Option<Connected>) -> Described {
        let mut data = socket.data().ok().flatten().unwrap_or_else(|| Value::Object(Map::new()));
        let of_node = take_connected(&mut data);
        let unknown = || Connected { client_id: "unknown".to_owned(), transport: "unknown".to_owned() };
        let connected = connected.or(of_node).unwrap_or_else(unknown);
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
