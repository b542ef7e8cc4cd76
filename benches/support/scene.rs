//! A server with clients over in-memory transports of little cost.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Sink, Stream};
use http::Request;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::{
    runtime::{Builder, Runtime},
    task::yield_now,
};
use tower_socketio::{
    Ack, Namespace, SocketIo, SocketIoConfig, SocketIoService, SocketRef,
    engine::{Frame, Packet, TransportError},
    extract::{Data, State},
};

/// The number of rounds after which an operation counts as stuck. A broadcast to 10,000 needs some 200 rounds.
const PATIENCE: usize = 10_000;

/// The payload of an event.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Move {
    x: i32,
    y: i32,
    name: String,
}

/// An event with a [`Move`].
pub(crate) const EVENT: &str = r#"42["move",{"x":1,"y":2,"name":"text"}]"#;
/// The same, with an ack.
pub(crate) const EVENT_WITH_ACK: &str = r#"420["echo",{"x":1,"y":2,"name":"text"}]"#;

/// The number of packets that have reached clients, and of events that have reached handlers.
#[derive(Clone, Default)]
struct Progress(Arc<AtomicUsize>);

impl Progress {
    fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs an operation, then the tasks until they have made the expected progress.
    async fn by<R>(&self, count: usize, action: impl FnOnce() -> R) -> R {
        let goal = self.0.load(Ordering::Relaxed) + count;
        let result = action();
        for _ in 0..PATIENCE {
            if self.0.load(Ordering::Relaxed) >= goal {
                return result;
            }
            yield_now().await;
        }
        panic!("nothing arrives");
    }
}

/// The connection between a client and the server: a slot for one packet in each direction.
#[derive(Clone)]
struct Wire {
    slots: Arc<Mutex<Slots>>,
    progress: Progress,
}

#[derive(Default)]
struct Slots {
    to_server: Option<Packet>,
    to_client: Option<Packet>,
    server: Option<Waker>,
}

impl Wire {
    /// Connects a client to the default namespace.
    async fn join(io: &SocketIo, progress: &Progress) -> Self {
        let wire = Self { slots: Arc::default(), progress: progress.clone() };
        let (io, transport) = (io.clone(), wire.clone());
        let (request, ()) = Request::new(()).into_parts();
        let accept = || tokio::spawn(async move { io.accept(request, transport).await });
        progress.by(1, accept).await;
        progress.by(1, || wire.say(packet("40"))).await;
        wire
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, packet: Packet) {
        let mut slots = self.slots();
        slots.to_server = Some(packet);
        let server = slots.server.take();
        drop(slots);
        server.into_iter().for_each(Waker::wake);
    }

    /// Responds to the event `42<id>[...]` with the ack `43<id>[1]`.
    fn answer(&self) {
        let event = self.slots().to_client.take().expect("an event has arrived").into_frame();
        let Frame::Text(event) = event else { panic!("the event is text") };
        let end = event.iter().position(|&byte| byte == b'[').expect("the event has arguments");
        self.say(packet([b"43", &event[2..end], b"[1]"].concat()));
    }
}

impl Stream for Wire {
    type Item = Result<Packet, TransportError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut slots = self.slots();
        match slots.to_server.take() {
            Some(packet) => Poll::Ready(Some(Ok(packet))),
            None => {
                slots.server = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Sink<Packet> for Wire {
    type Error = TransportError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, packet: Packet) -> Result<(), TransportError> {
        self.slots().to_client = Some(packet);
        self.progress.count();
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }
}

/// A server with clients that are all in one room.
pub(crate) struct Scene {
    runtime: Runtime,
    io: SocketIo,
    progress: Progress,
    members: usize,
    /// The first client.
    wire: Wire,
    socket: SocketRef,
    payload: Move,
}

impl Scene {
    pub(crate) fn new(members: usize) -> Self {
        Self::with_config(members, SocketIoConfig::new())
    }

    /// Like [`new`](Self::new), with a configuration.
    pub(crate) fn with_config(members: usize, config: SocketIoConfig) -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime can be made");
        let progress = Progress::default();
        let io = service(&progress, config).io();
        let wire = runtime.block_on(Wire::join(&io, &progress));
        let socket = io.sockets().remove(0);
        let payload = Move { x: 1, y: 2, name: "text".to_owned() };
        let scene = Self { runtime, io, progress, members, wire, socket, payload };
        scene.repeat(members as u64 - 1, &Self::connect);
        scene
    }

    /// Repeats an operation.
    pub(crate) fn repeat(&self, times: u64, operation: &impl AsyncFn(&Self)) {
        self.runtime.block_on(async {
            for _ in 0..times {
                operation(self).await;
            }
        });
    }

    /// The client sends an event, which is handled. Waits for the ack if it requests one.
    pub(crate) async fn event(&self, event: &Packet) {
        self.progress.by(1, || self.wire.say(event.clone())).await;
    }

    /// The server emits to the client.
    pub(crate) async fn emit(&self) {
        self.progress.by(1, || self.socket.emit("move", &self.payload).expect("the client is there")).await;
    }

    /// The server emits with an ack, and the client responds.
    pub(crate) async fn ask(&self) {
        let ack = self.progress.by(1, || self.socket.emit_with_ack::<u32>("move", &self.payload)).await;
        self.wire.answer();
        assert_eq!(ack.await.expect("the client answers"), 1);
    }

    /// The server emits to all clients.
    pub(crate) async fn broadcast(&self) {
        let emit = || self.io.to("all").emit("move", &self.payload).expect("the clients are there");
        self.progress.by(self.members, emit).await;
    }

    /// Another client connects and joins the namespace.
    pub(crate) async fn connect(&self) {
        Wire::join(&self.io, &self.progress).await;
    }
}

pub(crate) fn packet(text: impl Into<Bytes>) -> Packet {
    Packet::from_text(text).expect("a packet")
}

fn service(progress: &Progress, config: SocketIoConfig) -> SocketIoService {
    let namespace = Namespace::new()
        .on_connect(async |socket: SocketRef| socket.join("all"))
        .on("move", async |State(progress): State<Progress>, Data(_): Data<Move>| progress.count())
        .on("value", async |State(progress): State<Progress>, Data(_): Data<Value>| progress.count())
        .on("text", async |State(progress): State<Progress>, Data(_): Data<String>| progress.count())
        .on("echo", async |Data(data): Data<Move>| Ack(data))
        .with_state(progress.clone());
    // No heartbeat during the measurement.
    let config = config.ping_interval(Duration::from_secs(3600));
    SocketIoService::new(config.namespace("/", namespace))
}
