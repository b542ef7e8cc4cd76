//! Connecting a client.

use http::Request;
use serde::Deserialize;
use serde_json::Value;

use crate::{engine::PacketType, io::SocketIo, packet::encode_simple};

use super::{
    builder::TestClientBuilder,
    client::TestClient,
    error::TestError,
    incoming::{Incoming, IncomingKind, take},
    wire::{Wire, WireTransport},
};

/// The payload of an accepted CONNECT.
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
            .unwrap_or_else(|_| Err(TestError::timeout("the namespace's answer".to_owned())))
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
    #[must_use = "a client that is dropped hangs up"]
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
}

impl TestClient {
    /// Connects to the default namespace, without an auth payload.
    ///
    /// # Errors
    ///
    /// Returns an error if the namespace rejects the client, if the connection is closed, or after the timeout.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub async fn connect(io: &SocketIo) -> Result<Self, TestError> {
        Self::builder(io).connect().await
    }

    /// Returns a builder, to configure the client before it connects.
    pub fn builder(io: &SocketIo) -> TestClientBuilder {
        TestClientBuilder::new(io)
    }

    /// Handles the response to CONNECT.
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
