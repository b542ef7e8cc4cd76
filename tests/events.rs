//! Events: handlers, extractors, answers and order.

use std::{
    borrow::Cow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Extension, Json,
    extract::{FromRef, Query, State},
    http::HeaderMap,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tower_socketio::{
    Ack, Args, DisconnectReason, EventError, Namespace, NamespaceRef, SocketIo, SocketIoConfig, SocketIoService,
    SocketRef, Transport,
    engine::ProtocolVersion,
    event::EventRequest,
    extract::{AckSender, Data, EventName, FromHandshake, Rest, rejection::HandshakeRejection},
    handler::EventHandler,
    test::TestClient,
};

use crate::support::*;

async fn joined(namespace: Namespace) -> (TestServer, WebSocket) {
    let server = serve_namespace(namespace).await;
    let (client, _) = WebSocket::join(server.address, "40").await;
    (server, client)
}

#[tokio::test]
async fn arguments_of_every_shape_are_read() {
    #[derive(Deserialize, Serialize)]
    struct Point {
        x: i32,
        y: i32,
    }
    let namespace = Namespace::new()
        .on("one", |Data(text): Data<String>| async move { Ack(text) })
        .on("two", |Data((a, b)): Data<(u8, Option<u8>)>| async move { Ack((b, a)) })
        .on("list", |Data(list): Data<Vec<u8>>| async move { Ack(list) })
        .on("struct", |Data(point): Data<Point>| async move { Ack(Point { x: point.y, y: point.x }) })
        .on("none", |Data(()): Data<()>| async { Ack(()) })
        .on("all", |Data(args): Data<Args>| async move { Ack(args) })
        .on("json", |Data(value): Data<serde_json::Value>| async move { Ack(value) });
    let (_server, mut client) = joined(namespace).await;
    for (event, answer) in [
        (r#"420["one","é",1,2]"#, r#"430["é"]"#),
        (r#"421["two",1,2]"#, "431[2,1]"),
        (r#"422["two",1]"#, "432[null,1]"),
        (r#"423["list",[1,2]]"#, "433[[1,2]]"),
        (r#"424["struct",{"x":1,"y":2}]"#, r#"434[{"x":2,"y":1}]"#),
        (r#"425["none",1]"#, "435[]"),
        (r#"426["all",1,{"a":[null]}]"#, r#"436[1,{"a":[null]}]"#),
        (r#"427["json"]"#, "437[null]"),
        (r#"4218446744073709551615["one","x"]"#, r#"4318446744073709551615["x"]"#),
    ] {
        client.say(event).await;
        client.expect(answer).await;
    }
}

#[tokio::test]
async fn a_pointer_to_a_tuple_is_several_arguments_like_the_tuple() {
    let namespace = Namespace::new()
        .on("box", |Data(pair): Data<Box<(u8, String)>>| async move { Ack(pair) })
        .on("arc", |Data(pair): Data<Arc<(u8, Option<String>)>>| async move { Ack(pair) })
        .on("cow", |Data(pair): Data<Cow<'static, (u8, String)>>| async move { Ack(pair) })
        .on("args", |Data(args): Data<Box<Args>>| async move { Ack(Arc::new(args)) })
        .on("none", |Data(nothing): Data<Box<()>>| async move { Ack(nothing) });
    let (server, mut client) = joined(namespace).await;
    for event in ["box", "arc", "cow", "args"] {
        client.say(&format!(r#"421["{event}",1,"a"]"#)).await;
        client.expect(r#"431[1,"a"]"#).await;
    }
    client.say(r#"421["arc",1]"#).await;
    client.expect("431[1,null]").await;
    client.say(r#"421["none",1]"#).await;
    client.expect("431[]").await;
    let pair = (1, "a");
    server.io.emit("n", &&&pair).unwrap();
    server.io.emit("n", &Box::new(pair)).unwrap();
    server.io.emit("n", &std::rc::Rc::new(pair)).unwrap();
    server.io.emit("n", &Arc::new(Box::new(pair))).unwrap();
    server.io.emit("n", &Cow::Borrowed(&pair)).unwrap();
    server.io.emit("n", &Arc::new(Args(vec!["1"]))).unwrap();
    for _ in 0..5 {
        client.expect(r#"42["n",1,"a"]"#).await;
    }
    client.expect(r#"42["n","1"]"#).await;
    // A list of pairs is one argument, and so is an optional pair.
    server.io.emit("n", &Box::new([pair])).unwrap();
    client.expect(r#"42["n",[[1,"a"]]]"#).await;
    server.io.emit("n", &Some(pair)).unwrap();
    client.expect(r#"42["n",[1,"a"]]"#).await;
    let socket = server.io.sockets().remove(0);
    let answer = tokio::spawn(socket.emit_with_ack::<Box<(u8, u8)>>("ask", &Box::new(())));
    client.expect(r#"420["ask"]"#).await;
    client.say("430[1,2]").await;
    assert_eq!(*soon(answer).await.unwrap().unwrap(), (1, 2));
}

#[tokio::test]
async fn the_first_arguments_have_types_and_the_others_are_a_list() {
    let namespace = Namespace::new()
        .on("to", |socket: SocketRef, Data((event, rest)): Data<(String, Rest)>| async move {
            socket.emit(&event, &Args::from(rest)).unwrap();
        })
        .on("sum", |Data((first, rest)): Data<(u32, Rest<u32>)>| async move { Ack(first + rest.iter().sum::<u32>()) });
    let (_server, mut client) = joined(namespace).await;
    client.say(r#"42["to","relayed",1,{"b":2,"a":3}]"#).await;
    client.expect(r#"42["relayed",1,{"b":2,"a":3}]"#).await;
    client.say(r#"42["to","relayed"]"#).await;
    client.expect(r#"42["relayed"]"#).await;
    client.say(r#"421["sum",1,2,3]"#).await;
    client.expect("431[6]").await;
    client.say(r#"421["sum",1]"#).await;
    client.expect("431[1]").await;
    client.say(r#"421["sum",1,2,"x"]"#).await;
    assert!(client.text().await.contains("expected u32"));
}

#[tokio::test]
async fn binary_arguments_are_taken_from_their_attachments() {
    #[derive(Deserialize, Serialize)]
    struct File {
        name: String,
        content: Bytes,
    }
    let namespace = Namespace::new()
        .on("file", |Data(file): Data<File>| async move { Ack(file) })
        .on("swap", |Data((a, b)): Data<(Bytes, Bytes)>| async move { Ack((b, a)) })
        .on("plain", |Data(value): Data<serde_json::Value>| async move { Ack(value) });
    let (_server, mut client) = joined(namespace).await;
    client.say(r#"451-0["file",{"name":"n","content":{"_placeholder":true,"num":0}}]"#).await;
    client.say_binary(b"abc").await;
    client.expect(r#"461-0[{"name":"n","content":{"_placeholder":true,"num":0}}]"#).await;
    client.expect_binary(b"abc").await;
    // Placeholders are resolved by their number, not by their position.
    client.say(r#"452-1["swap",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#).await;
    client.say_binary(b"zero").await;
    client.say_binary(b"one").await;
    client.expect(r#"462-1[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#).await;
    client.expect_binary(b"zero").await;
    client.expect_binary(b"one").await;
    // In an event without attachments, a placeholder is an ordinary object.
    client.say(r#"422["plain",{"_placeholder":true,"num":0}]"#).await;
    client.expect(r#"432[{"_placeholder":true,"num":0}]"#).await;
}

#[derive(Clone)]
struct Db(&'static str);

#[derive(Clone)]
struct App {
    db: Db,
}

impl FromRef<App> for Db {
    fn from_ref(app: &App) -> Self {
        app.db.clone()
    }
}

#[tokio::test]
async fn every_extractor_extracts() {
    #[derive(Deserialize)]
    struct Params {
        lang: String,
    }
    #[allow(clippy::too_many_arguments)]
    async fn handler(
        socket: SocketRef,
        io: SocketIo,
        State(app): State<App>,
        State(Db(db)): State<Db>,
        Extension(number): Extension<u32>,
        EventName(name): EventName,
        FromHandshake(Query(params)): FromHandshake<Query<Params>>,
        FromHandshake(headers): FromHandshake<HeaderMap>,
        Data(text): Data<String>,
        missing: Option<Extension<u64>>,
        wrong: Result<Data<u8>, tower_socketio::extract::rejection::DataRejection>,
        reason: Option<DisconnectReason>,
        ack: AckSender,
    ) {
        assert!(socket.is_connected());
        assert_eq!(io.stats().sockets, 1);
        assert_eq!((app.db.0, db, number, &*name), ("db", "db", 7, "event"));
        assert_eq!((&*params.lang, headers["x-a"].len(), &*text), ("fr", 3, "text"));
        assert!(missing.is_none() && reason.is_none());
        assert!(wrong.unwrap_err().to_string().starts_with("invalid arguments: "));
        ack.send("ok").unwrap();
    }
    let namespace = Namespace::new().on("event", handler).layer(Extension(7u32)).with_state(App { db: Db("db") });
    let server = serve_namespace(namespace).await;
    let mut client = WebSocket::open_with(server.address, "&lang=fr", &[("x-a", "abc")]).await;
    client.connect("40").await;
    client.say(r#"423["event","text"]"#).await;
    client.expect(r#"433["ok"]"#).await;
}

#[tokio::test]
async fn a_callback_that_panics_does_not_change_the_ack_of_a_rejection() {
    let namespace = Namespace::new().on("number", |Data(number): Data<u8>| async move { Ack(number) });
    let config =
        SocketIoConfig::new().namespace("/", namespace).on_rejection(|rejected| panic!("{}", rejected.message()));
    let server = serve_config(config).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.say(r#"421["number"]"#).await;
    assert!(json(&client.text().await)[0]["error"]["message"].as_str().unwrap().contains("argument 1 is missing"));
    client.say(r#"422["number",2]"#).await;
    client.expect("432[2]").await;
    let stats = server.io.stats();
    assert_eq!((stats.rejections, stats.panics), (1, 1));
}

#[tokio::test]
async fn a_rejection_is_answered_counted_and_shown() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let shown = seen.clone();
    let namespace = Namespace::new()
        .on("number", |Data(number): Data<u8>| async move { Ack(number) })
        .on("extension", |Extension(_): Extension<u8>| async {})
        .on("ack", |ack: AckSender| async move { ack.send(&()).unwrap() });
    let config = SocketIoConfig::new().namespace("/", namespace).on_rejection(move |rejected| {
        let line = format!("{} {}", rejected.event(), rejected.message());
        assert!(rejected.socket().is_connected());
        shown.lock().unwrap().push(line);
    });
    let server = serve_config(config).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.say(r#"420["number","x"]"#).await;
    let answer = json(&client.text().await);
    assert!(answer[0]["error"]["message"].as_str().unwrap().starts_with("invalid arguments: invalid type: string"));
    client.say(r#"421["number"]"#).await;
    assert!(json(&client.text().await)[0]["error"]["message"].as_str().unwrap().contains("argument 1 is missing"));
    client.say(r#"422["extension"]"#).await;
    client.expect(r#"432[{"error":{"message":"internal error"}}]"#).await;
    client.say(r#"42["number","x"]"#).await;
    client.say(r#"42["ack"]"#).await;
    client.is_quiet().await;
    let seen = seen.lock().unwrap();
    assert_eq!(server.io.stats().rejections, 5);
    assert_eq!(seen.len(), 5);
    assert!(seen[2].starts_with("extension no extension of type `u8`"), "{}", seen[2]);
    assert_eq!(seen[4], "ack the event was emitted without an ack");
}

#[tokio::test]
async fn the_error_of_arguments_that_do_not_match_can_be_chosen() {
    let namespace = Namespace::new()
        .on("number", |Data(number): Data<u8>| async move { Ack(number) })
        .on("extension", |Extension(_): Extension<u8>| async {});
    let config = SocketIoConfig::new().namespace("/", namespace).argument_error(|rejected| {
        assert!(rejected.message().starts_with("invalid arguments: "));
        let error = if rejected.event() == "number" { "a number is needed" } else { unreachable!() };
        EventError::new(error).data(rejected.socket().rooms().len())
    });
    let server = serve_config(config).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.say(r#"421["number","x"]"#).await;
    client.expect(r#"431[{"error":{"message":"a number is needed","data":1}}]"#).await;
    client.say(r#"422["number",2]"#).await;
    client.expect("432[2]").await;
    client.say(r#"423["extension"]"#).await;
    client.expect(r#"433[{"error":{"message":"internal error"}}]"#).await;
    assert_eq!(server.io.stats().rejections, 2);
}

#[tokio::test]
async fn results_answer_on_either_side() {
    async fn halve(Data(number): Data<u32>) -> Result<Ack<u32>, EventError> {
        match number % 2 {
            0 => Ok(Ack(number / 2)),
            _ => Err(EventError::new("odd").data(json!({ "number": number }))),
        }
    }
    async fn parse(Data(text): Data<String>) -> Result<Ack<u32>, EventError> {
        Ok(Ack(text.parse()?))
    }
    async fn quiet() -> Result<(), &'static str> {
        Err("told")
    }
    let namespace = Namespace::new().on("halve", halve).on("parse", parse).on("quiet", quiet);
    let (_server, mut client) = joined(namespace).await;
    for (event, answer) in [
        (r#"420["halve",4]"#, "430[2]"),
        (r#"421["halve",3]"#, r#"431[{"error":{"message":"odd","data":{"number":3}}}]"#),
        (r#"422["parse","12"]"#, "432[12]"),
        (r#"423["parse","x"]"#, r#"433[{"error":{"message":"internal error"}}]"#),
        (r#"424["quiet"]"#, r#"434[{"error":{"message":"told"}}]"#),
    ] {
        client.say(event).await;
        client.expect(answer).await;
    }
    client.say(r#"42["halve",3]"#).await;
    client.is_quiet().await;
}

#[tokio::test]
async fn an_ack_is_sent_once() {
    async fn both(ack: AckSender) -> Ack<u8> {
        ack.send(&1).unwrap();
        Ack(2)
    }
    let (_server, mut client) = joined(Namespace::new().on("both", both)).await;
    client.say(r#"420["both"]"#).await;
    client.expect("430[1]").await;
    client.is_quiet().await;
}

#[tokio::test]
async fn an_ack_may_be_sent_long_after_the_handler() {
    let (sender, mut acks) = mpsc::unbounded_channel();
    let namespace = Namespace::new().on("later", move |ack: AckSender| {
        let sender = sender.clone();
        async move { sender.send(ack).unwrap() }
    });
    let (_server, mut client) = joined(namespace.with_state(())).await;
    client.say(r#"429["later"]"#).await;
    let ack = soon(acks.recv()).await.unwrap();
    client.is_quiet().await;
    ack.send(&("a", 1)).unwrap();
    client.expect(r#"439["a",1]"#).await;
    client.say(r#"421["later"]"#).await;
    let ack = soon(acks.recv()).await.unwrap();
    client.say("41").await;
    client.is_quiet().await;
    assert!(ack.send(&()).unwrap_err().is_disconnected());
}

#[tokio::test]
async fn events_without_a_handler_are_ignored() {
    let (_server, mut client) = joined(Namespace::new()).await;
    client.say(r#"42["unknown",{"a":1}]"#).await;
    client.say(r#"420["unknown"]"#).await;
    client.say("42").await;
    client.say(r#"42[7,"numbers are names"]"#).await;
    client.is_quiet().await;
}

#[tokio::test]
async fn on_any_sees_every_event_before_its_handler() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let (any, own) = (log.clone(), log.clone());
    let namespace = Namespace::new()
        .on_any(move |EventName(name): EventName, Data(args): Data<Args>, ack: Option<AckSender>| {
            let log = any.clone();
            async move {
                log.lock().unwrap().push(format!("any {name} {}", args.0.len()));
                if let Some(ack) = ack {
                    ack.send("any").unwrap();
                }
            }
        })
        .on("own", move || {
            let log = own.clone();
            async move {
                log.lock().unwrap().push("own".to_owned());
                Ack("own")
            }
        });
    let (_server, mut client) = joined(namespace.with_state(())).await;
    client.say(r#"420["own",1,2]"#).await;
    client.expect(r#"430["own"]"#).await;
    client.say(r#"421["other"]"#).await;
    client.expect(r#"431["any"]"#).await;
    assert_eq!(*log.lock().unwrap(), ["any own 2", "own", "any other 0"]);
}

#[tokio::test]
async fn a_panic_in_a_handler_ends_only_its_event() {
    async fn at_once() {
        panic!("on purpose");
    }
    async fn later() {
        tokio::task::yield_now().await;
        panic!("on purpose");
    }
    let namespace = Namespace::new().on("at once", at_once).on("later", later).on("fine", || async { Ack(()) });
    let (server, mut client) = joined(namespace).await;
    client.say(r#"420["at once"]"#).await;
    client.expect(r#"430[{"error":{"message":"internal error"}}]"#).await;
    client.say(r#"421["later"]"#).await;
    client.expect(r#"431[{"error":{"message":"internal error"}}]"#).await;
    client.say(r#"422["fine"]"#).await;
    client.expect("432[]").await;
    assert_eq!(server.io.stats().panics, 2);
}

#[tokio::test]
async fn ten_thousand_events_start_in_order_with_slow_and_fast_handlers_mixed() {
    const EVENTS: usize = 10_000;
    let started = Arc::new(Mutex::new(Vec::with_capacity(EVENTS)));
    let (fast, slow) = (started.clone(), started.clone());
    let namespace = Namespace::new()
        .on("fast", move |Data(number): Data<usize>| {
            let started = fast.clone();
            async move { started.lock().unwrap().push(number) }
        })
        .on("slow", move |Data(number): Data<usize>| {
            let started = slow.clone();
            async move {
                started.lock().unwrap().push(number);
                for _ in 0..number % 5 {
                    tokio::task::yield_now().await;
                }
            }
        })
        .on("last", || async { Ack(()) });
    let (_server, mut client) = joined(namespace.with_state(())).await;
    for number in 0..EVENTS {
        let event = if number % 3 == 0 { "slow" } else { "fast" };
        client.say(&format!(r#"42["{event}",{number}]"#)).await;
    }
    client.say(r#"420["last"]"#).await;
    client.expect("430[]").await;
    assert!(started.lock().unwrap().iter().copied().eq(0..EVENTS));
}

/// Covers packets that bypass the outbox and packets that do not fit into it.
#[tokio::test]
async fn answers_and_emits_leave_in_the_order_in_which_handlers_spoke() {
    let namespace = Namespace::new()
        .on("answer", |Data(text): Data<String>| async move { Ack(text) })
        .on("emit", |socket: SocketRef, Data(text): Data<String>| async move { socket.emit("said", &text).unwrap() })
        .on("both", |socket: SocketRef, Data(text): Data<String>| async move {
            socket.emit("said", &text).unwrap();
            Ack(text)
        });
    let (_server, mut client) = joined(namespace.with_state(())).await;
    let sizes = [1, 3_000, 15_990, 20_000, 10];
    let mut events = (0..).zip(["answer", "both", "answer", "emit", "answer", "answer", "both"].iter().cycle());
    for _ in 0..20 {
        let mut expected = Vec::new();
        for (id, event) in events.by_ref().take(50) {
            let text = "x".repeat(sizes[id % sizes.len()]);
            client.say(&format!(r#"42{id}["{event}","{text}"]"#)).await;
            let said = format!(r#"42["said","{text}"]"#);
            let answered = format!(r#"43{id}["{text}"]"#);
            match *event {
                "emit" => expected.push(said),
                "both" => expected.extend([said, answered]),
                _ => expected.push(answered),
            }
        }
        for packet in expected {
            client.expect(&packet).await;
        }
    }
}

/// The answer finds the outbox empty. An emit by another thread must still be sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_from_another_thread_are_sent_with_an_ack() {
    let (wanted, emitter) = std::sync::mpsc::channel::<(SocketRef, u32)>();
    let emitter = std::thread::spawn(move || {
        for (socket, number) in emitter {
            for _ in 0..number % 200 * 3 {
                std::hint::spin_loop();
            }
            socket.emit("beside", &number).unwrap();
        }
    });
    let namespace = Namespace::new().on("go", move |socket: SocketRef, Data(number): Data<u32>| {
        let wanted = wanted.clone();
        async move {
            wanted.send((socket, number)).unwrap();
            Ack(number)
        }
    });
    let (server, mut client) = joined(namespace.with_state(())).await;
    for number in 0..2_000 {
        client.say(&format!(r#"42{number}["go",{number}]"#)).await;
        let mut packets = [client.text_but_pings().await, client.text_but_pings().await];
        packets.sort();
        assert_eq!(packets, [format!(r#"42["beside",{number}]"#), format!("43{number}[{number}]")]);
    }
    drop((server, client));
    soon(tokio::task::spawn_blocking(|| emitter.join())).await.unwrap().unwrap();
}

#[tokio::test]
async fn running_events_of_a_socket_are_limited() {
    let gate = Arc::new(Notify::new());
    let running = Arc::new(AtomicUsize::new(0));
    let (waiting, count) = (gate.clone(), running.clone());
    let namespace = Namespace::new().on("wait", move || {
        let (gate, running) = (waiting.clone(), count.clone());
        async move {
            running.fetch_add(1, Ordering::SeqCst);
            gate.notified().await;
            running.fetch_sub(1, Ordering::SeqCst);
        }
    });
    let config = SocketIoConfig::new().max_concurrent_events(2).namespace("/", namespace.with_state(()));
    let server = serve_config(config).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    let (mut other, _) = WebSocket::join(server.address, "40").await;
    for _ in 0..3 {
        client.say(r#"42["wait"]"#).await;
    }
    client.say("40/quiet?").await;
    until(|| running.load(Ordering::SeqCst) == 2).await;
    other.is_quiet().await;
    assert_eq!(running.load(Ordering::SeqCst), 2, "the third waits, and nothing behind it is read");
    gate.notify_one();
    client.expect(r#"44/quiet?,{"message":"Invalid namespace"}"#).await;
    until(|| running.load(Ordering::SeqCst) == 2).await;
    // Over long-polling, the response to the POST is sent after its events have been started.
    let client = Polling::join(server.address).await;
    let (post, ()) = tokio::join!(client.post("42[\"wait\"]\x1e42[\"wait\"]\x1e42[\"wait\"]"), async {
        until(|| running.load(Ordering::SeqCst) == 4).await;
        other.is_quiet().await;
        assert_eq!(running.load(Ordering::SeqCst), 4);
        gate.notify_waiters();
    });
    post.is(200, "ok");
}

#[tokio::test]
async fn the_heartbeat_pauses_while_a_connection_is_not_read() {
    let gate = Arc::new(Notify::new());
    let waiting = gate.clone();
    let namespace = Namespace::new().on("wait", move || {
        let gate = waiting.clone();
        async move {
            gate.notified().await;
            Ack(())
        }
    });
    let config = SocketIoConfig::new()
        .max_concurrent_events(1)
        .ping_interval(PATIENCE)
        .ping_timeout(PATIENCE)
        .namespace("/", namespace.with_state(()));
    let server = serve_config(config).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.say(r#"420["wait"]"#).await;
    client.say(r#"421["wait"]"#).await;
    // The pong is not read, but pings are still sent. If they could not be written, the session would be closed.
    for _ in 0..3 {
        skip(PATIENCE).await;
        client.expect("2").await;
        client.say("3").await;
    }
    gate.notify_one();
    assert_eq!(client.text_but_pings().await, "430[]");
    gate.notify_one();
    assert_eq!(client.text_but_pings().await, "431[]");
}

#[tokio::test]
async fn a_client_that_leaves_while_it_is_not_read_is_noticed() {
    let namespace = Namespace::new().on("hang", std::future::pending::<()>).with_state(());
    let config = SocketIoConfig::new()
        .max_concurrent_events(1)
        .ping_interval(PATIENCE)
        .ping_timeout(PATIENCE)
        .namespace("/", namespace);
    let server = serve_config(config).await;
    let mut client = WebSocket::open(server.address).await;
    for packet in ["40", r#"42["hang"]"#, r#"42["hang"]"#] {
        client.say(packet).await;
    }
    until(|| server.io.stats().sockets == 1).await;
    skip(PATIENCE).await;
    client.expect_within(3, "2").await;
    drop(client);
    // The kernel accepts the first ping after that, and rejects one of the next.
    for _ in 0..100 {
        skip(PATIENCE).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        if server.io.stats().connections == 0 {
            break;
        }
    }
    server.is_empty().await;
}

#[tokio::test]
async fn a_closed_socket_releases_the_permits_of_layers() {
    let gate = Arc::new(Notify::new());
    let waiting = gate.clone();
    let namespace = Namespace::new()
        .on("wait", move || {
            let gate = waiting.clone();
            async move {
                gate.notified().await;
                Ack(())
            }
        })
        .on("quick", || async { Ack(()) })
        .event_layer(tower::limit::GlobalConcurrencyLimitLayer::new(1))
        .with_state(());
    let server = serve_namespace(namespace).await;
    let (mut a, _) = WebSocket::join(server.address, "40").await;
    let (mut b, id) = WebSocket::join(server.address, "40").await;
    let kept = server.io.socket(&id).unwrap();
    a.say(r#"420["wait"]"#).await;
    a.is_quiet().await;
    // Waits for the permit that the first event holds: no packet after it is read.
    b.say(r#"420["wait"]"#).await;
    kept.disconnect_all();
    server.has_sockets(1).await;
    gate.notify_one();
    a.expect("430[]").await;
    a.say(r#"421["quick"]"#).await;
    a.expect("431[]").await;
    drop(kept);
}

#[tokio::test]
async fn a_panic_in_a_layer_ends_only_its_event() {
    #[derive(Clone)]
    struct NeverReady<S>(S);
    impl<S: tower::Service<EventRequest>> tower::Service<EventRequest> for NeverReady<S> {
        type Response = S::Response;
        type Error = S::Error;
        type Future = S::Future;
        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
            panic!("on purpose")
        }
        fn call(&mut self, request: EventRequest) -> S::Future {
            self.0.call(request)
        }
    }
    let on_call = tower::util::MapRequestLayer::new(|request: EventRequest| {
        assert!(request.event() != "bad", "on purpose");
        request
    });
    let on_ready = tower::layer::layer_fn(NeverReady);
    let server = serve_config(
        SocketIoConfig::new()
            .namespace("/", Namespace::new().on("bad", || async { Ack(()) }).event_layer(on_call).with_state(()))
            .namespace("/ready", Namespace::new().on("bad", || async { Ack(()) }).event_layer(on_ready).with_state(())),
    )
    .await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.connect("40/ready").await;
    client.say(r#"420["bad"]"#).await;
    client.expect(r#"430[{"error":{"message":"internal error"}}]"#).await;
    client.say(r#"42/ready,1["bad"]"#).await;
    client.expect(r#"43/ready,1[{"error":{"message":"internal error"}}]"#).await;
    client.is_quiet().await;
    assert_eq!(server.io.stats().panics, 2);
}

#[tokio::test]
async fn on_any_neither_delays_nor_breaks_responses() {
    let namespace = Namespace::new()
        .on_any(|EventName(name): EventName| async move {
            assert_eq!(name, "hang", "on purpose");
            std::future::pending::<()>().await;
        })
        .on("hang", || async { Ack(1) })
        .on("panic", || async { Ack(2) });
    let server = serve_namespace(namespace.with_state(())).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.say(r#"420["hang"]"#).await;
    client.expect("430[1]").await;
    client.say(r#"421["panic"]"#).await;
    client.expect("431[2]").await;
}

#[tokio::test]
async fn layers_of_a_namespace_and_of_a_handler_surround_events() {
    #[derive(Clone)]
    struct Note(Arc<Mutex<Vec<String>>>, &'static str);
    impl<S> tower::Layer<S> for Note {
        type Service = NoteService<S>;
        fn layer(&self, inner: S) -> NoteService<S> {
            NoteService { inner, note: self.clone() }
        }
    }
    #[derive(Clone)]
    struct NoteService<S> {
        inner: S,
        note: Note,
    }
    impl<S: tower::Service<EventRequest>> tower::Service<EventRequest> for NoteService<S> {
        type Response = S::Response;
        type Error = S::Error;
        type Future = S::Future;
        fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
            self.inner.poll_ready(cx)
        }
        fn call(&mut self, request: EventRequest) -> S::Future {
            self.note.0.lock().unwrap().push(format!("{} {}", self.note.1, request.event()));
            self.inner.call(request)
        }
    }
    let log = Arc::new(Mutex::new(Vec::new()));
    async fn event(Data(text): Data<String>) -> Ack<String> {
        Ack(text)
    }
    let namespace = Namespace::new()
        .on("event", event.layer(Note(log.clone(), "handler")))
        .event_layer(Note(log.clone(), "inner"))
        .event_layer(Note(log.clone(), "outer"))
        .with_state(());
    let (_server, mut client) = joined(namespace).await;
    client.say(r#"420["event","a"]"#).await;
    client.expect(r#"430["a"]"#).await;
    assert_eq!(*log.lock().unwrap(), ["outer event", "inner event", "handler event"]);
}

/// In Node, `socket.use` adds middleware to one socket. Here a layer of the namespace decides by what it finds on the socket.
#[tokio::test]
async fn a_layer_may_apply_to_some_sockets() {
    #[derive(Clone)]
    struct ReadOnly;
    let guard = tower::filter::FilterLayer::new(|request: EventRequest| {
        match request.socket().extensions().get::<ReadOnly>().is_some() && request.event() != "read" {
            true => Err("read only"),
            false => Ok(request),
        }
    });
    let namespace = Namespace::new()
        .on_connect(|socket: SocketRef, Json(auth): Json<serde_json::Value>| async move {
            if auth["user"] == "guest" {
                socket.extensions().insert(ReadOnly);
            }
        })
        .on("read", async || Ack(1))
        .on("write", async || Ack(2))
        .event_layer(guard);
    let server = serve_namespace(namespace.with_state(())).await;
    let (mut guest, _) = WebSocket::join(server.address, r#"40{"user":"guest"}"#).await;
    let (mut user, _) = WebSocket::join(server.address, r#"40{"user":"Ada"}"#).await;
    for (client, written) in [(&mut guest, r#"{"error":{"message":"read only"}}"#), (&mut user, "2")] {
        client.say(r#"420["read"]"#).await;
        client.expect("430[1]").await;
        client.say(r#"421["write"]"#).await;
        client.expect(&format!("431[{written}]")).await;
    }
}

#[tokio::test]
async fn a_layers_error_is_answered() {
    let timeout = tower::timeout::TimeoutLayer::new(Duration::from_millis(10));
    let namespace = Namespace::new().on("slow", std::future::pending::<()>).event_layer(timeout).with_state(());
    let (server, mut client) = joined(namespace).await;
    client.say(r#"420["slow"]"#).await;
    client.expect(r#"430[{"error":{"message":"request timed out"}}]"#).await;
    client.is_quiet().await;
    drop(client);
    server.is_empty().await;
}

#[tokio::test]
async fn an_event_service_that_is_not_ready_stops_the_reading() {
    let gate = Arc::new(Notify::new());
    let started = Arc::new(AtomicUsize::new(0));
    let (waiting, count) = (gate.clone(), started.clone());
    let namespace = Namespace::new()
        .on("wait", move || {
            let (gate, started) = (waiting.clone(), count.clone());
            async move {
                started.fetch_add(1, Ordering::SeqCst);
                gate.notified().await;
                Ack(())
            }
        })
        .event_layer(tower::limit::GlobalConcurrencyLimitLayer::new(1));
    let (server, mut client) = joined(namespace.with_state(())).await;
    client.say(r#"420["wait"]"#).await;
    until(|| started.load(Ordering::SeqCst) == 1).await;
    let (mut second, _) = WebSocket::join(server.address, "40").await;
    second.say(r#"420["wait"]"#).await;
    second.say("40/behind").await;
    client.is_quiet().await;
    assert_eq!(started.load(Ordering::SeqCst), 1);
    gate.notify_one();
    client.expect("430[]").await;
    second.expect(r#"44/behind,{"message":"Invalid namespace"}"#).await;
    gate.notify_one();
    second.expect("430[]").await;
}

#[tokio::test]
async fn a_layer_that_panics_as_it_is_dropped_ends_its_event_alone() {
    /// Is never ready, and panics when it is dropped after it was asked.
    struct Explosive {
        count: Arc<AtomicUsize>,
        asked: bool,
    }
    impl Clone for Explosive {
        fn clone(&self) -> Self {
            Self { count: self.count.clone(), asked: false }
        }
    }
    impl tower::Service<EventRequest> for Explosive {
        type Response = tower_socketio::event::EventResponse;
        type Error = std::convert::Infallible;
        type Future = std::future::Pending<Result<Self::Response, Self::Error>>;
        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
            self.asked = true;
            self.count.fetch_add(1, Ordering::SeqCst);
            std::task::Poll::Pending
        }
        fn call(&mut self, _: EventRequest) -> Self::Future {
            std::future::pending()
        }
    }
    impl Drop for Explosive {
        fn drop(&mut self) {
            assert!(!self.asked, "dropped while it was not ready");
        }
    }
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let layer = tower::layer::layer_fn(move |_| Explosive { count: count.clone(), asked: false });
    let (server, mut client) = joined(Namespace::new().event_layer(layer).with_state(())).await;
    client.say(r#"420["event"]"#).await;
    client.say("40/behind").await;
    until(|| asked.load(Ordering::SeqCst) > 0).await;
    server.io.disconnect_sockets(false);
    client.expect("41").await;
    // The connection is read again.
    client.expect(r#"44/behind,{"message":"Invalid namespace"}"#).await;
    assert_eq!(server.io.stats().panics, 1);
}

/// An event that a handler emits precedes its answer, and answers keep their order, for all sizes and contents.
#[tokio::test]
async fn answers_follow_what_was_emitted_before_them() {
    let namespace = Namespace::new()
        .on("count", async |socket: SocketRef, Data(to): Data<u32>| {
            for number in 0..to {
                socket.emit("number", &number).ok();
            }
            Ack(to)
        })
        .on("text", async |Data(length): Data<usize>| Ack("x".repeat(length)))
        .on("bytes", async |Data(length): Data<usize>| Ack((Bytes::from(vec![1; length]), Bytes::from_static(b"end"))))
        .on("leave", async |socket: SocketRef| {
            socket.disconnect();
            Ack(())
        });
    let server = serve_namespace(namespace).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    let asked =
        [("count", 2), ("text", 20_000), ("text", 3), ("bytes", 20_000), ("bytes", 2), ("count", 1), ("count", 0)];
    for (id, (event, argument)) in asked.iter().enumerate() {
        client.say(&format!(r#"42{id}["{event}",{argument}]"#)).await;
    }
    client.say(r#"428["leave"]"#).await;
    client.say(r#"429["count",1]"#).await;
    let placeholders = r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#;
    client.expect(r#"42["number",0]"#).await;
    client.expect(r#"42["number",1]"#).await;
    client.expect("430[2]").await;
    client.expect(&format!(r#"431["{}"]"#, "x".repeat(20_000))).await;
    client.expect(r#"432["xxx"]"#).await;
    for (id, length) in [(3, 20_000), (4, 2)] {
        client.expect(&format!("462-{id}[{placeholders}]")).await;
        client.expect_binary(&vec![1; length]).await;
        client.expect_binary(b"end").await;
    }
    client.expect(r#"42["number",0]"#).await;
    client.expect("435[1]").await;
    client.expect("436[0]").await;
    client.expect("41").await;
    // What the client sent before it received the DISCONNECT is ignored.
    client.is_quiet().await;
}

#[tokio::test]
async fn the_fallback_handles_events_without_a_handler_or_a_listener() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let namespace = Namespace::new()
        .on("known", async || Ack("known"))
        .on("silent", async || {})
        .on_any(move |EventName(name): EventName| {
            log.lock().unwrap().push(name);
            async { Ack("any") }
        })
        .fallback(|EventName(name): EventName, Data(args): Data<Args>| async move { Ack((name, args.0.len())) });
    let io = SocketIoService::new(SocketIoConfig::new().namespace("/", namespace.with_state(()))).io();
    let mut client = Memory::join(&io).await;
    for (event, answer) in [(r#"420["known"]"#, r#"430["known"]"#), (r#"421["other",1,2]"#, r#"431["other",2]"#)] {
        client.say(event);
        client.expect(answer).await;
    }
    let socket = io.sockets().remove(0);
    let listener = socket.on("other", async || Ack("listener"));
    client.say(r#"422["other"]"#);
    client.expect(r#"432["listener"]"#).await;
    socket.off(listener);
    client.say(r#"423["silent"]"#);
    client.say(r#"424["other"]"#);
    client.expect(r#"434["other",0]"#).await;
    assert_eq!(*seen.lock().unwrap(), ["known", "other", "other", "silent", "other"]);
}

#[tokio::test]
async fn a_rejection_of_the_handshake_keeps_its_status_and_its_text() {
    #[derive(Deserialize)]
    struct Params {
        page: u32,
    }
    type Page = FromHandshake<Query<Params>>;
    let namespace = Namespace::new()
        .on("page", |FromHandshake(Query(params)): Page| async move { Ack(params.page) })
        .on("why", |page: Result<Page, HandshakeRejection>| async move {
            let rejection = page.err().unwrap();
            Ack((rejection.status().as_u16(), rejection.body_text().to_owned()))
        });
    let io = SocketIoService::new(SocketIoConfig::new().namespace("/", namespace.with_state(()))).io();
    let mut client = Memory::join(&io).await;
    let text = "Failed to deserialize query string: missing field `page`";
    client.say(r#"420["page"]"#);
    let message = format!("the handshake was rejected: 400 Bad Request: {text}");
    client.expect(&format!(r#"430[{{"error":{{"message":"{message}"}}}}]"#)).await;
    client.say(r#"421["why"]"#);
    client.expect(&format!(r#"431[400,"{text}"]"#)).await;
}

/// Without `on_any` and listeners, the router takes a shorter path.
#[tokio::test]
async fn a_fallback_may_stand_alone() {
    let namespace = Namespace::new().fallback(|EventName(name): EventName| async move { Ack(name) });
    let io = SocketIoService::new(SocketIoConfig::new().namespace("/", namespace.with_state(()))).io();
    let mut client = Memory::join(&io).await;
    client.say(r#"420["a"]"#);
    client.expect(r#"430["a"]"#).await;
    client.say(r#"42["a",nul]"#);
    assert_eq!(client.packet().await, None);
}

#[test]
#[should_panic(expected = "two `fallback` handlers")]
fn a_second_fallback_is_a_mistake() {
    let _ = Namespace::<()>::new().fallback(async || {}).fallback(async || {});
}

#[test]
#[should_panic(expected = "`connection` is reserved by the protocol: `on_connect` is called when a client joins")]
fn a_handler_for_connection_is_a_mistake() {
    let _ = Namespace::<()>::new().on("connection", async || {});
}

#[test]
#[should_panic(expected = "`on_disconnect` is called when a socket is disconnected")]
fn a_handler_for_disconnect_is_a_mistake() {
    let _ = Namespace::<()>::new().on("disconnect", async || {});
}

#[test]
#[should_panic(expected = "`newListener` is reserved by the protocol: no client can emit it")]
fn a_handler_for_another_reserved_name_is_a_mistake() {
    let _ = Namespace::<()>::new().on("newListener", async || {});
}

#[tokio::test]
async fn an_ack_may_be_optional() {
    let namespace = Namespace::new()
        .on("half", async |Data(number): Data<u32>| number.is_multiple_of(2).then_some(Ack(number / 2)))
        .on("fail", async || Err::<Option<Ack<()>>, _>("no"));
    let (_server, mut client) = joined(namespace).await;
    client.say(r#"420["half",4]"#).await;
    client.expect("430[2]").await;
    client.say(r#"421["half",3]"#).await;
    client.say(r#"422["fail"]"#).await;
    client.expect(r#"432[{"error":{"message":"no"}}]"#).await;
}

#[tokio::test]
async fn arguments_of_one_of_two_types_are_extracted_by_options() {
    async fn either(number: Option<Data<u32>>, text: Option<Data<String>>) -> Ack<String> {
        Ack(format!("{:?} {:?}", number.map(|number| number.0), text.map(|text| text.0)))
    }
    let (_server, mut client) = joined(Namespace::new().on("either", either)).await;
    client.say(r#"420["either",1]"#).await;
    client.expect(r#"430["Some(1) None"]"#).await;
    client.say(r#"421["either","a"]"#).await;
    client.expect(r#"431["None Some(\"a\")"]"#).await;
}

#[tokio::test]
async fn the_connection_and_the_namespace_are_extractors() {
    async fn joined(transport: Transport, protocol: ProtocolVersion, namespace: NamespaceRef, socket: SocketRef) {
        let seen = (transport, protocol.to_string(), namespace.name(), namespace.socket_count());
        socket.emit("joined", &seen).unwrap();
    }
    async fn ask(namespace: NamespaceRef, transport: Transport, protocol: ProtocolVersion) -> Ack<(String, String)> {
        Ack((namespace.name().to_owned(), format!("{transport} {protocol}")))
    }
    let namespace = || Namespace::new().on_connect(joined).on("ask", ask).with_state(());
    let config = SocketIoConfig::new().allow_eio3(true).namespace("/", namespace()).namespace("/x", namespace());
    let server = serve_config(config).await;
    let (mut client, _) = WebSocket::join(server.address, "40/x,").await;
    client.expect(r#"42/x,["joined","websocket","4","/x",1]"#).await;
    client.say(r#"42/x,0["ask"]"#).await;
    client.expect(r#"43/x,0["/x","websocket 4"]"#).await;
    let polling = Polling::open(server.address).await;
    polling.say("40").await;
    assert!(polling.poll().await.text().ends_with(r#"42["joined","polling","4","/",1]"#));
    let mut old = Memory::open_with(TestClient::builder(&server.io).query("EIO=3"));
    assert!(old.text().await.starts_with("0{"));
    old.expect("40").await;
    old.expect(r#"42["joined","custom","3","/",2]"#).await;
}
