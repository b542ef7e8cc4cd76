use std::{fmt, time::Duration};

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Request};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{engine::PacketType, io::SocketIo, namespace::absolute, packet::encode_simple};

use super::{
    TestClient, TestError,
    incoming::{Incoming, IncomingKind, take},
    wire::{Transport, Wire},
};

/// The longest that anything takes that is expected to happen. More than a heartbeat with its timeout.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connects a [`TestClient`] as a test wants it. Made by [`TestClient::builder`].
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
    pub(super) patience: Duration,
}

/// What CONNECT is answered.
#[derive(Deserialize)]
struct Accepted {
    sid: String,
    pid: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
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
    /// pings with [`next_raw`](TestClient::next_raw) and answers them.
    pub fn answer_pings(mut self, answer: bool) -> Self {
        self.answers_pings = answer;
        self
    }

    /// How long the client waits, on tokio's clock, for what is expected to happen. Default: a minute.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Opens a connection and joins the namespace.
    ///
    /// # Errors
    ///
    /// If the namespace refuses the client, the connection is closed, or there is no answer in time.
    ///
    /// # Panics
    ///
    /// If it is called outside of a tokio runtime.
    pub async fn connect(self) -> Result<TestClient, TestError> {
        let patience = self.patience;
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
        tokio::time::timeout(patience, joining)
            .await
            .unwrap_or_else(|_| Err(TestError::timeout("the namespace's answer".to_owned())))
    }

    /// Opens a connection and leaves the rest to the test, the server's handshake included: for tests of the protocol, by
    /// [`send_raw`](TestClient::send_raw) and [`next_raw`](TestClient::next_raw).
    ///
    /// The namespace and the auth payload are not used. With `EIO=3` in its [query](Self::query), and
    /// [`allow_eio3`](crate::SocketIoConfig::allow_eio3), the client is one of that revision.
    ///
    /// # Panics
    ///
    /// If it is called outside of a tokio runtime.
    #[must_use = "a client that is dropped hangs up"]
    pub fn open(self) -> TestClient {
        let separator = if self.query.is_empty() { "" } else { "&" };
        let target = format!("{}?EIO=4{separator}{}", self.io.path(), self.query);
        let request = Request::get(&target).body(());
        let (mut request, ()) = request.unwrap_or_else(|error| panic!("{error}: {target}")).into_parts();
        request.headers.clone_from(&self.headers);
        request.extensions.extend(self.extensions.clone());
        let wire = Wire::new(self.answers_pings);
        let (io, transport) = (self.io.clone(), Transport(wire.clone()));
        tokio::spawn(async move { io.accept(request, transport).await });
        TestClient::new(self, wire)
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

impl TestClient {
    /// Reads the answer to CONNECT.
    fn joined(&mut self, answer: &Incoming) -> Result<(), TestError> {
        if answer.kind == IncomingKind::ConnectError {
            let Refusal { message, data } = serde_json::from_slice(&answer.json)
                .map_err(|error| TestError::mismatch(answer.text(), error.to_string()))?;
            return Err(TestError::refused(message, data));
        }
        let Accepted { sid, pid } = serde_json::from_slice(&answer.json)
            .map_err(|error| TestError::mismatch(answer.text(), error.to_string()))?;
        self.recovered = pid.is_some() && pid.as_deref() == self.builder.auth.get("pid").and_then(Value::as_str);
        (self.id, self.pid) = (sid, pid);
        Ok(())
    }
}

impl fmt::Debug for TestClientBuilder {
    /// Leaves out the auth payload and the headers, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClientBuilder").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}
