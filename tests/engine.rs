//! Engine.IO without Socket.IO: `tower_socketio::engine`.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::{Router, routing};
use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tower_socketio::{
    SocketIoConfig, Transport,
    engine::{
        CloseReason, EngineIo, EngineIoConfig, EngineIoLayer, EngineSocket, Handler, Message, Packet, ProtocolVersion,
        SessionHandler, TransportError,
    },
};

use crate::support::*;

struct Server {
    address: SocketAddr,
    io: EngineIo,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(config: EngineIoConfig, handler: impl Handler) -> Server {
    let layer = EngineIoLayer::new(config, handler);
    let io = layer.io();
    let app = Router::new().route("/", routing::get(|| async { "page" })).layer(layer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    let task = tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
    Server { address, io, task }
}

impl Server {
    async fn is_empty(&self) {
        until(|| self.io.connections() == 0).await;
    }
}

const POLLING: &str = "/engine.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/engine.io/?EIO=4&transport=websocket";

fn sid(open: &str) -> String {
    json(open.trim_start_matches(|c: char| c != '{'))["sid"].as_str().unwrap().to_owned()
}

/// Opens a session over long-polling, and returns its target.
async fn open_polling(address: SocketAddr) -> String {
    let reply = get(address, POLLING).await;
    format!("{POLLING}&sid={}", sid(reply.text()))
}

async fn open_websocket(address: SocketAddr) -> WebSocket {
    let mut client = WebSocket::raw(address, WEBSOCKET, &[]).await.unwrap();
    client.sid = sid(&client.text().await);
    client
}

/// Echoes each message, and records what happens.
struct Noting {
    socket: EngineSocket,
    notes: mpsc::UnboundedSender<String>,
}

impl SessionHandler for Noting {
    fn opened(&mut self) {
        self.notes.send(format!("opened {} {}", self.socket.transport(), self.socket.is_open())).unwrap();
    }

    fn message(&mut self, message: Message) {
        match message.as_text() {
            Some("close") => self.socket.close(),
            Some("panic") => panic!("as asked"),
            _ => self.socket.send(message).unwrap(),
        }
    }

    fn upgraded(&mut self, transport: Transport) {
        self.notes.send(format!("upgraded {transport}")).unwrap();
    }

    fn closed(&mut self, reason: CloseReason) {
        let notes = format!("closed {reason} {:?} {}", reason.detail(), self.socket.is_open());
        self.notes.send(notes).unwrap();
    }
}

fn noting() -> (impl Handler, mpsc::UnboundedReceiver<String>) {
    let (notes, received) = mpsc::unbounded_channel();
    (move |socket| Noting { socket, notes: notes.clone() }, received)
}

async fn expect(notes: &mut mpsc::UnboundedReceiver<String>, note: &str) {
    assert_eq!(soon(notes.recv()).await.as_deref(), Some(note));
}

#[tokio::test]
async fn messages_go_both_ways_over_long_polling() {
    let (handler, mut notes) = noting();
    let server = serve(EngineIoConfig::new(), handler).await;
    let target = open_polling(server.address).await;
    expect(&mut notes, "opened polling true").await;
    post(server.address, &target, "4hé€😀\x1ebAQID\x1e4second").await.is(200, "ok");
    get(server.address, &target).await.is(200, "4hé€😀\x1ebAQID\x1e4second");
    post(server.address, &target, "1").await.is(200, "ok");
    expect(&mut notes, "closed transport close None false").await;
    server.is_empty().await;
    // All other requests are passed to the router.
    get(server.address, "/").await.is(200, "page");
    assert_eq!(get(server.address, "/socket.io/?EIO=4&transport=polling").await.status, 404);
    get(server.address, "/engine.io/?EIO=4&transport=pigeon").await.refused(400, 0, "Transport unknown");
}

#[tokio::test]
async fn messages_go_both_ways_over_websocket() {
    let (handler, mut notes) = noting();
    let server = serve(EngineIoConfig::new(), handler).await;
    let mut client = open_websocket(server.address).await;
    expect(&mut notes, "opened websocket true").await;
    client.say("4hé€😀").await;
    client.say_binary(&[1, 2, 3]).await;
    client.expect("4hé€😀").await;
    client.expect_binary(&[1, 2, 3]).await;
    client.say("4close").await;
    client.expect_close().await;
    expect(&mut notes, r#"closed forced close Some("closed by the server") false"#).await;
}

#[tokio::test]
async fn a_session_is_upgraded_and_keeps_the_order_of_its_messages() {
    let (handler, mut notes) = noting();
    let server = serve(EngineIoConfig::new(), handler).await;
    let target = open_polling(server.address).await;
    expect(&mut notes, "opened polling true").await;
    let mut websocket = WebSocket::raw(server.address, &target.replace("polling", "websocket"), &[]).await.unwrap();
    websocket.say("2probe").await;
    websocket.expect("3probe").await;
    post(server.address, &target, "4first").await.is(200, "ok");
    get(server.address, &target).await.is(200, "4first");
    websocket.say("5").await;
    websocket.say("4second").await;
    websocket.expect("4second").await;
    expect(&mut notes, "upgraded websocket").await;
}

#[tokio::test]
async fn clients_of_revision_3_are_served() {
    let (handler, mut notes) = noting();
    let server = serve(EngineIoConfig::new().allow_eio3(true), handler).await;
    let target = "/engine.io/?EIO=3&transport=polling&t=yeast";
    let open = get(server.address, target).await;
    let target = format!("{target}&sid={}", sid(open.text()));
    expect(&mut notes, "opened polling true").await;
    // Only the handshake has been sent, because there is no namespace.
    post(server.address, &target, "6:4first7:4second").await.is(200, "ok");
    get(server.address, &target).await.is(200, "6:4first7:4second");
    // Clients of 1.x that do not support binary encode and decode the UTF-8 of polled text twice. Those of 2.x do not.
    let target = "/engine.io/?EIO=3&transport=polling&b64=1";
    let target = format!("{target}&sid={}", sid(get(server.address, target).await.text()));
    let twice: String = "4hé€😀".bytes().map(char::from).collect();
    for text in [&*twice, "4hé€😀"] {
        let payload = format!("{}:{text}", text.encode_utf16().count());
        post(server.address, &target, payload.clone()).await.is(200, "ok");
        get(server.address, &target).await.is(200, &payload);
    }
    let mut client = WebSocket::raw(server.address, "/engine.io/?EIO=3&transport=websocket", &[]).await.unwrap();
    client.text().await;
    client.say("4hé€").await;
    client.expect("4hé€").await;
    client.say_binary(&[4, 1, 2]).await;
    client.expect_binary(&[4, 1, 2]).await;
}

#[tokio::test]
async fn a_handler_that_panics_ends_its_session_alone() {
    let (handler, mut notes) = noting();
    let server = serve(EngineIoConfig::new(), handler).await;
    let (mut a, mut b) = (open_websocket(server.address).await, open_websocket(server.address).await);
    a.say("4panic").await;
    a.expect_close().await;
    b.say("4hi").await;
    b.expect("4hi").await;
    expect(&mut notes, "opened websocket true").await;
    expect(&mut notes, "opened websocket true").await;
    expect(&mut notes, r#"closed forced close Some("the handler panicked") false"#).await;
    assert_eq!((server.io.panics(), server.io.connections()), (1, 1));
}

/// Accepts messages only while its gate is open.
struct Gated {
    gate: Arc<Gate>,
    received: mpsc::UnboundedSender<Message>,
}

#[derive(Default)]
struct Gate {
    is_open: AtomicBool,
    asked: AtomicUsize,
    wakers: Mutex<Vec<Waker>>,
}

impl SessionHandler for Gated {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.gate.asked.fetch_add(1, Ordering::SeqCst);
        self.gate.wakers.lock().unwrap().push(cx.waker().clone());
        if self.gate.is_open.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn message(&mut self, message: Message) {
        self.received.send(message).unwrap();
    }
}

#[tokio::test]
async fn a_handler_that_is_not_ready_slows_its_client_down() {
    let gate = Arc::new(Gate::default());
    let (sender, mut received) = mpsc::unbounded_channel();
    let handler = {
        let gate = gate.clone();
        move |_| Gated { gate: gate.clone(), received: sender.clone() }
    };
    let server = serve(EngineIoConfig::new(), handler).await;
    let target = open_polling(server.address).await;
    // The response to a POST is sent after its messages have been accepted.
    let posting = tokio::spawn({
        let (address, target) = (server.address, target.clone());
        async move { post(address, &target, "4a\x1e4b").await }
    });
    let mut client = open_websocket(server.address).await;
    client.say("4c").await;
    until(|| gate.asked.load(Ordering::SeqCst) >= 2).await;
    assert!(received.try_recv().is_err() && !posting.is_finished());
    gate.is_open.store(true, Ordering::SeqCst);
    gate.wakers.lock().unwrap().drain(..).for_each(Waker::wake);
    let mut texts = Vec::new();
    while texts.len() < 3 {
        texts.push(soon(received.recv()).await.unwrap().as_text().unwrap().to_owned());
    }
    texts.sort();
    assert_eq!(texts, ["a", "b", "c"]);
    soon(posting).await.unwrap().is(200, "ok");
}

#[tokio::test]
async fn send_buffers_are_limited() {
    let (sender, mut sockets) = mpsc::unbounded_channel();
    let (handler, _notes) = noting();
    let handler = move |socket: EngineSocket| {
        sender.send(socket.clone()).unwrap();
        handler.open(socket)
    };
    let server = serve(EngineIoConfig::new().max_buffered_bytes(1_000), handler).await;
    let target = open_polling(server.address).await;
    let socket = soon(sockets.recv()).await.unwrap();
    assert!(!socket.is_writable() && target.ends_with(socket.id()));
    assert_eq!((socket.protocol(), socket.transport()), (ProtocolVersion::V4, Transport::Polling));
    socket.send("x".repeat(600)).unwrap();
    let error = socket.send(Bytes::from(vec![1; 600])).unwrap_err();
    assert!(error.is_full() && !error.is_closed(), "{error}");
    assert!(socket.buffered_bytes() >= 600);
    get(server.address, &target).await.is(200, &format!("4{}", "x".repeat(600)));
    soon(socket.drained()).await;
    socket.close();
    assert!(socket.send("late").unwrap_err().is_closed());
}

#[tokio::test]
async fn the_settings_of_the_engine_hold_without_socket_io() {
    let config = EngineIoConfig::new()
        .path("/feed")
        .origins(["https://example.com"])
        .max_payload(100)
        .initial_packet(Packet::message("welcome"))
        .generate_id(|request| request.headers["x-id"].to_str().unwrap().to_owned())
        .transports([Transport::WebSocket]);
    let (handler, _notes) = noting();
    let server = serve(config, handler).await;
    assert_eq!(server.io.path(), "/feed/");
    let websocket = "/feed/?EIO=4&transport=websocket";
    let polling = get(server.address, "/feed/?EIO=4&transport=polling").await;
    polling.refused(400, 0, "Transport unknown");
    assert!(WebSocket::raw(server.address, websocket, &[("origin", "https://evil.example")]).await.is_err());
    let mut client = WebSocket::raw(server.address, websocket, &[("x-id", "mine")]).await.unwrap();
    assert_eq!(sid(&client.text().await), "mine");
    client.expect("4welcome").await;
    client.say(&format!("4{}", "x".repeat(100))).await;
    assert!(matches!(client.frame().await, Frame::Close(Some(1009))));
}

/// A client that never sends a packet.
struct Silent;

impl Stream for Silent {
    type Item = Result<Packet, TransportError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Pending
    }
}

impl Sink<Packet> for Silent {
    type Error = TransportError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, _: Packet) -> Result<(), TransportError> {
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_falls_silent_is_closed() {
    let (handler, mut notes) = noting();
    let layer = EngineIoLayer::new(EngineIoConfig::new(), handler);
    let (request, ()) = axum::http::Request::new(()).into_parts();
    layer.io().accept(request, Silent).await.unwrap();
    expect(&mut notes, "opened custom true").await;
    expect(&mut notes, "closed ping timeout None false").await;
}

#[tokio::test]
async fn an_engine_is_closed_and_drained() {
    let (handler, mut notes) = noting();
    let server = serve(EngineIoConfig::new(), handler).await;
    let mut client = open_websocket(server.address).await;
    client.say("4hi").await;
    client.expect("4hi").await;
    soon(server.io.close()).await;
    client.expect_close().await;
    expect(&mut notes, "opened websocket true").await;
    expect(&mut notes, "closed server shutting down None false").await;
    let mut client = open_websocket(server.address).await;
    soon(server.io.drain(Duration::ZERO)).await;
    client.expect_close().await;
    get(server.address, POLLING).await.refused(503, 4, "The server is shutting down");
}

/// The equivalent of `bind` in Node.js.
#[tokio::test]
async fn socket_io_takes_the_settings_of_an_engine() {
    let engine = EngineIoConfig::new().path("/socket.io").max_payload(1_234).ping_interval(Duration::from_secs(7));
    let (namespace, _reasons) = echo();
    let server = serve_config(SocketIoConfig::new().engine(engine).namespace("/", namespace)).await;
    let client = Polling::join(server.address).await;
    assert_eq!((&client.open["maxPayload"], &client.open["pingInterval"]), (&1_234.into(), &7_000.into()));
    client.say(r#"42["echo",1]"#).await;
    client.expect(r#"42["echo",1]"#).await;
}
