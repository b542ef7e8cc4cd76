//! Sessions over WebTransport: opened and upgraded on a stream in memory, and over QUIC.

#[cfg(feature = "webtransport")]
mod quic;
mod upgrade;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Method;
use tokio::{
    io::duplex,
    time::{Instant, advance},
};
use tower_socketio::{
    DisconnectReason, Namespace, SocketIo, SocketIoConfig, SocketIoService, SocketRef, Transport,
    engine::{AcceptError, EngineIoConfig, EngineIoLayer, EngineSocket, Message, Packet, SessionHandler},
};

use crate::support::*;

const ALL: [Transport; 3] = [Transport::Polling, Transport::WebSocket, Transport::WebTransport];

fn config() -> SocketIoConfig {
    SocketIoConfig::new().transports(ALL)
}

fn namespace() -> (Namespace, tokio::sync::mpsc::UnboundedReceiver<DisconnectReason>) {
    let (namespace, reasons) = echo();
    (namespace.on("kick", |socket: SocketRef| async move { socket.disconnect_all() }), reasons)
}

/// A server without HTTP.
fn service(config: SocketIoConfig) -> SocketIo {
    SocketIoService::new(config.namespace("/", namespace().0)).io()
}

/// A server for long-polling too.
async fn server(config: SocketIoConfig) -> TestServer {
    serve_config(config.namespace("/", namespace().0)).await
}

/// Checks that a stream was not served for this reason, and that the client has got nothing.
async fn refused(mut client: WebTransport, served: Served, error: AcceptError) {
    assert_eq!(soon(served).await.unwrap(), Err(error));
    client.expect_end().await;
}

#[tokio::test]
async fn a_client_opens_a_session_with_its_first_packet() {
    let io = service(
        config().initial_packet(Packet::message("hello")).generate_id(|request| request.uri.path().len().to_string()),
    );
    let (mut client, served) = WebTransport::stream(&io);
    client.say("0").await;
    let open = client.text().await;
    let expected = r#"0{"sid":"11","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
    assert_eq!(open, expected);
    client.expect("4hello").await;
    client.say("40").await;
    assert!(client.text().await.starts_with(r#"40{"sid":""#));
    let socket = io.sockets().remove(0);
    assert_eq!((socket.transport(), socket.transport().as_str()), (Transport::WebTransport, "webtransport"));
    let request = socket.request();
    assert_eq!(
        (request.method(), request.uri().to_string()),
        (&Method::CONNECT, "https://example.com/socket.io/".into())
    );
    assert_eq!(request.headers()["origin"], "https://example.com");
    assert_eq!(socket.conn().remote_addr().unwrap().to_string(), "192.0.2.1:4433");
    client.say(r#"42["kick"]"#).await;
    client.expect("41").await;
    client.expect_end().await;
    assert_eq!(soon(served).await.unwrap(), Ok(()));
    assert_eq!(io.stats().connections, 0);
}

#[tokio::test]
async fn events_have_attachments_of_any_length() {
    let io = service(config());
    let (mut client, _served) = WebTransport::join(&io).await;
    client.say(r#"42["echo",1]"#).await;
    client.expect(r#"42["echo",1]"#).await;
    for (prefix, name) in [("45", "echo"), ("46", "ack")] {
        for length in [1, 125, 126, 65_535, 65_536, 1_000_000] {
            let data = vec![7; length];
            let id = if name == "ack" { "9" } else { "" };
            client.say(&format!(r#"451-{id}["{name}",{{"_placeholder":true,"num":0}}]"#)).await;
            client.binary(&data).await;
            let name = if name == "ack" { "" } else { r#""echo","# };
            client.expect(&format!(r#"{prefix}1-{id}[{name}{{"_placeholder":true,"num":0}}]"#)).await;
            assert!(client.frame().await == Some((true, data.into())), "{length}");
        }
        // The JavaScript client cannot read an empty binary frame, and sends one nevertheless.
        let id = if name == "ack" { "9" } else { "" };
        for empty in [&b"\x80"[..], b"\x01b"] {
            client.say(&format!(r#"451-{id}["{name}",{{"_placeholder":true,"num":0}}]"#)).await;
            client.raw(empty).await;
            client.text().await;
            client.expect("b").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_heartbeat_is_that_of_other_transports() {
    let io = service(config());
    let (mut client, served) = WebTransport::join(&io).await;
    let begun = Instant::now();
    for _ in 0..3 {
        client.expect("2").await;
        client.say("3").await;
    }
    client.expect("2").await;
    client.expect_end().await;
    assert_eq!(begun.elapsed(), Duration::from_secs(4 * 25 + 20));
    assert_eq!(served.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_close_does_not_wait_for_the_client() {
    let io = service(config());
    let (mut client, served) = WebTransport::join(&io).await;
    let begun = Instant::now();
    client.say(r#"42["kick"]"#).await;
    // The client never ends its side.
    assert_eq!(served.await.unwrap(), Ok(()));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    client.expect("41").await;
    client.expect_end().await;
}

#[tokio::test]
async fn each_end_has_its_reason() {
    let (namespace, mut reasons) = namespace();
    let io = SocketIoService::new(config().max_payload(100_000).namespace("/", namespace)).io();
    for (bytes, reason) in [
        (&b"\x011"[..], ("transport close", None)),
        (b"\0", ("parse error", Some("an Engine.IO packet is empty"))),
        (b"\x01x", ("parse error", Some("unknown Engine.IO packet type"))),
        (b"\x024\xff", ("parse error", Some("a text is not valid UTF-8"))),
        (b"\x7f\0\0\0\0\0\x01\x86\xa1", ("parse error", Some("max payload size exceeded"))),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff", ("parse error", Some("max payload size exceeded"))),
    ] {
        let (mut client, served) = WebTransport::join(&io).await;
        client.raw(bytes).await;
        assert_eq!(detail(soon(reasons.recv()).await), reason, "{bytes:?}");
        client.expect_end().await;
        assert_eq!(soon(served).await.unwrap(), Ok(()));
    }
    // The client ends its side, or the stream is lost.
    let (mut client, served) = WebTransport::join(&io).await;
    client.finish().await;
    assert_eq!(detail(soon(reasons.recv()).await), ("transport close", None));
    client.expect_end().await;
    soon(served).await.unwrap().unwrap();
    drop(WebTransport::join(&io).await);
    assert_eq!(detail(soon(reasons.recv()).await), ("transport close", None));
    // The future is dropped, because the session of WebTransport is gone.
    let (mut client, served) = WebTransport::join(&io).await;
    served.abort();
    assert_eq!(detail(soon(reasons.recv()).await), ("transport close", None));
    client.expect_end().await;
}

#[tokio::test]
async fn a_first_packet_that_is_not_a_handshake_is_refused_without_an_answer() {
    let io = service(config());
    let long = format!(r#"0{{"sid":"{}"}}"#, "x".repeat(4096));
    for first in ["1", "2probe", "4x", "0{", "0{}", "0x", r#"0{"sid":1}"#, "x", &long] {
        let (mut client, served) = WebTransport::stream(&io);
        client.say(first).await;
        refused(client, served, AcceptError::NoHandshake).await;
    }
    for bytes in [&b"\x810"[..], b"\0", b"\x7f"] {
        let (mut client, served) = WebTransport::stream(&io);
        client.raw(bytes).await;
        client.finish().await;
        refused(client, served, AcceptError::NoHandshake).await;
    }
    let (mut client, served) = WebTransport::stream(&io);
    client.say(r#"0{"sid":"unknown"}"#).await;
    refused(client, served, AcceptError::UnknownSession).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_has_limited_time_for_its_first_packet() {
    let io = service(config());
    let begun = Instant::now();
    let (mut client, served) = WebTransport::stream(&io);
    client.raw(b"\x1f0{").await;
    refused(client, served, AcceptError::NoHandshake).await;
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
}

#[tokio::test]
async fn it_is_served_only_if_it_is_listed() {
    for config in [SocketIoConfig::new(), SocketIoConfig::new().transports([Transport::Polling])] {
        let (client, served) = WebTransport::stream(&service(config));
        refused(client, served, AcceptError::Disabled).await;
    }
    let io = service(SocketIoConfig::new().transports([Transport::WebTransport]));
    WebTransport::join(&io).await;
    // Not over HTTP, whether it is listed or not.
    let server = server(config()).await;
    let reply = get(server.address, "/socket.io/?EIO=4&transport=webtransport").await;
    reply.refused(400, 0, "Transport unknown");
}

#[tokio::test]
async fn origins_are_checked() {
    let io = service(config().origins(["https://example.org"]));
    let mut other = connect_request();
    other.headers.insert("origin", "https://example.net".parse().unwrap());
    let (client, served) = WebTransport::stream_with(&io, other);
    refused(client, served, AcceptError::Forbidden).await;
    // The server's own pages are allowed, and clients that are not pages.
    WebTransport::join(&io).await;
    let mut native = connect_request();
    native.headers.clear();
    let (mut client, _served) = WebTransport::stream_with(&io, native);
    client.open_session().await;
}

#[tokio::test]
async fn a_server_that_is_draining_refuses_clients() {
    let io = service(config());
    let (mut waiting, served) = WebTransport::stream(&io);
    io.drain(Duration::ZERO).await;
    waiting.say("0").await;
    refused(waiting, served, AcceptError::Draining).await;
    let (client, served) = WebTransport::stream(&io);
    refused(client, served, AcceptError::Draining).await;
}

#[tokio::test]
async fn sessions_are_limited_for_each_address() {
    let io = service(config().max_sessions_per_address(1));
    let (client, _served) = WebTransport::join(&io).await;
    let (mut second, served) = WebTransport::stream(&io);
    second.say("0").await;
    refused(second, served, AcceptError::TooManySessions).await;
    drop(client);
    until(|| io.stats().connections == 0).await;
    WebTransport::join(&io).await;
}

#[tokio::test]
async fn heads_and_ids_are_checked() {
    let io = service(config().max_head_bytes(40));
    let (mut client, served) = WebTransport::stream(&io);
    client.say("0").await;
    refused(client, served, AcceptError::HeadTooLarge).await;
    let io = service(config().generate_id(|_| "one".to_owned()));
    let (_client, _served) = WebTransport::join(&io).await;
    let (mut client, served) = WebTransport::stream(&io);
    client.say("0").await;
    refused(client, served, AcceptError::IdTaken).await;
}

#[tokio::test]
async fn the_oldest_client_without_a_packet_makes_room_for_newer_ones() {
    let io = service(config().max_idle_sessions(2));
    let (first, first_served) = WebTransport::stream(&io);
    tokio::task::yield_now().await;
    let (mut second, _second_served) = WebTransport::stream(&io);
    tokio::task::yield_now().await;
    let (mut third, _third_served) = WebTransport::stream(&io);
    refused(first, first_served, AcceptError::Displaced).await;
    second.open_session().await;
    third.open_session().await;
}

#[tokio::test]
async fn the_callback_for_errors_gets_what_is_refused() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = seen.clone();
    let config = config().origins(["https://example.org"]).on_connection_error(move |error| {
        sees.lock().unwrap().push((error.code(), error.request().method.clone(), error.context().to_owned()));
    });
    let io = service(config);
    let mut other = connect_request();
    other.headers.insert("origin", "null".parse().unwrap());
    let (client, served) = WebTransport::stream_with(&io, other);
    refused(client, served, AcceptError::Forbidden).await;
    let (mut client, served) = WebTransport::stream(&io);
    client.say("4x").await;
    refused(client, served, AcceptError::NoHandshake).await;
    let context = |text: &str| (Method::CONNECT, text.to_owned());
    let [(forbidden, m1, c1), (malformed, m2, c2)] = seen.lock().unwrap().clone().try_into().unwrap();
    assert_eq!((forbidden, (m1, c1)), (4, context("the origin is not allowed")));
    assert_eq!((malformed, (m2, c2)), (3, context("the first packet is missing or not a handshake")));
}

#[tokio::test]
async fn a_stream_that_is_kept_is_shut_down_when_the_connection_ends() {
    let io = service(config());
    let (ours, mut theirs) = duplex(1 << 20);
    let mut client = WebTransport::new(ours);
    let script = async {
        client.open_session().await;
        client.say(r#"42["kick"]"#).await;
        client.expect("41").await;
        client.expect_end().await;
    };
    let (served, ()) = tokio::join!(io.accept_webtransport(connect_request(), &mut theirs), script);
    assert_eq!(served, Ok(()));
}

#[tokio::test]
async fn the_engine_alone_serves_it() {
    struct Echo(EngineSocket);
    impl SessionHandler for Echo {
        fn message(&mut self, message: Message) {
            self.0.send(message).unwrap();
        }
    }
    let io = EngineIoLayer::new(EngineIoConfig::new().transports(ALL), Echo).io();
    let (ours, theirs) = duplex(1 << 20);
    let accepting = io.clone();
    tokio::spawn(async move { accepting.accept_webtransport(connect_request(), theirs).await });
    let mut client = WebTransport::new(ours);
    client.say("0").await;
    client.text().await;
    client.say("4hello").await;
    client.expect("4hello").await;
    client.binary(&[1, 2, 3]).await;
    assert_eq!(client.frame().await, Some((true, vec![1, 2, 3].into())));
    drop(client);
    until(|| io.connections() == 0).await;
}

/// Output that the client does not read fills the stream, then the queue.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_too_slow() {
    let (namespace, mut reasons) = namespace();
    let io = SocketIoService::new(config().namespace("/", namespace)).io();
    let (_client, _served) = WebTransport::join(&io).await;
    let socket = io.sockets().remove(0);
    socket.emit("news", &"x".repeat(2 << 20)).unwrap();
    let begun = Instant::now();
    advance(Duration::from_secs(1)).await;
    assert_eq!(detail(reasons.recv().await), ("slow client", None));
    assert!(begun.elapsed() >= Duration::from_secs(10), "{:?}", begun.elapsed());
}
