use std::{fmt, time::Duration};

use http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{io::SocketIo, packet::normalize_name};

/// Longer than a heartbeat with its timeout.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Configures and connects a [`TestClient`](super::TestClient). Returned by [`TestClient::builder`](super::TestClient::builder).
///
/// ```
/// # use serde_json::json;
/// use tower_socketio::{SocketIo, test::{TestClient, TestError}};
///
/// async fn connect(io: &SocketIo) -> Result<TestClient, TestError> {
///     TestClient::builder(io).namespace("/admin").auth(json!({ "token": "secret" })).connect().await
/// }
/// ```
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
    pub(super) timeout: Duration,
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
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Sets the namespace to join. Default: `/`. A missing leading slash is added.
    pub fn namespace(mut self, name: &str) -> Self {
        self.namespace = normalize_name(name).into_owned();
        self
    }

    /// Sets the auth payload, which must serialize as a JSON object. Default: none.
    ///
    /// # Panics
    ///
    /// Panics if it is not a JSON object.
    #[track_caller]
    pub fn auth(mut self, auth: impl Serialize) -> Self {
        match serde_json::to_value(auth) {
            Ok(Value::Object(auth)) => self.auth = auth,
            Ok(other) => panic!("the auth payload is not an object: {other}"),
            Err(error) => panic!("the auth payload cannot be encoded: {error}"),
        }
        self
    }

    /// Sets additional query parameters of the request that opens the connection, for example `a=b&c=d`. Default: none.
    pub fn query(mut self, query: &str) -> Self {
        query.clone_into(&mut self.query);
        self
    }

    /// Adds a header to the request that opens the connection.
    ///
    /// # Panics
    ///
    /// Panics if the name or the value is invalid.
    #[track_caller]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            (Ok(name), Ok(value)) => self.headers.append(name, value),
            _ => panic!("malformed header {name:?}: {value:?}"),
        };
        self
    }

    /// Adds an extension to the request that opens the connection, such as `ConnectInfo`. Layers around the `SocketIoLayer` add
    /// extensions in this way.
    pub fn extension<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.extensions.insert(value);
        self
    }

    /// Sets whether the client responds to the server's pings automatically. Default: `true`.
    ///
    /// If `false`, the client is disconnected after [`ping_timeout`](crate::SocketIoConfig::ping_timeout), unless the test reads pings
    /// with [`next_raw`](super::TestClient::next_raw) and responds to them.
    pub fn answer_pings(mut self, answer: bool) -> Self {
        self.answers_pings = answer;
        self
    }

    /// Sets how long the client waits for an expected packet, on tokio's clock. Default: 60 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Requests the recovery of a session.
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
    /// Omits the auth payload and the headers, which may contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClientBuilder").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}
