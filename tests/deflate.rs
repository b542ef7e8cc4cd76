//! Compression of WebSocket messages, as scripts of raw frames.

use std::net::SocketAddr;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use hyper::body::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tower_socketio::{
    RecoveryConfig, SocketIoConfig,
    engine::{EngineIoConfig, EngineIoLayer, EngineSocket, Message, PerMessageDeflate, SessionHandler},
};

use crate::support::{Frame, WebSocket, *};

pub const ANY: &str = "permessage-deflate; client_max_window_bits";
const ACCEPTED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const TARGET: &str = "/socket.io/?EIO=4&transport=websocket";

/// The first bytes of frames: the end of a message, compressed or not.
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const COMPRESSED_TEXT: u8 = 0xc1;
const COMPRESSED_BINARY: u8 = 0xc2;
const CLOSE: u8 = 0x88;

/// Compresses a message. RFC 7692, section 7.2.1.
fn deflated(plain: impl AsRef<[u8]>) -> Vec<u8> {
    let plain = plain.as_ref();
    let mut compressed = Vec::with_capacity(plain.len() + 1024);
    Compress::new(Compression::best(), false).compress_vec(plain, &mut compressed, FlushCompress::Sync).unwrap();
    compressed.truncate(compressed.len() - 4);
    compressed
}

/// Decompresses a message by itself. RFC 7692, section 7.2.2.
fn inflated(compressed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(2_000_000);
    let input = [compressed, &[0, 0, 0xff, 0xff]].concat();
    Decompress::new(false).decompress_vec(&input, &mut plain, FlushDecompress::Sync).unwrap();
    plain
}

/// A client that reads and writes frames.
pub struct Raw<Io = TcpStream> {
    pub stream: Io,
    /// The extension that the server has accepted.
    pub extension: Option<String>,
}

impl Raw {
    pub async fn open(address: SocketAddr, target: &str, offer: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Extensions: {offer}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon(stream.read_u8()).await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let extension = head.lines().find_map(|line| line.strip_prefix("sec-websocket-extensions: "));
        Self { extension: extension.map(str::to_owned), stream }
    }

    /// Opens a session, and joins the namespace `/`.
    async fn join(server: &TestServer, offer: &str) -> Self {
        let mut client = Self::open(server.address, TARGET, offer).await;
        assert!(client.extension.is_some());
        assert!(client.text().await.starts_with("0{"));
        client.send(TEXT, b"40").await;
        assert!(client.text().await.starts_with("40{"));
        client
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Raw<Io> {
    /// Opens a session, and checks that messages are compressed in both directions.
    #[cfg_attr(not(feature = "http2"), expect(dead_code))]
    pub async fn echoes_after_the_handshake(&mut self) {
        assert_eq!(self.extension.as_deref(), Some(ACCEPTED));
        assert!(self.text().await.starts_with("0{"));
        self.send(COMPRESSED_TEXT, &deflated("40")).await;
        assert!(self.text().await.starts_with("40{"));
        self.echoes().await;
    }

    /// Upgrades a session, and checks that messages are compressed in both directions.
    pub async fn echoes_after_the_upgrade(&mut self, polling: &Polling) {
        assert_eq!(self.extension.as_deref(), Some(ACCEPTED));
        self.send(COMPRESSED_TEXT, &deflated("2probe")).await;
        assert_eq!(self.text().await, "3probe");
        polling.expect("6").await;
        self.send(COMPRESSED_TEXT, &deflated("5")).await;
        self.echoes().await;
    }

    async fn echoes(&mut self) {
        self.send(COMPRESSED_TEXT, &deflated(event("echo", 2000))).await;
        assert_eq!(self.compressed_text().await.0, event("echo", 2000));
    }

    async fn send(&mut self, first: u8, payload: &[u8]) {
        let mut bytes = vec![first];
        match u16::try_from(payload.len()) {
            Ok(length @ ..126) => bytes.push(0x80 | length as u8),
            Ok(length) => {
                bytes.push(0x80 | 126);
                bytes.extend(length.to_be_bytes());
            }
            Err(_) => {
                bytes.push(0x80 | 127);
                bytes.extend((payload.len() as u64).to_be_bytes());
            }
        }
        let mask = [9, 8, 7, 6];
        bytes.extend(mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        soon(self.stream.write_all(&bytes)).await.unwrap();
    }

    /// Returns the first byte and the payload of the next frame.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let first = soon(self.stream.read_u8()).await.unwrap();
        let length = match soon(self.stream.read_u8()).await.unwrap() {
            126 => soon(self.stream.read_u16()).await.unwrap().into(),
            127 => soon(self.stream.read_u64()).await.unwrap(),
            length => length.into(),
        };
        let mut payload = vec![0; length as usize];
        soon(self.stream.read_exact(&mut payload)).await.unwrap();
        (first, payload)
    }

    /// Expects a text that is not compressed.
    async fn text(&mut self) -> String {
        let (first, payload) = self.frame().await;
        assert_eq!(first, TEXT, "{payload:x?}");
        String::from_utf8(payload).unwrap()
    }

    /// Expects a text that is compressed. Returns it, and its compressed form.
    async fn compressed_text(&mut self) -> (String, Vec<u8>) {
        let (first, payload) = self.frame().await;
        assert_eq!(first, COMPRESSED_TEXT);
        let text = String::from_utf8(inflated(&payload)).unwrap();
        assert!(payload.len() < text.len());
        (text, payload)
    }

    /// Expects that the server closes with this code.
    async fn closes(&mut self, code: u16) {
        assert_eq!(self.frame().await, (CLOSE, code.to_be_bytes().to_vec()));
    }
}

fn config() -> SocketIoConfig {
    SocketIoConfig::new().per_message_deflate(PerMessageDeflate::new().threshold(200))
}

/// Serves a namespace that echoes events.
async fn echoing(config: SocketIoConfig) -> TestServer {
    let (namespace, mut reasons) = echo();
    tokio::spawn(async move { while reasons.recv().await.is_some() {} });
    serve_config(config.namespace("/", namespace)).await
}

/// An event with a text of this size.
fn event(name: &str, size: usize) -> String {
    format!(r#"42["{name}","{}"]"#, "a".repeat(size))
}

#[tokio::test]
async fn messages_are_compressed_only_if_that_is_configured() {
    let offers = [ANY, "permessage-deflate"];
    let server = echoing(SocketIoConfig::new()).await;
    for offer in offers {
        let mut client = Raw::open(server.address, TARGET, offer).await;
        assert_eq!(client.extension, None);
        assert!(client.text().await.starts_with("0{"));
        // Without an agreement it is a violation.
        client.send(COMPRESSED_TEXT, &deflated("40")).await;
        client.closes(1002).await;
    }
    let server = echoing(config()).await;
    for offer in offers {
        assert_eq!(Raw::open(server.address, TARGET, offer).await.extension.as_deref(), Some(ACCEPTED));
    }
}

#[tokio::test]
async fn an_offer_that_cannot_be_accepted_is_declined() {
    let server = echoing(config()).await;
    for offer in
        ["permessage-deflate; foo", "permessage-deflate; server_max_window_bits=8", "x-webkit-deflate-frame", ","]
    {
        let mut client = Raw::open(server.address, TARGET, offer).await;
        assert_eq!(client.extension, None, "{offer}");
        assert!(client.text().await.starts_with("0{"));
        client.send(TEXT, b"40").await;
        client.text().await;
        client.send(TEXT, event("echo", 1000).as_bytes()).await;
        assert_eq!(client.text().await, event("echo", 1000));
    }
    // The next one may be accepted.
    let client = Raw::open(server.address, TARGET, &format!("permessage-deflate; foo, {ANY}=10")).await;
    assert_eq!(client.extension.unwrap(), format!("{ACCEPTED}; client_max_window_bits=10"));
}

#[tokio::test]
async fn messages_are_compressed_from_the_threshold_on() {
    let server = echoing(config()).await;
    let mut client = Raw::join(&server, ANY).await;
    let size = |packet: usize| packet - event("echo", 0).len();
    client.send(TEXT, event("echo", size(199)).as_bytes()).await;
    assert_eq!(client.text().await.len(), 199);
    client.send(TEXT, event("echo", size(200)).as_bytes()).await;
    assert_eq!(client.compressed_text().await.0, event("echo", size(200)));
    // An ack, which bypasses the queue if it is small.
    client.send(TEXT, format!(r#"427["ack","{}"]"#, "a".repeat(500)).as_bytes()).await;
    assert_eq!(client.compressed_text().await.0, format!(r#"437["{}"]"#, "a".repeat(500)));
    client.send(TEXT, br#"428["ack","a"]"#).await;
    assert_eq!(client.text().await, r#"438["a"]"#);
    // An attachment.
    client.send(TEXT, br#"451-["echo",{"_placeholder":true,"num":0}]"#).await;
    client.send(BINARY, &[7; 1000]).await;
    assert_eq!(client.text().await, r#"451-["echo",{"_placeholder":true,"num":0}]"#);
    let (first, payload) = client.frame().await;
    assert_eq!((first, inflated(&payload)), (COMPRESSED_BINARY, vec![7; 1000]));
}

#[tokio::test]
async fn compress_false_disables_compression() {
    let server = echoing(config()).await;
    let mut client = Raw::join(&server, ANY).await;
    let text = "a".repeat(1000);
    let socket = server.io.sockets()[0].clone();
    socket.compress(false).emit("n", &text).unwrap();
    assert_eq!(client.text().await, event("n", 1000));
    socket.emit("n", &text).unwrap();
    assert_eq!(client.compressed_text().await.0, event("n", 1000));
    server.io.to(socket.id()).compress(false).emit("n", &text).unwrap();
    assert_eq!(client.text().await, event("n", 1000));
}

#[tokio::test]
async fn compressed_messages_of_clients_are_read() {
    let server = echoing(config()).await;
    let mut client = Raw::join(&server, ANY).await;
    let text = r#"42["echo","short"]"#;
    let compressed = deflated(text);
    client.send(COMPRESSED_TEXT, &compressed).await;
    assert_eq!(client.text().await, text);
    // In fragments, with a ping in between.
    client.send(0x41, &compressed[..3]).await;
    client.send(0x89, b"p").await;
    client.send(0x80, &compressed[3..]).await;
    assert_eq!(client.frame().await, (0x8a, b"p".to_vec()));
    assert_eq!(client.text().await, text);
    // An event with a compressed attachment.
    client.send(COMPRESSED_TEXT, &deflated(r#"451-["echo",{"_placeholder":true,"num":0}]"#)).await;
    client.send(COMPRESSED_BINARY, &deflated([1, 2, 3])).await;
    assert_eq!(client.text().await, r#"451-["echo",{"_placeholder":true,"num":0}]"#);
    assert_eq!(client.frame().await, (BINARY, vec![1, 2, 3]));
    // A large one, which waits for a turn, with another one behind it.
    client.send(COMPRESSED_TEXT, &deflated(event("echo", 900_000))).await;
    client.send(TEXT, text.as_bytes()).await;
    assert_eq!(client.compressed_text().await.0, event("echo", 900_000));
    assert_eq!(client.text().await, text);
}

#[tokio::test]
async fn violations_close_with_their_code() {
    let server = echoing(config()).await;
    for (frames, code) in [
        (vec![(COMPRESSED_TEXT, vec![0xff, 0xff])], 1007),
        (vec![(COMPRESSED_TEXT, deflated(b"4\xff"))], 1007),
        // A message that refers to the one before it.
        (vec![(COMPRESSED_TEXT, deflated("3hello")), (COMPRESSED_TEXT, vec![0x82, 0x90, 0x00, 0x00])], 1007),
        (vec![(0x41, deflated("40")), (0xc0, Vec::new())], 1002),
        (vec![(0xc9, Vec::new())], 1002),
        (vec![(0xa1, deflated("40"))], 1002),
    ] {
        let mut client = Raw::join(&server, ANY).await;
        for (first, payload) in &frames {
            client.send(*first, payload).await;
        }
        client.closes(code).await;
    }
    server.is_empty().await;
}

#[tokio::test]
async fn a_message_that_inflates_beyond_the_limit_closes_with_1009() {
    let server = echoing(config().max_payload(100_000)).await;
    let mut client = Raw::join(&server, ANY).await;
    let size = 100_000 - event("echo", 0).len();
    client.send(COMPRESSED_TEXT, &deflated(event("echo", size))).await;
    assert_eq!(client.compressed_text().await.0, event("echo", size));
    client.send(COMPRESSED_TEXT, &deflated(event("echo", size + 1))).await;
    client.closes(1009).await;
    // 10 MB.
    let mut client = Raw::join(&server, ANY).await;
    client.send(COMPRESSED_BINARY, &deflated(vec![0; 10_000_000])).await;
    client.closes(1009).await;
    server.is_empty().await;
}

#[tokio::test]
async fn a_session_that_moves_from_long_polling_is_compressed() {
    let server = echoing(config()).await;
    let polling = Polling::join(server.address).await;
    let target = format!("{TARGET}&sid={}", polling.sid);
    Raw::open(server.address, &target, ANY).await.echoes_after_the_upgrade(&polling).await;
}

#[tokio::test]
async fn the_recipients_of_a_broadcast_get_the_same_bytes() {
    for config in [config(), config().recovery(RecoveryConfig::default())] {
        let server = echoing(config).await;
        let mut members = Vec::new();
        for _ in 0..3 {
            members.push(Raw::join(&server, ANY).await);
        }
        let mut small = Raw::join(&server, "permessage-deflate; server_max_window_bits=9").await;
        let (mut plain, _) = WebSocket::join(server.address, "40").await;
        let polling = Polling::join(server.address).await;
        let text = "to each ".repeat(100);
        server.io.emit("n", &(&text, Bytes::from(vec![7; 1000]))).unwrap();
        let expected = plain.text().await;
        assert!(expected.starts_with(&format!(r#"451-["n","{text}",{{"#)), "{expected}");
        plain.expect_binary(&[7; 1000]).await;
        let mut forms = Vec::new();
        for member in &mut members {
            let (text, form) = member.compressed_text().await;
            assert_eq!(text, expected);
            let (first, attachment) = member.frame().await;
            assert_eq!((first, inflated(&attachment)), (COMPRESSED_BINARY, vec![7; 1000]));
            forms.push((form, attachment));
        }
        assert!(forms.iter().all(|form| *form == forms[0]));
        assert_eq!(small.compressed_text().await.0, expected);
        assert_eq!(small.frame().await.0, COMPRESSED_BINARY);
        assert!(polling.poll().await.text().starts_with(&expected));
    }
}

#[tokio::test]
async fn a_client_of_revision_3_is_compressed() {
    let server = echoing(config().allow_eio3(true)).await;
    let mut client = Raw::open(server.address, "/socket.io/?EIO=3&transport=websocket", ANY).await;
    assert!(client.text().await.starts_with("0{"));
    assert_eq!(client.text().await, "40");
    let mut current = Raw::join(&server, ANY).await;
    server.io.emit("n", &("a".repeat(1000), Bytes::from(vec![7; 1000]))).unwrap();
    let text = client.compressed_text().await.0;
    assert_eq!(text, current.compressed_text().await.0);
    // The type of the message comes first.
    assert_eq!(inflated(&client.frame().await.1), [&[4][..], &[7; 1000]].concat());
    assert_eq!(inflated(&current.frame().await.1), [7; 1000]);
}

#[tokio::test]
async fn an_event_that_asks_for_acks_is_compressed() {
    let server = echoing(config()).await;
    let mut client = Raw::join(&server, ANY).await;
    let acks = server.io.emit_with_ack::<String>("n", &"a".repeat(1000)).unwrap();
    let (text, _) = client.compressed_text().await;
    let id = text[2..].split('[').next().unwrap();
    client.send(COMPRESSED_TEXT, &deflated(format!(r#"43{id}["yes"]"#))).await;
    let responses = soon(acks.responses()).await;
    assert_eq!(responses.answers.into_iter().map(|(_, answer)| answer).collect::<Vec<_>>(), ["yes"]);
}

struct Echo(EngineSocket);

impl SessionHandler for Echo {
    fn message(&mut self, message: Message) {
        self.0.send(message).unwrap();
    }
}

#[tokio::test]
async fn an_engine_without_socket_io_compresses() {
    let config = EngineIoConfig::new().per_message_deflate(PerMessageDeflate::default());
    let layer = EngineIoLayer::new(config, Echo);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, axum::Router::new().layer(layer)).await.unwrap() });
    let mut client = Raw::open(address, "/engine.io/?EIO=4&transport=websocket", ANY).await;
    assert!(client.text().await.starts_with("0{"));
    // The default threshold.
    for (size, first) in [(1023, TEXT), (1024, COMPRESSED_TEXT)] {
        client.send(TEXT, &vec![b'4'; size]).await;
        assert_eq!(client.frame().await.0, first);
    }
    server.abort();
}

#[tokio::test]
async fn clients_that_offer_nothing_are_not_affected() {
    let server = echoing(config()).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    assert!(!client.response.headers().contains_key("sec-websocket-extensions"));
    client.say(&event("echo", 1000)).await;
    assert_eq!(client.frame().await, Frame::Text(event("echo", 1000)));
}
