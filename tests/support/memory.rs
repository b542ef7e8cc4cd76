use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{Sink, Stream};
use hyper::Request;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tower_socketio::{Packet, SocketIo, TransportError};

use super::soon;

/// A client in the same process: its packets never become bytes.
pub struct Memory {
    to_server: UnboundedSender<Packet>,
    from_server: UnboundedReceiver<Packet>,
}

/// The server's end: all that a transport has to be.
struct Transport {
    to_client: Option<UnboundedSender<Packet>>,
    from_client: UnboundedReceiver<Packet>,
}

impl Memory {
    /// Connects; the packets are the caller's business from the handshake on.
    pub fn open(io: &SocketIo) -> Self {
        Self::open_with(io, "/socket.io/?EIO=4")
    }

    /// As if this had been the target of a request.
    pub fn open_with(io: &SocketIo, target: &str) -> Self {
        let (to_server, from_client) = unbounded_channel();
        let (to_client, from_server) = unbounded_channel();
        let (request, ()) = Request::get(target).header("x-from", "memory").body(()).expect("a request").into_parts();
        let transport = Transport { to_client: Some(to_client), from_client };
        let io = io.clone();
        tokio::spawn(async move { io.accept(request, transport).await });
        Self { to_server, from_server }
    }

    /// Connects and joins the default namespace.
    pub async fn join(io: &SocketIo) -> Self {
        let mut client = Self::open(io);
        assert!(client.text().await.starts_with("0{"));
        client.say("40");
        assert!(client.text().await.starts_with("40{"));
        client
    }

    pub fn say(&self, text: &str) {
        self.send(Packet::from_text(text.to_owned()).expect("a packet"));
    }

    pub fn send(&self, packet: Packet) {
        self.to_server.send(packet).expect("the server is there");
    }

    /// The next packet, or the end.
    pub async fn packet(&mut self) -> Option<Packet> {
        soon(self.from_server.recv()).await
    }

    /// The next packet, which is text.
    pub async fn text(&mut self) -> String {
        match self.packet().await.expect("the connection is open").into_payload() {
            tower_socketio::PacketPayload::Text(text) => String::from_utf8(text.to_vec()).expect("UTF-8"),
            tower_socketio::PacketPayload::Binary(data) => panic!("expected text, got {data:?}"),
        }
    }

    /// As [`packet`](Self::packet), however long it takes on a paused clock.
    pub async fn packet_in_time(&mut self) -> Option<Packet> {
        self.from_server.recv().await
    }

    pub async fn expect_in_time(&mut self, text: &str) {
        assert_eq!(self.packet_in_time().await, Some(Packet::from_text(text.to_owned()).expect("a packet")));
    }

    #[track_caller]
    pub fn expect(&mut self, text: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move { assert_eq!(self.text().await, text, "at {caller}") }
    }
}

impl Stream for Transport {
    type Item = Result<Packet, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.from_client.poll_recv(cx).map(|packet| packet.map(Ok))
    }
}

impl Sink<Packet> for Transport {
    type Error = TransportError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, packet: Packet) -> Result<(), TransportError> {
        let sent = self.to_client.as_ref().is_some_and(|client| client.send(packet).is_ok());
        if sent { Ok(()) } else { Err(TransportError::new("the client has gone")) }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.to_client = None;
        Poll::Ready(Ok(()))
    }
}
