//! What observers are told, and when.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::http::StatusCode;
use tower_socketio::{
    Ack, Args, DisconnectReason, Namespace, NamespaceRef, RecoveryConfig, Room, SocketIo, SocketIoConfig,
    SocketIoService, SocketRef,
    client::Conn,
    cluster::Local,
    engine::Packet,
    extract::Data,
    observer::{ObservedEvent, Observer, Recorder, Script},
    test,
};

use crate::support::*;

/// Writes down each call. The id of the socket is `<id>`.
#[derive(Clone, Default)]
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    /// Whether packets are written down too.
    packets: bool,
}

impl Log {
    fn note(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }

    fn socket(&self, what: &str, socket: &SocketRef, detail: &str) {
        let mask = |text: &str| text.replace(socket.id().as_str(), "<id>");
        self.note(mask(&format!("{what} {} {detail}", socket.namespace().name())).trim_end().to_owned());
    }

    fn event(&self, what: &str, socket: &SocketRef, event: &ObservedEvent<'_>) {
        let args = event.args::<Args>().and_then(|args| serde_json::to_string(&args));
        self.socket(what, socket, &format!("{} {}", event.name(), args.unwrap_or_else(|error| error.to_string())));
    }

    fn packet(&self, what: &str, packet: &Packet) {
        if self.packets {
            let data = String::from_utf8_lossy(packet.data()).into_owned();
            let data = if data.starts_with("0{\"sid") { "0{sid}".to_owned() } else { data };
            self.note(format!("{what} {data}"));
        }
    }
}

impl Observer for Log {
    fn connection_opened(&self, connection: &Conn) {
        assert!(connection.is_open());
        self.note(format!("opened {}", connection.transport()));
    }

    fn connection_upgraded(&self, connection: &Conn) {
        self.note(format!("upgraded {}", connection.transport()));
    }

    fn connection_closed(&self, connection: &Conn, reason: DisconnectReason) {
        assert!(!connection.is_open());
        self.note(format!("closed {} {reason}", connection.transport()));
    }

    fn packet_received(&self, _: &Conn, packet: &Packet) {
        self.packet("in", packet);
    }

    fn packet_sent(&self, _: &Conn, packet: &Packet) {
        self.packet("out", packet);
    }

    fn socket_connected(&self, socket: &SocketRef) {
        self.socket("connected", socket, "");
    }

    fn data_changed(&self, socket: &SocketRef) {
        self.socket("data", socket, &socket.data::<serde_json::Value>().unwrap().unwrap().to_string());
    }

    fn socket_disconnected(&self, socket: &SocketRef, reason: DisconnectReason) {
        let rooms = socket.rooms().len();
        self.socket("disconnected", socket, &format!("{reason}, in {rooms} rooms"));
    }

    fn room_created(&self, namespace: &NamespaceRef, room: &Room) {
        if room.len() < 20 {
            self.note(format!("created {} {}", namespace.name(), &**room));
        }
    }

    fn room_joined(&self, socket: &SocketRef, room: &Room) {
        self.socket("joined", socket, room);
    }

    fn room_left(&self, socket: &SocketRef, room: &Room) {
        self.socket("left", socket, room);
    }

    fn room_deleted(&self, namespace: &NamespaceRef, room: &Room) {
        if room.len() < 20 {
            self.note(format!("deleted {} {}", namespace.name(), &**room));
        }
    }

    fn event_received(&self, socket: &SocketRef, event: &ObservedEvent<'_>) {
        self.event("received", socket, event);
    }

    fn event_sent(&self, socket: &SocketRef, event: &ObservedEvent<'_>) {
        self.event("sent", socket, event);
    }
}

fn namespace() -> Namespace {
    async fn joined(socket: SocketRef) {
        socket.join("lobby");
        socket.set_data(&1).unwrap();
    }
    Namespace::new()
        .on_connect(joined)
        .on("echo", |socket: SocketRef, Data(args): Data<Args>| async move { socket.emit("echo", &args).unwrap() })
        .on("ack", async || Ack(7))
        .on("leave", async |socket: SocketRef| socket.leave_all())
        .with_state(())
}

fn observed(log: &Log) -> SocketIoConfig {
    SocketIoConfig::new().observer(log.clone()).namespace("/", namespace())
}

fn start(config: SocketIoConfig) -> SocketIo {
    SocketIoService::new(config).io()
}

#[tokio::test]
async fn a_client_is_observed_from_its_handshake_to_its_end() {
    let log = Log { packets: true, ..Log::default() };
    let server = serve_config(observed(&log)).await;
    let polling = Polling::open(server.address).await;
    assert_eq!(log.take(), ["opened polling"]);
    polling.say("40").await;
    assert_eq!(log.take(), ["in 0", "joined / <id>", "created / lobby", "joined / lobby", "data / 1", "connected /",]);
    polling.poll().await;
    assert_eq!(log.take(), ["out 0{sid}"]);
    let target = format!("/socket.io/?EIO=4&transport=websocket&sid={}", polling.sid);
    let mut client = WebSocket::raw(server.address, &target, &[]).await.unwrap();
    client.say("2probe").await;
    client.expect("3probe").await;
    client.say("5").await;
    client.say(r#"42["echo",1,{"a":"b"}]"#).await;
    client.expect(r#"42["echo",1,{"a":"b"}]"#).await;
    client.say(r#"420["ack"]"#).await;
    client.expect("430[7]").await;
    assert_eq!(
        log.take(),
        [
            "upgraded websocket",
            r#"in 2["echo",1,{"a":"b"}]"#,
            r#"received / echo [1,{"a":"b"}]"#,
            r#"sent / echo [1,{"a":"b"}]"#,
            r#"out 2["echo",1,{"a":"b"}]"#,
            r#"in 20["ack"]"#,
            "received / ack []",
            "out 30[7]",
        ]
    );
    client.say(r#"42["leave"]"#).await;
    client.say("41").await;
    drop(client);
    server.is_empty().await;
    until(|| log.lines.lock().unwrap().iter().any(|line| line.starts_with("closed"))).await;
    assert_eq!(
        log.take(),
        [
            r#"in 2["leave"]"#,
            "received / leave []",
            "left / lobby",
            "deleted / lobby",
            "in 1",
            "disconnected / client namespace disconnect, in 1 rooms",
            "left / <id>",
            "closed websocket transport close",
        ]
    );
}

#[tokio::test]
async fn binary_events_and_polls_are_observed_whole() {
    let log = Log { packets: true, ..Log::default() };
    let server = serve_config(observed(&log)).await;
    let polling = Polling::join(server.address).await;
    log.take();
    polling.say("451-[\"echo\",{\"_placeholder\":true,\"num\":0}]\u{1e}bAQI=").await;
    polling.poll().await;
    let lines = log.take();
    assert_eq!(lines[1], "in \u{1}\u{2}");
    assert!(lines[2].starts_with("received / echo ["), "{lines:?}");
    assert!(lines[3].starts_with("sent / echo ["), "{lines:?}");
    assert!(lines[4].starts_with("out 51-[") && lines[5] == "out \u{1}\u{2}", "{lines:?}");
}

#[tokio::test]
async fn a_rejected_socket_leaves_its_rooms_and_was_never_connected() {
    let log = Log::default();
    let refuse = Namespace::new().on_connect(|socket: SocketRef| async move {
        socket.join("lobby");
        StatusCode::FORBIDDEN
    });
    let io = start(SocketIoConfig::new().observer(log.clone()).namespace("/", refuse.with_state(())));
    let mut client = Memory::open(&io);
    client.text().await;
    client.say("40");
    client.expect(r#"44{"message":"Forbidden"}"#).await;
    until(|| log.lines.lock().unwrap().len() == 7).await;
    assert_eq!(
        log.take()[1..],
        ["joined / <id>", "created / lobby", "joined / lobby", "left / <id>", "left / lobby", "deleted / lobby"]
    );
}

#[tokio::test]
async fn a_broadcast_is_told_for_each_recipient_and_to_each_observer() {
    let (first, second) = (Log::default(), Log::default());
    let io = start(observed(&first).observer(second.clone()));
    let (_a, _b) = (Memory::join(&io).await, Memory::join(&io).await);
    for log in [&first, &second] {
        log.take();
    }
    io.to("lobby").emit("news", &("x", 1)).unwrap();
    for log in [&first, &second] {
        assert_eq!(log.take(), [r#"sent / news ["x",1]"#; 2]);
    }
}

#[tokio::test]
async fn a_panic_of_an_observer_is_counted_and_others_are_still_told() {
    struct Panics;
    impl Observer for Panics {
        fn connection_opened(&self, _: &Conn) {
            panic!("on purpose");
        }

        fn room_joined(&self, _: &SocketRef, _: &Room) {
            panic!("on purpose");
        }

        fn event_sent(&self, _: &SocketRef, _: &ObservedEvent<'_>) {
            panic!("on purpose");
        }

        fn packet_sent(&self, _: &Conn, _: &Packet) {
            panic!("on purpose");
        }
    }
    let log = Log::default();
    let io = start(SocketIoConfig::new().observer(Panics).observer(log.clone()).namespace("/", namespace()));
    let mut client = Memory::join(&io).await;
    client.say(r#"42["echo",1]"#);
    client.expect(r#"42["echo",1]"#).await;
    // The session, two rooms, CONNECT, the event and its packet.
    assert_eq!(io.stats().panics, 6);
    assert!(log.take().contains(&"sent / echo [1]".to_owned()));
}

/// Calls every method that takes a lock.
#[derive(Clone, Default)]
struct Busy(Arc<Mutex<usize>>);

impl Busy {
    fn act(&self, socket: &SocketRef) {
        *self.0.lock().unwrap() += 1;
        socket.emit("from observer", &()).ok();
        socket.broadcast().emit("from observer", &()).ok();
        let _ = (socket.rooms(), socket.namespace().rooms(), socket.io().stats(), socket.client().sockets().len());
        if !socket.is_in("observed") {
            socket.join("observed");
        }
    }
}

impl Observer for Busy {
    fn socket_connected(&self, socket: &SocketRef) {
        self.act(socket);
    }

    fn socket_disconnected(&self, socket: &SocketRef, _: DisconnectReason) {
        self.act(socket);
    }

    fn data_changed(&self, socket: &SocketRef) {
        self.act(socket);
    }

    fn room_joined(&self, socket: &SocketRef, _: &Room) {
        self.act(socket);
    }

    fn room_left(&self, socket: &SocketRef, _: &Room) {
        self.act(socket);
    }

    fn event_received(&self, socket: &SocketRef, _: &ObservedEvent<'_>) {
        self.act(socket);
    }

    fn event_sent(&self, socket: &SocketRef, event: &ObservedEvent<'_>) {
        // A journal delivers later what observers emit.
        if event.name() != "from observer" {
            self.act(socket);
        }
    }

    fn packet_received(&self, connection: &Conn, _: &Packet) {
        let _ = (connection.transport(), connection.id());
    }

    fn packet_sent(&self, connection: &Conn, _: &Packet) {
        let _ = (connection.transport(), connection.is_open());
    }
}

/// An observer is called without locks. With one held, this test would hang.
#[tokio::test]
async fn an_observer_may_use_all_handles() {
    let cluster = Local::with_journal();
    for config in [
        SocketIoConfig::new(),
        SocketIoConfig::new().recovery(RecoveryConfig::new()),
        SocketIoConfig::new().recovery(RecoveryConfig::new()).adapter(cluster.node()),
    ] {
        let busy = Busy::default();
        let io = start(config.observer(busy.clone()).namespace("/", namespace()));
        let mut client = Memory::join(&io).await;
        let socket = io.sockets().remove(0);
        client.say(r#"42["echo",1]"#);
        soon(async { while !client.text().await.contains("echo") {} }).await;
        io.to("lobby").emit("news", &()).unwrap();
        soon(async { while !client.text().await.contains("news") {} }).await;
        socket.leave("lobby");
        assert!(io.to("observed").sockets().len() == 1);
        let calls = *busy.0.lock().unwrap();
        drop(client);
        until(|| io.stats().sockets == 0).await;
        // The disconnection, and the rooms that the socket has left.
        until(|| *busy.0.lock().unwrap() >= calls + 3).await;
        assert_eq!(io.stats().panics, 0);
    }
}

#[tokio::test]
async fn a_recovered_socket_joins_its_rooms_again() {
    let log = Log::default();
    let io = start(observed(&log).recovery(RecoveryConfig::new()));
    let (mut client, id, pid) = Memory::join_with_auth(&io, &serde_json::json!({})).await;
    io.emit("n", &1).unwrap();
    let seen = client.text().await;
    drop(client);
    until(|| log.lines.lock().unwrap().iter().any(|line| line.starts_with("closed"))).await;
    let lines = log.take();
    let end = ["disconnected / transport close, in 2 rooms", "left / <id>", "left / lobby", "deleted / lobby"];
    assert_eq!(lines[lines.len() - 5..lines.len() - 1], end);
    let auth = serde_json::json!({"pid": pid, "offset": offset(&seen)});
    let (_client, again, _) = Memory::join_with_auth(&io, &auth).await;
    assert_eq!(again, id);
    let lines = log.take();
    assert_eq!(lines[1..4], ["joined / <id>", "created / lobby", "joined / lobby"]);
    assert_eq!(lines.last().map(String::as_str), Some("connected /"));
}

#[tokio::test(start_paused = true)]
async fn sockets_of_a_lost_connection_are_told_with_its_reason() {
    let log = Log::default();
    let io = start(observed(&log));
    let _client = Memory::join(&io).await;
    log.take();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(
        log.take(),
        [
            "disconnected / ping timeout, in 2 rooms",
            "left / <id>",
            "left / lobby",
            "deleted / lobby",
            "closed custom ping timeout"
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_connected_socket_is_told_to_be_disconnected_once() {
    let log = Log::default();
    let io = start(observed(&log));
    let clients: Vec<_> = (0..200)
        .map(|number| {
            let io = io.clone();
            tokio::spawn(async move {
                let mut client = Memory::open(&io);
                client.text().await;
                client.say("40");
                if number % 2 == 0 {
                    client.text().await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    until(|| io.stats().connections == 0).await;
    until(|| log.lines.lock().unwrap().iter().filter(|line| line.starts_with("closed")).count() == 200).await;
    let lines = log.take();
    let count = |prefix: &str| lines.iter().filter(|line| line.starts_with(prefix)).count();
    assert!(count("connected") >= 100);
    assert_eq!(count("connected"), count("disconnected"));
    assert_eq!(count("joined"), count("left"));
    assert_eq!(count("created"), count("deleted"));
}

#[tokio::test]
async fn a_recorded_session_can_be_played_against_a_server() {
    for payloads in [false, true] {
        let (sender, mut scripts) = tokio::sync::mpsc::unbounded_channel();
        let selects = |connection: &Conn| connection.request().uri().query().is_some_and(|query| query.contains("me"));
        let recorder = Recorder::new(selects, move |script| sender.send(script).unwrap()).payloads(payloads);
        let io = start(SocketIoConfig::new().observer(recorder).namespace("/", namespace()));
        let _other = Memory::join(&io).await;
        let mut client = Memory::open_with(test::TestClient::builder(&io).query("me=1"));
        client.text().await;
        client.say(r#"40{"token":"secret"}"#);
        client.text().await;
        client.say(r#"42["echo","secret",7]"#);
        client.expect(r#"42["echo","secret",7]"#).await;
        client.say(r#"451-["echo",{"_placeholder":true,"num":0}]"#);
        client.send(Packet::binary(&b"secret"[..]));
        client.text().await;
        client.packet().await;
        client.say(r#"420["ack"]"#);
        client.expect("430[7]").await;
        drop(client);
        let script: Script = soon(scripts.recv()).await.unwrap();
        let text = script.to_string();
        assert_eq!(text.contains("secret"), payloads, "{text}");
        assert_eq!((text.contains("echo"), script.is_redacted()), (true, !payloads));
        assert_eq!(text.lines().filter(|line| line.starts_with(['<', '>'])).count(), 10, "{text}");
        // The text is the same session.
        test::play(&start(SocketIoConfig::new().namespace("/", namespace())), &text.parse().unwrap()).await;
        // Another server does not respond in the same way.
        let differently = async |socket: SocketRef| socket.emit("echoed", &()).unwrap();
        let other = Namespace::new().on("echo", differently).with_state(());
        let other = start(SocketIoConfig::new().namespace("/", other));
        let played = tokio::spawn(async move { test::play(&other, &script).await });
        assert!(played.await.unwrap_err().is_panic());
        assert!(scripts.try_recv().is_err());
    }
}

#[tokio::test]
async fn a_recorder_limits_sessions_and_their_size() {
    let (sender, mut scripts) = tokio::sync::mpsc::unbounded_channel();
    let recorder = Recorder::new(|_| true, move |script: Script| sender.send(script).unwrap());
    let recorder = recorder.max_sessions(1).max_bytes(1000);
    let io = start(SocketIoConfig::new().observer(recorder).namespace("/", namespace()));
    let mut recorded = Memory::join(&io).await;
    drop(Memory::join(&io).await);
    for number in 0..100 {
        recorded.say(&format!(r#"42["echo",{number}]"#));
        recorded.text().await;
    }
    drop(recorded);
    let script = soon(scripts.recv()).await.unwrap().to_string();
    assert!((2..10).contains(&script.lines().count()), "{script}");
    until(|| io.stats().connections == 0).await;
    assert!(scripts.try_recv().is_err());
}
