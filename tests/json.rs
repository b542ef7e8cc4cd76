//! JSON as JavaScript writes it: unpaired surrogates, numbers beyond the range of a double, ordered keys, and any depth.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tower_socketio::{
    Ack, Args, Namespace, RecoveryConfig, SocketIo, SocketIoConfig, SocketIoService, SocketRef, Value,
    event::OutgoingEvent,
    extract::{Data, EventName, Rest},
    namespace::NamespaceRequest,
};

use crate::support::*;

#[derive(Deserialize, Serialize)]
struct Message {
    text: String,
    ratio: f64,
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Either {
    Number(f64),
    Text(String),
}

/// Answers with its arguments, as they were deserialized.
fn namespace() -> Namespace {
    Namespace::new()
        .on("string", |Data(text): Data<String>| async move { Ack(text) })
        .on("value", |Data(value): Data<Value>| async move { Ack(value) })
        .on("json", |Data(value): Data<serde_json::Value>| async move { Ack(value) })
        .on("args", |Data(args): Data<Args>| async move { Ack(args) })
        .on("pair", |Data(pair): Data<(String, f64)>| async move { Ack(pair) })
        .on("rest", |Data((first, rest)): Data<(String, Rest)>| async move { Ack((rest.len(), first)) })
        .on("struct", |Data(message): Data<Message>| async move { Ack(message) })
        .on("map", |Data(map): Data<HashMap<String, f64>>| async move { Ack(map) })
        .on("either", |Data(either): Data<Either>| async move { Ack(either) })
        .on("number", |Data(number): Data<f64>| async move { Ack(number) })
        .on("none", || async { Ack(()) })
        .on_any(|socket: SocketRef, EventName(name): EventName| async move {
            if name.contains('\u{fffd}') {
                socket.emit("named", &name).unwrap();
            }
        })
        .with_state(())
}

fn io() -> SocketIo {
    SocketIoService::new(SocketIoConfig::new().namespace("/", namespace())).io()
}

#[tokio::test]
async fn an_unpaired_surrogate_is_delivered() {
    let io = io();
    let mut client = Memory::join(&io).await;
    for (event, answer) in [
        (r#"["string","a\ud83d"]"#, "[\"a\u{fffd}\"]"),
        (r#"["string","\ude00\ud83d\ude00\uD83Dx"]"#, "[\"\u{fffd}😀\u{fffd}x\"]"),
        (r#"["value",{"\ud83d":["\udfff"]}]"#, "[{\"\u{fffd}\":[\"\u{fffd}\"]}]"),
        (r#"["json",{"\ud83d":["\udfff"]}]"#, "[{\"\u{fffd}\":[\"\u{fffd}\"]}]"),
        (r#"["args",1,"\ud83d"]"#, "[1,\"\u{fffd}\"]"),
        (r#"["pair","\ud83d",0.5]"#, "[\"\u{fffd}\",0.5]"),
        (r#"["rest","a","\ud83d"]"#, r#"[1,"a"]"#),
        (r#"["struct",{"\ud83d":1,"text":"\ud83d","ratio":1}]"#, "[{\"text\":\"\u{fffd}\",\"ratio\":1.0}]"),
        (r#"["map",{"\ud83d":1}]"#, "[{\"\u{fffd}\":1.0}]"),
        (r#"["either","\ud83d"]"#, "[\"\u{fffd}\"]"),
        (r#"["none","\ud83d"]"#, "[]"),
    ] {
        client.say(&format!("421{event}"));
        client.expect(&format!("431{answer}")).await;
    }
    // In the name of an event, also with other escapes.
    client.say(r#"42["n\u00e9\ud83d"]"#);
    client.expect("42[\"named\",\"né\u{fffd}\"]").await;
    // Together with binary.
    client.say(r#"451-0["args","\ud83d",{"_placeholder":true,"num":0}]"#);
    client.send(tower_socketio::engine::Packet::binary("x"));
    client.expect("461-0[\"\u{fffd}\",{\"_placeholder\":true,\"num\":0}]").await;
    client.packet().await.unwrap();
    // In an ack.
    let socket = io.sockets().remove(0);
    let answer = socket.emit_with_ack::<(String, Value)>("ask", &());
    client.expect(r#"420["ask"]"#).await;
    client.say(r#"430["a\ud83d",{"b":"\ude00"}]"#);
    let (text, value) = soon(answer).await.unwrap();
    assert_eq!((&*text, value["b"].as_str()), ("a\u{fffd}", Some("\u{fffd}")));
    // In the ack of a broadcast.
    let answers = io.emit_with_ack::<String>("ask", &()).unwrap();
    let asked = client.text().await;
    client.say(&format!(r#"43{}["\ud83d"]"#, asked.trim_start_matches("42").trim_end_matches(r#"["ask"]"#)));
    assert_eq!(soon(answers.responses()).await.answers[0].1, "\u{fffd}");
}

#[tokio::test]
async fn numbers_out_of_range_become_the_nearest() {
    let mut client = Memory::join(&io()).await;
    let digits = "9".repeat(400);
    let max = "1.7976931348623157e308";
    // serde_json writes an exponent as `e+308` or as `e308`.
    let plain = |text: String| text.replace("e+", "e");
    for number in ["1e400", "1E+999999999", &digits, "-1e400"] {
        let sign = if number.starts_with('-') { "-" } else { "" };
        for (event, answer) in [
            (format!(r#"["number",{number}]"#), format!("[{sign}{max}]")),
            (format!(r#"["value",[{number},1.5]]"#), format!("[[{sign}{max},1.5]]")),
            (format!(r#"["args",{number},{{"a":{number}}}]"#), format!(r#"[{sign}{max},{{"a":{sign}{max}}}]"#)),
            (format!(r#"["pair","\ud83d",{number}]"#), format!("[\"\u{fffd}\",{sign}{max}]")),
            (
                format!(r#"["struct",{{"text":"","ratio":{number}}}]"#),
                format!(r#"[{{"text":"","ratio":{sign}{max}}}]"#),
            ),
            (format!(r#"["map",{{"a":{number}}}]"#), format!(r#"[{{"a":{sign}{max}}}]"#)),
            (format!(r#"["either",{number}]"#), format!("[{sign}{max}]")),
            (format!(r#"["none",{number}]"#), "[]".to_owned()),
        ] {
            client.say(&format!("421{event}"));
            assert_eq!(plain(client.text().await), format!("431{answer}"), "{event}");
        }
    }
    client.say(r#"421["json",1.5,{"a":0.1}]"#);
    client.expect("431[1.5]").await;
    // A number that is too small becomes zero.
    client.say(r#"421["number",1e-400]"#);
    client.expect("431[0.0]").await;
}

/// Joins with an auth payload. Returns the payload as each of its readers sees it.
async fn auth_of(config: SocketIoConfig, auth: &str) -> (String, String, String) {
    let asked: Arc<Mutex<String>> = Arc::default();
    let ask = asked.clone();
    async fn joined(socket: SocketRef, Json(auth): Json<serde_json::Value>) {
        let read: HashMap<String, serde_json::Value> = socket.handshake().auth().unwrap();
        socket.emit("auth", &(auth, read)).unwrap();
    }
    let accepts = move |request: NamespaceRequest| {
        *ask.lock().unwrap() = serde_json::to_string(&request.auth::<Value>().unwrap()).unwrap();
        async { true }
    };
    let config = config.namespace_async_fn(accepts, Namespace::new().on_connect(joined));
    let mut client = Memory::open(&SocketIoService::new(config).io());
    client.text().await;
    client.say(&format!("40/a,{auth}"));
    let answer = client.text().await;
    assert!(answer.starts_with("40/a,{\"sid\""), "{answer}");
    let event = json(client.text().await.strip_prefix("42/a,").unwrap());
    (event[1].to_string(), event[2].to_string(), asked.lock().unwrap().clone())
}

#[tokio::test]
async fn the_auth_payload_is_the_same_for_every_reader() {
    let expected = "{\"text\":\"a\u{fffd}\"}".to_owned();
    for config in [SocketIoConfig::new(), SocketIoConfig::new().recovery(RecoveryConfig::new())] {
        let (by_axum, by_handshake, by_predicate) = auth_of(config, r#"{"text":"a\ud83d"}"#).await;
        assert_eq!((by_axum, by_handshake, by_predicate), (expected.clone(), expected.clone(), expected.clone()));
    }
    let (by_axum, by_handshake, _) = auth_of(SocketIoConfig::new(), r#"{"big":-1e999}"#).await;
    assert_eq!((by_axum.replace("e+", "e"), by_handshake), ("{\"big\":-1.7976931348623157e308}".to_owned(), by_axum));
}

#[tokio::test]
async fn a_client_is_recovered_with_any_other_auth_payload() {
    let io = SocketIoService::new(SocketIoConfig::new().recovery(RecoveryConfig::new())).io();
    let open = async |auth: &str| {
        let mut client = Memory::open(&io);
        client.text().await;
        client.say(&format!("40{auth}"));
        client
    };
    let mut client = open("").await;
    let ids = json(&client.text().await);
    io.emit("n", &()).unwrap();
    let offset = json(&client.text().await)[1].as_str().unwrap().to_owned();
    drop(client);
    until(|| io.stats().sockets == 0).await;
    let pid = &ids["pid"];
    let mut client = open(&format!(r#"{{"pid":{pid},"name":"\ud83d","offset":"{offset}","big":1e400}}"#)).await;
    assert_eq!(json(&client.text().await)["sid"], ids["sid"]);
}

#[tokio::test]
async fn every_transport_and_revision_delivers_half_an_emoji() {
    let echo = |Data(args): Data<Args>, socket: SocketRef| async move { socket.emit("echo", &args).unwrap() };
    let namespace = Namespace::new().on("echo", echo);
    let server = serve_config(SocketIoConfig::new().allow_eio3(true).namespace("/", namespace)).await;
    let address = server.address;
    let packet = r#"42["echo","a\ud83d",1e400]"#;
    let is_echo = |text: &str, replacement: &str| {
        let text = text.replace("e+", "e");
        assert_eq!(text, format!("42[\"echo\",\"a{replacement}\",1.7976931348623157e308]"));
    };
    let polling = Polling::join(address).await;
    polling.say(packet).await;
    is_echo(polling.poll().await.text(), "\u{fffd}");
    let (mut client, _) = WebSocket::join(address, "40").await;
    client.say(packet).await;
    is_echo(&client.text().await, "\u{fffd}");
    // Protocol version 3.
    let target = "/socket.io/?EIO=3&transport=websocket";
    let mut client = WebSocket::raw(address, target, &[]).await.unwrap();
    client.text().await;
    client.expect("40").await;
    client.say(packet).await;
    let echo = client.text().await;
    is_echo(&echo.replace(r"\ufffd", "\u{fffd}"), "\u{fffd}");
    let open = get(address, "/socket.io/?EIO=3&transport=polling&b64=1").await;
    let sid = json(open.text())["sid"].as_str().unwrap().to_owned();
    let target = format!("/socket.io/?EIO=3&transport=polling&b64=1&sid={sid}");
    get(address, &target).await.is(200, "2:40");
    post(address, &target, format!("{}:{packet}", packet.len())).await.is(200, "ok");
    let reply = get(address, &target).await;
    is_echo(&reply.text().split_once(':').unwrap().1.replace(r"\ufffd", "\u{fffd}"), "\u{fffd}");
    // JSONP.
    let target = "/socket.io/?EIO=4&transport=polling&j=0";
    let unwrap = |reply: &Reply| -> String {
        let call = reply.text().strip_prefix("___eio[0](").unwrap().strip_suffix(");").unwrap();
        serde_json::from_str(call).unwrap()
    };
    let open = unwrap(&get(address, target).await);
    let target = format!("{target}&sid={}", json(&open)["sid"].as_str().unwrap());
    let form = async |body: String| {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        send(address, Method::POST, &target, &headers, body).await.is(200, "ok");
    };
    form("d=40".to_owned()).await;
    get(address, &target).await;
    form(format!("d={packet}")).await;
    is_echo(&unwrap(&get(address, &target).await), "\u{fffd}");
}

#[tokio::test]
async fn observers_get_events_as_they_are_read() {
    let io = io();
    let client = Memory::join(&io).await;
    let socket = io.sockets().remove(0);
    let shown: Arc<Mutex<Vec<Args>>> = Arc::default();
    let log = shown.clone();
    socket.on_any_outgoing(move |event: &OutgoingEvent| log.lock().unwrap().push(event.args().unwrap()));
    // As a server that relays another server's JSON may emit it. It is deeper than serde_json's limit.
    let deep = (0..1024).fold(Value::from(1), |inner, _| vec![inner].into());
    socket.emit("n", &(&deep, "é")).unwrap();
    assert_eq!(shown.lock().unwrap()[0], [deep, "é".into()].into());
    drop(client);
}

#[tokio::test]
async fn keys_of_a_relayed_object_keep_their_order() {
    let mut client = Memory::join(&io()).await;
    for (event, answer) in [
        (
            r#"["value",{"b":1,"a":{"z":[{"y":1,"x":2}],"10":0,"9":0}}]"#,
            r#"[{"b":1,"a":{"z":[{"y":1,"x":2}],"10":0,"9":0}}]"#,
        ),
        (r#"["args",{"b":1,"a":2},{"d":3,"c":4}]"#, r#"[{"b":1,"a":2},{"d":3,"c":4}]"#),
        (r#"["value",{"b":1,"a":2,"b":3}]"#, r#"[{"b":3,"a":2}]"#),
        (
            r#"["value",{"__proto__":1,"constructor":{"toString":null}}]"#,
            r#"[{"__proto__":1,"constructor":{"toString":null}}]"#,
        ),
    ] {
        client.say(&format!("421{event}"));
        client.expect(&format!("431{answer}")).await;
    }
}

#[cfg(feature = "msgpack")]
#[tokio::test]
async fn keys_of_a_relayed_object_keep_their_order_in_msgpack() {
    use tower_socketio::{engine::Packet, parser::MsgpackParser};

    let config = SocketIoConfig::new().namespace("/", namespace()).parser(MsgpackParser);
    let mut client = Memory::open(&SocketIoService::new(config).io());
    client.text().await;
    client.send(Packet::binary(&b"\x82\xa4type\x00\xa3nsp\xa1/"[..]));
    client.packet().await.unwrap();
    let object = b"\x82\xa1b\x01\xa1a\x82\xa1z\x02\xa1y\xc0";
    let event = [b"\x84\xa4type\x02\xa2id\x00\xa3nsp\xa1/\xa4data\x92\xa5value", &object[..]].concat();
    client.send(Packet::binary(event));
    let answer = client.packet().await.unwrap();
    assert_eq!(answer.data(), [b"\x84\xa4type\x03\xa4data\x91", &object[..], b"\xa3nsp\xa1/\xa2id\x00"].concat());
}

fn nested(levels: usize) -> String {
    format!("{}1{}", "[".repeat(levels), "]".repeat(levels))
}

fn nested_objects(levels: usize) -> String {
    format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels))
}

/// On threads with tokio's default stack size, in a debug build.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_is_echoed_as_deep_as_the_limit_allows() {
    let config = SocketIoConfig::new().max_json_depth(1024).namespace("/", namespace());
    let server = serve_config(config).await;
    let (mut client, id) = WebSocket::join(server.address, "40").await;
    let polling = Polling::join(server.address).await;
    for levels in [126, 127, 128, 1000, 1024] {
        for argument in [nested(levels), nested_objects(levels)] {
            for event in ["value", "json", "args"] {
                client.say(&format!(r#"421["{event}",{argument}]"#)).await;
                client.expect(&format!("431[{argument}]")).await;
            }
            client.say(&format!(r#"421["none",{argument}]"#)).await;
            client.expect("431[]").await;
            client.say(&format!(r#"421["rest","a",{argument},{argument}]"#)).await;
            client.expect(r#"431[2,"a"]"#).await;
            client.say(&format!(r#"421["string",{argument}]"#)).await;
            let refused = client.text().await;
            assert!(refused.contains("expected a string"), "{refused}");
            polling.say(&format!(r#"421["value",{argument}]"#)).await;
            polling.expect(&format!("431[{argument}]")).await;
            client.say(&format!(r#"451-1["args",{argument},{{"_placeholder":true,"num":0}}]"#)).await;
            client.say_binary(b"x").await;
            client.expect(&format!(r#"461-1[{argument},{{"_placeholder":true,"num":0}}]"#)).await;
            client.expect_binary(b"x").await;
        }
    }
    // For acks, the array of the arguments does not count.
    let socket = server.io.socket(&id).unwrap();
    let answer = tokio::spawn(socket.emit_with_ack::<Value>("ask", &()));
    client.expect(r#"420["ask"]"#).await;
    client.say(&format!("430[{}]", nested(1024))).await;
    assert!(soon(answer).await.unwrap().unwrap().is_array());
    for packet in [r#"42["value",DEEP]"#, r#"42["nobody",DEEP]"#, "437[DEEP]"] {
        let (mut client, _) = WebSocket::join(server.address, "40").await;
        client.say(&packet.replace("DEEP", &nested(1025))).await;
        client.expect_close().await;
    }
}

/// The limit cannot be set above a safe value.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_on_depth_has_a_limit() {
    let config = SocketIoConfig::new().max_json_depth(usize::MAX).namespace("/", namespace());
    let server = serve_config(config).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.say(&format!(r#"421["value",{}]"#, nested(1024))).await;
    client.expect(&format!("431[{}]", nested(1024))).await;
    client.say(&format!(r#"421["value",{}]"#, nested(1025))).await;
    client.expect_close().await;
}

#[tokio::test]
async fn the_auth_payload_counts_its_object() {
    let config = || SocketIoConfig::new().max_json_depth(200);
    let auth = format!(r#"{{"a":{}}}"#, nested(100));
    let (by_axum, by_handshake, by_predicate) = auth_of(config(), &auth).await;
    assert_eq!((&by_axum, &by_handshake, &by_predicate), (&auth, &auth, &auth));
    // `Handshake::auth` reads a payload that axum's extractor does not.
    async fn joined(socket: SocketRef) {
        socket.emit("auth", &socket.handshake().auth::<Value>().unwrap()).unwrap();
    }
    let io = SocketIoService::new(config().namespace("/", Namespace::new().on_connect(joined))).io();
    let mut client = Memory::open(&io);
    client.text().await;
    let auth = format!(r#"{{"a":{}}}"#, nested(199));
    client.say(&format!("40{auth}"));
    client.text().await;
    client.expect(&format!(r#"42["auth",{auth}]"#)).await;
    let mut client = Memory::open(&io);
    client.text().await;
    client.say(&format!(r#"40{{"a":{}}}"#, nested(200)));
    assert_eq!(client.packet().await, None);
}

#[cfg(feature = "msgpack")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn msgpack_is_echoed_as_deep_as_the_limit_allows() {
    use tower_socketio::parser::MsgpackParser;

    let config = SocketIoConfig::new().max_json_depth(1024).namespace("/", namespace()).parser(MsgpackParser);
    let server = serve_config(config).await;
    let join = async || {
        let mut client = WebSocket::open(server.address).await;
        client.say_binary(b"\x82\xa4type\x00\xa3nsp\xa1/").await;
        client.frame().await;
        client
    };
    let mut client = join().await;
    let arrays = |levels: usize| [&b"\x91".repeat(levels)[..], b"\x01"].concat();
    let maps = |levels: usize| [&b"\x81\xa1a".repeat(levels)[..], b"\x01"].concat();
    let event = |argument: &[u8]| [b"\x84\xa4type\x02\xa2id\x00\xa3nsp\xa1/\xa4data\x92\xa5value", argument].concat();
    for argument in [arrays(128), arrays(1024), maps(1024)] {
        client.say_binary(&event(&argument)).await;
        let answer = [b"\x84\xa4type\x03\xa4data\x91", &argument[..], b"\xa3nsp\xa1/\xa2id\x00"].concat();
        client.expect_binary(&answer).await;
    }
    for argument in [arrays(1025), maps(1025)] {
        let mut client = join().await;
        client.say_binary(&event(&argument)).await;
        client.expect_close().await;
    }
}

#[tokio::test]
async fn stored_data_of_a_socket_may_be_as_deep_as_an_argument() {
    let io = io();
    let _client = Memory::join(&io).await;
    let socket = io.sockets().remove(0);
    let deep = (0..1024).fold(Value::from(1), |inner, _| vec![inner].into());
    socket.set_data(&deep).unwrap();
    assert_eq!(socket.data().unwrap(), Some(deep.clone()));
    assert_eq!(io.fetch_sockets().await.unwrap()[0].data().unwrap(), Some(deep));
    socket.set_data(&json!({"a": 1.5})).unwrap();
    assert_eq!(socket.data::<Value>().unwrap().unwrap()["a"], 1.5);
}
