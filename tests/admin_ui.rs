//! The server side of the admin UI, as wire scripts. `tests/interop` runs the UI itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::Router;
use futures_util::future::BoxFuture;
use serde_json::{Value, json as value};
use tower_socketio::{
    Ack, Args, Namespace, SocketIo, SocketIoConfig, SocketIoService, SocketRef,
    admin::{self, AdminConfig, Auth, Mode, SessionStore},
    cluster::{
        ClusterAdapter, ClusterCommand, ClusterError, ClusterMessage, ClusterNode, Emitter, Local, LocalNode, Peers,
        PublishError,
    },
    extract::Data,
    test::{TestClient, TestError},
};

use crate::support::*;

/// The hash of `correct horse`, of the lowest cost.
const HASH: &str = "$2a$04$0zXN5vzY.YIWJcPSgqmJ9OHy8uey2yxsXijLb2GAKOJeusAy8CG6C";

fn basic() -> AdminConfig {
    AdminConfig::new(Auth::basic("admin", HASH))
}

fn development() -> AdminConfig {
    AdminConfig::new(Auth::none()).mode(Mode::Development)
}

fn namespace() -> Namespace {
    Namespace::new()
        .on("join", |socket: SocketRef, Data(room): Data<String>| async move {
            socket.join(room);
            Ack(())
        })
        .on("leave", |socket: SocketRef, Data(room): Data<String>| async move {
            socket.leave(room);
            Ack(())
        })
        .on("data", |socket: SocketRef, Data(data): Data<Value>| async move { socket.set_data(&data).unwrap() })
        .on("echo", |socket: SocketRef, Data(args): Data<Args>| async move { socket.emit("echo", &args).unwrap() })
        .on("kick", async |socket: SocketRef| socket.disconnect())
        .with_state(())
}

fn start_with(config: SocketIoConfig, admin: AdminConfig) -> SocketIo {
    SocketIoService::new(admin::instrument(config.namespace("/", namespace()), admin)).io()
}

fn start(admin: AdminConfig) -> SocketIo {
    start_with(SocketIoConfig::new(), admin)
}

async fn log_in(io: &SocketIo, auth: Value) -> Result<TestClient, TestError> {
    TestClient::builder(io).namespace("/admin").auth(auth).connect().await
}

/// An admin without a password, who has read `config` and the list of sockets, which is returned.
async fn watch(io: &SocketIo) -> (TestClient, Vec<Value>) {
    let mut admin = log_in(io, value!({})).await.unwrap();
    let sockets = admin.wait_for::<Vec<Value>>("all_sockets").await;
    (admin, sockets)
}

/// The next event, except figures. Times are `"time"`.
async fn told(admin: &mut TestClient) -> Value {
    loop {
        let event = admin.next_event().await;
        if event.name() != "server_stats" {
            let mut args: Vec<Value> = event.data::<Args<Value>>().0;
            args.insert(0, event.name().into());
            if let Some(last @ Value::String(_)) = args.last_mut().filter(|last| is_time(last)) {
                *last = "time".into();
            }
            return args.into();
        }
    }
}

fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() == "2026-11-28T00:19:56.070Z".len() && text.ends_with('Z'))
}

#[tokio::test]
async fn a_login_requires_the_name_and_the_password() {
    let io = start(basic());
    for auth in [
        value!({}),
        value!({"username": "admin"}),
        value!({"username": "admin", "password": ""}),
        value!({"username": "admin", "password": "wrong"}),
        value!({"username": "admin", "password": 7}),
        value!({"username": "root", "password": "correct horse"}),
        value!({"password": "correct horse"}),
        value!({"sessionId": "guessed"}),
        value!({"sessionId": ""}),
        value!({"sessionId": null}),
        value!({"sessionId": "x".repeat(10_000)}),
    ] {
        let mut client = Memory::open(&io);
        client.text().await;
        client.say(&format!("40/admin,{auth}"));
        client.expect(r#"44/admin,{"message":"invalid credentials"}"#).await;
    }
    assert_eq!(io.stats().panics, 0);
    let right = value!({"username": "admin", "password": "correct horse"});
    let mut client = Memory::open(&io);
    client.text().await;
    client.say(&format!("40/admin,{right}"));
    assert!(client.text().await.starts_with(r#"40/admin,{"sid":"#));
    // The UI misses what precedes CONNECT.
    let session = json(&client.text().await.replacen("42/admin,", "", 1));
    assert_eq!(session[0], "session");
    client
        .expect(
            r#"42/admin,["config",{"supportedFeatures":["EMIT","JOIN","LEAVE","DISCONNECT","MJOIN","MLEAVE","MDISCONNECT","AGGREGATED_EVENTS"]}]"#,
        )
        .await;
    // A session is valid without a password, and is not sent again.
    let mut again = log_in(&io, value!({"sessionId": session[1]})).await.unwrap();
    assert_eq!(again.next_event().await.name(), "config");
}

#[tokio::test]
async fn sessions_may_be_stored_elsewhere() {
    #[derive(Clone, Default)]
    struct Store(Arc<std::sync::Mutex<Vec<String>>>);
    impl SessionStore for Store {
        fn add(&self, id: &str) -> BoxFuture<'static, ()> {
            self.0.lock().unwrap().push(id.to_owned());
            Box::pin(std::future::ready(()))
        }

        fn contains(&self, id: &str) -> BoxFuture<'static, bool> {
            let known = self.0.lock().unwrap().iter().any(|known| known == id);
            Box::pin(std::future::ready(known))
        }
    }
    let store = Store::default();
    let (a, b) = (start(basic().sessions(store.clone())), start(basic().sessions(store.clone())));
    let mut admin = log_in(&a, value!({"username": "admin", "password": "correct horse"})).await.unwrap();
    let session: String = admin.next("session").await;
    assert_eq!(*store.0.lock().unwrap(), std::slice::from_ref(&session));
    assert!(log_in(&b, value!({"sessionId": session})).await.is_ok());
}

#[test]
#[should_panic(expected = "must be a bcrypt hash")]
fn a_password_in_clear_text_is_not_accepted_as_a_hash() {
    let _ = Auth::basic("admin", "secret");
}

#[tokio::test(start_paused = true)]
async fn in_production_mode_figures_are_told_and_nothing_else() {
    let io = start(AdminConfig::new(Auth::none()).server_id("one"));
    let mut admin = log_in(&io, value!({})).await.unwrap();
    assert_eq!(
        admin.next::<Value>("config").await["supportedFeatures"].as_array().unwrap().last().unwrap(),
        "AGGREGATED_EVENTS"
    );
    admin.next::<Value>("server_stats").await;
    let client = TestClient::connect(&io).await.unwrap();
    client.emit("join", "lobby").await;
    client.emit("echo", &1).await;
    client.lose_connection().await;
    let stats: Value = admin.next("server_stats").await;
    assert_eq!(
        (&stats["serverId"], &stats["clientsCount"], &stats["pollingClientsCount"]),
        (&value!("one"), &value!(1), &value!(0))
    );
    assert!(stats["hostname"].is_string() && stats["pid"].is_u64() && stats["uptime"].is_f64(), "{stats}");
    let namespaces = stats["namespaces"].as_array().unwrap();
    assert!(namespaces.contains(&value!({"name": "/admin", "socketsCount": 1})), "{stats}");
    assert!(namespaces.contains(&value!({"name": "/", "socketsCount": 0})), "{stats}");
    let count = |kind: &str| {
        let events = stats["aggregatedEvents"].as_array().unwrap();
        let event = events.iter().find(|event| event["type"] == kind).unwrap_or_else(|| panic!("no {kind} in {stats}"));
        assert!(event["timestamp"].as_u64().unwrap() % 1000 == 0);
        (event["count"].as_u64().unwrap(), event["subType"].clone())
    };
    assert_eq!(count("rawConnection"), (1, Value::Null));
    assert_eq!(count("rawDisconnection"), (1, value!("transport close")));
    // CONNECT and two events; CONNECT and an event, and the figures before.
    assert_eq!(count("packetsIn"), (3, Value::Null));
    assert!(count("packetsOut").0 >= 2 && count("bytesIn").0 > 20 && count("bytesOut").0 > 20);
    // Two seconds later there is nothing new, except for the figures themselves.
    let quiet: Value = admin.next("server_stats").await;
    let kinds: Vec<_> =
        quiet["aggregatedEvents"].as_array().unwrap().iter().map(|event| event["type"].clone()).collect();
    assert_eq!(kinds, ["packetsOut", "bytesOut"]);
}

#[tokio::test]
async fn connections_on_long_polling_are_counted_until_they_are_upgraded() {
    let config = SocketIoConfig::new().namespace("/", namespace());
    let admin = AdminConfig::new(Auth::none());
    let server = serve_config(admin::instrument(config, admin)).await;
    let mut admin = log_in(&server.io, value!({})).await.unwrap();
    let polling = Polling::join(server.address).await;
    let _other = Polling::join(server.address).await;
    let count =
        async |admin: &mut TestClient| admin.wait_for::<Value>("server_stats").await["pollingClientsCount"].as_u64();
    soon(async { while count(&mut admin).await != Some(2) {} }).await;
    let target = format!("/socket.io/?EIO=4&transport=websocket&sid={}", polling.sid);
    let mut client = WebSocket::raw(server.address, &target, &[]).await.unwrap();
    client.say("2probe").await;
    client.expect("3probe").await;
    client.say("5").await;
    soon(async { while count(&mut admin).await != Some(1) {} }).await;
}

#[tokio::test]
async fn in_development_mode_each_change_of_a_socket_is_told() {
    let config = SocketIoConfig::new().namespace("/", namespace());
    let server = serve_config(admin::instrument(config, development())).await;
    let (mut admin, sockets) = watch(&server.io).await;
    assert_eq!(sockets.len(), 1);
    assert_eq!((&sockets[0]["id"], &sockets[0]["nsp"]), (&value!(admin.id()), &value!("/admin")));
    let polling = Polling::open(server.address).await;
    polling.say("40").await;
    let joined = told(&mut admin).await;
    let id = joined[3].clone();
    assert_eq!(joined, value!(["room_joined", "/", id, id, "time"]));
    let connected = told(&mut admin).await;
    assert_eq!((&connected[0], &connected[2]), (&value!("socket_connected"), &value!("time")));
    let socket = &connected[1];
    assert_eq!(
        (&socket["id"], &socket["transport"], &socket["nsp"], &socket["data"], &socket["rooms"]),
        (&id, &value!("polling"), &value!("/"), &value!({}), &value!([id]))
    );
    let handshake = &socket["handshake"];
    assert_eq!(
        (&handshake["address"], &handshake["secure"], &handshake["xdomain"]),
        (&value!("127.0.0.1"), &value!(false), &value!(false))
    );
    assert_eq!(handshake["query"], value!({"EIO": "4", "transport": "polling"}));
    assert_eq!(handshake["url"], "/socket.io/?EIO=4&transport=polling");
    assert!(handshake["issued"].as_u64().unwrap() > 1_700_000_000_000);
    assert!(handshake["time"].as_str().unwrap().ends_with("GMT+0000 (Coordinated Universal Time)"));
    // The id of the session is a secret.
    assert!(socket["clientId"].as_str().unwrap().len() == 16 && !socket.to_string().contains(&polling.sid));

    polling.poll().await;
    let target = format!("/socket.io/?EIO=4&transport=websocket&sid={}", polling.sid);
    let mut client = WebSocket::raw(server.address, &target, &[]).await.unwrap();
    client.say("2probe").await;
    client.expect("3probe").await;
    client.say("5").await;
    assert_eq!(told(&mut admin).await, value!(["socket_updated", {"id": id, "nsp": "/", "transport": "websocket"}]));
    for (packet, expected) in [
        (r#"42["join","lobby"]"#, value!(["room_joined", "/", "lobby", id, "time"])),
        (
            r#"42["data",{"user":{"name":"ada"}}]"#,
            value!(["socket_updated", {"id": id, "nsp": "/", "data": {"user": {"name": "ada"}}}]),
        ),
        (r#"42["echo","hi",7]"#, value!(["event_sent", "/", id, ["echo", "hi", 7], "time"])),
        (r#"42["leave","lobby"]"#, value!(["room_left", "/", "lobby", id, "time"])),
        (r#"42["kick"]"#, value!(["socket_disconnected", "/", id, "server namespace disconnect", "time"])),
    ] {
        client.say(packet).await;
        let received = json(packet);
        assert_eq!(told(&mut admin).await, value!(["event_received", "/", id, received, "time"]));
        assert_eq!(told(&mut admin).await, expected);
    }
    assert_eq!(told(&mut admin).await, value!(["room_left", "/", id, id, "time"]));
}

#[tokio::test(start_paused = true)]
async fn secrets_of_handshakes_are_redacted_unless_they_are_asked_for() {
    for shows in [false, true] {
        let io = start(development().show_handshake(shows));
        let client = TestClient::builder(&io).query("token=secret-1&page=secret-2").header("cookie", "id=secret-3");
        let client = client.header("authorization", "secret-4").header("x-own", "secret-5").header("user-agent", "me");
        let _client = client.auth(value!({"token": "never"})).connect().await.unwrap();
        let (_admin, sockets) = watch(&io).await;
        let socket = sockets.iter().find(|socket| socket["nsp"] == "/").unwrap();
        let text = socket.to_string();
        for number in 1..=5 {
            assert_eq!(text.contains(&format!("secret-{number}")), shows, "{text}");
        }
        assert_eq!(text.contains("[redacted]"), !shows);
        assert!(!text.contains("never") && text.contains(r#""user-agent":"me""#), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_change_sockets_and_those_for_unknown_namespaces_are_ignored() {
    let io = start(AdminConfig::new(Auth::none()));
    let admin = log_in(&io, value!({})).await.unwrap();
    let (mut a, mut b) = (TestClient::connect(&io).await.unwrap(), TestClient::connect(&io).await.unwrap());
    admin.emit("join", &("/", "room", a.id())).await;
    assert_eq!(io.to("room").sockets(), [a.socket().unwrap()]);
    admin.emit("join", &("/", "all", ())).await;
    assert_eq!(io.to("all").socket_count(), 2);
    admin.emit("leave", &("/", "all", "room")).await;
    assert_eq!(io.to("all").sockets(), [b.socket().unwrap()]);
    admin.emit("leave", &("/", "room")).await;
    assert_eq!(io.to("room").socket_count(), 0);
    admin.emit("emit", &("/", "all", "news", 1, "x")).await;
    assert_eq!(b.next::<(u8, String)>("news").await, (1, "x".to_owned()));
    admin.emit("emit", &("/", (), "connect", 1)).await;
    admin.emit("_disconnect", &("/", false, a.id())).await;
    a.expect_disconnect().await;
    assert!(b.socket().is_some());
    admin.emit("_disconnect", &("/", true, ())).await;
    b.expect_disconnect().await;
    for request in ["join", "leave", "emit"] {
        admin.emit(request, &("/unknown", "room", "x")).await;
    }
    admin.emit("_disconnect", &("/unknown", true)).await;
    admin.emit("join", &7).await;
    assert!(io.of("/unknown").is_none());
    assert_eq!((io.stats().sockets, io.stats().panics), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_read_only_ui_can_change_nothing() {
    let io = start(development().read_only(true));
    let mut admin = log_in(&io, value!({})).await.unwrap();
    let config: Value = admin.next("config").await;
    assert_eq!(config, value!({"supportedFeatures": ["AGGREGATED_EVENTS", "ALL_EVENTS"]}));
    let client = TestClient::connect(&io).await.unwrap();
    admin.emit("join", &("/", "room", ())).await;
    admin.emit("_disconnect", &("/", true, ())).await;
    admin.emit("emit", &("/", (), "news")).await;
    assert_eq!(client.socket().unwrap().rooms().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_namespace_may_have_another_name() {
    let io = start(AdminConfig::new(Auth::none()).namespace("watch"));
    assert!(io.of("/admin").is_none());
    let admin = TestClient::builder(&io).namespace("/watch").connect().await;
    assert_eq!(admin.unwrap().wait_for::<Value>("server_stats").await["namespaces"].as_array().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn large_events_and_those_above_the_limit_are_not_told() {
    let io = start(development().max_events_per_second(3));
    let (mut admin, _) = watch(&io).await;
    let client = TestClient::connect(&io).await.unwrap();
    for _ in 0..2 {
        told(&mut admin).await;
    }
    client.emit("large", &"x".repeat(5000)).await;
    let event = told(&mut admin).await;
    assert_eq!((&event[0], &event[3]), (&value!("event_received"), &value!(["large", "[5012 bytes]"])));
    for number in 0..100 {
        client.emit("small", &number).await;
    }
    client.emit("join", "end").await;
    let mut events = Vec::new();
    loop {
        let event = told(&mut admin).await;
        if event[0] == "room_joined" {
            break;
        }
        events.push(event);
    }
    assert!(events.len() <= 3, "{events:?}");
}

/// Figures are small, but a server with many events would fill the send buffer of an admin who does not read.
#[tokio::test(start_paused = true)]
async fn an_admin_who_does_not_read_is_told_less_and_stays_connected() {
    let io =
        start_with(SocketIoConfig::new().max_buffered_bytes(256 << 10), development().max_events_per_second(100_000));
    let (slow, _) = watch(&io).await;
    let (mut quick, _) = watch(&io).await;
    slow.stop_reading();
    let client = TestClient::connect(&io).await.unwrap();
    let text = "x".repeat(2000);
    for _ in 0..300 {
        client.emit("text", &text).await;
        while told(&mut quick).await[0] != "event_received" {}
    }
    let buffered = slow.socket().unwrap().buffered_bytes();
    assert!((64 << 10..100 << 10).contains(&buffered), "{buffered} bytes are buffered");
    assert_eq!(io.stats().slow_clients, 0);
}

/// A node of a cluster that counts what it publishes.
struct Counted {
    local: LocalNode,
    published: Arc<AtomicUsize>,
}

impl ClusterAdapter for Counted {
    fn start(&self, node: ClusterNode) {
        self.local.start(node);
    }

    fn publish(&self, message: ClusterMessage) -> Result<(), PublishError> {
        self.published.fetch_add(1, Ordering::SeqCst);
        self.local.publish(message)
    }

    fn peers(&self, namespace: &str) -> BoxFuture<'static, Result<Peers, ClusterError>> {
        self.local.peers(namespace)
    }
}

#[tokio::test(start_paused = true)]
async fn an_admin_watches_and_changes_the_sockets_of_all_nodes() {
    let cluster = Local::new();
    let published = Arc::new(AtomicUsize::new(0));
    let node = |id: &str| {
        let adapter = Counted { local: cluster.node(), published: published.clone() };
        start_with(SocketIoConfig::new().adapter(adapter), development().server_id(id))
    };
    let (a, b) = (node("a"), node("b"));
    let before = TestClient::connect(&b).await.unwrap();
    before.emit("join", "lobby").await;
    before.emit("data", &value!({"name": "ada"})).await;
    // While nobody watches, the nodes send each other nothing.
    assert_eq!(published.load(Ordering::SeqCst), 0);

    let (mut admin, sockets) = watch(&a).await;
    let remote = sockets.iter().find(|socket| socket["id"] == before.id()).expect("the socket of the other node");
    assert_eq!((&remote["transport"], &remote["data"]), (&value!("custom"), &value!({"name": "ada"})));
    assert!(remote["rooms"].as_array().unwrap().contains(&value!("lobby")));
    assert_eq!(remote["clientId"].as_str().unwrap().len(), 16);

    let mut after = TestClient::connect(&b).await.unwrap();
    assert_eq!(told(&mut admin).await[0], "room_joined");
    let connected = told(&mut admin).await;
    assert_eq!((&connected[0], &connected[1]["id"]), (&value!("socket_connected"), &value!(after.id())));
    admin.emit("join", &("/", "garden", after.id())).await;
    assert_eq!(told(&mut admin).await, value!(["room_joined", "/", "garden", after.id(), "time"]));
    let mut servers = Vec::new();
    while servers.len() < 2 {
        let id = admin.wait_for::<Value>("server_stats").await["serverId"].clone();
        if !servers.contains(&id) {
            servers.push(id);
        }
    }
    let id = after.id().to_owned();
    admin.emit("_disconnect", &("/", false, &id)).await;
    after.expect_disconnect().await;
    assert_eq!(told(&mut admin).await, value!(["socket_disconnected", "/", id, "server namespace disconnect", "time"]));

    admin.disconnect().await;
    // The other node notices after some time that nobody watches.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let published_before = published.load(Ordering::SeqCst);
    before.emit("join", "elsewhere").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(published.load(Ordering::SeqCst), published_before);
}

/// Its figures say how many sockets its admin namespace has.
#[tokio::test(start_paused = true)]
async fn nothing_is_told_to_a_server_of_node_js_without_admins() {
    let cluster = Local::new();
    let published = Arc::new(AtomicUsize::new(0));
    let adapter = Counted { local: cluster.node(), published: published.clone() };
    let io = start_with(SocketIoConfig::new().adapter(adapter), development());
    let client = TestClient::connect(&io).await.unwrap();
    let node_js = Emitter::new(cluster.node()).of("/admin");
    let figures = |admins| value!({"serverId": "node-js", "namespaces": [{"name": "/admin", "socketsCount": admins}]});
    for (admins, is_told) in [(0, false), (1, true), (0, false)] {
        // Longer than an admin is believed to be there.
        for _ in 0..10 {
            node_js.emit("server_stats", &figures(admins)).unwrap();
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        let before = published.load(Ordering::SeqCst);
        node_js.emit("server_stats", &figures(admins)).unwrap();
        client.emit("echo", &1).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(published.load(Ordering::SeqCst) > before, is_told, "with {admins} admins");
    }
}

/// A server of Node.js has no handlers for the server-side events of this crate, so that it does not answer.
struct Silent(LocalNode);

impl ClusterAdapter for Silent {
    fn start(&self, node: ClusterNode) {
        self.0.start(node);
    }

    fn publish(&self, message: ClusterMessage) -> Result<(), PublishError> {
        match message.command {
            ClusterCommand::ServerSideAck { .. } => Ok(()),
            _ => self.0.publish(message),
        }
    }

    fn peers(&self, namespace: &str) -> BoxFuture<'static, Result<Peers, ClusterError>> {
        self.0.peers(namespace)
    }
}

/// What changes while the list is late would be missing in the UI, or would stay in it.
#[tokio::test(start_paused = true)]
async fn the_list_of_sockets_does_not_wait_for_servers_of_node_js() {
    let cluster = Local::new();
    let a = start_with(SocketIoConfig::new().adapter(cluster.node()), development());
    let b = start_with(SocketIoConfig::new().adapter(cluster.node()), development());
    let silent = start_with(SocketIoConfig::new().adapter(Silent(cluster.node())), development());
    let of_crate = TestClient::connect(&b).await.unwrap();
    let of_node = TestClient::connect(&silent).await.unwrap();
    let data = value!({"_admin": {"clientId": "Qo-cnuSaV3Mg", "transport": "polling"}, "name": "ada"});
    of_node.socket().unwrap().set_data(&data).unwrap();
    let started = tokio::time::Instant::now();
    let (_admin, sockets) = watch(&a).await;
    assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
    let socket = sockets.iter().find(|socket| socket["id"] == of_node.id()).unwrap();
    assert_eq!((&socket["clientId"], &socket["transport"]), (&value!("Qo-cnuSaV3Mg"), &value!("polling")));
    assert_eq!(socket["data"], value!({"name": "ada"}));
    let socket = sockets.iter().find(|socket| socket["id"] == of_crate.id()).unwrap();
    assert_eq!(socket["transport"], "custom");
    assert_eq!(socket["clientId"].as_str().unwrap().len(), 16);
}

/// As after a deployment.
#[tokio::test(start_paused = true)]
async fn an_admin_sees_the_sockets_of_a_node_that_starts_later() {
    let cluster = Local::new();
    let a = start_with(SocketIoConfig::new().adapter(cluster.node()), development());
    let (mut admin, _) = watch(&a).await;
    let b = start_with(SocketIoConfig::new().adapter(cluster.node()), development());
    let client = TestClient::connect(&b).await.unwrap();
    assert_eq!(told(&mut admin).await[1]["id"], client.id());
}

#[tokio::test]
async fn the_ui_is_served_from_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("js")).unwrap();
    std::fs::write(folder.path().join("index.html"), "<title>UI</title>").unwrap();
    std::fs::write(folder.path().join("js/app.js"), "1").unwrap();
    let app = Router::new().nest_service("/admin-ui", admin::ui(folder.path()));
    let server = serve_app(app, admin::instrument(SocketIoConfig::new(), basic())).await;
    let page = get(server.address, "/admin-ui/").await;
    assert_eq!((page.status.as_u16(), page.text()), (200, "<title>UI</title>"));
    assert_eq!(page.header("content-security-policy"), Some("frame-ancestors 'none'"));
    let script = get(server.address, "/admin-ui/js/app.js").await;
    assert_eq!(
        (script.header("content-type"), script.header("x-content-type-options")),
        (Some("text/javascript"), Some("nosniff"))
    );
    let bare = get(server.address, "/admin-ui").await;
    assert_eq!((bare.status.as_u16(), bare.header("location")), (308, Some("/admin-ui/")));
    assert_eq!(get(server.address, "/admin-ui/none").await.status, 404);
    assert_eq!(get(server.address, "/admin-ui/../Cargo.toml").await.status, 404);
}
