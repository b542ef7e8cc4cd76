use std::{fmt, time::Duration};

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Request};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{engine::PacketType, io::SocketIo, namespace::absolute, packet::encode_simple};

use super::{
    TestClient, TestError,
    incoming::{Incoming, IncomingKind, take},
    wire::{Wire, WireTransport},
};

/// Longer than a heartbeat with its timeout.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Configures and connects a [`TestClient`]. Returned by [`TestClient::builder`].
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
    auth: Map<String, Value>,
    query: String,
    headers: HeaderMap,
    extensions: Extensions,
    answers_pings: bool,
    pub(super) timeout: Duration,
}

/// The payload of an accepted CONNECT.
#[derive(Deserialize)]
struct AcceptedConnect {
    sid: String,
    pid: Option<String>,
}

#[derive(Deserialize)]
struct RejectedConnect {
    #[serde(default)]
    message: String,
    data: Option<Value>,
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
        self.namespace = absolute(name).into_owned();
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
    /// with [`next_raw`](TestClient::next_raw) and responds to them.
    pub fn answer_pings(mut self, answer: bool) -> Self {
        self.answers_pings = answer;
        self
    }

    /// Sets how long the client waits for an expected packet, on tokio's clock. Default: 60 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Opens a connection and joins the namespace.
    ///
    /// # Errors
    ///
    /// Returns an error if the namespace rejects the client, if the connection is closed, or after the timeout.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub async fn connect(self) -> Result<TestClient, TestError> {
        let timeout = self.timeout;
        let joining = async {
            let mut client = self.open();
            client
                .wire
                .take(|queue, closed| match queue.front() {
                    Some(packet) if packet.packet_type() == PacketType::Open => queue.pop_front().map(drop),
                    _ => closed.then_some(()),
                })
                .await;
            let auth = match client.builder.auth.is_empty() {
                true => String::new(),
                false => Value::Object(client.builder.auth.clone()).to_string(),
            };
            let connect = encode_simple(b'0', &client.builder.namespace, &auth);
            client.wire.send(connect.packets().iter().cloned());
            let namespace = client.builder.namespace.clone();
            let is_answer = |message: &Incoming| {
                matches!(message.kind, IncomingKind::Connect | IncomingKind::ConnectError)
                    && message.namespace == namespace
            };
            let answer = client.wire.take(|queue, closed| match take(queue, is_answer) {
                Some(answer) => Some(Some(answer)),
                None => closed.then_some(None),
            });
            let answer = answer.await.ok_or_else(TestError::closed)?;
            client.joined(&answer)?;
            Ok(client)
        };
        tokio::time::timeout(timeout, joining)
            .await
            .unwrap_or_else(|_| Err(TestError::timeout("the response to CONNECT".to_owned())))
    }

    /// Opens a connection without joining a namespace. The test exchanges packets by [`send_raw`](TestClient::send_raw) and
    /// [`next_raw`](TestClient::next_raw), beginning with the server's handshake.
    ///
    /// The namespace and the auth payload are not used. With `EIO=3` in the [query](Self::query) and
    /// [`allow_eio3`](crate::SocketIoConfig::allow_eio3), the client speaks revision 3.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    #[must_use = "dropping the client closes the connection"]
    pub fn open(self) -> TestClient {
        let separator = if self.query.is_empty() { "" } else { "&" };
        let target = format!("{}?EIO=4{separator}{}", self.io.path(), self.query);
        let request = Request::get(&target).body(());
        let (mut request, ()) = request.unwrap_or_else(|error| panic!("{error}: {target}")).into_parts();
        request.headers.clone_from(&self.headers);
        request.extensions.extend(self.extensions.clone());
        let wire = Wire::new(self.answers_pings);
        let (io, transport) = (self.io.clone(), WireTransport(wire.clone()));
        tokio::spawn(async move { io.accept(request, transport).await });
        TestClient::new(self, wire)
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

impl TestClient {
    /// Handles the response to CONNECT.
    fn joined(&mut self, answer: &Incoming) -> Result<(), TestError> {
        if answer.kind == IncomingKind::ConnectError {
            let RejectedConnect { message, data } = serde_json::from_slice(&answer.json)
                .map_err(|error| TestError::mismatch(answer.text(), error.to_string()))?;
            return Err(TestError::refused(message, data));
        }
        let AcceptedConnect { sid, pid } = serde_json::from_slice(&answer.json)
            .map_err(|error| TestError::mismatch(answer.text(), error.to_string()))?;
        self.recovered = pid.is_some() && pid.as_deref() == self.builder.auth.get("pid").and_then(Value::as_str);
        (self.id, self.pid) = (sid, pid);
        Ok(())
    }
}

impl fmt::Debug for TestClientBuilder {
    /// Omits the auth payload and the headers, which may contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClientBuilder").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}
