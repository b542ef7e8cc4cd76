use std::{fmt, time::Duration};

use http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{io::SocketIo, server::absolute};

/// The longest that anything takes that is expected to happen. More than a heartbeat with its timeout.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connects a [`TestClient`](super::TestClient) as a test wants it. Made by [`TestClient::builder`](super::TestClient::builder).
#[derive(Clone)]
#[must_use = "a builder does nothing until it connects"]
pub struct TestClientBuilder {
    pub(super) io: SocketIo,
    pub(super) namespace: String,
    pub(super) auth: Map<String, Value>,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) extensions: Extensions,
    pub(super) answers_pings: bool,
    pub(super) patience: Duration,
}

impl TestClientBuilder {
    pub(super) fn new(io: &SocketIo) -> Self {
        Self {
            io: io.clone(),
            namespace: "/".to_owned(),
            auth: Map::new(),
            query: String::new(),
            headers: HeaderMap::new(),
            extensions: Extensions::new(),
            answers_pings: true,
            patience: PATIENCE,
        }
    }

    /// The namespace to join. Default: `/`. A missing leading slash is added.
    pub fn namespace(mut self, name: &str) -> Self {
        self.namespace = absolute(name).into_owned();
        self
    }

    /// The auth payload: an object, as `json!({"token": "x"})` or a struct of the test's. Default: none.
    ///
    /// # Panics
    ///
    /// If it is no JSON object.
    #[track_caller]
    pub fn auth(mut self, auth: impl Serialize) -> Self {
        match serde_json::to_value(auth) {
            Ok(Value::Object(auth)) => self.auth = auth,
            Ok(other) => panic!("the auth payload is no object: {other}"),
            Err(error) => panic!("the auth payload cannot be encoded: {error}"),
        }
        self
    }

    /// The query of the request that opens the connection, behind its `EIO=4`: `a=b&c=d`. Default: none.
    pub fn query(mut self, query: &str) -> Self {
        query.clone_into(&mut self.query);
        self
    }

    /// Adds a header to the request that opens the connection: a cookie, for instance.
    ///
    /// # Panics
    ///
    /// If it is malformed.
    #[track_caller]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            (Ok(name), Ok(value)) => self.headers.append(name, value),
            _ => panic!("malformed header {name:?}: {value:?}"),
        };
        self
    }

    /// Adds an extension to the request that opens the connection, as a layer around the `SocketIoLayer` does: a
    /// `ConnectInfo`, for instance.
    pub fn extension<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.extensions.insert(value);
        self
    }

    /// Whether the client answers the server's pings by itself. Default: true.
    ///
    /// If not, it is disconnected after [`ping_timeout`](crate::SocketIoConfig::ping_timeout), unless the test reads the
    /// pings with [`next_raw`](super::TestClient::next_raw) and answers them.
    pub fn answer_pings(mut self, answer: bool) -> Self {
        self.answers_pings = answer;
        self
    }

    /// How long the client waits, on tokio's clock, for what is expected to happen. Default: a minute.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Asks for the recovery of a session.
    pub(super) fn claim(mut self, pid: &str, offset: Option<&str>) -> Self {
        self.auth.insert("pid".to_owned(), pid.into());
        match offset {
            Some(offset) => self.auth.insert("offset".to_owned(), offset.into()),
            None => self.auth.remove("offset"),
        };
        self
    }
}

impl fmt::Debug for TestClientBuilder {
    /// Leaves out the auth payload and the headers, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClientBuilder").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}
