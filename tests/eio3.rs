//! Clients of Engine.IO protocol 3 (Socket.IO 1.x and 2.x), byte by byte.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Json, http::StatusCode, response::Redirect};
use serde::Serialize;
use serde_json::{Value, json};
use tower_socketio::{
    Ack, Args, DisconnectReason, Namespace, SocketIo, SocketIoConfig, SocketRef, engine::ProtocolVersion, extract::Data,
};

use crate::support::*;

fn config() -> SocketIoConfig {
    let root = Namespace::new()
        .on_connect(|socket: SocketRef| async move { socket.join("everyone") })
        .on("echo", |socket: SocketRef, Data(args): Data<Args>| async move { socket.emit("echo", &args).unwrap() })
        .on("ack", |Data(args): Data<Args>| async move { Ack(args) });
    SocketIoConfig::new().allow_eio3(true).namespace("/", root)
}

async fn server() -> TestServer {
    serve_config(config()).await
}

/// A client of protocol 3 over long-polling.
struct Old {
    address: SocketAddr,
    target: String,
    sid: String,
    /// Whether it is a client of 1.0 to 1.3, which receives all packets as bytes.
    takes_bytes: bool,
}

/// The timestamp that clients of 1.0 to 1.3 send, and that of later clients.
const STAMP_OF_1_0: &str = "&t=1428941345332-0";
const YEAST: &str = "&t=PxZ1-_a.0";

impl Old {
    /// Opens a session, which joins the default namespace without a CONNECT.
    async fn join(address: SocketAddr, query: &str) -> Self {
        let client = Self::open(address, query).await;
        client.expect(&["40"]).await;
        client
    }

    async fn open(address: SocketAddr, query: &str) -> Self {
        let takes_bytes = query.contains(STAMP_OF_1_0) && !query.contains("b64");
        let mut client = Self {
            address,
            target: format!("/socket.io/?EIO=3&transport=polling{query}"),
            sid: String::new(),
            takes_bytes,
        };
        let packets = client.packets().await;
        let open = json(packets[0].strip_prefix('0').expect("a handshake"));
        assert_eq!(packets.len(), 1);
        client.sid = open["sid"].as_str().expect("a sid").to_owned();
        client.target = format!("{}&sid={}", client.target, client.sid);
        client
    }

    /// Returns the packets of a payload without binary.
    async fn packets(&self) -> Vec<String> {
        let reply = self.poll().await;
        assert_eq!(reply.status, 200);
        let mut packets = Vec::new();
        let mut rest = &reply.body[..];
        if !self.takes_bytes {
            assert_eq!(reply.header("content-type"), Some("text/plain; charset=UTF-8"));
            while !rest.is_empty() {
                let colon = rest.iter().position(|byte| *byte == b':').expect("a length");
                let length: usize = std::str::from_utf8(&rest[..colon]).unwrap().parse().unwrap();
                packets.push(String::from_utf8(rest[colon + 1..][..length].to_vec()).expect("ASCII"));
                rest = &rest[colon + 1 + length..];
            }
        } else {
            assert_eq!(reply.header("content-type"), Some("application/octet-stream"));
            while !rest.is_empty() {
                assert_eq!(rest[0], 0, "the packet is text");
                let end = rest.iter().position(|byte| *byte == 0xff).expect("the end of a length");
                let length = rest[1..end].iter().fold(0, |length, digit| length * 10 + usize::from(*digit));
                packets.push(String::from_utf8(rest[end + 1..][..length].to_vec()).expect("UTF-8"));
                rest = &rest[end + 1 + length..];
            }
        }
        packets
    }

    #[track_caller]
    fn expect(&self, packets: &[&str]) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move { assert_eq!(self.packets().await, packets, "at {caller}") }
    }

    async fn poll(&self) -> Reply {
        get(self.address, &self.target).await
    }

    /// Expects a payload of bytes.
    #[track_caller]
    fn expect_bytes(&self, body: &[u8]) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let reply = self.poll().await;
            assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, body), "at {caller}");
            assert_eq!(reply.header("content-type"), Some("application/octet-stream"));
        }
    }

    async fn say(&self, body: &str) {
        post(self.address, &self.target, body.to_owned()).await.is(200, "ok");
    }

    async fn say_bytes(&self, body: &[u8]) -> Reply {
        let headers = [("content-type", "application/octet-stream")];
        send(self.address, Method::POST, &self.target, &headers, body.to_vec()).await
    }
}

/// Encodes a packet for a payload of bytes.
fn framed(marker: u8, data: &[u8]) -> Vec<u8> {
    let mut packet = vec![marker];
    packet.extend(data.len().to_string().bytes().map(|digit| digit - b'0'));
    packet.push(0xff);
    packet.extend_from_slice(data);
    packet
}

async fn websocket(address: SocketAddr, query: &str) -> WebSocket {
    let target = format!("/socket.io/?EIO=3&transport=websocket{query}");
    let mut client = WebSocket::raw(address, &target, &[]).await.expect("the WebSocket opens");
    let open = client.text().await;
    client.sid = json(open.strip_prefix('0').expect("a handshake"))["sid"].as_str().expect("a sid").to_owned();
    client
}

async fn joined_websocket(address: SocketAddr, query: &str) -> WebSocket {
    let mut client = websocket(address, query).await;
    client.expect("40").await;
    client
}

const PLACEHOLDER: &str = r#"451-["echo",{"_placeholder":true,"num":0}]"#;

#[tokio::test]
async fn old_clients_are_refused_unless_they_are_allowed() {
    let server = serve_config(SocketIoConfig::new()).await;
    let target = "/socket.io/?EIO=3&transport=polling";
    get(server.address, target).await.refused(400, 5, "Unsupported protocol version");
    assert!(WebSocket::raw(server.address, "/socket.io/?EIO=3&transport=websocket", &[]).await.is_err());
    // Neither protocol version: the protocol requires an error.
    let server = self::server().await;
    for eio in ["EIO=1&", "EIO=x&", ""] {
        let target = format!("/socket.io/?{eio}transport=polling");
        get(server.address, &target).await.refused(400, 5, "Unsupported protocol version");
    }
    // The browser bundle of 1.0 sends 2 but speaks protocol 3.
    assert_eq!(get(server.address, "/socket.io/?EIO=2&transport=polling").await.status, 200);
}

#[tokio::test]
async fn the_protocol_belongs_to_the_session() {
    let server = server().await;
    let old = Old::join(server.address, "").await;
    let new = Polling::join(server.address).await;
    get(server.address, &old.target.replace("EIO=3", "EIO=4")).await.refused(400, 3, "Bad request");
    get(server.address, &new.target().replace("EIO=4", "EIO=3")).await.refused(400, 3, "Bad request");
    assert_eq!(server.io.sockets().len(), 2);
    let revisions = [ProtocolVersion::V3, ProtocolVersion::V4];
    assert!(revisions.iter().all(|revision| server.io.sockets().iter().any(|s| s.protocol() == *revision)));
}

#[tokio::test]
async fn a_session_joins_the_default_namespace_by_itself() {
    let server = server().await;
    let client = Old::open(server.address, "").await;
    client.expect(&["40"]).await;
    assert_eq!(server.io.sockets()[0].id().as_str(), client.sid);
    assert_eq!(server.io.sockets()[0].handshake().auth::<Value>().unwrap(), json!({}));
    // A CONNECT for it is therefore the second one.
    client.say("2:40").await;
    client.expect(&["6", "1"]).await;
    server.is_empty().await;
    let mut client = joined_websocket(server.address, "").await;
    client.say("40").await;
    client.expect_close().await;
}

#[tokio::test]
async fn a_rejection_is_the_message_or_its_data() {
    async fn refuse(Json(auth): Json<Value>) -> Result<(), (StatusCode, Json<Value>)> {
        match auth["with"].as_str() {
            Some("data") => Err((StatusCode::FORBIDDEN, Json(json!({"message": "no", "data": {"code": 7}})))),
            _ => Err((StatusCode::FORBIDDEN, Json(json!({"message": "no \"entry\""})))),
        }
    }
    let config = SocketIoConfig::new()
        .allow_eio3(true)
        .namespace("/", Namespace::new().on_connect(|| async { Redirect::to("/login") }).with_state(()))
        .namespace("/guarded", Namespace::new().on_connect(refuse).with_state(()));
    let server = serve_config(config).await;
    let mut client = websocket(server.address, "").await;
    client.expect(r#"44{"location":"/login"}"#).await;
    client.say("40/guarded,").await;
    client.expect(r#"44/guarded,"no \"entry\"""#).await;
    client.say("40/guarded?with=data,").await;
    client.expect(r#"44/guarded,{"code":7}"#).await;
    client.say("40/unknown,").await;
    client.expect(r#"44/unknown,{"message":"Invalid namespace"}"#).await;
}

#[tokio::test]
async fn a_namespace_has_its_query_as_auth_and_may_lack_its_comma() {
    async fn joined(socket: SocketRef, Json(auth): Json<Value>) {
        socket.emit("auth", &auth).unwrap();
    }
    let namespace = Namespace::new().on_connect(joined).on("ack", |Data(args): Data<Args>| async move { Ack(args) });
    let server = serve_config(config().namespace("/a", namespace.with_state(()))).await;
    let mut client = joined_websocket(server.address, "").await;
    for connect in ["40/a?x=1&y=a%20b&x=2,", "40/a?x=2&y=a+b"] {
        client.say(connect).await;
        client.expect("40/a,").await;
        client.expect(r#"42/a,["auth",{"x":"2","y":"a b"}]"#).await;
        let socket = server.io.of("/a").unwrap().sockets().remove(0);
        assert_eq!(socket.id().as_str(), format!("/a#{}", client.sid));
        client.say(r#"42/a,7["ack","x"]"#).await;
        client.expect(r#"43/a,7["x"]"#).await;
        client.say(r#"42/a?x=2,8["ack"]"#).await;
        client.expect("43/a,8[]").await;
        server.io.of("/a").unwrap().to(socket.id()).emit("to you", &()).unwrap();
        client.expect(r#"42/a,["to you"]"#).await;
        client.say("41/a").await;
        until(|| !socket.is_connected()).await;
    }
    client.say(r#"429["ack"]"#).await;
    client.expect("439[]").await;
}

#[tokio::test]
async fn lengths_over_polling_count_utf_16_code_units() {
    let server = server().await;
    let client = Old::join(server.address, "").await;
    client.say(r#"15:42["echo","a€"]0:16:42["echo","a😀"]"#).await;
    client.expect(&[r#"42["echo","a\u20ac"]"#, r#"42["echo","a\ud83d\ude00"]"#]).await;
}

/// Clients of 1.0 to 1.3 that support binary ignore text.
#[tokio::test]
async fn a_client_of_1_0_to_1_3_gets_bytes() {
    let server = server().await;
    for query in ["EIO=3&transport=polling&t=1428941345332-0", "EIO=2&transport=polling"] {
        let handshake = get(server.address, &format!("/socket.io/?{query}")).await;
        assert_eq!(handshake.header("content-type"), Some("application/octet-stream"));
        let length = handshake.body.len() - 5;
        assert_eq!(handshake.body[..6], framed(0, &vec![b'0'; length])[..6], "length {length}");
    }
    let client = Old::join(server.address, STAMP_OF_1_0).await;
    client.say(r#"13:42["echo",12]"#).await;
    client.expect_bytes(&framed(0, br#"42["echo",12]"#)).await;
    // They receive text if they do not support binary.
    let client = Old::open(server.address, "&b64=1&t=1428941345332-0").await;
    client.poll().await.is(200, "2:40");
    let script = get(server.address, "/socket.io/?EIO=3&transport=polling&j=0&t=1428941345332-0").await;
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=UTF-8"));
}

#[tokio::test]
async fn a_payload_of_text_alone_is_text_and_one_with_binary_is_bytes() {
    let server = server().await;
    for query in ["", YEAST] {
        let handshake = get(server.address, &format!("/socket.io/?EIO=3&transport=polling{query}")).await;
        assert_eq!(handshake.header("content-type"), Some("text/plain; charset=UTF-8"));
        let (length, open) = handshake.text().split_once(':').unwrap();
        assert!(open.starts_with("0{") && length.parse() == Ok(open.len()), "{length}:{open}");
        let client = Old::join(server.address, query).await;
        client.say(r#"13:42["echo",12]13:42["echo",34]"#).await;
        client.poll().await.is(200, r#"13:42["echo",12]13:42["echo",34]"#);
        client.say(&format!(r#"13:42["echo",12]42:{PLACEHOLDER}10:b4AQIDBA=="#)).await;
        let mut payload = framed(0, br#"42["echo",12]"#);
        payload.extend(framed(0, PLACEHOLDER.as_bytes()));
        payload.extend([1, 5, 0xff, 4, 1, 2, 3, 4]);
        client.expect_bytes(&payload).await;
        client.say(r#"13:42["echo",12]"#).await;
        client.poll().await.is(200, r#"13:42["echo",12]"#);
    }
}

/// Clients of 1.4 to 1.7 decode the UTF-8 of text twice.
#[tokio::test]
async fn text_that_is_not_ascii_is_bytes() {
    let server = serve_config(config().namespace("/été", Namespace::new())).await;
    let client = Old::join(server.address, YEAST).await;
    client.say("7:40/été,").await;
    client.expect_bytes(&framed(0, "40/été,".as_bytes())).await;
}

/// Clients of 1.4 to 1.7 cannot read long text in browsers.
#[tokio::test]
async fn long_text_is_bytes() {
    let server = server().await;
    let client = Old::join(server.address, YEAST).await;
    let event = |length: usize| format!(r#"42["echo","{}"]"#, "x".repeat(length - 13));
    for (length, is_text) in [(50_000, true), (50_001, false)] {
        client.say(&format!("{length}:{}", event(length))).await;
        match is_text {
            true => client.poll().await.is(200, &format!("{length}:{}", event(length))),
            false => client.expect_bytes(&framed(0, event(length).as_bytes())).await,
        }
    }
}

#[tokio::test]
async fn clients_that_cannot_take_binary_get_text_and_base64() {
    let server = server().await;
    let client = Old::join(server.address, "&b64=1").await;
    // As 2.x sends it, and as 1.x does: each byte of the UTF-8 is sent as a character.
    let once = r#"18:42["echo","hé€😀"]"#;
    let twice: String = r#"42["echo","hé€😀"]"#.bytes().map(char::from).collect();
    let twice = format!("{}:{twice}", twice.encode_utf16().count());
    for payload in [&*twice, once] {
        client.say(payload).await;
        client.poll().await.is(200, r#"38:42["echo","h\u00e9\u20ac\ud83d\ude00"]"#);
    }
    client.say(&format!("42:{PLACEHOLDER}10:b4AQIDBA==")).await;
    client.poll().await.is(200, &format!("42:{PLACEHOLDER}10:b4AQIDBA=="));
}

#[tokio::test]
async fn binary_is_sent_in_both_directions_over_polling() {
    let server = server().await;
    let client = Old::join(server.address, "").await;
    let mut payload = framed(0, PLACEHOLDER.as_bytes());
    payload.extend([1, 5, 0xff, 4, 1, 2, 3, 4]);
    client.say_bytes(&payload).await.is(200, "ok");
    client.expect_bytes(&payload).await;
    // Text may also arrive as bytes, and binary as base64 within text.
    client.say_bytes(&framed(0, r#"42["echo","é"]"#.as_bytes())).await.is(200, "ok");
    client.expect(&[r#"42["echo","\u00e9"]"#]).await;
    client.say(&format!("42:{PLACEHOLDER}10:b4AQIDBA==")).await;
    client.expect_bytes(&payload).await;
}

#[tokio::test]
async fn a_malformed_payload_ends_the_session() {
    let server = server().await;
    for payload in ["", "x", "4:42", "1:7", "2:4😀", "4:b5AA"] {
        let client = Old::join(server.address, "").await;
        post(server.address, &client.target, payload).await.refused(400, 3, "Bad request");
        server.is_empty().await;
    }
    for payload in [&[0][..], &[0, 1, 0xff], &[2, 1, 0xff, b'4'], &[1, 1, 0xff, 9]] {
        let client = Old::join(server.address, "").await;
        client.say_bytes(payload).await.refused(400, 3, "Bad request");
        server.is_empty().await;
    }
}

#[tokio::test]
async fn a_binary_frame_of_a_websocket_begins_with_its_type() {
    let server = server().await;
    let mut client = joined_websocket(server.address, "").await;
    client.say(PLACEHOLDER).await;
    client.say_binary(&[9, 1]).await; // ignored: the packet has no meaning
    client.say_binary(&[]).await;
    client.say_binary(&[4, 1, 2, 3]).await;
    client.expect(PLACEHOLDER).await;
    client.expect_binary(&[4, 1, 2, 3]).await;
    client.say(PLACEHOLDER).await;
    client.say("b4AQIDBA==").await;
    client.expect(PLACEHOLDER).await;
    client.expect_binary(&[4, 1, 2, 3, 4]).await;
    let mut client = joined_websocket(server.address, "&b64=1").await;
    client.say(PLACEHOLDER).await;
    client.say("b4AQIDBA==").await;
    client.expect(PLACEHOLDER).await;
    client.expect("b4AQIDBA==").await;
}

/// Clients of 1.0 decode and encode the UTF-8 of WebSocket text twice.
#[tokio::test]
async fn text_over_a_websocket_is_escaped_only_for_clients_that_may_decode_it_twice() {
    let server = server().await;
    let once = r#"42["echo","hé€😀"]"#;
    let twice: String = once.bytes().map(char::from).collect();
    let escaped = r#"42["echo","h\u00e9\u20ac\ud83d\ude00"]"#;
    // The Node.js client of 1.0 derives its key from the time, and offers no extension.
    let target = "/socket.io/?EIO=3&transport=websocket";
    let mut client =
        WebSocket::raw(server.address, target, &[("sec-websocket-key", "MTMtMTQyODk0MTM0NTMzMg==")]).await.unwrap();
    assert!(client.text().await.starts_with("0{"));
    client.expect("40").await;
    server.io.emit("é", &()).unwrap();
    client.expect(r#"42["\u00e9"]"#).await;
    client.say("1").await;
    server.is_empty().await;
    // Any other client is treated as a newer one until it sends text as 1.0 does.
    let mut client = joined_websocket(server.address, "").await;
    server.io.emit("é", &()).unwrap();
    client.expect(r#"42["é"]"#).await;
    for (text, expected) in [(&*twice, escaped), (once, once), (once, once)] {
        client.say(text).await;
        client.expect(expected).await;
    }
    // The browser bundle of 1.0 sends 2.
    let target = "/socket.io/?EIO=2&transport=websocket";
    let mut client = WebSocket::raw(server.address, target, &[]).await.unwrap();
    assert!(client.text().await.starts_with("0{"));
    client.expect("40").await;
    client.say(&twice).await;
    client.expect(escaped).await;
    // After an upgrade, the timestamp of the handshake identifies the client.
    for (query, expected) in [(YEAST, r#"42["é"]"#), ("", r#"42["é"]"#), (STAMP_OF_1_0, r#"42["\u00e9"]"#)] {
        let server = self::server().await;
        let client = Old::join(server.address, query).await;
        let (_, mut websocket) = tokio::join!(client.packets(), upgraded(&client));
        websocket.say("42[\"echo\",1]").await;
        websocket.expect("42[\"echo\",1]").await;
        server.io.emit("é", &()).unwrap();
        websocket.expect(expected).await;
    }
}

#[tokio::test]
async fn the_client_sends_the_pings() {
    let server = server().await;
    let client = Old::join(server.address, "").await;
    client.say("1:2").await;
    client.expect(&["3"]).await;
    client.say("1:3").await;
    server.is_empty().await;
    let mut client = joined_websocket(server.address, "").await;
    client.say("2").await;
    client.expect("3").await;
    client.say("3").await;
    client.expect_close().await;
}

#[tokio::test]
async fn a_client_that_does_not_ping_is_closed_even_after_an_upgrade() {
    let (sender, mut reasons) = tokio::sync::mpsc::unbounded_channel();
    let namespace = Namespace::new().on_disconnect(move |reason: DisconnectReason| {
        sender.send(reason).unwrap();
        async {}
    });
    let config = SocketIoConfig::new()
        .allow_eio3(true)
        .ping_interval(PATIENCE)
        .ping_timeout(PATIENCE)
        .namespace("/", namespace.with_state(()));
    let server = serve_config(config).await;
    let client = Old::join(server.address, "").await;
    let mut websocket = upgraded(&client).await;
    skip(2 * PATIENCE).await;
    websocket.expect_close().await;
    assert_eq!(soon(reasons.recv()).await, Some(DisconnectReason::PingTimeout));
    let mut websocket = joined_websocket(server.address, "").await;
    skip(2 * PATIENCE).await;
    websocket.expect_close().await;
    assert_eq!(soon(reasons.recv()).await, Some(DisconnectReason::PingTimeout));
}

async fn upgraded(client: &Old) -> WebSocket {
    let target = client.target.replace("polling", "websocket");
    let mut websocket = WebSocket::raw(client.address, &target, &[]).await.expect("the session may be upgraded");
    websocket.say("2probe").await;
    websocket.expect("3probe").await;
    websocket.say("5").await;
    websocket
}

#[tokio::test]
async fn a_session_moves_to_websocket() {
    let server = server().await;
    let client = Old::join(server.address, "").await;
    let (released, mut websocket) = tokio::join!(client.packets(), upgraded(&client));
    assert_eq!(released, ["6"]);
    websocket.say(PLACEHOLDER).await;
    websocket.say_binary(&[4, 255]).await;
    websocket.expect(PLACEHOLDER).await;
    websocket.expect_binary(&[4, 255]).await;
}

#[tokio::test]
async fn the_ends_of_a_session_are_framed() {
    let server = server().await;
    let client = Old::join(server.address, "").await;
    let (closed, ()) = tokio::join!(client.packets(), async { server.io.sockets()[0].conn().close() });
    assert_eq!(closed.last().unwrap(), "1");
    let client = Old::join(server.address, "").await;
    client.say("1:1").await;
    server.is_empty().await;
}

/// Counts how often it is serialized.
struct Counted(Arc<AtomicUsize>);

impl Serialize for Counted {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
        serializer.serialize_bytes(&[1, 2])
    }
}

#[tokio::test]
async fn both_generations_share_rooms_and_a_broadcast_is_encoded_once() {
    let server = server().await;
    let mut old = joined_websocket(server.address, "").await;
    let polling = Old::join(server.address, "").await;
    let (mut new, _) = WebSocket::join(server.address, "40").await;
    let encoded = Arc::new(AtomicUsize::new(0));
    let io: &SocketIo = &server.io;
    io.to("everyone").emit("echo", &Counted(encoded.clone())).unwrap();
    assert_eq!(encoded.load(Ordering::Relaxed), 1);
    old.expect(PLACEHOLDER).await;
    old.expect_binary(&[4, 1, 2]).await;
    new.expect(PLACEHOLDER).await;
    new.expect_binary(&[1, 2]).await;
    let mut payload = framed(0, PLACEHOLDER.as_bytes());
    payload.extend([1, 3, 0xff, 4, 1, 2]);
    polling.expect_bytes(&payload).await;
}

/// A client that has sent text encoded once is treated as one that encodes once.
#[tokio::test]
async fn text_that_looks_as_if_it_were_encoded_twice_is_left_alone() {
    let server = server().await;
    let mut client = joined_websocket(server.address, "").await;
    client.say(r#"42["echo","€","Ã©"]"#).await;
    client.expect(r#"42["echo","€","Ã©"]"#).await;
    client.say(r#"42["echo","Ã©"]"#).await;
    client.expect(r#"42["echo","Ã©"]"#).await;
}

#[tokio::test]
async fn a_payload_of_many_small_packets_is_read_at_once() {
    let server = server().await;
    let client = Old::join(server.address, "&b64=1").await;
    // The largest number of packets in a payload. Decoding takes linear time.
    client.say(&"2:6é".repeat(190_000)).await;
    client.say("1:2").await;
    client.poll().await.is(200, "1:3");
}
