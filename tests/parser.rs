//! Parsers other than JSON: msgpack, and one that a user implements.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Json, http::StatusCode};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json as value};
use tower_socketio::{
    Ack, Args, Namespace, RecoveryConfig, SocketIo, SocketIoConfig, SocketIoService, SocketRef,
    engine::Packet,
    extract::{AckSender, Data},
    parser::{Decoder, Limits, MsgpackParser, Parser, ParserError, SocketIoPacket, SocketIoPacketType},
};

use crate::support::*;

#[derive(Serialize, Deserialize)]
struct File {
    name: String,
    content: Bytes,
}

fn config() -> SocketIoConfig {
    async fn guarded(Json(auth): Json<Value>) -> Result<(), (StatusCode, Json<Value>)> {
        match auth["a"].as_u64() {
            Some(1) => Ok(()),
            _ => Err((StatusCode::UNAUTHORIZED, Json(value!({"message": "no", "data": auth})))),
        }
    }
    let namespace = Namespace::new()
        .on("echo", |socket: SocketRef, Data(args): Data<Args>| async move { socket.emit("echo", &args).unwrap() })
        .on("file", |Data(file): Data<File>| async move { Ack((file.name.len(), file)) })
        .on("number", |Data(number): Data<u8>| async move { Ack(number) })
        .on("kick", |socket: SocketRef| async move { socket.disconnect() });
    SocketIoConfig::new()
        .namespace("/", namespace.with_state(()))
        .namespace("/a", Namespace::new().on_connect(guarded).with_state(()))
}

fn msgpack() -> SocketIo {
    SocketIoService::new(config().parser(MsgpackParser)).io()
}

/// A client that has read the handshake.
async fn open(io: &SocketIo) -> Memory {
    let mut client = Memory::open(io);
    assert!(client.text().await.starts_with("0{"));
    client
}

trait Binary {
    fn say_bytes(&self, message: &[u8]);
    async fn bytes(&mut self) -> Bytes;
    #[track_caller]
    fn expect_bytes(&mut self, message: &[u8]) -> impl Future<Output = ()>;
    async fn is_closed(&mut self);
}

impl Binary for Memory {
    fn say_bytes(&self, message: &[u8]) {
        self.send(Packet::binary(message.to_vec()));
    }

    async fn bytes(&mut self) -> Bytes {
        match self.packet().await.expect("the connection is open").into_frame() {
            tower_socketio::engine::Frame::Binary(data) => data,
            tower_socketio::engine::Frame::Text(text) => panic!("expected binary, got {text:?}"),
        }
    }

    fn expect_bytes(&mut self, message: &[u8]) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move { assert_eq!(self.bytes().await, message, "at {caller}") }
    }

    async fn is_closed(&mut self) {
        while self.packet().await.is_some() {}
    }
}

/// Joins `/` by msgpack.
async fn join(io: &SocketIo) -> Memory {
    let mut client = open(io).await;
    client.say_bytes(b"\x83\xa4type\x00\xa4data\xd4\x00\x00\xa3nsp\xa1/");
    let answer = client.bytes().await;
    assert!(answer.starts_with(b"\x83\xa4type\x00\xa4data\x81\xa3sid\xb4"), "{answer:?}");
    assert!(answer.ends_with(b"\xa3nsp\xa1/"), "{answer:?}");
    client
}

#[tokio::test]
async fn msgpack_clients_are_admitted_and_refused() {
    let io = msgpack();
    let mut client = join(&io).await;
    client.say_bytes(b"\x83\xa4type\x00\xa4data\x81\xa1a\x01\xa3nsp\xa2/a");
    assert!(client.bytes().await.ends_with(b"\xa3nsp\xa2/a"));
    assert_eq!(io.stats().sockets, 2);
    let mut other = open(&io).await;
    other.say_bytes(b"\x83\xa4type\x00\xa4data\x81\xa1a\x02\xa3nsp\xa2/a");
    other.expect_bytes(b"\x83\xa4type\x04\xa4data\x82\xa7message\xa2no\xa4data\x81\xa1a\x02\xa3nsp\xa2/a").await;
    other.say_bytes(b"\x82\xa4type\x00\xa3nsp\xa2/x");
    other.expect_bytes(b"\x83\xa4type\x04\xa4data\x81\xa7message\xb1Invalid namespace\xa3nsp\xa2/x").await;
}

#[tokio::test]
async fn msgpack_events_and_acks_go_both_ways() {
    let io = msgpack();
    let mut client = join(&io).await;
    client.say_bytes(b"\x84\xa4type\x02\xa4data\x92\xa4echo\x01\xa7options\x81\xa8compress\xc3\xa3nsp\xa1/");
    client.expect_bytes(b"\x83\xa4type\x02\xa4data\x92\xa4echo\x01\xa3nsp\xa1/").await;
    io.emit("n", &(1.5, "é", Option::<u8>::None, true, -1)).unwrap();
    client
        .expect_bytes(b"\x83\xa4type\x02\xa4data\x96\xa1n\xcb\x3f\xf8\0\0\0\0\0\0\xa2\xc3\xa9\xc0\xc3\xff\xa3nsp\xa1/")
        .await;
    client.say_bytes(b"\x84\xa4type\x02\xa4data\x92\xa6number\x07\xa2id\xcd\x01\x00\xa3nsp\xa1/");
    client.expect_bytes(b"\x84\xa4type\x03\xa4data\x91\x07\xa3nsp\xa1/\xa2id\xcd\x01\x00").await;
    // A type error is answered, and the connection stays open.
    client.say_bytes(b"\x84\xa4type\x02\xa4data\x92\xa6number\xa1x\xa2id\x01\xa3nsp\xa1/");
    let refusal = client.bytes().await;
    assert!(refusal.starts_with(b"\x84\xa4type\x03\xa4data\x91\x81\xa5error\x81\xa7message"), "{refusal:?}");
    let answer = io.sockets()[0].emit_with_ack::<(u8, Bytes)>("ask", &());
    client.expect_bytes(b"\x84\xa4type\x02\xa4data\x91\xa3ask\xa3nsp\xa1/\xa2id\x00").await;
    client.say_bytes(b"\x84\xa2id\x00\xa4type\x03\xa4data\x92\x05\xc4\x02\x01\x02\xa3nsp\xa1/");
    assert_eq!(soon(answer).await.unwrap(), (5, Bytes::from_static(&[1, 2])));
}

#[tokio::test]
async fn msgpack_carries_binary_among_the_other_values() {
    let io = msgpack();
    let mut client = join(&io).await;
    let file = b"\x82\xa4name\xa1n\xa7content\xc4\x02\x01\x02";
    let event = |file: &[u8]| [b"\x84\xa4type\x02\xa4data\x92\xa4file", file, b"\xa2id\x03\xa3nsp\xa1/"].concat();
    let ack = [&b"\x84\xa4type\x03\xa4data\x92\x01"[..], file, b"\xa3nsp\xa1/\xa2id\x03"].concat();
    client.say_bytes(&event(file));
    client.expect_bytes(&ack).await;
    // Encoded as a typed array.
    client.say_bytes(&event(b"\x82\xa4name\xa1n\xa7content\xc7\x02\x00\x01\x02"));
    client.expect_bytes(&ack).await;
    client.say_bytes(b"\x83\xa4type\x02\xa4data\x93\xa4echo\xc4\x01\x07\x91\xc4\x00\xa3nsp\xa1/");
    client.expect_bytes(b"\x83\xa4type\x02\xa4data\x93\xa4echo\xc4\x01\x07\x91\xc4\x00\xa3nsp\xa1/").await;
}

#[tokio::test]
async fn msgpack_preserves_objects_that_look_like_placeholders() {
    let io = msgpack();
    let mut client = join(&io).await;
    let lookalike = b"\x82\xac_placeholder\xc3\xa3num\x00";
    let event = |args: &[u8]| [b"\x83\xa4type\x02\xa4data\x94\xa4echo", args, b"\xa3nsp\xa1/"].concat();
    let event = event(&[&b"\xc4\x01x"[..], lookalike, b"\x82\xa1z\xc4\x00\xa1a\x81\xac_placeholder\xc3"].concat());
    client.say_bytes(&event);
    client.expect_bytes(&event).await;
    // Also if the server emits it.
    let object =
        Value::Object([("_placeholder".to_owned(), true.into()), ("num".to_owned(), 0.into())].into_iter().collect());
    io.emit("n", &(object, Bytes::from_static(b"x"))).unwrap();
    let message = client.bytes().await;
    assert_eq!(message[..], *[&b"\x83\xa4type\x02\xa4data\x93\xa1n"[..], lookalike, b"\xc4\x01x\xa3nsp\xa1/"].concat());
}

#[tokio::test]
async fn msgpack_carries_binary_in_the_auth_payload() {
    #[derive(Deserialize)]
    struct Auth {
        token: Vec<u8>,
        key: Bytes,
    }
    async fn joined(socket: SocketRef, Json(auth): Json<Auth>) {
        let again: Auth = socket.handshake().auth().unwrap();
        assert_eq!((again.token, again.key), (auth.token.clone(), auth.key.clone()));
        socket.emit("auth", &(Bytes::from(auth.token), auth.key)).unwrap();
    }
    let config = SocketIoConfig::new().namespace("/", Namespace::new().on_connect(joined)).parser(MsgpackParser);
    let mut client = open(&SocketIoService::new(config).io()).await;
    client.say_bytes(b"\x83\xa4type\x00\xa4data\x82\xa5token\xc4\x02\x00\xff\xa3key\xc7\x01\x00\x07\xa3nsp\xa1/");
    assert!(client.bytes().await.starts_with(b"\x83\xa4type\x00\xa4data\x81\xa3sid"));
    client.expect_bytes(b"\x83\xa4type\x02\xa4data\x93\xa4auth\xc4\x02\x00\xff\xc4\x01\x07\xa3nsp\xa1/").await;
}

#[tokio::test]
async fn msgpack_sockets_leave_and_are_disconnected() {
    let io = msgpack();
    let mut client = join(&io).await;
    client.say_bytes(b"\x83\xa4type\x02\xa4data\x91\xa4kick\xa3nsp\xa1/");
    client.expect_bytes(b"\x82\xa4type\x01\xa3nsp\xa1/").await;
    let client = join(&io).await;
    client.say_bytes(b"\x83\xa4type\x01\xa4data\xd4\x00\x00\xa3nsp\xa1/");
    until(|| io.stats().sockets == 0).await;
    assert!(io.stats().connections > 0);
}

#[tokio::test]
async fn an_invalid_msgpack_packet_closes_the_connection() {
    let io = msgpack();
    for message in [
        &b""[..],
        b"\xc1",
        b"\x81",
        b"\x82\xa4type\x05\xa3nsp\xa1/",
        b"\x82\xa4type\x02\xa3nsp\xa1/",
        b"\x83\xa4type\x02\xa4data\x90\xa3nsp\xa1/",
        b"\x83\xa4type\x02\xa4data\x80\xa3nsp\xa1/",
        b"\x83\xa4type\x02\xa4data\x91\xa7connect\xa3nsp\xa1/",
        b"\x83\xa4type\x02\xa4data\x91\xc4\x01e\xa3nsp\xa1/",
        b"\x83\xa4type\x03\xa4data\xc0\xa3nsp\xa1/",
        b"\x83\xa4type\x01\xa4data\xc0\xa3nsp\xa1/",
        b"\x83\xa4type\x00\xa4data\xc0\xa3nsp\xa2/a",
        b"\x83\xa4type\x00\xa4data\x90\xa3nsp\xa2/a",
        b"\x83\xa4type\x04\xa4data\x80\xa3nsp\xa1/",
        b"\x82\xa4type\x00\xa3nsp\xa1a",
        b"\x82\xa4type\x00\xa3nsp\xa4/a,b",
        b"\x83\xa4type\x02\xa4data\x91\xa1e\xa3nsp\xa2/a",
        &[&b"\x83\xa4type\x02\xa4data"[..], &[0x91; 100_000]].concat(),
    ] {
        let mut client = join(&io).await;
        client.say_bytes(message);
        client.is_closed().await;
    }
    let mut client = join(&io).await;
    client.say(r#"42["echo"]"#);
    client.is_closed().await;
    until(|| io.stats().connections == 0).await;
}

#[tokio::test]
async fn the_limit_on_depth_holds_for_msgpack_and_that_on_attachments_does_not() {
    let io = SocketIoService::new(config().parser(MsgpackParser).max_json_depth(3).max_attachments(2)).io();
    let mut client = join(&io).await;
    let event = |args: &[u8]| [b"\x83\xa4type\x02\xa4data\x92\xa4echo", args, b"\xa3nsp\xa1/"].concat();
    let many = [&b"\xdc\x00\x20"[..], &b"\xc4\x01x".repeat(32)].concat();
    for args in [&b"\x91\x91\x91\x01"[..], b"\x91\x81\xa1a\x91\x01", b"\x93\xc4\x00\xc4\x00\xc4\x00", &many] {
        client.say_bytes(&event(args));
        client.expect_bytes(&event(args)).await;
    }
    for args in [&b"\x91\x91\x91\x91\x01"[..], b"\x91\x91\x81\xa1a\x90"] {
        let mut client = join(&io).await;
        client.say_bytes(&event(args));
        client.is_closed().await;
    }
}

#[tokio::test]
async fn msgpack_works_over_polling_and_websocket() {
    let server = serve_config(config().parser(MsgpackParser)).await;
    let mut client = WebSocket::open(server.address).await;
    client.say_binary(b"\x82\xa4type\x00\xa3nsp\xa1/").await;
    let Frame::Binary(answer) = client.frame().await else { panic!("no binary") };
    assert!(answer.starts_with(b"\x83\xa4type\x00"));
    let polling = Polling::open(server.address).await;
    // {type: 0, nsp: "/"}, as base64.
    polling.say("bgqR0eXBlAKNuc3ChLw==").await;
    assert!(polling.poll().await.text().starts_with("bg6R0eXBlAKRkYXRhgaNzaWS0"));
    server.io.emit("n", &1).unwrap();
    assert_eq!(
        client.frame().await,
        Frame::Binary(Bytes::from_static(b"\x83\xa4type\x02\xa4data\x92\xa1n\x01\xa3nsp\xa1/"))
    );
    polling.expect("bg6R0eXBlAqRkYXRhkqFuAaNuc3ChLw==").await;
}

#[tokio::test]
async fn msgpack_clients_recover_their_connections() {
    let io = SocketIoService::new(config().parser(MsgpackParser).recovery(RecoveryConfig::new())).io();
    let text_of = |message: &[u8], key: &str| -> String {
        let message = String::from_utf8_lossy(message).into_owned();
        let start = message.find(key).unwrap() + key.len();
        message[start..].chars().skip(1).take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect()
    };
    let mut client = open(&io).await;
    client.say_bytes(b"\x82\xa4type\x00\xa3nsp\xa1/");
    let answer = client.bytes().await.to_vec();
    // Each id has 20 characters of base64, after a marker byte that is not one of them.
    let id = |key: &str| String::from_utf8(answer[find(&answer, key) + key.len() + 1..][..20].to_vec()).unwrap();
    let (sid, pid) = (id("sid"), id("pid"));
    io.emit("n", &1).unwrap();
    // Ten characters: the prefix that all offsets of a server share, and a number.
    let event = client.bytes().await.to_vec();
    let stamp = find(&event, "\u{1}") + 2;
    let offset = event[stamp..stamp + 10].to_vec();
    let stamped =
        |before: &[u8], number: u8| -> Vec<u8> { [before, b"\xaa", &offset[..9], &[number], b"\xa3nsp\xa1/"].concat() };
    assert_eq!(event, stamped(b"\x83\xa4type\x02\xa4data\x93\xa1n\x01", b'1'));
    drop(client);
    until(|| io.stats().sockets == 0).await;
    io.emit("n", &Bytes::from_static(&[7])).unwrap();
    let mut client = open(&io).await;
    let claim = [&b"\x83\xa4type\x00\xa4data\x82\xa3pid\xb4"[..], pid.as_bytes(), b"\xa6offset"].concat();
    client.say_bytes(&stamped(&claim, b'1'));
    let answer = client.bytes().await;
    assert_eq!(text_of(&answer, "sid"), sid);
    client.expect_bytes(&stamped(b"\x83\xa4type\x02\xa4data\x93\xa1n\xc4\x01\x07", b'2')).await;
}

fn find(bytes: &[u8], text: &str) -> usize {
    bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap()
}

/// Encodes the header as one text, and the JSON as another that ends with an exclamation mark. Counts its calls.
#[derive(Default)]
struct Shout {
    encoded: Arc<AtomicUsize>,
}

/// Joins lines until one ends with an exclamation mark.
#[derive(Default)]
struct Listener {
    kept: String,
}

impl Parser for Shout {
    fn encode(&self, packet: &SocketIoPacket) -> Result<Vec<Packet>, ParserError> {
        self.encoded.fetch_add(1, Ordering::Relaxed);
        let data = serde_json::to_string(&packet.data).map_err(|_| ParserError::new("not JSON"))?;
        match packet.data {
            _ if data.contains("unspeakable") => Err(ParserError::new("one does not say that")),
            _ if data.contains("panic") => panic!("so said the user"),
            _ if data.contains("ping") => Ok(vec![Packet::from_text("2").unwrap()]),
            _ => {
                let id = packet.id.map_or_else(String::new, |id| id.to_string());
                let first = format!("{} {} {id}", packet.packet_type as u8, packet.namespace);
                Ok(vec![Packet::message(&first), Packet::message(&format!("{data}!"))])
            }
        }
    }

    fn decoder(&self, limits: Limits) -> Box<dyn Decoder> {
        assert_eq!((limits.attachments, limits.depth), (10, 100));
        Box::new(Listener::default())
    }
}

impl Decoder for Listener {
    fn decode(&mut self, message: &Packet) -> Result<Option<SocketIoPacket>, ParserError> {
        const NO_SHOUT: ParserError = ParserError::new("no shout");
        if message.is_binary() {
            return Err(NO_SHOUT);
        }
        let text = std::str::from_utf8(message.data()).map_err(|_| NO_SHOUT)?;
        assert!(!text.contains("panic"));
        let Some(data) = text.strip_suffix('!') else {
            self.kept = text.to_owned();
            return Ok(None);
        };
        let mut words = self.kept.split(' ');
        let kind = words.next().and_then(|kind| kind.parse().ok()).and_then(SocketIoPacketType::from_number);
        let namespace = words.next().ok_or(NO_SHOUT)?.to_owned();
        let id = words.next().and_then(|id| id.parse().ok());
        let data = if data.is_empty() { None } else { serde_json::from_str(data).map_err(|_| NO_SHOUT)? };
        let mut packet = SocketIoPacket::new(kind.ok_or(NO_SHOUT)?, namespace);
        (packet.id, packet.data) = (id, data);
        Ok(Some(packet))
    }
}

async fn join_shouting(io: &SocketIo) -> Memory {
    let mut client = open(io).await;
    client.say("40 / ");
    client.say("4!");
    client.expect("40 / ").await;
    assert!(client.text().await.starts_with(r#"4{"sid":""#));
    client
}

#[tokio::test]
async fn a_custom_parser_is_used() {
    let parser = Shout::default();
    let encoded = parser.encoded.clone();
    let io = SocketIoService::new(config().parser(parser)).io();
    let mut client = join_shouting(&io).await;
    client.say("42 / 7");
    client.say(r#"4["number",3]!"#);
    client.expect("43 / 7").await;
    client.expect("4[3]!").await;
    // A broadcast is encoded once for all recipients.
    let mut other = join_shouting(&io).await;
    let before = encoded.load(Ordering::Relaxed);
    io.emit("n", &"all").unwrap();
    for client in [&mut client, &mut other] {
        client.expect("42 / ").await;
        client.expect(r#"4["n","all"]!"#).await;
    }
    assert_eq!(encoded.load(Ordering::Relaxed), before + 1);
}

#[tokio::test]
async fn an_encode_error_of_a_parser_is_returned_by_emit() {
    let namespace = Namespace::new()
        .on("ack", |Data(text): Data<String>| async move { Ack(text) })
        .on("sender", |ack: AckSender| async move { assert!(ack.send("unspeakable").unwrap_err().is_encode()) });
    let io = SocketIoService::new(SocketIoConfig::new().parser(Shout::default()).namespace("/", namespace)).io();
    let mut client = join_shouting(&io).await;
    let socket = io.sockets().remove(0);
    let error = io.emit("n", "unspeakable").unwrap_err();
    assert!(error.is_encode() && std::error::Error::source(&error).unwrap().to_string().contains("does not say"));
    for text in ["panic", "ping"] {
        assert!(socket.emit("n", text).unwrap_err().is_encode());
        assert!(socket.emit_with_ack::<()>("n", text).await.is_err());
        assert!(io.to("room").emit_with_ack::<()>("n", text).is_err());
    }
    // Nested deeper than the decoder allows.
    let deep = (0..1200).fold(value!(1), |inner, _| value!([inner]));
    assert!(socket.emit("n", &deep).unwrap_err().is_encode());
    client.say("42 / 1");
    client.say(r#"4["ack","unspeakable"]!"#);
    client.expect("43 / 1").await;
    client.expect(r#"4[{"error":{"message":"internal error"}}]!"#).await;
    client.say("42 / 2");
    client.say(r#"4["sender"]!"#);
    client.say("42 / 3");
    client.say(r#"4["ack","fine"]!"#);
    client.expect("43 / 3").await;
    client.expect(r#"4["fine"]!"#).await;
    // One panic for each of the three emits.
    assert_eq!(io.stats().panics, 3);
}

#[tokio::test]
async fn an_error_or_panic_of_a_decoder_closes_the_connection() {
    let io = SocketIoService::new(config().parser(Shout::default())).io();
    for message in ["4what!", "4panic"] {
        let mut client = join_shouting(&io).await;
        client.say(message);
        client.is_closed().await;
    }
    // A packet that violates the protocol is refused, even if the decoder accepts it.
    for (header, data) in
        [("42 / ", r#"4{"a":1}!"#), ("44 / ", r#"4"x"!"#), ("42 a ", r#"4["e"]!"#), ("40 /a ", "4[]!")]
    {
        let mut client = join_shouting(&io).await;
        client.say(header);
        client.say(data);
        client.is_closed().await;
    }
    let deep = format!("4[\"e\",{}1{}]!", "[".repeat(101), "]".repeat(101));
    let mut client = join_shouting(&io).await;
    client.say("42 / ");
    client.say(&deep);
    client.is_closed().await;
    until(|| io.stats().connections == 0).await;
    assert_eq!(io.stats().panics, 1);
}

/// A server with all encodings, the default of which is `Shout` or JSON.
fn mixed(config: SocketIoConfig) -> SocketIoConfig {
    config.named_parser("msgpack", MsgpackParser)
}

async fn open_with(server: &TestServer, query: &str) -> WebSocket {
    WebSocket::open_with(server.address, query, &[]).await
}

/// A client of `Shout` that has joined `/`.
async fn shouting(server: &TestServer, query: &str) -> WebSocket {
    let mut client = open_with(server, query).await;
    client.say("40 / ").await;
    client.say("4!").await;
    client.expect("40 / ").await;
    assert!(client.text().await.starts_with(r#"4{"sid":""#));
    client
}

#[tokio::test]
async fn a_client_chooses_its_parser_by_the_query() {
    let server = serve_config(mixed(config()).allow_eio3(true)).await;
    let (mut json, _) = WebSocket::join(server.address, "40").await;
    let mut unknown = open_with(&server, "&parser=other").await;
    unknown.connect("40").await;
    // The last one counts, and the text is decoded.
    let mut packed = open_with(&server, "&parser=json&parser=msg%70ack").await;
    packed.say_binary(b"\x82\xa4type\x00\xa3nsp\xa1/").await;
    let Frame::Binary(answer) = packed.frame().await else { panic!("no binary") };
    assert!(answer.starts_with(b"\x83\xa4type\x00"));
    let mut old = WebSocket::raw(server.address, "/socket.io/?EIO=3&transport=websocket", &[]).await.unwrap();
    assert!(old.text().await.starts_with("0{"));
    old.expect("40").await;

    // Rooms and broadcasts.
    for socket in server.io.sockets() {
        socket.join("room");
    }
    let file = File { name: "é".into(), content: Bytes::from_static(b"\x07") };
    server.io.to("room").emit("n", &file).unwrap();
    for client in [&mut json, &mut unknown] {
        client.expect(r#"451-["n",{"name":"é","content":{"_placeholder":true,"num":0}}]"#).await;
        assert_eq!(client.frame().await, Frame::Binary(Bytes::from_static(b"\x07")));
    }
    let Frame::Binary(event) = packed.frame().await else { panic!("no binary") };
    let file = b"\x82\xa4name\xa2\xc3\xa9\xa7content\xc4\x01\x07";
    assert_eq!(event[..], [&b"\x83\xa4type\x02\xa4data\x92\xa1n"[..], file, b"\xa3nsp\xa1/"].concat());
    old.expect(r#"451-["n",{"name":"é","content":{"_placeholder":true,"num":0}}]"#).await;

    // Events and acks.
    json.say(r#"421["number",3]"#).await;
    json.expect("431[3]").await;
    packed.say_binary(b"\x84\xa4type\x02\xa4data\x92\xa6number\x07\xa2id\x02\xa3nsp\xa1/").await;
    let ack = Bytes::from_static(b"\x84\xa4type\x03\xa4data\x91\x07\xa3nsp\xa1/\xa2id\x02");
    assert_eq!(packed.frame().await, Frame::Binary(ack));

    // A client that does not speak what it has chosen is disconnected.
    let mut liar = open_with(&server, "&parser=msgpack").await;
    liar.say("40").await;
    liar.expect_close().await;
}

#[tokio::test]
async fn json_may_be_chosen_if_another_parser_is_the_default() {
    let parser = Shout::default();
    let encoded = parser.encoded.clone();
    let server = serve_config(mixed(config()).parser(parser)).await;
    let mut json = open_with(&server, "&parser=json").await;
    json.connect("40").await;
    let mut shouting = shouting(&server, "").await;
    let before = encoded.load(Ordering::Relaxed);
    server.io.emit("n", &1).unwrap();
    json.expect(r#"42["n",1]"#).await;
    shouting.expect("42 / ").await;
    shouting.expect(r#"4["n",1]!"#).await;
    assert_eq!(encoded.load(Ordering::Relaxed), before + 1);
}

/// `Shout` by name: a broadcast is encoded if one of its clients is among the recipients.
#[tokio::test]
async fn a_broadcast_is_encoded_once_for_each_parser_in_use() {
    let parser = Shout::default();
    let encoded = parser.encoded.clone();
    let config = mixed(config()).named_parser("shout", parser);
    let server = serve_config(config).await;
    let (mut json, _) = WebSocket::join(server.address, "40").await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(shouting(&server, "&parser=shout").await);
    }
    let count = || encoded.load(Ordering::Relaxed);
    let before = count();
    server.io.emit("n", &1).unwrap();
    json.expect(r#"42["n",1]"#).await;
    for client in &mut clients {
        client.expect("42 / ").await;
        client.expect(r#"4["n",1]!"#).await;
    }
    assert_eq!(count(), before + 1);
    let is_json = |socket: &SocketRef| socket.handshake().query_param("parser").is_none();
    let (of_json, of_shouting): (Vec<_>, Vec<_>) = server.io.sockets().into_iter().partition(is_json);
    of_json[0].emit("n", "unspeakable").unwrap();
    assert_eq!(count(), before + 1);
    // The error is that of the recipient's parser. A broadcast reaches the others.
    assert!(of_shouting[0].emit("n", "unspeakable").unwrap_err().is_encode());
    server.io.emit("n", "unspeakable").unwrap();
    server.io.emit("n", &2).unwrap();
    json.expect(r#"42["n","unspeakable"]"#).await;
    json.expect(r#"42["n","unspeakable"]"#).await;
    json.expect(r#"42["n",2]"#).await;
    for client in &mut clients {
        client.expect("42 / ").await;
        client.expect(r#"4["n",2]!"#).await;
    }
}

#[tokio::test]
async fn events_are_recovered_with_another_parser() {
    let server = serve_config(mixed(config()).recovery(RecoveryConfig::new())).await;
    let mut client = open_with(&server, "&parser=json").await;
    client.say("40").await;
    let joined = client.text().await;
    let pid = joined.split(r#""pid":""#).nth(1).unwrap().trim_end_matches("\"}").to_owned();
    server.io.emit("n", &1).unwrap();
    let event = client.text().await;
    let offset = event.split('"').nth(3).unwrap().to_owned();
    drop(client);
    until(|| server.io.stats().sockets == 0).await;
    server.io.emit("n", &2).unwrap();
    let mut client = open_with(&server, "&parser=msgpack").await;
    let text = |text: &str| [&[0xa0 | u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat();
    let auth = [b"\x82\xa3pid".to_vec(), text(&pid), b"\xa6offset".to_vec(), text(&offset)].concat();
    client.say_binary(&[&b"\x83\xa4type\x00\xa4data"[..], &auth, b"\xa3nsp\xa1/"].concat()).await;
    let Frame::Binary(_) = client.frame().await else { panic!("no CONNECT") };
    let Frame::Binary(missed) = client.frame().await else { panic!("no event") };
    assert!(missed.starts_with(b"\x83\xa4type\x02\xa4data\x93\xa1n\x02\xaa"), "{missed:?}");
}

#[test]
#[should_panic(expected = "there is another parser with the name `msgpack`")]
fn two_parsers_with_one_name_are_refused_at_once() {
    let _ = mixed(mixed(SocketIoConfig::new()));
}
