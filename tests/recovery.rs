//! Recovery: clients that lose their connection come back with the same sockets.

use std::{sync::Arc, time::Duration};

use axum::{Json, http::StatusCode};
use serde_json::{Value, json as value};
use tokio::sync::Semaphore;
use tower_socketio::{
    DisconnectReason, Namespace, RecoveryConfig, SlowClientPolicy, SocketIo, SocketIoConfig, SocketIoService,
    SocketRef, extract::Data, test::TestClient,
};

use crate::support::*;

fn namespace() -> Namespace {
    Namespace::new()
        .on("join", |socket: SocketRef, Data(room): Data<String>| async move { socket.join(room) })
        .on("data", |socket: SocketRef, Data(data): Data<Value>| async move { socket.set_data(&data).unwrap() })
        .with_state(())
}

fn served(recovery: RecoveryConfig, namespace: Namespace) -> SocketIo {
    let config =
        SocketIoConfig::new().recovery(recovery).namespace("/", namespace).namespace("/room/{id}", self::namespace());
    SocketIoService::new(config.allow_eio3(true)).io()
}

fn server() -> SocketIo {
    served(RecoveryConfig::new(), namespace())
}

/// The public and the private id, which the answer to CONNECT contains.
#[derive(Debug, Clone, PartialEq)]
struct Ids {
    sid: String,
    pid: String,
}

impl Ids {
    fn read(connect: &str) -> Self {
        let answer = json(connect);
        let id = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("no {name} in {connect}")).to_owned();
        Self { sid: id("sid"), pid: id("pid") }
    }
}

/// Opens a connection and sends a CONNECT. The answer is not read.
async fn say_connect(io: &SocketIo, connect: &str) -> Memory {
    let mut client = Memory::open(io);
    assert!(client.text().await.starts_with("0{"));
    client.say(connect);
    client
}

async fn connect(io: &SocketIo) -> (Memory, Ids) {
    let mut client = say_connect(io, "40").await;
    let ids = Ids::read(&client.text().await);
    (client, ids)
}

/// Comes back. Returns the missed events and the ids.
async fn come_back(io: &SocketIo, ids: &Ids, offset: Option<&str>) -> (Memory, Vec<String>, Ids) {
    let auth = match offset {
        Some(offset) => value!({"pid": ids.pid, "offset": offset}),
        None => value!({"pid": ids.pid}),
    };
    let mut client = say_connect(io, &format!("40{auth}")).await;
    let again = Ids::read(&client.text().await);
    let missed = received(io, &again, &mut client).await;
    (client, missed, again)
}

/// Returns the packets that were sent and that the client has not read, up to an event without an offset.
async fn received(io: &SocketIo, ids: &Ids, client: &mut Memory) -> Vec<String> {
    drop(io.socket(&ids.sid).unwrap().emit_with_ack::<()>("no more", &()));
    let mut texts = Vec::new();
    loop {
        let text = client.text().await;
        if text.ends_with(r#"["no more"]"#) {
            return texts;
        }
        texts.push(text);
    }
}

async fn is_away(io: &SocketIo) {
    until(|| io.stats().sockets == 0).await;
}

#[tokio::test]
async fn a_client_recovers_its_id_rooms_data_and_missed_events() {
    let io = server();
    let (mut client, ids) = connect(&io).await;
    client.say(r#"42["join","a"]"#);
    client.say(r#"42["data",{"name":"ada"}]"#);
    until(|| io.to("a").sockets().len() == 1).await;
    io.emit("n", &1).unwrap();
    let seen = client.text().await;
    assert!(seen.starts_with(r#"42["n",1,""#));
    drop(client);
    is_away(&io).await;
    io.to("a").emit("n", &2).unwrap();
    io.to(&*ids.sid).emit("n", &3).unwrap();
    io.to("b").emit("not for it", &()).unwrap();
    io.to("b").to("a").except(&*ids.sid).emit("not for it", &()).unwrap();
    io.volatile().emit("not kept", &()).unwrap();
    io.emit("n", &bytes::Bytes::from_static(&[4])).unwrap();
    let auth = value!({"pid": ids.pid, "offset": offset(&seen)});
    let mut client = say_connect(&io, &format!("40{auth}")).await;
    assert_eq!(Ids::read(&client.text().await), ids);
    assert!(client.text().await.starts_with(r#"42["n",2,""#));
    assert!(client.text().await.starts_with(r#"42["n",3,""#));
    assert!(client.text().await.starts_with(r#"451-["n",{"_placeholder":true,"num":0},""#));
    assert_eq!(client.packet().await.unwrap().data(), [4]);
    let socket = io.socket(&ids.sid).unwrap();
    assert!(socket.is_recovered());
    assert!(socket.rooms().iter().any(|room| *room == "a"));
    assert_eq!(socket.data::<Value>().unwrap(), Some(value!({"name": "ada"})));
    assert_eq!(io.fetch_sockets().await.unwrap()[0].data::<Value>().unwrap(), Some(value!({"name": "ada"})));
    io.to("a").emit("n", &5).unwrap();
    assert!(client.text().await.starts_with(r#"42["n",5,""#));
}

#[tokio::test]
async fn connect_precedes_missed_events_and_those_of_on_connect() {
    async fn joined(socket: SocketRef, io: SocketIo) {
        socket.emit("n", &"to it").unwrap();
        io.emit("n", &"to all").unwrap();
    }
    let io = served(RecoveryConfig::new(), Namespace::new().on_connect(joined).with_state(()));
    let (mut client, ids) = connect(&io).await;
    assert_eq!(received(&io, &ids, &mut client).await.len(), 2);
    io.emit("n", &1).unwrap();
    let seen = offset(&client.text().await);
    drop(client);
    is_away(&io).await;
    (2..4).for_each(|n| io.emit("n", &n).unwrap());
    let mut client = say_connect(&io, &format!("40{}", value!({"pid": ids.pid, "offset": seen}))).await;
    let mut received = Vec::new();
    for _ in 0..5 {
        received.push(client.text().await);
    }
    assert_eq!(Ids::read(&received[0]), ids);
    let said: Vec<Value> = received[1..].iter().map(|text| json(text)[1].clone()).collect();
    assert_eq!(said, [value!(2), value!(3), value!("to it"), value!("to all")]);
}

#[tokio::test]
async fn a_client_that_has_received_no_event_is_recovered() {
    let io = server();
    io.emit("before", &()).unwrap();
    let (client, ids) = connect(&io).await;
    drop(client);
    is_away(&io).await;
    io.emit("n", &1).unwrap();
    let (client, missed, again) = come_back(&io, &ids, None).await;
    assert_eq!((missed.len(), &again), (1, &ids));
    drop(client);
    is_away(&io).await;
    // Recovery also succeeds if no event was missed.
    let (_client, missed, again) = come_back(&io, &ids, Some(&offset(&missed[0]))).await;
    assert_eq!((missed.len(), again), (0, ids));
}

#[tokio::test]
async fn a_session_is_claimed_once() {
    let io = server();
    let (client, ids) = connect(&io).await;
    drop(client);
    is_away(&io).await;
    let (_first, _, again) = come_back(&io, &ids, None).await;
    assert_eq!(again, ids);
    io.socket(&ids.sid).unwrap().disconnect();
    let (_second, _, other) = come_back(&io, &ids, None).await;
    assert_ne!(other.sid, ids.sid);
    assert_ne!(other.pid, ids.pid);
}

#[tokio::test]
async fn a_half_open_predecessor_is_closed() {
    let (sender, mut reasons) = tokio::sync::mpsc::unbounded_channel();
    let namespace = Namespace::new().on_disconnect(move |reason: DisconnectReason| {
        sender.send(reason).unwrap();
        async {}
    });
    let io = served(RecoveryConfig::new(), namespace.with_state(()));
    let (mut old, ids) = connect(&io).await;
    io.emit("n", &1).unwrap();
    let (_new, missed, again) = come_back(&io, &ids, None).await;
    assert_eq!((missed.len(), again), (1, ids));
    assert_eq!(soon(reasons.recv()).await, Some(DisconnectReason::TransportClose));
    assert!(old.text().await.starts_with(r#"42["n",1,""#));
    assert_eq!(old.packet().await, None);
    until(|| io.stats().connections == 1).await;
    assert_eq!(io.stats().sockets, 1);
}

#[tokio::test]
async fn intentionally_disconnected_and_unknown_clients_are_not_recovered() {
    let io = server();
    let (client, ids) = connect(&io).await;
    client.say("41");
    is_away(&io).await;
    assert_ne!(come_back(&io, &ids, None).await.2.sid, ids.sid);
    let (client, ids) = connect(&io).await;
    io.socket(&ids.sid).unwrap().disconnect();
    drop(client);
    for offset in [None, Some("zz"), Some("ffff"), Some("some text.1")] {
        assert_ne!(come_back(&io, &ids, offset).await.2.sid, ids.sid);
    }
    let unknown = Ids { sid: String::new(), pid: "unknown".into() };
    let (client, _, _) = come_back(&io, &unknown, Some("0")).await;
    drop(client);
    // A payload with the wrong types claims no session.
    let mut client = say_connect(&io, r#"40{"pid":1,"offset":{}}"#).await;
    Ids::read(&client.text().await);
}

#[tokio::test(start_paused = true)]
async fn events_and_sessions_are_kept_for_a_while() {
    let io = served(RecoveryConfig::new().max_disconnection(Duration::from_secs(60)), namespace());
    let (client, ids) = connect(&io).await;
    io.emit("n", &1).unwrap();
    drop(client);
    is_away(&io).await;
    tokio::time::sleep(Duration::from_secs(59)).await;
    let (client, missed, again) = come_back(&io, &ids, None).await;
    assert_eq!((missed.len(), &again), (1, &ids));
    // While the client is connected its offset may expire: a client that has received all events is recovered.
    for _ in 0..24 {
        tokio::time::sleep(Duration::from_secs(25)).await;
        client.say("3");
    }
    drop(client);
    is_away(&io).await;
    io.emit("n", &2).unwrap();
    let (client, missed, again) = come_back(&io, &ids, Some(&offset(&missed[0]))).await;
    assert_eq!((missed.len(), &again), (1, &ids));
    drop(client);
    is_away(&io).await;
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_ne!(come_back(&io, &ids, Some(&offset(&missed[0]))).await.2.sid, ids.sid);
}

#[tokio::test]
async fn stored_events_and_sessions_are_limited() {
    for recovery in [RecoveryConfig::new().max_packets(2), RecoveryConfig::new().max_bytes(300)] {
        let io = served(recovery, namespace());
        let (mut client, ids) = connect(&io).await;
        io.emit("n", &"x".repeat(50)).unwrap();
        let first = offset(&client.text().await);
        drop(client);
        is_away(&io).await;
        io.emit("n", &"x".repeat(50)).unwrap();
        io.emit("n", &"x".repeat(50)).unwrap();
        let (client, missed, again) = come_back(&io, &ids, Some(&first)).await;
        assert_eq!((missed.len(), &again), (2, &ids));
        drop(client);
        is_away(&io).await;
        (0..3).for_each(|_| io.emit("n", &"x".repeat(50)).unwrap());
        assert_ne!(come_back(&io, &ids, Some(&offset(&missed[1]))).await.2.sid, ids.sid);
    }
    let io = served(RecoveryConfig::new().max_sessions(1), namespace());
    let (first, first_ids) = connect(&io).await;
    let (second, second_ids) = connect(&io).await;
    drop(first);
    until(|| io.stats().sockets == 1).await;
    drop(second);
    is_away(&io).await;
    let (_second, _, again) = come_back(&io, &second_ids, None).await;
    assert_eq!(again, second_ids);
    assert_ne!(come_back(&io, &first_ids, None).await.2.sid, first_ids.sid);
}

#[tokio::test]
async fn layers_may_be_skipped_and_their_extensions_are_kept() {
    #[derive(Clone)]
    struct User(String);
    async fn admit(socket: SocketRef, Json(auth): Json<Value>) -> Result<(), StatusCode> {
        // Stands for a layer that checks a token.
        let name = auth["name"].as_str().ok_or(StatusCode::UNAUTHORIZED)?;
        socket.extensions().insert(User(name.to_owned()));
        Ok(())
    }
    async fn token(
        request: axum::extract::Request,
        next: axum::middleware::Next,
    ) -> Result<axum::response::Response, StatusCode> {
        let (mut parts, body) = request.into_parts();
        let auth: Value = serde_json::from_slice(&axum::body::to_bytes(body, 1000).await.unwrap()).unwrap();
        let name = auth["name"].as_str().ok_or(StatusCode::UNAUTHORIZED)?;
        parts.extensions.insert(User(name.to_owned()));
        Ok(next.run(axum::extract::Request::from_parts(parts, axum::body::Body::empty())).await)
    }
    async fn joined(axum::Extension(User(name)): axum::Extension<User>, socket: SocketRef) {
        socket.emit("hello", &name).unwrap();
    }
    for skip in [true, false] {
        let namespace = Namespace::new().on_connect(joined).layer(axum::middleware::from_fn(token)).with_state(());
        let io = served(RecoveryConfig::new().skip_layers(skip), namespace);
        let mut client = say_connect(&io, r#"40{"name":"ada"}"#).await;
        let ids = Ids::read(&client.text().await);
        let hello = client.text().await;
        drop(client);
        is_away(&io).await;
        // The client sends no token this time.
        let auth = value!({"pid": ids.pid, "offset": offset(&hello)});
        let mut client = say_connect(&io, &format!("40{auth}")).await;
        if skip {
            assert_eq!(Ids::read(&client.text().await), ids);
            assert!(client.text().await.starts_with(r#"42["hello","ada",""#));
        } else {
            client.expect(r#"44{"message":"Unauthorized"}"#).await;
            // The refusal does not consume the session.
            client.say(&format!("40{}", value!({"pid": ids.pid, "offset": offset(&hello), "name": "bob"})));
            assert_eq!(Ids::read(&client.text().await), ids);
            assert!(client.text().await.starts_with(r#"42["hello","bob",""#));
        }
    }
    let io = served(RecoveryConfig::new(), Namespace::new().on_connect(admit).with_state(()));
    let mut client = say_connect(&io, r#"40{"name":"ada"}"#).await;
    let ids = Ids::read(&client.text().await);
    drop(client);
    is_away(&io).await;
    let mut client = say_connect(&io, &format!("40{}", value!({"pid": ids.pid, "name": "eve"}))).await;
    assert_eq!(Ids::read(&client.text().await), ids);
    assert_eq!(io.socket(&ids.sid).unwrap().extensions().get::<User>().unwrap().0, "eve");
}

/// The task that evicts sessions ends with its runtime, and a new one is started.
#[test]
fn eviction_continues_on_a_second_runtime() {
    let io = served(RecoveryConfig::new().max_disconnection(Duration::from_millis(10)), namespace());
    for is_last in [false, true] {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut client = say_connect(&io, "40/room/1,").await;
            client.text().await;
            io.of("/room/1").unwrap().emit("n", &1).unwrap();
            drop(client);
            is_away(&io).await;
            if is_last {
                until(|| io.of("/room/1").is_none()).await;
            }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_of_a_pattern_is_kept_while_clients_may_be_recovered() {
    let io = served(RecoveryConfig::new().max_disconnection(Duration::from_secs(60)), namespace());
    let mut client = say_connect(&io, "40/room/1,").await;
    let ids = Ids::read(&client.text().await);
    drop(client);
    is_away(&io).await;
    io.of("/room/1").unwrap().emit("n", &1).unwrap();
    let mut client = say_connect(&io, &format!("40/room/1,{}", value!({"pid": ids.pid}))).await;
    assert_eq!(Ids::read(&client.text().await), ids);
    assert!(client.text().await.starts_with(r#"42/room/1,["n",1,""#));
    drop(client);
    is_away(&io).await;
    tokio::time::sleep(Duration::from_secs(130)).await;
    assert!(io.of("/room/1").is_none());
}

#[tokio::test]
async fn clients_of_revision_3_are_left_alone() {
    let io = server();
    let mut old = Memory::open_with(TestClient::builder(&io).query("EIO=3"));
    assert!(old.text().await.starts_with("0{"));
    old.expect("40").await;
    let (mut new, _) = connect(&io).await;
    io.emit("n", &1).unwrap();
    old.expect(r#"42["n",1]"#).await;
    assert!(new.text().await.starts_with(r#"42["n",1,""#));
}

/// Returns the numbers of events.
fn numbers(texts: &[String]) -> Vec<u64> {
    texts.iter().map(|text| json(text)[1].as_u64().unwrap_or_else(|| panic!("no number in {text}"))).collect()
}

/// Connects a client that receives one event. The last value is the offset of that event.
async fn connect_and_see(io: &SocketIo) -> (Memory, Ids, String) {
    let (mut client, ids) = connect(io).await;
    io.to(&*ids.sid).emit("n", &0).unwrap();
    let seen = offset(&client.text().await);
    (client, ids, seen)
}

/// Drops the connection and comes back with an offset. Returns the numbers of the missed events.
async fn lose(io: &SocketIo, client: Memory, ids: &Ids, offset: &str) -> (Memory, Vec<u64>) {
    drop(client);
    is_away(io).await;
    let (client, missed, again) = come_back(io, ids, Some(offset)).await;
    assert_eq!(again, *ids);
    (client, numbers(&missed))
}

#[tokio::test]
async fn a_client_gets_the_events_of_a_room_while_it_was_a_member() {
    let io = server();
    let (client, ids, seen) = connect_and_see(&io).await;
    let say = |n: u32| io.to("a").emit("n", &n).unwrap();
    let socket = io.socket(&ids.sid).unwrap();
    say(1);
    socket.join("a");
    say(2);
    socket.leave("a");
    say(3);
    io.to(&*ids.sid).sockets_join("a");
    say(4);
    io.to(&*ids.sid).sockets_leave(["b", "a"]);
    say(5);
    socket.join(["a", "b"]);
    socket.leave("b");
    say(6);
    io.to(["b", "a"]).emit("n", &7).unwrap();
    drop(client);
    is_away(&io).await;
    say(8);
    let (client, missed, _) = come_back(&io, &ids, Some(&seen)).await;
    assert_eq!(numbers(&missed), [2, 4, 6, 7, 8]);
    // The client may lose some of these events again. They are sent again.
    say(9);
    io.socket(&ids.sid).unwrap().leave("a");
    say(10);
    let (client, again) = lose(&io, client, &ids, &offset(&missed[1])).await;
    assert_eq!(again, [6, 7, 8, 9]);
    let (_client, again) = lose(&io, client, &ids, &seen).await;
    assert_eq!(again, [2, 4, 6, 7, 8, 9]);
}

#[tokio::test]
async fn except_excludes_the_members_at_the_time_of_the_event() {
    let io = server();
    let (client, ids, seen) = connect_and_see(&io).await;
    let socket = io.socket(&ids.sid).unwrap();
    let say = |n: u32| io.except("x").emit("n", &n).unwrap();
    say(1);
    socket.join("x");
    say(2);
    socket.leave("x");
    say(3);
    socket.join("x");
    drop(client);
    is_away(&io).await;
    say(4);
    let (client, missed, _) = come_back(&io, &ids, Some(&seen)).await;
    assert_eq!(numbers(&missed), [1, 3]);
    io.socket(&ids.sid).unwrap().leave("x");
    say(5);
    let (_client, missed) = lose(&io, client, &ids, &seen).await;
    assert_eq!(missed, [1, 3, 5]);
}

#[tokio::test]
async fn a_recovered_socket_does_not_get_its_own_broadcasts() {
    let io = server();
    let (client, ids, seen) = connect_and_see(&io).await;
    let old = io.socket(&ids.sid).unwrap();
    old.join("a");
    let say = |socket: &SocketRef, n: u32| {
        socket.broadcast().emit("n", &n).unwrap();
        socket.to("a").emit("n", &(n + 1)).unwrap();
        io.except(socket.id()).emit("n", &(n + 2)).unwrap();
        socket.within("a").emit("n", &(n + 3)).unwrap();
    };
    say(&old, 10);
    drop(client);
    is_away(&io).await;
    say(&old, 20);
    let (client, missed, _) = come_back(&io, &ids, Some(&seen)).await;
    assert_eq!(numbers(&missed), [13, 23]);
    // The old handle still emits to and excludes the same client.
    say(&old, 30);
    let (mut client, missed) = lose(&io, client, &ids, &offset(&missed[1])).await;
    assert_eq!(missed, [33]);
    say(&old, 40);
    let sent = received(&io, &ids, &mut client).await;
    assert_eq!(numbers(&sent), [43]);
}

#[tokio::test]
async fn rooms_may_change_until_the_socket_has_left() {
    async fn leaving(socket: SocketRef) {
        socket.leave("a");
        socket.join("b");
    }
    let io = served(RecoveryConfig::new(), Namespace::new().on_disconnecting(leaving).with_state(()));
    let (client, ids, seen) = connect_and_see(&io).await;
    io.socket(&ids.sid).unwrap().join("a");
    io.to("a").emit("n", &1).unwrap();
    io.to("b").emit("n", &2).unwrap();
    drop(client);
    is_away(&io).await;
    io.to("a").emit("n", &3).unwrap();
    io.to("b").emit("n", &4).unwrap();
    let (_client, missed, _) = come_back(&io, &ids, Some(&seen)).await;
    assert_eq!(numbers(&missed), [1, 4]);
    let socket = io.socket(&ids.sid).unwrap();
    assert_eq!((socket.is_in("a"), socket.is_in("b")), (false, true));
}

#[tokio::test]
async fn a_layer_may_take_a_recovered_socket_out_of_a_room() {
    async fn evict(
        socket: SocketRef,
        request: axum::extract::Request,
        next: axum::middleware::Next,
    ) -> axum::response::Response {
        socket.join("lobby");
        socket.leave("a");
        next.run(request).await
    }
    let io = served(RecoveryConfig::new(), Namespace::new().layer(axum::middleware::from_fn(evict)));
    let (client, ids, seen) = connect_and_see(&io).await;
    io.socket(&ids.sid).unwrap().join("a");
    drop(client);
    is_away(&io).await;
    io.to("a").emit("n", &1).unwrap();
    let (mut client, missed, _) = come_back(&io, &ids, Some(&seen)).await;
    assert_eq!(numbers(&missed), [1]);
    io.to("a").emit("n", &2).unwrap();
    io.to("lobby").emit("n", &3).unwrap();
    assert_eq!(numbers(&received(&io, &ids, &mut client).await), [3]);
    let (_client, missed) = lose(&io, client, &ids, &seen).await;
    assert_eq!(missed, [1, 3]);
}

#[tokio::test]
async fn a_return_that_is_refused_is_undone() {
    async fn joined(socket: SocketRef, Json(auth): Json<Value>) -> Result<(), StatusCode> {
        if auth["pid"].is_null() {
            return Ok(());
        }
        socket.join("b");
        socket.leave("a");
        socket.emit("n", &100).unwrap();
        for room in ["a", "b", socket.id()] {
            socket.within(room).emit("n", &room.len()).unwrap();
        }
        if auth["name"] == "eve" { Err(StatusCode::FORBIDDEN) } else { Ok(()) }
    }
    let io = served(RecoveryConfig::new(), Namespace::new().on_connect(joined).with_state(()));
    let (client, ids, seen) = connect_and_see(&io).await;
    io.socket(&ids.sid).unwrap().join("a");
    drop(client);
    is_away(&io).await;
    io.to("a").emit("n", &7).unwrap();
    for _ in 0..2 {
        let claim = value!({"pid": ids.pid, "offset": seen, "name": "eve"});
        let mut client = say_connect(&io, &format!("40{claim}")).await;
        client.expect(r#"44{"message":"Forbidden"}"#).await;
        io.to("b").emit("n", &8).unwrap();
    }
    let (_client, missed, again) = come_back(&io, &ids, Some(&seen)).await;
    assert_eq!(again, ids);
    // From each refused attempt, the events to `a` and to its own room. From the last attempt, also the event to itself and
    // that to `b`.
    let own = ids.sid.len() as u64;
    assert_eq!(numbers(&missed), [7, 1, own, 1, own, 100, 1, own]);
}

#[tokio::test]
async fn a_client_whose_events_are_evicted_during_admission_is_not_recovered() {
    let gate = Arc::new(Semaphore::new(1));
    let wait = gate.clone();
    let (ask, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let layer = axum::middleware::from_fn(move |request: axum::extract::Request, next: axum::middleware::Next| {
        let wait = wait.clone();
        ask.send(()).unwrap();
        async move {
            wait.acquire().await.unwrap().forget();
            next.run(request).await
        }
    });
    let (sender, mut joined) = tokio::sync::mpsc::unbounded_channel();
    let namespace = Namespace::new().on_connect(move |socket: SocketRef| {
        sender.send(socket.is_recovered()).unwrap();
        async {}
    });
    let io = served(RecoveryConfig::new().max_packets(2), namespace.layer(layer).with_state(()));
    let (client, ids, seen) = connect_and_see(&io).await;
    assert_eq!(soon(joined.recv()).await, Some(false));
    soon(asked.recv()).await;
    drop(client);
    is_away(&io).await;
    io.emit("n", &1).unwrap();
    let claim = format!("40{}", value!({"pid": ids.pid, "offset": seen}));
    let mut client = say_connect(&io, &claim).await;
    // The client has claimed its session, in which no event is missing yet.
    soon(asked.recv()).await;
    (2..5).for_each(|n| io.emit("n", &n).unwrap());
    gate.add_permits(2);
    assert_eq!(client.packet().await, None);
    let mut client = say_connect(&io, &claim).await;
    assert_ne!(Ids::read(&client.text().await), ids);
    assert_eq!(soon(joined.recv()).await, Some(false));
}

#[tokio::test]
async fn an_emit_to_a_socket_that_may_be_recovered_is_stored() {
    let io = server();
    let (client, ids, seen) = connect_and_see(&io).await;
    let socket = io.socket(&ids.sid).unwrap();
    drop(client);
    is_away(&io).await;
    assert!(!socket.is_connected());
    socket.emit("n", &1).unwrap();
    io.to(socket.id()).emit("n", &2).unwrap();
    socket.emit("n", &3).unwrap();
    // As usual, volatile events are not stored, and no ack can arrive.
    socket.volatile().emit("n", &4).unwrap();
    assert!(socket.emit_with_ack::<()>("n", &5).await.unwrap_err().is_disconnected());
    let (client, missed, _) = come_back(&io, &ids, Some(&seen)).await;
    assert_eq!(numbers(&missed), [1, 2, 3]);
    // The socket of this handle has ended, but its events still reach the client, once.
    assert!(!socket.is_connected());
    socket.emit("n", &6).unwrap();
    let (mut client, missed) = lose(&io, client, &ids, &offset(&missed[2])).await;
    assert_eq!(missed, [6]);
    socket.emit("n", &7).unwrap();
    assert_eq!(numbers(&received(&io, &ids, &mut client).await), [7]);
    // This holds until the client is disconnected on purpose.
    io.socket(&ids.sid).unwrap().disconnect();
    assert!(socket.emit("n", &8).unwrap_err().is_disconnected());
    assert!(socket.volatile().emit("n", &9).unwrap_err().is_disconnected());
}

#[tokio::test]
async fn an_emit_to_a_socket_that_cannot_be_recovered_fails() {
    for (recovery, on_purpose) in [(false, false), (true, true)] {
        let config = SocketIoConfig::new().namespace("/", namespace());
        let config = if recovery { config.recovery(RecoveryConfig::new()) } else { config };
        let io = SocketIoService::new(config).io();
        let client = Memory::join(&io).await;
        let socket = io.sockets().remove(0);
        if on_purpose {
            socket.disconnect();
        }
        drop(client);
        is_away(&io).await;
        assert!(socket.emit("n", &1).unwrap_err().is_disconnected());
        assert!(socket.volatile().emit("n", &1).unwrap_err().is_disconnected());
    }
}

#[tokio::test(start_paused = true)]
async fn an_emit_to_an_evicted_session_fails() {
    let recovery = RecoveryConfig::new().max_disconnection(Duration::from_secs(60)).max_sessions(1);
    let io = served(recovery, namespace());
    let (client, ids) = connect(&io).await;
    let socket = io.socket(&ids.sid).unwrap();
    drop(client);
    is_away(&io).await;
    tokio::time::sleep(Duration::from_secs(59)).await;
    socket.emit("n", &1).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(socket.emit("n", &2).unwrap_err().is_disconnected());
    // The same if the session is evicted by others.
    let (client, ids) = connect(&io).await;
    let socket = io.socket(&ids.sid).unwrap();
    drop(client);
    is_away(&io).await;
    let (other, _) = connect(&io).await;
    drop(other);
    is_away(&io).await;
    assert!(socket.emit("n", &3).unwrap_err().is_disconnected());
    // A socket that was never accepted cannot be recovered.
    let (sender, mut lost) = tokio::sync::mpsc::unbounded_channel();
    let refuses = Namespace::new().on_connect(move |socket: SocketRef| {
        sender.send(socket).unwrap();
        std::future::pending::<()>()
    });
    let io = served(RecoveryConfig::new(), refuses.with_state(()));
    let client = say_connect(&io, "40").await;
    let socket = soon(lost.recv()).await.unwrap();
    drop(client);
    until(|| io.stats().connections == 0).await;
    assert!(socket.emit("n", &4).unwrap_err().is_disconnected());
}

#[tokio::test]
async fn an_event_that_does_not_fit_is_stored_if_the_client_may_be_recovered() {
    for policy in [SlowClientPolicy::Disconnect, SlowClientPolicy::DropPacket] {
        let config = SocketIoConfig::new().max_buffered_bytes(10_000).slow_client_policy(policy);
        let io = SocketIoService::new(config.recovery(RecoveryConfig::new()).namespace("/", namespace())).io();
        let (client, ids, seen) = connect_and_see(&io).await;
        let socket = io.socket(&ids.sid).unwrap();
        let big = "x".repeat(9_800);
        // Nothing is written before the test awaits.
        socket.emit("n", &(1, &big)).unwrap();
        let second = socket.emit("n", &(2, &big));
        let third = socket.emit("n", &3);
        drop(client);
        is_away(&io).await;
        let (_client, missed, again) = come_back(&io, &ids, Some(&seen)).await;
        assert_eq!(again, ids);
        if policy == SlowClientPolicy::Disconnect {
            assert!(second.is_ok() && third.is_ok());
            assert_eq!(numbers(&missed), [1, 2, 3]);
        } else {
            assert!(second.unwrap_err().is_slow_client() && third.is_ok());
            assert_eq!(numbers(&missed), [1, 3]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_without_events_for_long_may_miss_the_next_ones() {
    let io = served(RecoveryConfig::new().max_disconnection(Duration::from_secs(60)), namespace());
    let (client, ids, seen) = connect_and_see(&io).await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(20)).await;
        client.say("3");
        io.to("others").emit("n", &1).unwrap();
    }
    // The client does not read these events.
    io.emit("n", &2).unwrap();
    io.emit("n", &3).unwrap();
    let (client, missed) = lose(&io, client, &ids, &seen).await;
    assert_eq!(missed, [2, 3]);
    let (_client, missed) = lose(&io, client, &ids, &seen).await;
    assert_eq!(missed, [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn an_offset_of_an_older_session_means_that_no_event_was_received() {
    let io = served(RecoveryConfig::new().max_disconnection(Duration::from_secs(60)), namespace());
    let (other, _, before) = connect_and_see(&io).await;
    drop(other);
    is_away(&io).await;
    io.emit("n", &1).unwrap();
    let (client, ids) = connect(&io).await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(20)).await;
        client.say("3");
        io.to("others").emit("n", &2).unwrap();
    }
    // This offset belongs to the previous session.
    let (_client, missed) = lose(&io, client, &ids, &before).await;
    assert!(missed.is_empty());
}

#[tokio::test]
async fn an_offset_that_was_not_sent_to_the_client_is_none_of_its() {
    let io = server();
    let (client, ids, _) = connect_and_see(&io).await;
    let (mut other, ..) = connect_and_see(&io).await;
    io.to("nobody").emit("n", &1).unwrap();
    drop(client);
    until(|| io.stats().sockets == 1).await;
    io.emit("n", &2).unwrap();
    let foreign = offset(&other.text().await);
    assert_ne!(come_back(&io, &ids, Some(&foreign)).await.2, ids);
}

#[tokio::test]
async fn a_client_that_changes_rooms_often_is_recovered_from_the_oldest_stored_change() {
    let io = server();
    let (mut client, ids, seen) = connect_and_see(&io).await;
    let socket = io.socket(&ids.sid).unwrap();
    for n in 0..5000u32 {
        socket.join(format!("room {n}"));
        io.to(format!("room {n}")).emit("n", &n).unwrap();
        socket.leave(format!("room {n}"));
    }
    let sent = received(&io, &ids, &mut client).await;
    assert_eq!(sent.len(), 5000);
    let (client, missed) = lose(&io, client, &ids, &offset(&sent[4990])).await;
    assert_eq!(missed, (4991..5000).collect::<Vec<_>>());
    drop(client);
    is_away(&io).await;
    assert_ne!(come_back(&io, &ids, Some(&seen)).await.2, ids);
}

#[tokio::test]
async fn a_session_whose_claim_fails_is_dropped_without_the_lock() {
    #[derive(Clone)]
    struct Farewell(#[expect(dead_code, reason = "it is dropped")] Arc<Emits>);
    struct Emits(SocketIo);
    impl Drop for Emits {
        fn drop(&mut self) {
            self.0.emit("left", &()).unwrap();
        }
    }
    async fn joined(socket: SocketRef, io: SocketIo) {
        socket.extensions().insert(Farewell(Arc::new(Emits(io))));
    }
    let io = served(RecoveryConfig::new(), Namespace::new().on_connect(joined).with_state(()));
    let (client, ids) = connect(&io).await;
    drop(client);
    is_away(&io).await;
    assert_ne!(come_back(&io, &ids, Some("no offset")).await.2, ids);
}

#[tokio::test]
async fn events_emitted_while_a_socket_closes_are_not_lost() {
    async fn farewell(socket: SocketRef) {
        socket.io().emit("bye", &()).unwrap();
    }
    let io = served(RecoveryConfig::new(), Namespace::new().on_disconnecting(farewell).with_state(()));
    let (mut client, ids) = connect(&io).await;
    io.emit("n", &1).unwrap();
    let seen = offset(&client.text().await);
    drop(client);
    is_away(&io).await;
    io.emit("n", &2).unwrap();
    let (_client, missed, again) = come_back(&io, &ids, Some(&seen)).await;
    assert_eq!((missed.len(), again), (2, ids));
}

#[tokio::test]
async fn a_recovered_slow_client_gets_the_events_that_did_not_fit() {
    let config = SocketIoConfig::new().max_buffered_bytes(10_000).recovery(RecoveryConfig::new());
    let io = SocketIoService::new(config).io();
    let (mut client, ids) = connect(&io).await;
    io.emit("n", &1).unwrap();
    let seen = offset(&client.text().await);
    // Nothing is written before the test awaits.
    io.emit("big", &"x".repeat(9_800)).unwrap();
    io.emit("n", &"y".repeat(500)).unwrap();
    io.emit("n", &3).unwrap();
    is_away(&io).await;
    let (_client, missed, again) = come_back(&io, &ids, Some(&seen)).await;
    assert_eq!((missed.len(), again), (3, ids));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_may_come_back_while_its_socket_is_leaving() {
    let (leaving, left) = std::sync::mpsc::channel();
    let slow = move || {
        leaving.send(()).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        async {}
    };
    let io = served(RecoveryConfig::new(), Namespace::new().on_disconnecting(slow).with_state(()));
    let (client, ids) = connect(&io).await;
    drop(client);
    tokio::task::spawn_blocking(move || left.recv().unwrap()).await.unwrap();
    let (_client, _, again) = come_back(&io, &ids, None).await;
    assert_eq!(again, ids);
    io.emit("n", &1).unwrap();
    assert_eq!(io.to(&*ids.sid).sockets().len(), 1);
}

#[tokio::test]
async fn an_offset_of_another_server_means_that_no_event_was_received() {
    let (io, other) = (server(), server());
    let (mut client, _) = connect(&other).await;
    other.emit("n", &0).unwrap();
    other.emit("n", &0).unwrap();
    client.text().await;
    let foreign = offset(&client.text().await);
    let (client, ids) = connect(&io).await;
    drop(client);
    is_away(&io).await;
    (0..3).for_each(|n| io.emit("n", &n).unwrap());
    let (_client, missed, again) = come_back(&io, &ids, Some(&foreign)).await;
    assert_eq!((missed.len(), again), (3, ids));
}

#[tokio::test]
async fn events_from_a_layer_arrive_once() {
    async fn hello(
        socket: SocketRef,
        request: axum::extract::Request,
        next: axum::middleware::Next,
    ) -> axum::response::Response {
        socket.emit("hello", &()).unwrap();
        next.run(request).await
    }
    let io = served(RecoveryConfig::new(), Namespace::new().layer(axum::middleware::from_fn(hello)));
    let (mut client, ids) = connect(&io).await;
    let seen = offset(&client.text().await);
    drop(client);
    is_away(&io).await;
    let (mut client, sent, again) = come_back(&io, &ids, Some(&seen)).await;
    // What the layer inserted this time.
    assert_eq!((sent.len(), &again), (1, &ids));
    let hello = &sent[0];
    assert!(hello.starts_with(r#"42["hello",""#));
    io.emit("end", &()).unwrap();
    assert!(client.text().await.starts_with(r#"42["end",""#));
    drop(client);
    is_away(&io).await;
    let (_client, sent, _) = come_back(&io, &ids, Some(&hello[12..hello.len() - 2])).await;
    let names: Vec<Value> = sent.iter().map(|text| json(text)[0].clone()).collect();
    assert_eq!(names, ["end", "hello"]);
}

#[tokio::test]
async fn missed_events_do_not_count_against_the_send_buffer() {
    let namespace = Namespace::new().on("go", |socket: SocketRef| async move { socket.emit("went", &()).unwrap() });
    let config = SocketIoConfig::new().max_buffered_bytes(10_000).recovery(RecoveryConfig::new());
    let io = SocketIoService::new(config.namespace("/", namespace.with_state(()))).io();
    let (client, ids) = connect(&io).await;
    drop(client);
    is_away(&io).await;
    (0..20).for_each(|n| io.emit("n", &(n, "x".repeat(1000))).unwrap());
    let mut client = say_connect(&io, &format!("40{}", value!({"pid": ids.pid}))).await;
    client.say(r#"42["go"]"#);
    assert_eq!(Ids::read(&client.text().await), ids);
    for _ in 0..20 {
        assert!(client.text().await.starts_with(r#"42["n","#));
    }
    assert!(client.text().await.starts_with(r#"42["went","#));
}

#[tokio::test]
async fn a_value_that_emits_when_it_is_dropped_is_harmless() {
    #[derive(Clone)]
    struct Farewell(#[expect(dead_code, reason = "it is dropped")] Arc<Emits>);
    struct Emits(SocketIo);
    impl Drop for Emits {
        fn drop(&mut self) {
            self.0.emit("left", &()).unwrap();
        }
    }
    async fn joined(socket: SocketRef, io: SocketIo) {
        socket.extensions().insert(Farewell(Arc::new(Emits(io))));
    }
    let io = served(RecoveryConfig::new().max_sessions(1), Namespace::new().on_connect(joined).with_state(()));
    for _ in 0..3 {
        let (client, ids) = connect(&io).await;
        drop(client);
        is_away(&io).await;
        let (client, _, again) = come_back(&io, &ids, None).await;
        assert_eq!(again, ids);
        drop(client);
        is_away(&io).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_emitted_to_is_dropped_all_the_same() {
    let io = served(RecoveryConfig::new().max_disconnection(Duration::from_secs(60)), namespace());
    let mut client = say_connect(&io, "40/room/1,").await;
    client.text().await;
    drop(client);
    is_away(&io).await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(30)).await;
        if let Some(namespace) = io.of("/room/1") {
            namespace.emit("tick", &()).unwrap();
        }
    }
    assert!(io.of("/room/1").is_none());
}

/// Drops the connection of a client repeatedly while events are emitted. Each event arrives once and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_arrives_once_and_in_order_however_often_the_connection_is_lost() {
    const EVENTS: u64 = 1000;
    const KILLS: u64 = 200;
    let server = serve_config(SocketIoConfig::new().recovery(RecoveryConfig::new()).namespace("/", namespace())).await;
    let io = server.io.clone();
    let (mut client, first) = {
        let mut client = WebSocket::open(server.address).await;
        client.say("40").await;
        let ids = Ids::read(&client.text().await);
        (client, ids)
    };
    client.say(r#"42["join","room"]"#).await;
    until(|| io.to("room").sockets().len() == 1).await;
    // Two threads emit, a few events for each loss of the connection, in no fixed order between them.
    let permits = [Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0))];
    let emit = |from: u64| {
        let (io, permits) = (io.clone(), permits[from as usize].clone());
        tokio::spawn(async move {
            for number in (from..EVENTS).step_by(2) {
                permits.acquire().await.unwrap().forget();
                io.to("room").emit("n", &number).unwrap();
                tokio::task::yield_now().await;
            }
        })
    };
    let emitters = [emit(0), emit(1)];
    let mut received = Vec::new();
    let mut last_offset = None;
    let mut random = 7u64;
    for kill in 0..KILLS {
        permits.iter().for_each(|permits| permits.add_permits((EVENTS / KILLS / 2 + 1) as usize));
        // The connection is lost at a random moment: after some events, while others are in flight.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        for _ in 0..(random >> 62) {
            if received.len() as u64 >= kill * EVENTS / KILLS {
                break;
            }
            let event = client.text().await;
            received.push(json(&event)[1].as_u64().unwrap());
            last_offset = Some(offset(&event));
        }
        drop(client);
        client = WebSocket::open(server.address).await;
        let auth = match &last_offset {
            Some(offset) => value!({"pid": first.pid, "offset": offset}),
            None => value!({"pid": first.pid}),
        };
        client.say(&format!("40{auth}")).await;
        assert_eq!(Ids::read(&client.text().await), first, "after {kill} losses");
    }
    while (received.len() as u64) < EVENTS {
        received.push(json(&client.text().await)[1].as_u64().unwrap());
    }
    for emitter in emitters {
        emitter.await.unwrap();
    }
    let of = |parity: u64| received.iter().copied().filter(|n| n % 2 == parity).collect::<Vec<_>>();
    assert_eq!(of(0), (0..EVENTS).step_by(2).collect::<Vec<_>>());
    assert_eq!(of(1), (1..EVENTS).step_by(2).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn clients_that_lost_their_connection_are_recovered() {
    let config =
        SocketIoConfig::new().recovery(RecoveryConfig::new()).max_buffered_bytes(10_000).namespace("/", namespace());
    let io = SocketIoService::new(config).io();
    let mut client = TestClient::connect(&io).await.unwrap();
    client.emit("join", "room").await;
    // A slow client receives all events in the end, also beyond the limit of its buffer.
    client.stop_reading();
    let socket = client.socket().unwrap();
    let text = "x".repeat(1000);
    let mut sent = 0;
    while socket.is_connected() {
        io.to("room").emit("n", &(sent, &text)).unwrap();
        tokio::task::yield_now().await;
        sent += 1;
    }
    let all = 2 * sent;
    for number in sent..all {
        io.to("room").emit("n", &(number, &text)).unwrap();
    }
    client = client.reconnect().await.unwrap();
    assert!(client.is_recovered());
    for number in 0..all {
        assert_eq!(client.next::<u32>("n").await, number);
    }
    // A client that is closed with its connection or with the server is recovered. One that is disconnected on purpose is
    // not.
    client.socket().unwrap().conn().close();
    client = client.reconnect().await.unwrap();
    assert!(client.is_recovered());
    io.close().await;
    client = client.reconnect().await.unwrap();
    assert!(client.is_recovered());
    client.socket().unwrap().disconnect_all();
    client = client.reconnect().await.unwrap();
    assert!(!client.is_recovered());
    // A pending ack fails, and its event is not sent again.
    let asked = client.socket().unwrap().emit_with_ack::<u8>("asked", &());
    client = client.reconnect().await.unwrap();
    assert!(asked.await.unwrap_err().is_disconnected());
    assert!(client.is_recovered());
    client.expect_silence(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn events_of_a_room_before_it_was_joined_are_not_recovered() {
    let io = server();
    let (client, ids) = connect(&io).await;
    io.to("a").emit("before", &()).unwrap();
    client.say(r#"42["join","a"]"#);
    until(|| io.to("a").sockets().len() == 1).await;
    drop(client);
    is_away(&io).await;
    io.to("a").emit("after", &()).unwrap();
    // The offset that a client without any event sends.
    let (client, missed, _) = come_back(&io, &ids, None).await;
    assert_eq!(missed.len(), 1, "{missed:?}");
    assert!(missed[0].starts_with(r#"42["after","#));
    // The next recovery gives the same result.
    drop(client);
    is_away(&io).await;
    let (_client, missed, _) = come_back(&io, &ids, None).await;
    assert_eq!(missed.len(), 1, "{missed:?}");
}

#[tokio::test]
async fn a_session_may_be_kept_without_end() {
    let io = served(RecoveryConfig::new().max_disconnection(Duration::MAX), namespace());
    let (client, ids) = connect(&io).await;
    drop(client);
    is_away(&io).await;
    io.emit("n", &1).unwrap();
    let (_client, missed, again) = come_back(&io, &ids, None).await;
    assert_eq!((missed.len(), again), (1, ids));
}

/// What was emitted to a room after the socket has left it is not recovered, whether it left one room or all.
#[tokio::test]
async fn leaving_all_rooms_is_remembered_in_the_layers_too() {
    use axum::{
        extract::Request,
        middleware::{Next, from_fn},
        response::Response,
    };
    async fn leaves(socket: SocketRef, request: Request, next: Next) -> Response {
        socket.join("early");
        socket.leave_all();
        socket.join("late");
        next.run(request).await
    }
    let io = served(RecoveryConfig::new(), namespace().layer(from_fn(leaves)));
    let (client, ids) = connect(&io).await;
    let socket = io.socket(&ids.sid).unwrap();
    assert_eq!(socket.rooms(), [&*ids.sid, "late"]);
    socket.join(["a", "b"]);
    io.to("a").emit("n", &1).unwrap();
    socket.leave_all();
    io.to("a").emit("n", &2).unwrap();
    socket.join("c");
    drop(client);
    is_away(&io).await;
    io.to("c").emit("n", &3).unwrap();
    let (_client, missed, again) = come_back(&io, &ids, None).await;
    assert_eq!(again, ids);
    let numbers: Vec<_> = missed.iter().map(|event| json(event)[1].clone()).collect();
    assert_eq!(numbers, [1, 3]);
    assert_eq!(io.socket(&ids.sid).unwrap().rooms(), [&*ids.sid, "late"]);
}

/// In Node, garbage of Engine.IO ends the session for good, and that of Socket.IO does not.
#[tokio::test]
async fn a_client_is_recovered_after_a_parse_error() {
    for garbage in ["abc", "4x", "42{}"] {
        let server = serve_config(SocketIoConfig::new().recovery(RecoveryConfig::new())).await;
        let mut client = WebSocket::open(server.address).await;
        client.say("40").await;
        let joined = json(&client.text().await);
        client.say(garbage).await;
        client.expect_close().await;
        until(|| server.io.stats().sockets == 0).await;
        let mut client = WebSocket::open(server.address).await;
        client.say(&format!("40{}", value!({"pid": joined["pid"]}))).await;
        assert_eq!(json(&client.text().await)["sid"], joined["sid"], "{garbage}");
    }
}
