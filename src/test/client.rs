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

/// A client in the same process as the server, over a transport in memory.
///
/// It has one socket, in one namespace. When it is dropped the server sees what it sees when a network fails: "transport
/// close".
///
/// What it waits for must happen within its [patience](TestClientBuilder::patience), which runs on tokio's clock. A clock
/// that is paused goes on by itself when every task waits; so a handler that waits for something of another thread
/// (`spawn_blocking` aside) or of the operating system wants a clock that is not paused.
///
/// Layers around the `SocketIoLayer`, and its checks of HTTP requests, are not asked: there is no HTTP.
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

/// How a socket was disconnected, as its client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disconnected {
    /// The server disconnected the socket: "io server disconnect". Clients do not connect again by themselves.
    ByServer,
    /// The connection was closed: "transport close". Clients connect again.
    ConnectionClosed,
}

/// What comes next for a socket.
enum Next {
    Event(TestEvent),
    Disconnected(Disconnected),
    /// A message that a socket that is connected does not get.
    Other(Incoming),
}

impl TestClient {
    pub(super) fn new(builder: TestClientBuilder, wire: Arc<Wire>) -> Self {
        let (id, pid, offset) = (String::new(), None, None);
        Self { builder, wire, id, pid, recovered: false, offset, next_ack: AtomicU64::new(0) }
    }

    /// The public id of the socket. Empty if the client was merely [opened](TestClientBuilder::open).
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The server's side of the socket, while it is connected.
    #[must_use]
    pub fn socket(&self) -> Option<SocketRef> {
        self.builder.io.of(&self.builder.namespace)?.socket(&self.id)
    }

    /// Whether the server took the client for the one that it was before it [reconnected](Self::reconnect).
    #[must_use]
    pub fn recovered(&self) -> bool {
        self.recovered
    }

    // Sending.

    /// Emits an event. A tuple is several arguments, anything else is one; bytes (`bytes::Bytes`, `serde_bytes`) become
    /// attachments.
    ///
    /// The event is on its way when this returns. The future waits until its handler has run as far as it gets without
    /// waiting, so that what it did by then (joined a room, say) has been done; or until the connection is closed. While
    /// [`max_concurrent_events`](crate::SocketIoConfig::max_concurrent_events) handlers are under way that does not happen.
    ///
    /// # Panics
    ///
    /// If the arguments cannot be encoded, the connection is closed already, or the event is not handled in time.
    #[track_caller]
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> impl Future<Output = ()> + use<T> {
        let caller = Location::caller();
        let open = self.send_event(event, None, args, caller);
        assert!(open, "\"{event}\" is emitted on a connection that is closed, at {caller}");
        let (wire, patience, event) = (self.wire.clone(), self.builder.patience, event.to_owned());
        async move {
            let settled = timeout(patience, wire.settled()).await;
            assert!(settled.is_ok(), "the server did not begin to handle \"{event}\" in time, at {caller}");
        }
    }

    /// Emits an event and waits for the server's ack, which is read as `R`: one argument, or several if it is a tuple.
    ///
    /// The event is on its way when this returns. What else arrives meanwhile is kept for [`next`](Self::next).
    ///
    /// # Errors
    ///
    /// If there is no answer in time, it is of another type, or the client is disconnected.
    ///
    /// # Panics
    ///
    /// If the arguments cannot be encoded.
    #[track_caller]
    pub fn emit_with_ack<R>(&self, event: &str, args: &(impl Serialize + ?Sized)) -> TestAck<R> {
        let id = self.next_ack.fetch_add(1, Ordering::Relaxed);
        let caller = Location::caller();
        self.send_event(event, Some(id), args, caller);
        let what = format!("the ack of \"{event}\", emitted at {caller},");
        TestAck::new(self.wire.clone(), self.builder.namespace.clone(), id, self.builder.patience, what)
    }

    /// Answers whether the connection is open.
    fn send_event<T: Serialize + ?Sized>(&self, event: &str, id: Option<u64>, args: &T, at: &Location<'_>) -> bool {
        let packet = encode_event(Target { namespace: &self.builder.namespace, id }, event, args);
        let packet = packet.unwrap_or_else(|error| panic!("\"{event}\" cannot be encoded: {error}, at {at}"));
        self.wire.send(packet.packets().iter().cloned())
    }

    /// Sends a packet of Engine.IO's as it is.
    pub fn send_raw(&self, packet: Packet) {
        self.wire.send([packet]);
    }

    // Receiving.

    /// Waits for an event, which must be the next one, and reads its arguments: several if the type is a tuple, all if it is
    /// [`Args`](crate::Args), otherwise the first. Acks are no events, nor are pings.
    ///
    /// # Panics
    ///
    /// If another event comes, the arguments are of another type, the socket is disconnected, or nothing comes in time.
    #[track_caller]
    pub fn next<T: DeserializeOwned + Send + 'static>(&mut self, event: &str) -> impl Future<Output = T> {
        let caller = Location::caller();
        async move {
            let received = self.event(|| format!("\"{event}\""), caller).await;
            assert!(received.name() == event, "expected \"{event}\", got {received:?}, at {caller}");
            read(&received, caller)
        }
    }

    /// As [`next`](Self::next), but passes over the events before it.
    ///
    /// # Panics
    ///
    /// If the arguments are of another type, the socket is disconnected, or the event does not come in time.
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

    /// Waits for an event, whichever it is: the way to answer one that asks for an [ack](TestEvent::ack).
    ///
    /// # Panics
    ///
    /// If the socket is disconnected, or nothing comes in time.
    #[track_caller]
    pub fn next_event(&mut self) -> impl Future<Output = TestEvent> {
        let caller = Location::caller();
        async move { self.event(|| "an event".to_owned(), caller).await }
    }

    /// Waits this long, on tokio's clock, for nothing to come: no event, and no disconnection.
    ///
    /// With a paused clock it takes no time, and whatever the server does at once has been done when it ends. With a clock
    /// that runs, what comes later than this is not noticed.
    ///
    /// # Panics
    ///
    /// If something comes.
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
    /// If an event comes before, or the socket is not disconnected in time.
    #[track_caller]
    pub fn expect_disconnect(&mut self) -> impl Future<Output = Disconnected> {
        let caller = Location::caller();
        async move {
            match timeout(self.builder.patience, self.receive()).await {
                Ok(Next::Disconnected(how)) => how,
                Ok(Next::Event(event)) => panic!("expected a disconnection, got {event:?}, at {caller}"),
                Ok(Next::Other(message)) => panic!("expected a disconnection, got {message:?}, at {caller}"),
                Err(_) => panic!("the socket was not disconnected in time, at {caller}"),
            }
        }
    }

    /// Waits for the next packet of Engine.IO's, whatever it is. `None`: the connection is closed, and nothing is left.
    ///
    /// Pings that the client [answers by itself](TestClientBuilder::answer_pings) are not shown.
    ///
    /// # Panics
    ///
    /// If nothing comes in time.
    #[track_caller]
    pub fn next_raw(&mut self) -> impl Future<Output = Option<Packet>> {
        let caller = Location::caller();
        async move {
            let packet = self.wire.take(|queue, closed| match queue.pop_front() {
                Some(packet) => Some(Some(packet)),
                None => closed.then_some(None),
            });
            match timeout(self.builder.patience, packet).await {
                Ok(packet) => packet,
                Err(_) => panic!("no packet came in time, at {caller}"),
            }
        }
    }

    async fn event(&mut self, expected: impl Fn() -> String, caller: &Location<'_>) -> TestEvent {
        match timeout(self.builder.patience, self.receive()).await {
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

    /// Stops reading, as a client does whose network is too slow: what the server sends waits there.
    ///
    /// For tests of [`max_buffered_bytes`](crate::SocketIoConfig::max_buffered_bytes) and what comes of it.
    pub fn stop_reading(&self) {
        self.wire.set_deaf(true);
    }

    /// Reads again after [`stop_reading`](Self::stop_reading).
    pub fn resume_reading(&self) {
        self.wire.set_deaf(false);
    }

    // The end.

    /// Leaves the namespace, closes the connection, and waits until the server has dealt with that: handlers of the
    /// disconnection have run as far as they get without waiting, with "client namespace disconnect".
    ///
    /// # Panics
    ///
    /// If the server does not do that in time.
    #[track_caller]
    pub fn disconnect(self) -> impl Future<Output = ()> {
        let caller = Location::caller();
        let goodbye = encode_simple(b'1', &self.builder.namespace, "");
        self.wire.send(goodbye.packets().iter().cloned());
        async move {
            let settled = timeout(self.builder.patience, self.wire.settled()).await;
            assert!(settled.is_ok(), "the server did not handle the end in time, at {caller}");
            self.lose_connection().await;
        }
    }

    /// Loses the connection, and waits until the server has dealt with that: handlers of the disconnection have run as far
    /// as they get without waiting, with "transport close".
    ///
    /// # Panics
    ///
    /// If the server does not do that in time.
    #[track_caller]
    pub fn lose_connection(self) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move {
            self.wire.hang_up();
            let closed = timeout(self.builder.patience, self.wire.closed()).await;
            assert!(closed.is_ok(), "the server did not close the connection in time, at {caller}");
        }
    }

    /// Loses the connection and connects anew, as clients do by themselves: with what it takes to
    /// [recover](crate::SocketIoConfig::recovery), if the server does that.
    ///
    /// Events that the test has not read are lost with the connection; a server that recovers the client sends them again.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Panics
    ///
    /// As [`lose_connection`](Self::lose_connection).
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
        self.wire.hang_up();
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
