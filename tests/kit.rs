//! The client with which users test their handlers.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Extension, Json, extract::Query, http::HeaderMap, http::StatusCode};
use bytes::Bytes;
use futures_util::FutureExt;
use serde_json::{Value as JsonValue, json as value};
use tokio::sync::mpsc;
use tower_socketio::{
    Ack, Args, DisconnectReason, EventError, Namespace, RecoveryConfig, SlowClientPolicy, SocketIo, SocketIoConfig,
    SocketIoService, SocketRef, Value,
    engine::Packet,
    extract::Data,
    test::{Disconnected, TestClient, TestError},
};

fn serve(config: SocketIoConfig) -> SocketIo {
    SocketIoService::new(config).io()
}

fn with(namespace: Namespace) -> SocketIo {
    serve(SocketIoConfig::new().namespace("/", namespace))
}

fn chat() -> Namespace {
    Namespace::new()
        .on_connect(async |socket: SocketRef| socket.join("lobby"))
        .on("message", async |socket: SocketRef, Data((room, text)): Data<(String, String)>| {
            socket.to(room).emit("message", &("somebody", text)).unwrap();
            Ack("delivered")
        })
        .on("join", async |socket: SocketRef, Data(room): Data<String>| socket.join(room))
        .on("echo", async |socket: SocketRef, Data(args): Data<Args>| {
            socket.emit("echo", &args).unwrap();
            Ack(args)
        })
        .on("kick", async |socket: SocketRef| socket.disconnect())
        .on("close", async |socket: SocketRef| socket.conn().close())
        .with_state(())
}

/// Returns the text of a panic.
async fn panics(test: impl Future<Output = ()>) -> String {
    let panic = AssertUnwindSafe(test).catch_unwind().await.expect_err("a panic");
    panic.downcast_ref::<String>().cloned().unwrap_or_else(|| (*panic.downcast_ref::<&str>().unwrap()).to_owned())
}

#[tokio::test]
async fn events_and_acks_are_sent_in_both_directions() {
    let io = with(chat());
    let (mut ada, mut grace) = (TestClient::connect(&io).await.unwrap(), TestClient::connect(&io).await.unwrap());
    assert_eq!(ada.id(), &**ada.socket().unwrap().id());
    ada.emit("message", &("lobby", "hi")).await;
    let (name, text): (String, String) = grace.next("message").await;
    assert_eq!((&*name, &*text), ("somebody", "hi"));
    let answer: String = ada.emit_with_ack("message", &("lobby", "ho")).await.unwrap();
    assert_eq!(answer, "delivered");
    // Events keep their order while an ack is awaited, and acks do not depend on them.
    let first = ada.emit_with_ack::<Args<u8>>("echo", &(1, 2));
    let second: u8 = ada.emit_with_ack("echo", &3).await.unwrap();
    assert_eq!((second, first.await.unwrap()), (3, Args(vec![1, 2])));
    assert_eq!(ada.next::<(u8, u8)>("echo").await, (1, 2));
    assert_eq!(ada.next::<u8>("echo").await, 3);
    let error = ada.emit_with_ack::<u8>("message", &("lobby", "hm")).await.unwrap_err();
    assert!(error.is_mismatch() && error.to_string().contains("delivered"), "{error}");
}

#[tokio::test]
async fn binary_may_be_nested_anywhere() {
    let io = with(chat());
    let mut client = TestClient::connect(&io).await.unwrap();
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    let args = (bytes("a"), vec![bytes("b"), bytes("")], 1);
    let answer: (Bytes, Vec<Bytes>, u8) = client.emit_with_ack("echo", &args).await.unwrap();
    assert_eq!(answer, args);
    assert_eq!(client.next::<Args>("echo").await.0[0], Value::from(bytes("a")));
}

#[tokio::test(start_paused = true)]
async fn an_event_has_been_begun_when_emit_returns() {
    let io = with(chat());
    let client = TestClient::connect(&io).await.unwrap();
    for number in 0..100 {
        client.emit("join", &format!("room {number}")).await;
        assert_eq!(io.to(format!("room {number}")).sockets().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_server_may_ask_for_acks() {
    let io = with(chat());
    let mut client = TestClient::connect(&io).await.unwrap();
    let socket = client.socket().unwrap();
    let asked = tokio::spawn(socket.emit_with_ack::<(String, Bytes)>("who are you?", &true));
    let event = client.next_event().await;
    assert_eq!((event.name(), event.needs_ack(), event.data::<bool>()), ("who are you?", true, true));
    event.ack(&("Ada", Bytes::from_static(b"x")));
    assert_eq!(asked.await.unwrap().unwrap(), ("Ada".to_owned(), Bytes::from_static(b"x")));
    // On a paused clock, an event that is not answered times out at once.
    assert!(socket.emit_with_ack::<u8>("n", &()).await.unwrap_err().is_timeout());
    let error = client.emit_with_ack::<u8>("nothing", &()).await.unwrap_err();
    assert!(error.is_timeout());
    assert!(error.to_string().starts_with("the ack of \"nothing\", emitted at tests/kit.rs:"), "{error}");
    io.emit("n", &()).unwrap();
    assert!(client.next_event().await.needs_ack());
    assert!(!client.next_event().await.needs_ack());
}

#[tokio::test]
async fn the_connection_is_as_the_test_wants_it() {
    #[derive(Clone)]
    struct Address(&'static str);
    async fn joined(
        socket: SocketRef,
        headers: HeaderMap,
        Query(query): Query<JsonValue>,
        Extension(Address(address)): Extension<Address>,
        Json(auth): Json<JsonValue>,
    ) {
        let cookie = headers["cookie"].to_str().unwrap();
        socket.emit("seen", &(socket.namespace().name(), cookie, &query["a"], address, &auth["token"])).unwrap();
    }
    let namespace = Namespace::new().on_connect(joined).with_state(());
    let io = serve(SocketIoConfig::new().path("/ws").namespace("/room/{id}", namespace));
    let client = TestClient::builder(&io).namespace("room/1").auth(value!({"token": "x"})).query("a=b");
    let client = client.header("cookie", "c=d").extension(Address("here"));
    let mut client = client.connect().await.unwrap();
    let seen: (String, String, String, String, String) = client.next("seen").await;
    assert_eq!(value!(seen), value!(["/room/1", "c=d", "b", "here", "x"]));
    assert_eq!(client.socket().unwrap().request().uri(), "/ws/?EIO=4&a=b");
    client.disconnect().await;
    assert!(io.of("/room/1").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_contains_its_reason() {
    async fn refuse(Json(auth): Json<JsonValue>) -> Result<(), (StatusCode, Json<JsonValue>)> {
        match &auth["token"] {
            JsonValue::Null => Err((StatusCode::FORBIDDEN, Json(value!({"message": "no", "data": {"code": 7}})))),
            JsonValue::Bool(_) => std::future::pending().await,
            _ => panic!("a bug"),
        }
    }
    let io = with(Namespace::new().on_connect(refuse).with_state(()));
    let error = TestClient::connect(&io).await.unwrap_err();
    assert!(error.is_refused());
    assert_eq!((error.message(), error.data::<JsonValue>()), ("no", Some(value!({"code": 7}))));
    assert_eq!(error.to_string(), r#"refused: no {"code":7}"#);
    let other = TestClient::builder(&io).namespace("/other").connect().await.unwrap_err();
    assert_eq!((other.message(), other.data::<u8>()), ("Invalid namespace", None));
    let bug = TestClient::builder(&io).auth(value!({"token": 1})).connect().await.unwrap_err();
    assert_eq!(bug.message(), "Internal Server Error");
    // The server closes a connection that does not join in time.
    let waiting = TestClient::builder(&io).auth(value!({"token": true}));
    assert!(waiting.clone().connect().await.unwrap_err().is_closed());
    assert!(waiting.timeout(Duration::from_secs(9)).connect().await.unwrap_err().is_timeout());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(io.stats().connections, 0);
}

#[tokio::test]
async fn both_sides_may_end_it() {
    let (sender, mut reasons) = mpsc::unbounded_channel();
    let namespace = chat_with(sender);
    let io = with(namespace);
    let mut kicked = TestClient::connect(&io).await.unwrap();
    kicked.emit("kick", &()).await;
    assert_eq!(kicked.expect_disconnect().await, Disconnected::ByServer);
    assert_eq!(reasons.recv().await, Some(DisconnectReason::ServerNamespaceDisconnect));
    assert!(kicked.socket().is_none());
    let mut closed = TestClient::connect(&io).await.unwrap();
    assert!(closed.emit_with_ack::<u8>("close", &()).await.unwrap_err().is_closed());
    assert_eq!(closed.expect_disconnect().await, Disconnected::ConnectionClosed);
    assert_eq!(reasons.recv().await.unwrap().as_str(), "forced close");
    // The handlers of the disconnection have run when these methods return.
    TestClient::connect(&io).await.unwrap().disconnect().await;
    assert_eq!(reasons.try_recv(), Ok(DisconnectReason::ClientNamespaceDisconnect));
    TestClient::connect(&io).await.unwrap().lose_connection().await;
    assert_eq!(reasons.try_recv(), Ok(DisconnectReason::TransportClose));
    drop(TestClient::connect(&io).await.unwrap());
    assert_eq!(reasons.recv().await, Some(DisconnectReason::TransportClose));
}

fn chat_with(reasons: mpsc::UnboundedSender<DisconnectReason>) -> Namespace {
    Namespace::new()
        .on("kick", async |socket: SocketRef| socket.disconnect())
        .on("close", async |socket: SocketRef| socket.conn().close())
        .on_disconnect(move |reason: DisconnectReason| {
            reasons.send(reason).unwrap();
            async {}
        })
        .with_state(())
}

#[tokio::test(start_paused = true)]
async fn time_may_pass() {
    let io = with(chat());
    let mut client = TestClient::connect(&io).await.unwrap();
    let mut silent = TestClient::builder(&io).answer_pings(false).connect().await.unwrap();
    client.expect_silence(Duration::from_secs(600)).await;
    assert_eq!(silent.expect_disconnect().await, Disconnected::ConnectionClosed);
    assert_eq!(io.stats().sockets, 1);
    client.emit("echo", &1).await;
    assert_eq!(client.next::<u8>("echo").await, 1);
}

#[tokio::test(start_paused = true)]
async fn unexpected_packets_are_reported() {
    let io = with(chat());
    let mut client = TestClient::connect(&io).await.unwrap();
    let socket = client.socket().unwrap();
    let here = |panic: String| assert!(panic.contains("tests/kit.rs:"), "{panic}");
    let nothing = panics(async { client.next("a").await }).await;
    assert!(nothing.starts_with(r#"expected "a", but nothing came in time"#), "{nothing}");
    here(nothing);
    socket.emit("b", &1).unwrap();
    let other = panics(async { client.next("a").await }).await;
    assert!(other.starts_with(r#"expected "a", got the event ["b",1], at "#), "{other}");
    here(other);
    socket.emit("a", &1).unwrap();
    let mistyped = panics(async { drop(client.next::<String>("a").await) }).await;
    assert!(mistyped.contains("expected a string") && mistyped.contains(r#"["a",1]"#), "{mistyped}");
    socket.emit("b", &1).unwrap();
    socket.emit("a", &2).unwrap();
    assert_eq!(client.wait_for::<u8>("a").await, 2);
    socket.emit("b", &1).unwrap();
    here(panics(client.expect_silence(Duration::from_secs(1))).await);
    socket.emit("b", &1).unwrap();
    here(
        panics(async {
            let _ = client.expect_disconnect().await;
        })
        .await,
    );
    here(
        panics(async {
            let _ = client.expect_disconnect().await;
        })
        .await,
    );
    socket.emit("b", &1).unwrap();
    let event = client.next_event().await;
    assert!(panics(async { event.ack(&()) }).await.contains("no ack"));
    client.emit("kick", &()).await;
    let gone = panics(async { client.next("a").await }).await;
    assert!(gone.starts_with(r#"expected "a", was disconnected (ByServer)"#), "{gone}");
    socket.conn().close();
    assert_eq!(client.expect_disconnect().await, Disconnected::ConnectionClosed);
    let late = panics(async { client.emit("echo", &()).await }).await;
    assert!(late.starts_with(r#""echo" is emitted on a connection that is closed, at "#), "{late}");
}

#[tokio::test(start_paused = true)]
async fn back_pressure_is_felt() {
    let (begun, all) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Semaphore::new(0)));
    let (count, permits) = (begun.clone(), all.clone());
    let work = move || {
        count.fetch_add(1, Ordering::SeqCst);
        let permits = permits.clone();
        async move { drop(permits.acquire().await) }
    };
    let config = SocketIoConfig::new().max_concurrent_events(2);
    let io = serve(config.namespace("/", Namespace::new().on("work", work).with_state(())));
    let client = TestClient::builder(&io).timeout(Duration::from_secs(1)).connect().await.unwrap();
    client.emit("work", &()).await;
    client.emit("work", &()).await;
    let stalled = panics(async { client.emit("work", &()).await }).await;
    assert!(stalled.contains(r#"did not begin to handle "work" in time"#), "{stalled}");
    assert_eq!(begun.load(Ordering::SeqCst), 2);
    all.add_permits(1);
    client.emit("unknown", &()).await;
    assert_eq!(begun.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_client_may_stop_reading() {
    let config = SocketIoConfig::new().max_buffered_bytes(1000).slow_client_policy(SlowClientPolicy::DropPacket);
    let io = serve(config.namespace("/", chat()));
    let mut client = TestClient::connect(&io).await.unwrap();
    let socket = client.socket().unwrap();
    client.stop_reading();
    socket.emit("n", &0).unwrap();
    client.emit("unknown", &()).await;
    assert!(!socket.is_writable());
    socket.volatile().emit("dropped", &()).unwrap();
    let error = (1..).find_map(|number| socket.emit("n", &number).err()).unwrap();
    assert!(error.is_slow_client() && socket.buffered_bytes() > 900);
    let drained = tokio::spawn(async move { socket.drained().await });
    client.expect_silence(Duration::from_secs(10)).await;
    assert!(!drained.is_finished());
    client.resume_reading();
    drained.await.unwrap();
    assert_eq!(client.next::<u8>("n").await, 0);
    assert_eq!(client.next::<u8>("n").await, 1);
}

#[tokio::test]
async fn a_client_may_be_recovered() {
    let io = serve(SocketIoConfig::new().recovery(RecoveryConfig::new()).namespace("/", chat()));
    let mut client = TestClient::connect(&io).await.unwrap();
    let id = client.id().to_owned();
    client.emit("join", "room").await;
    io.to("room").emit("n", &1).unwrap();
    io.to("room").emit("n", &2).unwrap();
    assert_eq!(client.next::<u8>("n").await, 1);
    assert!(!client.is_recovered());
    for _ in 0..2 {
        client = client.reconnect().await.unwrap();
        assert_eq!((client.is_recovered(), client.id()), (true, &*id));
    }
    assert_eq!(client.next::<u8>("n").await, 2);
    client.socket().unwrap().disconnect();
    client = client.reconnect().await.unwrap();
    assert!(!client.is_recovered() && client.id() != id);
    // Without recovery, it is a new client.
    let io = with(chat());
    let client = TestClient::connect(&io).await.unwrap();
    assert!(!client.reconnect().await.unwrap().is_recovered());
}

#[tokio::test]
async fn raw_packets_may_be_sent_and_read() {
    let io = with(chat());
    let mut client = TestClient::builder(&io).open();
    assert!(client.next_raw().await.unwrap().data().starts_with(b"{\"sid\""));
    client.send_raw(Packet::message("0"));
    assert!(client.next_raw().await.unwrap().data().starts_with(b"0{\"sid\""));
    client.send_raw(Packet::message(r#"51-0["echo",{"_placeholder":true,"num":0}]"#));
    client.send_raw(Packet::binary(&b"x"[..]));
    assert_eq!(client.next_raw().await.unwrap().data(), br#"51-["echo",{"_placeholder":true,"num":0}]"#);
    assert_eq!(client.next_raw().await, Some(Packet::binary(&b"x"[..])));
    assert!(client.next_raw().await.unwrap().data().starts_with(b"61-0["));
    assert_eq!(client.next_raw().await, Some(Packet::binary(&b"x"[..])));
    client.send_raw(Packet::message("garbage"));
    assert_eq!(client.next_raw().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_may_be_used_in_tasks_of_many_threads() {
    let io = with(chat());
    let tasks: Vec<_> = (0..20)
        .map(|number: u32| {
            let io = io.clone();
            tokio::spawn(async move {
                let mut client = TestClient::connect(&io).await?;
                for round in 0..50 {
                    client.emit("echo", &(number, round)).await;
                    assert_eq!(client.next::<(u32, u32)>("echo").await, (number, round));
                    let answer = tokio::spawn(client.emit_with_ack::<u32>("echo", &round));
                    assert_eq!(answer.await.unwrap()?, round);
                    assert_eq!(client.next::<u32>("echo").await, round);
                }
                client.disconnect().await;
                Ok::<_, TestError>(())
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(io.stats().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn an_error_answer_is_read_as_what_it_is() {
    #[derive(Debug, serde::Deserialize)]
    struct Lenient {
        #[serde(default)]
        count: u32,
    }
    let namespace = Namespace::new()
        .on("fail", async || Err::<(), _>(EventError::new("no").data(7)))
        .on("similar", async || Ack(value!({ "error": { "message": "no" }, "more": 1 })))
        .on("count", async || Ack(value!({ "count": 3 })));
    let client = TestClient::connect(&with(namespace)).await.unwrap();
    let error = client.emit_with_ack::<String>("fail", &()).await.unwrap_err();
    assert!(error.is_event_error() && !error.is_mismatch());
    assert_eq!((error.message(), error.data::<u8>()), ("no", Some(7)));
    assert_eq!(error.to_string(), "the server answered with an error: no 7");
    // `()` reads nothing.
    assert!(client.emit_with_ack::<()>("fail", &()).await.unwrap_err().is_event_error());
    assert!(client.emit_with_ack::<u32>("fail", &()).await.unwrap_err().is_event_error());
    let raw: Value = client.emit_with_ack("fail", &()).await.unwrap();
    assert_eq!(raw["error"]["message"], "no");
    assert!(client.emit_with_ack::<String>("similar", &()).await.unwrap_err().is_mismatch());
    assert_eq!(client.emit_with_ack::<Lenient>("count", &()).await.unwrap().count, 3);
}

#[cfg(feature = "typed")]
#[tokio::test(start_paused = true)]
async fn typed_events_are_emitted_and_received() {
    use tower_socketio::typed::{Fallible, Typed};

    #[derive(Debug, Default, serde::Serialize, serde::Deserialize, ts_rs::TS)]
    pub struct Lenient {
        #[serde(default)]
        count: u32,
    }
    tower_socketio::events! {
        pub emit ServerToClientEvents {
            "moved" => Moved { x: i32, y: i32 },
            "reset" => Reset,
        }
        pub on ClientToServerEvents {
            "move" => Move { x: i32, y: i32 },
            "count" => Count { limit: u32 } -> Fallible<Lenient>,
            "pair" => Pair -> (u8, bool),
        }
    }
    let namespace = Namespace::new()
        .on_event(async |socket: SocketRef, Typed(Move { x, y }): Typed<Move>| {
            socket.emit_event(&Reset).unwrap();
            socket.emit_event(&Moved { x, y }).unwrap();
        })
        .on_event(async |Typed(Count { limit }): Typed<Count>| match limit {
            0 => Err("no limit"),
            count => Ok(Ack(Lenient { count })),
        })
        .on_event(async |_: Typed<Pair>| Ack((1, true)));
    let io = with(namespace);
    let mut client = TestClient::connect(&io).await.unwrap();
    client.emit_event(Move { x: 1, y: 2 }).await;
    let Reset = client.next_typed::<Reset>().await;
    let Moved { x, y } = client.next_typed().await;
    assert_eq!((x, y), (1, 2));
    client.emit_event(Move { x: 3, y: 4 }).await;
    assert_eq!(client.wait_for_typed::<Moved>().await.y, 4);
    assert_eq!(client.emit_event_with_ack(Count { limit: 5 }).await.unwrap().count, 5);
    // Although the type accepts any object.
    let error = client.emit_event_with_ack(Count { limit: 0 }).await.unwrap_err();
    assert_eq!((error.is_event_error(), error.message()), (true, "no limit"));
    assert_eq!(client.emit_event_with_ack(Pair).await.unwrap(), (1, true));
    client.emit_event(Move { x: 0, y: 0 }).await;
    let wrong = panics(async {
        client.next_typed::<Moved>().await;
    });
    assert!(wrong.await.contains("expected \"moved\""));
}
