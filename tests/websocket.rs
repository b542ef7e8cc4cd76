//! WebSocket, frame by frame.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::body::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};
use tower_socketio::{DisconnectReason, SocketIoConfig, SocketIoService};

use crate::support::*;

async fn joined() -> (TestServer, WebSocket, mpsc::UnboundedReceiver<DisconnectReason>) {
    let (namespace, reasons) = echo();
    let server = serve_namespace(namespace).await;
    let (client, _) = WebSocket::join(server.address, "40").await;
    (server, client, reasons)
}

#[tokio::test]
async fn text_and_binary_are_echoed() {
    let (_server, mut client, _) = joined().await;
    client.say(r#"42["echo","héllo"]"#).await;
    client.expect(r#"42["echo","héllo"]"#).await;
    let text = r#"452-["echo",{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}}]"#;
    client.say(text).await;
    client.say_binary(&[1, 2, 3]).await;
    client.say_binary(&[]).await;
    client.expect(text).await;
    client.expect_binary(&[1, 2, 3]).await;
    client.expect_binary(&[]).await;
}

#[tokio::test]
async fn a_client_that_asks_for_base64_gets_it() {
    let (namespace, _reasons) = echo();
    let server = serve_namespace(namespace).await;
    let mut client = WebSocket::open_with(server.address, "&b64=1", &[]).await;
    client.connect("40").await;
    let text = r#"451-["echo",{"_placeholder":true,"num":0}]"#;
    client.say(text).await;
    client.say("bAQID").await;
    client.expect(text).await;
    client.expect("bAQID").await;
}

#[tokio::test]
async fn a_message_of_the_limit_is_taken_and_one_byte_more_closes_with_1009() {
    let (server, mut client, mut reasons) = joined().await;
    let frame = |length: usize| format!("42[\"none\",\"{}\"]", "x".repeat(length - 13));
    assert_eq!(frame(100).len(), 100);
    client.say(&frame(1_000_000)).await;
    client.is_quiet().await;
    client.try_send(Message::text(frame(1_000_001))).await;
    assert_eq!(client.frame().await, Frame::Close(Some(1009)));
    let expected = ("transport error", Some("max payload size exceeded"));
    assert_eq!(detail(soon(reasons.recv()).await), expected);
    server.is_empty().await;
}

#[tokio::test]
async fn an_invalid_packet_closes_without_a_code() {
    for frame in ["é1234", "", "x", "7", "b*"] {
        let (server, mut client, mut reasons) = joined().await;
        client.say(frame).await;
        client.expect_close().await;
        let reason = soon(reasons.recv()).await.unwrap();
        assert!(matches!(reason, DisconnectReason::ParseError { .. }), "{frame}: {reason:?}");
        server.is_empty().await;
    }
}

#[tokio::test]
async fn a_close_packet_closes() {
    let (_server, mut client, mut reasons) = joined().await;
    client.say("1").await;
    client.expect_close().await;
    assert_eq!(soon(reasons.recv()).await, Some(DisconnectReason::TransportClose));
}

#[tokio::test]
async fn a_close_frame_with_any_code_is_a_transport_close() {
    for frame in [None, Some(CloseFrame { code: CloseCode::Library(4000), reason: "bye".into() })] {
        let (_server, mut client, mut reasons) = joined().await;
        client.stream.send(Message::Close(frame)).await.unwrap();
        assert_eq!(soon(reasons.recv()).await, Some(DisconnectReason::TransportClose));
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_is_a_transport_close() {
    let (server, client, mut reasons) = joined().await;
    drop(client);
    assert_eq!(soon(reasons.recv()).await, Some(DisconnectReason::TransportClose));
    server.is_empty().await;
}

#[tokio::test]
async fn packets_without_a_meaning_are_ignored() {
    let (_server, mut client, _) = joined().await;
    for packet in ["0{}", "5", "6", "3"] {
        client.say(packet).await;
    }
    client.is_quiet().await;
}

#[tokio::test]
async fn a_websocket_ping_is_answered() {
    let (_server, mut client, _) = joined().await;
    client.stream.send(Message::Ping("p".into())).await.unwrap();
    let pong = soon(futures_util::StreamExt::next(&mut client.stream)).await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong("p".into()));
    client.is_quiet().await;
}

#[tokio::test]
async fn three_pings_are_answered_and_the_fourth_is_not() {
    let (namespace, mut reasons) = echo();
    let config = SocketIoConfig::new().ping_interval(PATIENCE).ping_timeout(PATIENCE).namespace("/", namespace);
    let server = serve_config(config).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    for _ in 0..3 {
        skip(PATIENCE).await;
        client.expect("2").await;
        client.say("3").await;
        client.is_quiet().await;
    }
    skip(PATIENCE).await;
    client.expect("2").await;
    skip(PATIENCE).await;
    client.expect_close().await;
    assert_eq!(soon(reasons.recv()).await, Some(DisconnectReason::PingTimeout));
    server.is_empty().await;
}

/// Sends an opening handshake, and returns the head of the response.
async fn opening(server: &TestServer, lines: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(format!("{lines}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while !String::from_utf8_lossy(&answer).contains("\r\n\r\n") {
        let read = soon(stream.read(&mut buffer)).await.unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&answer).to_lowercase()
}

#[tokio::test]
async fn an_opening_handshake_that_breaks_the_rules_is_refused() {
    let server = serve_config(SocketIoConfig::new()).await;
    let start = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: h\r\nupgrade: websocket";
    let connection = "\r\nconnection: keep-alive, Upgrade";
    let version = "\r\nsec-websocket-version: 13";
    let key = "\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    for (missing, status) in [
        (format!("{start}{version}{key}"), "400"),
        (format!("{start}{connection}{key}"), "400"),
        (format!("{start}{connection}\r\nsec-websocket-version: 12{key}"), "400"),
        (format!("{start}{connection}{version}"), "400"),
        (format!("{start}{connection}{version}\r\nsec-websocket-key: short"), "400"),
        (start.replace("EIO=4", "EIO=2") + connection + version + key, "400"),
        (start.replace("websocket HTTP", "websocket&sid=x HTTP") + connection + version + key, "400"),
        (start.replace("transport=websocket", "transport=polling") + connection + version + key, "400"),
    ] {
        let answer = opening(&server, &missing).await;
        assert!(answer.starts_with(&format!("http/1.1 {status} ")), "{missing}\n{answer}");
    }
    let answer = opening(&server, &format!("{start}{connection}{version}{key}")).await;
    assert!(answer.starts_with("http/1.1 101 "), "{answer}");
    assert!(answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{answer}");
    server.is_empty().await;
}

#[tokio::test]
async fn the_first_subprotocol_is_taken() {
    let server = serve_config(SocketIoConfig::new()).await;
    let client = WebSocket::open_with(server.address, "", &[("sec-websocket-protocol", "one, two")]).await;
    assert_eq!(client.response.headers()["sec-websocket-protocol"], "one");
}

#[tokio::test]
async fn garbage_after_the_handshake_is_harmless() {
    let server = serve_config(SocketIoConfig::new()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: h\r\nupgrade: websocket\r\nconnection: \
                upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\
                garbage garbage garbage";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    soon(stream.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    server.is_empty().await;
}

#[tokio::test]
async fn frames_that_break_the_rules_close_with_the_right_code() {
    // Unmasked text, a reserved bit, a fragmented ping, and text that is not UTF-8, masked with zeros.
    for (frame, code) in [
        (&[0x81, 0x01, b'2'][..], 1002u16),
        (&[0xc1, 0x81, 0, 0, 0, 0, b'3'], 1002),
        (&[0x09, 0x80, 0, 0, 0, 0], 1002),
        (&[0x81, 0x82, 0, 0, 0, 0, b'4', 0xff], 1007),
    ] {
        let (server, client, mut reasons) = joined().await;
        let mut stream = client.stream.into_inner();
        stream.write_all(frame).await.unwrap();
        let mut answer = Vec::new();
        let read = async {
            while answer.len() < 4 {
                let mut buffer = [0; 16];
                let read = stream.read(&mut buffer).await.unwrap();
                assert!(read > 0);
                answer.extend_from_slice(&buffer[..read]);
            }
        };
        soon(read).await;
        assert_eq!(answer[..4], [0x88, 0x02, (code >> 8) as u8, code as u8], "{frame:?}");
        assert!(matches!(soon(reasons.recv()).await, Some(DisconnectReason::TransportError { .. })));
        drop(stream);
        server.is_empty().await;
    }
}

/// On a slow connection, a large message may take longer than the heartbeat allows.
#[tokio::test(start_paused = true)]
async fn a_frame_that_arrives_bit_by_bit_is_a_sign_of_life() {
    let (namespace, mut reasons) = echo();
    let config = SocketIoConfig::new().namespace("/", namespace);
    let mut client = WebSocket::open_in_memory(SocketIoService::new(config)).await;
    client.connect("40").await;
    // Masked with zeros. The ping arrives within the frame, and cannot be answered before its end.
    let text = format!(r#"420["ack","{}"]"#, "x".repeat(1000));
    let [high, low] = (text.len() as u16).to_be_bytes();
    let frame = [&[0x81, 0xfe, high, low, 0, 0, 0, 0], text.as_bytes()].concat();
    for part in frame.chunks(frame.len() / 20) {
        client.stream.get_mut().write_all(part).await.unwrap();
        tokio::time::sleep(Duration::from_secs(15)).await;
    }
    assert_eq!(client.text().await, "2");
    assert_eq!(client.text().await.len(), r#"430[""]"#.len() + 1000);
    client.say("3").await;
    client.is_quiet().await;
    assert_eq!(reasons.recv().await, Some(DisconnectReason::PingTimeout));
}

#[tokio::test]
async fn a_pong_precedes_responses_to_packets_that_arrived_with_the_ping() {
    let (namespace, _) = echo();
    let server = serve_namespace(namespace).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    let mut together = vec![0x89, 0x81, 0, 0, 0, 0, b'p'];
    for _ in 0..3 {
        let text = br#"420["ack",1]"#;
        together.extend([0x81, 0x80 | text.len() as u8, 0, 0, 0, 0]);
        together.extend(text);
    }
    client.stream.get_mut().write_all(&together).await.unwrap();
    let first = soon(client.stream.next()).await.unwrap().unwrap();
    assert_eq!(first, Message::Pong(Bytes::from_static(b"p")));
    for _ in 0..3 {
        client.expect("430[1]").await;
    }
}

/// A client whose WebSocket library sends pings or pongs is alive, even without packets.
#[tokio::test(start_paused = true)]
async fn frames_that_are_not_packets_extend_the_heartbeat() {
    let (namespace, mut reasons) = echo();
    let service = SocketIoService::new(SocketIoConfig::new().namespace("/", namespace));
    let mut client = WebSocket::open_in_memory(service).await;
    client.connect("40").await;
    for frame in [Message::Ping(Bytes::new()), Message::Pong(Bytes::new())] {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(15)).await;
            client.try_send(frame.clone()).await;
        }
    }
    assert!(reasons.try_recv().is_err());
    client.expect("2").await;
    // No further data arrives.
    assert_eq!(reasons.recv().await, Some(DisconnectReason::PingTimeout));
}
