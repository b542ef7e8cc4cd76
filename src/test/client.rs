use std::{
    fmt,
    future::Future,
    panic::Location,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use crate::{
    engine::Packet,
    packet::{Target, encode_event, encode_simple},
    socket::SocketRef,
};

use super::{
    TestAck, TestClientBuilder, TestError, TestEvent,
    incoming::{Incoming, IncomingKind, take},
    wire::Wire,
};

/// An in-process client with one socket in one namespace.
///
/// Dropping it closes the connection without a DISCONNECT, like a network failure: the server sees "transport close".
///
/// Methods that wait for a packet fail after the [timeout](TestClientBuilder::timeout), which runs on tokio's clock. A paused
/// clock advances as soon as all tasks wait, so do not pause it if a handler waits for another thread (except for
/// `spawn_blocking`) or for the operating system.
///
/// The connection does not use HTTP: layers around the `SocketIoLayer`, and its checks of HTTP requests, do not run.
///
/// ```
/// use tower_socketio::{Ack, Namespace, SocketIoConfig, SocketIoLayer, extract::Data, test::TestClient};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), tower_socketio::test::TestError> {
/// let echo = Namespace::new().on("echo", async |Data(text): Data<String>| Ack(text));
/// let io = SocketIoLayer::new(SocketIoConfig::new().namespace("/", echo)).io();
///
/// let client = TestClient::connect(&io).await?;
/// assert_eq!(client.emit_with_ack::<String>("echo", "hello").await?, "hello");
/// # Ok(())
/// # }
/// ```
pub struct TestClient {
    pub(super) builder: TestClientBuilder,
    pub(super) wire: Arc<Wire>,
    pub(super) id: String,
    pub(super) pid: Option<String>,
    pub(super) recovered: bool,
    /// The offset of the last event that was read.
    offset: Option<String>,
    next_ack: AtomicU64,
}

/// How a socket was disconnected. Returned by [`TestClient::expect_disconnect`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disconnected {
    /// The server disconnected the socket: "io server disconnect", also if it then closed the connection. Clients do not reconnect
    /// automatically.
    ByServer,
    /// The connection was closed without that: "transport close". Clients reconnect.
    ConnectionClosed,
}

/// What a socket receives next.
enum Next {
    Event(TestEvent),
    Disconnected(Disconnected),
    /// A message that a connected socket does not expect.
    Other(Incoming),
}

impl TestClient {
    pub(super) fn new(builder: TestClientBuilder, wire: Arc<Wire>) -> Self {
        let (id, pid, offset) = (String::new(), None, None);
        Self { builder, wire, id, pid, recovered: false, offset, next_ack: AtomicU64::new(0) }
    }

    /// Returns the public id of the socket. Empty if the client was created by [`open`](TestClientBuilder::open).
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the server's handle of the socket, or `None` if it is disconnected.
    #[must_use]
    pub fn socket(&self) -> Option<SocketRef> {
        self.builder.io.of(&self.builder.namespace)?.socket(&self.id)
    }

    /// Returns `true` if the server has recovered the session when the client [reconnected](Self::reconnect).
    #[must_use]
    pub fn is_recovered(&self) -> bool {
        self.recovered
    }

    // Sending.

    /// Emits an event. A tuple is sent as several arguments, any other type as one. Bytes (`bytes::Bytes`, `serde_bytes`) become
    /// attachments.
    ///
    /// The event is sent before this returns. The future waits until the handler has been polled once, so that effects before its
    /// first `.await` have happened, or until the connection is closed. It does not complete while
    /// [`max_concurrent_events`](crate::SocketIoConfig::max_concurrent_events) handlers run.
    ///
    /// # Panics
    ///
    /// Panics if the arguments cannot be encoded, if the connection is closed, or after the timeout.
    #[track_caller]
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> impl Future<Output = ()> + use<T> {
        let caller = Location::caller();
        let open = self.send_event(event, None, args, caller);
        assert!(open, "\"{event}\" is emitted on a connection that is closed, at {caller}");
        let (wire, limit, event) = (self.wire.clone(), self.builder.timeout, event.to_owned());
        async move {
            let settled = timeout(limit, wire.settled()).await;
            assert!(settled.is_ok(), "the server did not begin to handle \"{event}\" in time, at {caller}");
        }
    }

    /// Emits an event and returns a future that waits for the server's ack. The ack is deserialized as `R`: several arguments if it is
    /// a tuple, otherwise one. If it is an [`EventError`](crate::EventError) and does not match `R`, the future returns the error.
    ///
    /// The event is sent before this returns. Events that arrive meanwhile are kept for [`next`](Self::next).
    ///
    /// # Errors
    ///
    /// The future returns an error after the timeout, if the ack does not match the type, or if the client is disconnected.
    ///
    /// # Panics
    ///
    /// Panics if the arguments cannot be encoded.
    #[track_caller]
    pub fn emit_with_ack<R>(&self, event: &str, args: &(impl Serialize + ?Sized)) -> TestAck<R> {
        let id = self.next_ack.fetch_add(1, Ordering::Relaxed);
        let caller = Location::caller();
        self.send_event(event, Some(id), args, caller);
        let what = format!("the ack of \"{event}\", emitted at {caller},");
        TestAck::new(self.wire.clone(), self.builder.namespace.clone(), id, self.builder.timeout, what)
    }

    /// Returns `true` if the connection is open.
    fn send_event<T: Serialize + ?Sized>(&self, event: &str, id: Option<u64>, args: &T, at: &Location<'_>) -> bool {
        let packet = encode_event(Target { namespace: &self.builder.namespace, id }, event, args);
        let packet = packet.unwrap_or_else(|error| panic!("\"{event}\" cannot be encoded: {error}, at {at}"));
        self.wire.send(packet.packets().iter().cloned())
    }

    /// Sends an Engine.IO packet.
    pub fn send_raw(&self, packet: Packet) {
        self.wire.send([packet]);
    }

    // Receiving.

    /// Waits for the next event, which must have the given name, and returns its arguments: several if the type is a tuple, all if it
    /// is [`Args`](crate::Args), otherwise the first.
    ///
    /// # Panics
    ///
    /// Panics if another event arrives, if the arguments do not match the type, if the socket is disconnected, or after the timeout.
    #[track_caller]
    pub fn next<T: DeserializeOwned + Send + 'static>(&mut self, event: &str) -> impl Future<Output = T> {
        let caller = Location::caller();
        async move {
            let received = self.event(|| format!("\"{event}\""), caller).await;
            assert!(received.name() == event, "expected \"{event}\", got {received:?}, at {caller}");
            read(&received, caller)
        }
    }

    /// Like [`next`](Self::next), but skips other events.
    ///
    /// # Panics
    ///
    /// Panics if the arguments do not match the type, if the socket is disconnected, or after the timeout.
    #[track_caller]
    pub fn wait_for<T: DeserializeOwned + Send + 'static>(&mut self, event: &str) -> impl Future<Output = T> {
        let caller = Location::caller();
        async move {
            loop {
                let received = self.event(|| format!("\"{event}\""), caller).await;
                if received.name() == event {
                    return read(&received, caller);
                }
            }
        }
    }

    /// Waits for the next event. Use it to respond to an event by an [ack](TestEvent::ack).
    ///
    /// # Panics
    ///
    /// Panics if the socket is disconnected, or after the timeout.
    #[track_caller]
    pub fn next_event(&mut self) -> impl Future<Output = TestEvent> {
        let caller = Location::caller();
        async move { self.event(|| "an event".to_owned(), caller).await }
    }

    /// Waits for a duration on tokio's clock, and checks that neither an event nor a disconnection arrives.
    ///
    /// With a paused clock this takes no time, and covers everything that the server does without waiting. With a running clock,
    /// later packets are not noticed.
    ///
    /// # Panics
    ///
    /// Panics if something arrives.
    #[track_caller]
    pub fn expect_silence(&mut self, duration: Duration) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move {
            match timeout(duration, self.receive()).await {
                Err(_) => {}
                Ok(Next::Event(event)) => panic!("expected silence, got {event:?}, at {caller}"),
                Ok(Next::Disconnected(how)) => panic!("expected silence, was disconnected ({how:?}), at {caller}"),
                Ok(Next::Other(message)) => panic!("expected silence, got {message:?}, at {caller}"),
            }
        }
    }

    /// Waits until the socket is disconnected.
    ///
    /// # Panics
    ///
    /// Panics if an event arrives before, or after the timeout.
    #[track_caller]
    pub fn expect_disconnect(&mut self) -> impl Future<Output = Disconnected> {
        let caller = Location::caller();
        async move {
            match timeout(self.builder.timeout, self.receive()).await {
                Ok(Next::Disconnected(how)) => how,
                Ok(Next::Event(event)) => panic!("expected a disconnection, got {event:?}, at {caller}"),
                Ok(Next::Other(message)) => panic!("expected a disconnection, got {message:?}, at {caller}"),
                Err(_) => panic!("the socket was not disconnected in time, at {caller}"),
            }
        }
    }

    /// Waits for the next Engine.IO packet. Returns `None` if the connection is closed and all packets have been read.
    ///
    /// Skips pings to which the client [responds automatically](TestClientBuilder::answer_pings).
    ///
    /// # Panics
    ///
    /// Panics after the timeout.
    #[track_caller]
    pub fn next_raw(&mut self) -> impl Future<Output = Option<Packet>> {
        let caller = Location::caller();
        async move {
            let packet = self.wire.take(|queue, closed| match queue.pop_front() {
                Some(packet) => Some(Some(packet)),
                None => closed.then_some(None),
            });
            match timeout(self.builder.timeout, packet).await {
                Ok(packet) => packet,
                Err(_) => panic!("no packet arrived in time, at {caller}"),
            }
        }
    }

    async fn event(&mut self, expected: impl Fn() -> String, caller: &Location<'_>) -> TestEvent {
        match timeout(self.builder.timeout, self.receive()).await {
            Ok(Next::Event(event)) => event,
            Ok(Next::Disconnected(how)) => panic!("expected {}, was disconnected ({how:?}), at {caller}", expected()),
            Ok(Next::Other(message)) => panic!("expected {}, got {message:?}, at {caller}", expected()),
            Err(_) => panic!("expected {}, but nothing came in time, at {caller}", expected()),
        }
    }

    async fn receive(&mut self) -> Next {
        let is_ours =
            |message: &Incoming| message.kind != IncomingKind::Ack && message.namespace == self.builder.namespace;
        let message = self.wire.take(|queue, closed| match take(queue, is_ours) {
            Some(message) => Some(Some(message)),
            None => closed.then_some(None),
        });
        let Some(message) = message.await else {
            return Next::Disconnected(Disconnected::ConnectionClosed);
        };
        match message.kind {
            IncomingKind::Event => {
                let event = TestEvent::new(message, &self.wire);
                if self.pid.is_some() {
                    self.offset = event.offset().or(self.offset.take());
                }
                Next::Event(event)
            }
            IncomingKind::Disconnect => Next::Disconnected(Disconnected::ByServer),
            IncomingKind::Connect | IncomingKind::ConnectError | IncomingKind::Ack => Next::Other(message),
        }
    }

    // The network.

    /// Stops reading, like a client with a slow network, so that packets are queued at the server.
    ///
    /// Use it to test [`max_buffered_bytes`](crate::SocketIoConfig::max_buffered_bytes).
    pub fn stop_reading(&self) {
        self.wire.set_paused(true);
    }

    /// Resumes reading after [`stop_reading`](Self::stop_reading).
    pub fn resume_reading(&self) {
        self.wire.set_paused(false);
    }

    // The end.

    /// Leaves the namespace and closes the connection. Waits until the server has polled the handlers of the disconnection, whose
    /// reason is "client namespace disconnect".
    ///
    /// # Panics
    ///
    /// Panics after the timeout.
    #[track_caller]
    pub fn disconnect(self) -> impl Future<Output = ()> {
        let caller = Location::caller();
        let goodbye = encode_simple(b'1', &self.builder.namespace, "");
        self.wire.send(goodbye.packets().iter().cloned());
        async move {
            let settled = timeout(self.builder.timeout, self.wire.settled()).await;
            assert!(settled.is_ok(), "the server did not handle the end in time, at {caller}");
            self.lose_connection().await;
        }
    }

    /// Closes the connection like a network failure. Waits until the server has polled the handlers of the disconnection, whose
    /// reason is "transport close".
    ///
    /// # Panics
    ///
    /// Panics after the timeout.
    #[track_caller]
    pub fn lose_connection(self) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move {
            self.wire.disconnect();
            let closed = timeout(self.builder.timeout, self.wire.closed()).await;
            assert!(closed.is_ok(), "the server did not close the connection in time, at {caller}");
        }
    }

    /// Closes the connection like a network failure, and reconnects. Requests [recovery](crate::SocketIoConfig::recovery) of the
    /// session if the server supports it.
    ///
    /// Events that the test has not read are lost. A server that recovers the session sends them again.
    ///
    /// # Errors
    ///
    /// See [`connect`](Self::connect).
    ///
    /// # Panics
    ///
    /// See [`lose_connection`](Self::lose_connection).
    #[track_caller]
    pub fn reconnect(self) -> impl Future<Output = Result<Self, TestError>> {
        let mut builder = self.builder.clone();
        if let Some(pid) = &self.pid {
            builder = builder.claim(pid, self.offset.as_deref());
        }
        let offset = self.offset.clone();
        let lost = self.lose_connection();
        async move {
            lost.await;
            let mut client = builder.connect().await?;
            client.offset = offset.filter(|_| client.recovered);
            Ok(client)
        }
    }
}

fn read<T: DeserializeOwned + Send + 'static>(event: &TestEvent, caller: &Location<'_>) -> T {
    event.try_data().unwrap_or_else(|error| panic!("{error} in {event:?}, at {caller}"))
}

impl Drop for TestClient {
    fn drop(&mut self) {
        self.wire.disconnect();
    }
}

impl fmt::Debug for TestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient")
            .field("id", &self.id)
            .field("namespace", &self.builder.namespace)
            .field("wire", &self.wire)
            .finish_non_exhaustive()
    }
}
