//! Admins of a cluster that has a server of this crate and one of Node.js with `@socket.io/admin-ui`, as wire scripts. An admin is
//! connected to one of them, and sees and changes the sockets of both.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json as value};
use tower_socketio::{
    Args, Namespace, SocketIoConfig, SocketRef,
    admin::{self, AdminConfig, Auth, Mode},
    cluster::redis::{RedisAdapter, RedisConfig, RedisStreamsAdapter},
    extract::Data,
};

use crate::{
    brokers::{Broker, Redis},
    matrix::{
        node::{Node, NodeJs},
        operation::all,
    },
    support::*,
};

/// The adapters, as `tests/cluster/adapters.mjs` names them.
const ADAPTERS: [&str; 2] = ["redis", "redis-streams"];

/// The server to which the admin is connected.
#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    Rust,
    NodeJs,
}

const SERVERS: [At; 2] = [At::Rust, At::NodeJs];

/// Two servers. Both have the namespaces `/` and `/chat`, and each has one of its own.
struct Fleet {
    rust: TestServer,
    node_js: Node,
    _broker: Broker<Redis>,
}

impl Fleet {
    async fn start(adapter: &str, mode: Mode) -> Self {
        let broker = Broker::start(Redis::default()).await;
        let url = broker.url();
        let rust = rust(adapter, &url, mode).await;
        let node_js = node_js(adapter, &url, mode).await;
        let fleet = Self { rust, node_js, _broker: broker };
        fleet.is_complete().await;
        if mode == Mode::Development {
            fleet.has_heard().await;
        }
        fleet
    }

    /// Waits until the server of this crate has heard the figures of the other one. Then it shows how its sockets are connected.
    async fn has_heard(&self) {
        let (client, _) = client(self.rust.address).await;
        retry(async || {
            let sockets = self.node_js.actor.run(all().fetch()).await.unwrap();
            sockets[0]["data"]["_admin"].is_object().then_some(())
        })
        .await;
        drop(client);
        self.rust.is_empty().await;
    }

    /// Waits until the servers know each other in each namespace.
    async fn is_complete(&self) {
        for namespace in ["/", "/admin", "/chat"] {
            retry(async || {
                let count = self.node_js.actor.run(all().of(namespace).node_count()).await;
                (count.unwrap() == 2).then_some(())
            })
            .await;
            retry(async || {
                let all = self.rust.io.namespace(namespace).timeout(PATIENCE);
                (self.rust.io.node_count().await.ok()? == 2 && all.fetch_sockets().await.is_ok()).then_some(())
            })
            .await;
        }
    }

    fn address(&self, at: At) -> SocketAddr {
        match at {
            At::Rust => self.rust.address,
            At::NodeJs => self.node_js.address,
        }
    }

    fn other(&self, at: At) -> SocketAddr {
        self.address(if at == At::Rust { At::NodeJs } else { At::Rust })
    }
}

async fn node_js(adapter: &str, url: &str, mode: Mode) -> Node {
    let mode = if mode == Mode::Production { "production" } else { "development" };
    NodeJs::server("admin.mjs", &[adapter, url, mode]).await
}

/// Starts what `tests/cluster/admin.mjs` starts.
async fn rust(adapter: &str, url: &str, mode: Mode) -> TestServer {
    let namespace = Namespace::new()
        .on("join", |socket: SocketRef, Data(room): Data<String>| async move { socket.join(room) })
        .on("leave", |socket: SocketRef, Data(room): Data<String>| async move { socket.leave(room) })
        .on("data", |socket: SocketRef, Data(data): Data<Value>| async move { socket.set_data(&data).unwrap() })
        .on("echo", |socket: SocketRef, Data(args): Data<Args>| async move { socket.emit("echo", &args).unwrap() })
        .on("kick", async |socket: SocketRef| socket.disconnect());
    let config = SocketIoConfig::new()
        .ping_interval(Duration::from_secs(600))
        .namespace("/", namespace.clone())
        .namespace("/chat", namespace.clone())
        .namespace("/of-rust", namespace);
    let redis = RedisConfig::new(url);
    let config = match adapter {
        "redis" => config.adapter(RedisAdapter::connect(redis).await.unwrap()),
        _ => config.adapter(RedisStreamsAdapter::connect(redis).await.unwrap()),
    };
    let admin = AdminConfig::new(Auth::none()).mode(mode).server_id("rust");
    serve_config(admin::instrument(config, admin)).await
}

/// A connection to the namespace of the admin UI.
struct Admin(WebSocket);

impl Admin {
    async fn connect(address: SocketAddr) -> Self {
        let mut socket = WebSocket::open(address).await;
        socket.say("40/admin,").await;
        Self(socket)
    }

    /// Connects in development mode. Returns the list of sockets without those of admins.
    async fn watch(address: SocketAddr) -> (Self, Vec<Value>) {
        let mut admin = Self::connect(address).await;
        let Value::Array(mut sockets) = admin.wait_for("all_sockets").await else { panic!("not a list") };
        sockets.retain(|socket| socket["nsp"] != "/admin");
        (admin, sockets)
    }

    async fn say(&mut self, event: Value) {
        self.0.say(&format!("42/admin,{event}")).await;
    }

    async fn next(&mut self) -> Value {
        loop {
            if let Some(event) = self.0.text_but_pings().await.strip_prefix("42/admin,") {
                return json(event);
            }
        }
    }

    /// Waits for an event of this name, and returns its first argument.
    #[track_caller]
    fn wait_for(&mut self, name: &str) -> impl Future<Output = Value> {
        soon(async move {
            loop {
                let mut event = self.next().await;
                if event[0] == name {
                    return event[1].take();
                }
            }
        })
    }

    /// The next event, except figures and what concerns admins. Times are `"time"`.
    #[track_caller]
    fn told(&mut self) -> impl Future<Output = Value> {
        soon(async move {
            loop {
                let mut event = self.next().await;
                let is_of_admin = event[1] == "/admin" || event[1]["nsp"] == "/admin";
                if event[0] == "server_stats" || is_of_admin {
                    continue;
                }
                let is_time = |last: &Value| last.as_str().is_some_and(|text| text.len() == 24 && text.ends_with('Z'));
                if let Some(last) = event.as_array_mut().unwrap().last_mut().filter(|last| is_time(last)) {
                    *last = "time".into();
                }
                return event;
            }
        })
    }

    /// Expects that it is told of a new socket next.
    async fn is_told_of(&mut self, id: &str, namespace: &str) {
        assert_eq!(self.told().await, value!(["room_joined", namespace, id, id, "time"]));
        let connected = self.told().await;
        assert_eq!((&connected[0], &connected[2]), (&value!("socket_connected"), &value!("time")));
        is_described(&connected[1], namespace);
        assert_eq!(
            (&connected[1]["id"], &connected[1]["data"], &connected[1]["rooms"]),
            (&value!(id), &value!({}), &value!([id]))
        );
    }

    /// The next figures of a server.
    #[track_caller]
    fn figures(&mut self, server: &str) -> impl Future<Output = Value> {
        soon(async move {
            loop {
                let figures = self.wait_for("server_stats").await;
                if figures["serverId"] == server {
                    return figures;
                }
            }
        })
    }
}

/// A client of `/`, and the id of its socket.
async fn client(address: SocketAddr) -> (WebSocket, String) {
    WebSocket::join(address, "40").await
}

fn find<'a>(sockets: &'a [Value], id: &str) -> &'a Value {
    sockets.iter().find(|socket| socket["id"] == id).unwrap_or_else(|| panic!("no {id} in {sockets:?}"))
}

/// Checks what the page of a socket and the page of its client show.
fn is_described(socket: &Value, namespace: &str) {
    assert_eq!((&socket["nsp"], &socket["transport"]), (&value!(namespace), &value!("websocket")), "{socket}");
    // The UI groups sockets by the ids of their clients.
    assert!(socket["clientId"].as_str().is_some_and(|id| id.len() >= 12), "{socket}");
    assert!(socket["data"].get("_admin").is_none(), "{socket}");
    let handshake = &socket["handshake"];
    assert_eq!((&handshake["address"], &handshake["secure"]), (&value!("127.0.0.1"), &value!(false)));
    assert_eq!(handshake["query"], value!({"EIO": "4", "transport": "websocket"}));
    assert_eq!(handshake["url"], "/socket.io/?EIO=4&transport=websocket");
    assert!(handshake["headers"]["host"].is_string() && handshake["issued"].is_u64() && handshake["time"].is_string());
}

#[tokio::test]
#[ignore = "requires brokers and Node.js: make backends"]
async fn an_admin_sees_the_sockets_of_both_servers() {
    for adapter in ADAPTERS {
        let fleet = Fleet::start(adapter, Mode::Development).await;
        let (mut rust, rust_id) = client(fleet.rust.address).await;
        let (mut node_js, node_js_id) = client(fleet.node_js.address).await;
        for client in [&mut rust, &mut node_js] {
            client.say(r#"42["join","lobby"]"#).await;
            client.say(r#"42["data",{"user":{"name":"ada"}}]"#).await;
            client.say(r#"42["echo"]"#).await;
            client.expect(r#"42["echo"]"#).await;
        }
        let chat_id = rust.connect("40/chat,").await;
        let other_chat_id = node_js.connect("40/chat,").await;
        for client in [&mut rust, &mut node_js] {
            // Which is no data.
            client.say(r#"42/chat,["data",null]"#).await;
            client.say(r#"42/chat,["echo"]"#).await;
            client.expect(r#"42/chat,["echo"]"#).await;
        }
        for at in SERVERS {
            let (_admin, sockets) = Admin::watch(fleet.address(at)).await;
            assert_eq!(sockets.len(), 4, "{sockets:?}");
            for (id, chat) in [(&rust_id, &chat_id), (&node_js_id, &other_chat_id)] {
                let socket = find(&sockets, id);
                is_described(socket, "/");
                assert_eq!(socket["data"], value!({"user": {"name": "ada"}}), "{at:?}");
                let mut rooms: Vec<_> = socket["rooms"].as_array().unwrap().iter().collect();
                rooms.sort_by_key(|room| *room == "lobby");
                assert_eq!(rooms, [id, "lobby"], "{at:?}");
                let in_chat = find(&sockets, chat);
                is_described(in_chat, "/chat");
                assert_eq!((&in_chat["data"], &in_chat["rooms"]), (&value!({}), &value!([chat])), "{at:?}");
                assert_eq!(in_chat["clientId"], socket["clientId"], "{at:?}");
            }
            assert_ne!(find(&sockets, &rust_id)["clientId"], find(&sockets, &node_js_id)["clientId"]);
        }
    }
}

#[tokio::test]
#[ignore = "requires brokers and Node.js: make backends"]
async fn an_admin_sees_the_figures_of_both_servers() {
    let sees = async |mode| {
        let fleet = Fleet::start(ADAPTERS[0], mode).await;
        let _clients = [client(fleet.rust.address).await, client(fleet.node_js.address).await];
        for at in SERVERS {
            let mut admin = Admin::connect(fleet.address(at)).await;
            // The UI says that a server is not healthy ten seconds after its last figures.
            let is_here = |server| (at == At::Rust) == (server == "rust");
            // Those from before the admin and the clients were there.
            for server in ["rust", "node-js"] {
                let clients = if is_here(server) { 2 } else { 1 };
                soon(async { while admin.figures(server).await["clientsCount"] != clients {} }).await;
            }
            for _ in 0..7 {
                for server in ["rust", "node-js"] {
                    let figures = admin.figures(server).await;
                    let clients = if is_here(server) { 2 } else { 1 };
                    assert_eq!(figures["clientsCount"], clients, "{figures}");
                    assert_eq!(figures["pollingClientsCount"], 0);
                    let namespaces = figures["namespaces"].as_array().unwrap();
                    assert!(namespaces.contains(&value!({"name": "/", "socketsCount": 1})), "{figures}");
                    assert!(namespaces.contains(&value!({"name": "/admin", "socketsCount": clients - 1})), "{figures}");
                    assert!(figures["hostname"].is_string() && figures["pid"].is_u64() && figures["uptime"].is_f64());
                    assert!(figures["aggregatedEvents"].is_array());
                }
            }
            drop(admin);
            until(|| fleet.rust.io.stats().connections == 1).await;
        }
    };
    tokio::join!(sees(Mode::Production), sees(Mode::Development));
}

#[tokio::test]
#[ignore = "requires brokers and Node.js: make backends"]
async fn an_admin_is_told_the_changes_of_the_other_server() {
    for adapter in ADAPTERS {
        for at in SERVERS {
            let fleet = Fleet::start(adapter, Mode::Development).await;
            let (mut admin, sockets) = Admin::watch(fleet.address(at)).await;
            assert_eq!(sockets, [] as [Value; 0]);
            let (mut client, id) = client(fleet.other(at)).await;
            admin.is_told_of(&id, "/").await;
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
                assert_eq!(admin.told().await, value!(["event_received", "/", id, json(packet), "time"]), "{at:?}");
                assert_eq!(admin.told().await, expected, "{at:?}");
            }
            assert_eq!(admin.told().await, value!(["room_left", "/", id, id, "time"]));
        }
    }
}

#[tokio::test]
#[ignore = "requires brokers and Node.js: make backends"]
async fn an_admin_is_told_the_upgrade_of_a_client_of_the_other_server() {
    for at in SERVERS {
        let fleet = Fleet::start(ADAPTERS[0], Mode::Development).await;
        let (mut admin, _) = Admin::watch(fleet.address(at)).await;
        let address = fleet.other(at);
        let polling = Polling::join(address).await;
        assert_eq!(admin.told().await[0], "room_joined");
        let connected = admin.told().await;
        assert_eq!((&connected[0], &connected[1]["transport"]), (&value!("socket_connected"), &value!("polling")));
        let target = format!("/socket.io/?EIO=4&transport=websocket&sid={}", polling.sid);
        let mut client = WebSocket::raw(address, &target, &[]).await.unwrap();
        client.say("2probe").await;
        client.expect("3probe").await;
        client.say("5").await;
        let update = value!({"id": connected[1]["id"], "nsp": "/", "transport": "websocket"});
        assert_eq!(admin.told().await, value!(["socket_updated", update]), "{at:?}");
        let (_admin, sockets) = Admin::watch(fleet.address(at)).await;
        assert_eq!(sockets[0]["transport"], "websocket", "{at:?}");
    }
}

#[tokio::test]
#[ignore = "requires brokers and Node.js: make backends"]
async fn requests_of_an_admin_reach_the_sockets_of_both_servers() {
    for adapter in ADAPTERS {
        for at in SERVERS {
            let fleet = Fleet::start(adapter, Mode::Development).await;
            let (mut admin, _) = Admin::watch(fleet.address(at)).await;
            let (mut here, here_id) = client(fleet.address(at)).await;
            admin.is_told_of(&here_id, "/").await;
            let (mut there, there_id) = client(fleet.other(at)).await;
            admin.is_told_of(&there_id, "/").await;
            let chat_id = there.connect("40/chat,").await;
            admin.is_told_of(&chat_id, "/chat").await;
            let both = |event: &str, room: &str| {
                [value!([event, "/", room, here_id, "time"]), value!([event, "/", room, there_id, "time"])]
            };
            // The order of what two servers tell is not determined.
            let told_of_both = async |admin: &mut Admin| {
                let [first, second] = [admin.told().await, admin.told().await];
                if first[3] == here_id { [first, second] } else { [second, first] }
            };

            // One socket, a namespace, a room.
            admin.say(value!(["join", "/", "garden", there_id])).await;
            assert_eq!(admin.told().await, value!(["room_joined", "/", "garden", there_id, "time"]), "{at:?}");
            admin.say(value!(["join", "/", "all"])).await;
            assert_eq!(told_of_both(&mut admin).await, both("room_joined", "all"), "{at:?}");
            admin.say(value!(["join", "/", "some", "garden"])).await;
            assert_eq!(admin.told().await, value!(["room_joined", "/", "some", there_id, "time"]), "{at:?}");
            admin.say(value!(["leave", "/", "some", there_id])).await;
            assert_eq!(admin.told().await, value!(["room_left", "/", "some", there_id, "time"]), "{at:?}");
            admin.say(value!(["leave", "/", "all", "garden"])).await;
            assert_eq!(admin.told().await, value!(["room_left", "/", "all", there_id, "time"]), "{at:?}");
            admin.say(value!(["join", "/", "all", there_id])).await;
            assert_eq!(admin.told().await, value!(["room_joined", "/", "all", there_id, "time"]), "{at:?}");
            admin.say(value!(["leave", "/", "all"])).await;
            assert_eq!(told_of_both(&mut admin).await, both("room_left", "all"), "{at:?}");
            admin.say(value!(["emit", "/", there_id, "news", 1])).await;
            assert_eq!(admin.told().await, value!(["event_sent", "/", there_id, ["news", 1], "time"]), "{at:?}");
            there.expect(r#"42["news",1]"#).await;

            let left = |id: &str, namespace: &str| {
                value!(["socket_disconnected", namespace, id, "server namespace disconnect", "time"])
            };
            // Only from the other namespace.
            admin.say(value!(["_disconnect", "/chat", false])).await;
            there.expect("41/chat,").await;
            assert_eq!(admin.told().await, left(&chat_id, "/chat"), "{at:?}");
            assert_eq!(admin.told().await, value!(["room_left", "/chat", chat_id, chat_id, "time"]), "{at:?}");
            // The members of a room.
            admin.say(value!(["_disconnect", "/", false, "garden"])).await;
            there.expect("41").await;
            assert_eq!(admin.told().await, left(&there_id, "/"), "{at:?}");
            for room in [there_id.as_str(), "garden"] {
                assert_eq!(admin.told().await, value!(["room_left", "/", room, there_id, "time"]), "{at:?}");
            }
            // One socket, with its connection.
            let there_id = there.connect("40").await;
            admin.is_told_of(&there_id, "/").await;
            admin.say(value!(["_disconnect", "/", true, there_id])).await;
            assert_eq!(there.frame().await, Frame::Text("41".to_owned()), "{at:?}");
            assert!(matches!(there.frame().await, Frame::Close(_)), "{at:?}");
            assert_eq!(admin.told().await, left(&there_id, "/"), "{at:?}");
            assert_eq!(admin.told().await, value!(["room_left", "/", there_id, there_id, "time"]));
            // All that are left.
            admin.say(value!(["_disconnect", "/", false])).await;
            here.expect("41").await;
            assert_eq!(admin.told().await, left(&here_id, "/"), "{at:?}");
            assert_eq!(admin.told().await, value!(["room_left", "/", here_id, here_id, "time"]));
        }
    }
}

#[tokio::test]
#[ignore = "requires brokers and Node.js: make backends"]
async fn requests_of_an_admin_reach_namespaces_that_only_the_other_server_has() {
    for adapter in ADAPTERS {
        for (at, namespace) in [(At::Rust, "/of-node-js"), (At::NodeJs, "/of-rust")] {
            let fleet = Fleet::start(adapter, Mode::Development).await;
            let (mut admin, _) = Admin::watch(fleet.address(at)).await;
            let (mut client, id) = WebSocket::join(fleet.other(at), &format!("40{namespace},")).await;
            admin.is_told_of(&id, namespace).await;
            admin.say(value!(["join", namespace, "garden", id])).await;
            assert_eq!(admin.told().await, value!(["room_joined", namespace, "garden", id, "time"]), "{at:?}");
            admin.say(value!(["leave", namespace, "garden"])).await;
            assert_eq!(admin.told().await, value!(["room_left", namespace, "garden", id, "time"]), "{at:?}");
            admin.say(value!(["_disconnect", namespace, false, id])).await;
            client.expect(&format!("41{namespace},")).await;
            let reason = "server namespace disconnect";
            assert_eq!(admin.told().await, value!(["socket_disconnected", namespace, id, reason, "time"]), "{at:?}");
            assert_eq!(admin.told().await, value!(["room_left", namespace, id, id, "time"]));
        }
    }
}

/// As after a deployment.
#[tokio::test]
#[ignore = "requires brokers and Node.js: make backends"]
async fn an_admin_sees_a_server_that_starts_later() {
    for adapter in ADAPTERS {
        for at in SERVERS {
            let broker = Broker::start(Redis::default()).await;
            let url = broker.url();
            let mode = Mode::Development;
            // The first one is kept until the end of the scope.
            let (address, other, _servers) = match at {
                At::Rust => {
                    let first = rust(adapter, &url, mode).await;
                    let address = first.address;
                    (address, At::NodeJs, (Some(first), None))
                }
                At::NodeJs => {
                    let first = node_js(adapter, &url, mode).await;
                    (first.address, At::Rust, (None, Some(first)))
                }
            };
            let (mut admin, _) = Admin::watch(address).await;
            let (second, _servers) = match other {
                At::Rust => {
                    let second = rust(adapter, &url, mode).await;
                    let address = second.address;
                    (address, (Some(second), None))
                }
                At::NodeJs => {
                    let second = node_js(adapter, &url, mode).await;
                    (second.address, (None, Some(second)))
                }
            };
            let (_client, id) = client(second).await;
            assert_eq!(admin.wait_for("socket_connected").await["id"], id.as_str());
            admin.figures(if other == At::Rust { "rust" } else { "node-js" }).await;
        }
    }
}
