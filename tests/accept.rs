//! Connections over transports that the user implements.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{Sink, Stream};
use tokio::time::{Instant, Interval, interval, timeout};
use tower_socketio::{
    Args, Namespace, SocketIo, SocketIoConfig, SocketIoService, SocketRef, Transport,
    engine::{AcceptError, Packet, ProtocolVersion, TransportError},
    extract::Data,
    test::TestClient,
};

use crate::support::*;

fn service() -> SocketIoService {
    let namespace = Namespace::new()
        .on("echo", |socket: SocketRef, Data(args): Data<Args>| async move { socket.emit("echo", &args).unwrap() })
        .on("kick", |socket: SocketRef| async move { socket.disconnect_all() });
    SocketIoService::new(SocketIoConfig::new().allow_eio3(true).namespace("/", namespace.with_state(())))
}

#[tokio::test]
async fn any_stream_and_sink_of_packets_is_a_transport() {
    let io = service().io();
    let mut client = Memory::join(&io).await;
    let socket = io.sockets().remove(0);
    assert_eq!((socket.transport(), Transport::Custom.as_str()), (Transport::Custom, "custom"));
    assert_eq!(socket.request().headers()["x-from"], "memory");
    client.say(r#"42["echo",1]"#);
    client.expect(r#"42["echo",1]"#).await;
    let header = r#"451-["echo",{"_placeholder":true,"num":0}]"#;
    client.say(header);
    client.send(Packet::binary(&[1u8, 2][..]));
    client.expect(header).await;
    assert_eq!(client.packet().await, Some(Packet::binary(&[1u8, 2][..])));
    client.say(r#"42["kick"]"#);
    client.expect("41").await;
    assert_eq!(client.packet().await, None);
    until(|| io.stats().connections == 0).await;
}

#[tokio::test(start_paused = true)]
async fn heartbeats_go_over_it() {
    let io = service().io();
    let mut client = Memory::join(&io).await;
    for _ in 0..3 {
        client.expect("2").await;
        client.say("3");
    }
    client.expect("2").await;
    assert_eq!(client.packet().await, None);
    assert_eq!(io.stats().connections, 0);
}

#[tokio::test]
async fn a_client_that_disconnects_closes_its_sockets() {
    let io = service().io();
    let client = Memory::join(&io).await;
    assert_eq!(io.stats().sockets, 1);
    drop(client);
    until(|| io.stats().connections == 0 && io.stats().sockets == 0).await;
}

#[tokio::test]
async fn it_may_speak_revision_3() {
    let io = service().io();
    let mut client = Memory::open_with(TestClient::builder(&io).query("EIO=3"));
    assert!(client.text().await.starts_with("0{"));
    client.expect("40").await;
    assert_eq!(io.sockets()[0].protocol(), ProtocolVersion::V3);
    client.say("2");
    client.expect("3").await;
}

#[tokio::test]
async fn a_crowd_that_disconnects_one_another_from_handlers_does_not_end_with_the_stack() {
    let namespace = Namespace::new()
        .on_connect(|socket: SocketRef| async move { socket.join("room") })
        .on_disconnecting(|io: tower_socketio::SocketIo| async move { io.to("room").disconnect_sockets(false) })
        .on_disconnect(|io: tower_socketio::SocketIo| async move { io.to("room").disconnect_sockets(false) });
    let io = SocketIoService::new(SocketIoConfig::new().namespace("/", namespace.with_state(()))).io();
    let mut clients = Vec::new();
    for _ in 0..3000 {
        clients.push(Memory::join(&io).await);
    }
    clients[0].say("41");
    for client in &mut clients[1..] {
        client.expect("41").await;
    }
    assert_eq!(io.stats().sockets, 0);
}

/// A transport that ignores its close: it keeps yielding packets, and its close may never complete.
struct Deaf {
    packets: Interval,
    said: usize,
    closes: bool,
}

impl Stream for Deaf {
    type Item = Result<Packet, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        ready!(self.packets.poll_tick(cx));
        self.said += 1;
        let text = ["0", r#"2["kick"]"#].get(self.said - 1).copied().unwrap_or(r#"2["more"]"#);
        Poll::Ready(Some(Ok(Packet::message(text))))
    }
}

impl Sink<Packet> for Deaf {
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
        if self.closes { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_notice_its_end_is_dropped_after_five_seconds() {
    for closes in [true, false] {
        let io = service().io();
        let (request, ()) = http::Request::new(()).into_parts();
        let begun = Instant::now();
        let period = Duration::from_millis(300);
        let connection = io.accept(request, Deaf { packets: interval(period), said: 0, closes });
        timeout(Duration::from_secs(60), connection).await.unwrap().unwrap();
        assert_eq!(begun.elapsed(), period + Duration::from_secs(5), "{closes}");
        assert_eq!(io.stats().connections, 0);
    }
}

/// A transport that yields a packet at each poll and ignores its close.
struct Talkative(usize);

impl Stream for Talkative {
    type Item = Result<Packet, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0 += 1;
        let text = ["0", r#"2["kick"]"#].get(self.0 - 1).copied().unwrap_or(r#"2["more"]"#);
        Poll::Ready(Some(Ok(Packet::message(text))))
    }
}

impl Sink<Packet> for Talkative {
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

/// On one thread, the connection yields to other tasks, both while it is open and while it closes.
#[tokio::test]
async fn a_stream_that_is_always_ready_yields_to_other_tasks() {
    let io = service().io();
    let (request, ()) = http::Request::new(()).into_parts();
    let accepting = io.clone();
    let connection = tokio::spawn(async move { accepting.accept(request, Talkative(0)).await });
    let mut other = Memory::join(&io).await;
    other.say(r#"42["echo",1]"#);
    other.expect(r#"42["echo",1]"#).await;
    soon(connection).await.unwrap().unwrap();
    assert_eq!(io.stats().connections, 1);
}

#[tokio::test]
async fn a_connection_that_is_not_opened_says_why() {
    async fn refused(io: &SocketIo) -> AcceptError {
        let (request, ()) = http::Request::new(()).into_parts();
        soon(io.accept(request, Talkative(0))).await.unwrap_err()
    }
    let io = |id: fn() -> String| SocketIoService::new(SocketIoConfig::new().generate_id(move |_| id())).io();
    assert_eq!(refused(&io(String::new)).await, AcceptError::InvalidId);
    assert_eq!(refused(&io(|| panic!("on purpose"))).await, AcceptError::InvalidId);
    let io = io(|| "one".to_owned());
    let client = Memory::join(&io).await;
    assert_eq!(refused(&io).await, AcceptError::IdTaken);
    assert!(refused(&io).await.to_string().contains("another session"));
    drop(client);
    io.drain(Duration::ZERO).await;
    assert_eq!(refused(&io).await, AcceptError::Draining);
}
