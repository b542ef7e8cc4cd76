//! Admission to namespaces, and what the client receives.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Extension, Json,
    extract::{ConnectInfo, FromRef, Path, Query, Request, State},
    http::{HeaderMap, Method, StatusCode, Uri},
    middleware::{Next, from_fn},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tower_socketio::{
    Ack, DisconnectReason, Namespace, SlowClientPolicy, SocketIo, SocketIoConfig, SocketRef, extract::Data,
};

use crate::support::*;

#[tokio::test]
async fn a_namespace_without_handlers_accepts_all_clients() {
    let server = serve_config(SocketIoConfig::new().namespace("/a", Namespace::new())).await;
    let (mut client, root) = WebSocket::join(server.address, "40").await;
    let named = client.connect("40/a,").await;
    assert_ne!(root, named, "each namespace has an id of its own");
    assert_ne!(root, client.sid, "and none is the session's secret");
    assert_eq!(server.io.of("/a").unwrap().sockets()[0].id().as_str(), named);
}

#[tokio::test]
async fn an_unknown_namespace_is_refused_and_the_connection_stays() {
    let server = serve_config(SocketIoConfig::new()).await;
    let mut client = WebSocket::open(server.address).await;
    for (connect, name) in
        [("40/random", "/random"), ("40/random,", "/random"), ("40/a?x=1,{\"t\":1}", "/a?x=1"), ("40/é,", "/é")]
    {
        client.say(connect).await;
        client.expect(&format!(r#"44{name},{{"message":"Invalid namespace"}}"#)).await;
    }
    client.connect("40").await;
}

#[derive(Deserialize)]
struct Auth {
    user: String,
}

#[derive(Deserialize)]
struct Params {
    lang: String,
}

#[derive(Clone)]
struct App {
    log: Arc<Mutex<Vec<String>>>,
}

impl FromRef<App> for &'static str {
    fn from_ref(_: &App) -> Self {
        "substate"
    }
}

#[tokio::test]
async fn on_connect_accepts_the_extractors_of_axum() {
    #[allow(clippy::too_many_arguments)]
    async fn joined(
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        Query(params): Query<Params>,
        ConnectInfo(address): ConnectInfo<SocketAddr>,
        State(app): State<App>,
        State(substate): State<&'static str>,
        socket: SocketRef,
        io: SocketIo,
        Json(auth): Json<Auth>,
    ) {
        assert!(!socket.is_connected());
        assert!(address.ip().is_loopback());
        assert_eq!(io.stats().connections, 1);
        let stripped = ["connection", "upgrade", "sec-websocket-key", "sec-websocket-version", "accept-encoding"];
        assert!(stripped.iter().all(|name| !headers.contains_key(*name)));
        let line = format!("{method} {} {} {} {substate} {}", uri.path(), params.lang, auth.user, headers["x-a"].len());
        app.log.lock().unwrap().push(line);
    }
    let app = App { log: Arc::default() };
    let namespace = Namespace::new().on_connect(joined).with_state(app.clone());
    let server = serve_config(SocketIoConfig::new().namespace("/chat", namespace)).await;
    let mut client = WebSocket::open_with(server.address, "&lang=fr", &[("x-a", "abc")]).await;
    client.connect(r#"40/chat,{"user":"ada"}"#).await;
    assert_eq!(*app.log.lock().unwrap(), ["POST /chat fr ada substate 3"]);
}

#[tokio::test]
async fn an_extractor_that_rejects_refuses_the_client() {
    async fn joined(_: Query<Params>, Json(auth): Json<Auth>) {
        assert!(!auth.user.is_empty());
    }
    let namespace = Namespace::new().on_connect(joined).with_state(());
    let server = serve_config(SocketIoConfig::new().namespace("/chat", namespace)).await;
    let mut client = WebSocket::open_with(server.address, "&lang=fr", &[]).await;
    client.say("40/chat,{}").await;
    let refusal = json(&client.text().await.replace("44/chat,", ""));
    assert!(refusal["message"].as_str().unwrap().contains("missing field `user`"), "{refusal}");
    client.connect(r#"40/chat,{"user":"ada"}"#).await;
    drop(client);
    server.is_empty().await;
}

/// Returns the refusal by a namespace whose `on_connect` returns this value.
async fn refusal<R>(answer: impl Fn() -> R + Clone + Send + Sync + 'static) -> Value
where
    R: IntoResponse + Send + 'static,
{
    let namespace = Namespace::new().on_connect(move || {
        let answer = answer();
        async move { answer }
    });
    let server = serve_namespace(namespace.with_state(())).await;
    let mut client = WebSocket::open(server.address).await;
    client.say("40").await;
    let reply = client.text().await;
    assert!(reply.starts_with("44{"), "{reply}");
    assert_eq!(server.io.stats().sockets, 0);
    client.is_quiet().await;
    json(&reply)
}

#[tokio::test]
async fn the_response_becomes_the_connect_error() {
    assert_eq!(refusal(|| StatusCode::FORBIDDEN).await, json!({"message": "Forbidden"}));
    assert_eq!(refusal(|| (StatusCode::FORBIDDEN, "no entry")).await, json!({"message": "no entry"}));
    let body = json!({"message": "no entry", "data": {"code": 7}});
    let answer = body.clone();
    assert_eq!(refusal(move || (StatusCode::CONFLICT, Json(answer.clone()))).await, body);
    assert_eq!(
        refusal(|| (StatusCode::CONFLICT, Json(json!(["a"])))).await,
        json!({"message": "Conflict", "data": ["a"]})
    );
    assert_eq!(
        refusal(|| Redirect::to("/login")).await,
        json!({"message": "See Other", "data": {"location": "/login"}})
    );
    assert_eq!(refusal(|| Err::<(), _>((StatusCode::UNAUTHORIZED, "who?"))).await, json!({"message": "who?"}));
}

#[tokio::test]
async fn a_panic_in_on_connect_rejects_only_its_client() {
    async fn joined() {
        panic!("on purpose");
    }
    let server = serve_config(SocketIoConfig::new().namespace("/bad", Namespace::new().on_connect(joined))).await;
    let mut client = WebSocket::open(server.address).await;
    client.say("40/bad").await;
    client.expect(r#"44/bad,{"message":"Internal Server Error"}"#).await;
    client.connect("40").await;
    assert_eq!(server.io.stats().panics, 1);
}

#[tokio::test]
async fn several_on_connect_handlers_run_in_order_until_one_rejects() {
    #[derive(Clone)]
    struct Layered(&'static str);
    async fn layer(mut request: Request, next: Next) -> Response {
        request.extensions_mut().insert(Layered("of the layer"));
        next.run(request).await
    }
    async fn first(socket: SocketRef, Extension(Layered(text)): Extension<Layered>, Json(auth): Json<Auth>) {
        assert_eq!(text, "of the layer");
        tokio::task::yield_now().await;
        socket.join(auth.user);
        socket.extensions().insert(Layered("of the first"));
        socket.emit("first", &()).unwrap();
    }
    // Each of them gets the whole request, and what the first one has set on the socket stays.
    async fn second(
        State(log): State<Arc<Mutex<Vec<String>>>>,
        socket: SocketRef,
        Path(id): Path<u32>,
        Json(auth): Json<Auth>,
    ) -> StatusCode {
        assert_eq!(socket.extensions().get::<Layered>().unwrap().0, "of the first");
        assert!(socket.is_in(&auth.user));
        socket.emit("second", &id).unwrap();
        log.lock().unwrap().push(auth.user.clone());
        if auth.user == "Eve" { StatusCode::FORBIDDEN } else { StatusCode::OK }
    }
    async fn third(State(log): State<Arc<Mutex<Vec<String>>>>, socket: SocketRef) {
        log.lock().unwrap().push("third".to_owned());
        socket.emit("third", &()).unwrap();
    }
    let log = Arc::new(Mutex::new(Vec::new()));
    let left = Arc::new(Mutex::new(0));
    let leaves = left.clone();
    let namespace = Namespace::new()
        .on_connect(first)
        .on_connect(second)
        .on_connect(third)
        .on_disconnect(async move || *leaves.lock().unwrap() += 1)
        .layer(from_fn(layer))
        .with_state(log.clone());
    let server = serve_config(SocketIoConfig::new().namespace("/room/{id}", namespace)).await;
    let mut client = WebSocket::open(server.address).await;
    client.connect(r#"40/room/7,{"user":"Ada"}"#).await;
    for event in [r#"["first"]"#, r#"["second",7]"#, r#"["third"]"#] {
        client.expect(&format!("42/room/7,{event}")).await;
    }
    // The rejection of the second one counts as that of `on_connect`: there is no disconnection, and nothing of the socket is left.
    client.say(r#"40/room/8,{"user":"Eve"}"#).await;
    client.expect(r#"44/room/8,{"message":"Forbidden"}"#).await;
    // An extractor of the first one rejects.
    client.say(r#"40/room/9,{"name":"Ada"}"#).await;
    assert!(client.text().await.starts_with("44/room/9,"));
    assert_eq!(*log.lock().unwrap(), ["Ada", "third", "Eve"]);
    assert_eq!((server.io.stats().sockets, *left.lock().unwrap()), (1, 0));
    drop(client);
    until(|| *left.lock().unwrap() == 1).await;
}

#[tokio::test]
async fn a_socket_that_its_first_on_connect_disconnects_reaches_no_other() {
    async fn first(socket: SocketRef) {
        socket.disconnect();
    }
    async fn second() {
        panic!("it is not called");
    }
    let config = SocketIoConfig::new().namespace("/", Namespace::new().on_connect(first).on_connect(second));
    let server = serve_config(config).await;
    let mut client = WebSocket::open(server.address).await;
    client.say("40").await;
    assert!(client.text().await.starts_with("44{"));
    assert_eq!(server.io.stats().panics, 0);
}

#[tokio::test]
async fn connect_precedes_events_emitted_by_on_connect() {
    async fn layer(socket: SocketRef, request: Request, next: Next) -> Response {
        socket.emit("from-layer", &1).unwrap();
        socket.join("from-layer");
        next.run(request).await
    }
    async fn joined(socket: SocketRef, io: SocketIo) {
        socket.emit("hello", &1).unwrap();
        socket.join("room");
        io.emit("everyone", &2).unwrap();
        io.to("room").emit("room", &3).unwrap();
        socket.to("room").emit("others", &4).unwrap();
        io.to("from-layer").emit("layer-room", &5).unwrap();
    }
    let server = serve_namespace(Namespace::new().on_connect(joined).layer(from_fn(layer)).with_state(())).await;
    let (mut client, id) = WebSocket::join(server.address, "40").await;
    for expected in
        [r#"42["from-layer",1]"#, r#"42["hello",1]"#, r#"42["everyone",2]"#, r#"42["room",3]"#, r#"42["layer-room",5]"#]
    {
        client.expect(expected).await;
    }
    client.is_quiet().await;
    let mut rooms: Vec<_> = server.io.socket(&id).unwrap().rooms().iter().map(ToString::to_string).collect();
    rooms.sort();
    let mut expected = vec!["from-layer".to_owned(), id, "room".to_owned()];
    expected.sort();
    assert_eq!(rooms, expected);
}

#[tokio::test]
async fn emits_and_joins_of_a_rejected_socket_are_reverted() {
    async fn joined(socket: SocketRef) -> StatusCode {
        socket.emit("hello", &1).unwrap();
        socket.join("room");
        StatusCode::FORBIDDEN
    }
    let server = serve_config(SocketIoConfig::new().namespace("/no", Namespace::new().on_connect(joined))).await;
    let mut client = WebSocket::open(server.address).await;
    client.say("40/no").await;
    client.expect(r#"44/no,{"message":"Forbidden"}"#).await;
    client.is_quiet().await;
    assert!(server.io.of("/no").unwrap().rooms().is_empty());
    assert_eq!(server.io.stats().sockets, 0);
}

#[tokio::test]
async fn disconnection_handlers_do_not_run_for_rejected_clients() {
    let (sender, mut calls) = mpsc::unbounded_channel();
    let note = move |what: &'static str| {
        let sender = sender.clone();
        move |_: DisconnectReason| {
            let sender = sender.clone();
            async move { sender.send(what).unwrap() }
        }
    };
    let namespace = Namespace::new()
        .on_connect(|| async { StatusCode::FORBIDDEN })
        .on_disconnecting(note("disconnecting"))
        .on_disconnect(note("disconnect"));
    let server = serve_namespace(namespace.with_state(())).await;
    let mut client = WebSocket::open(server.address).await;
    client.say("40").await;
    client.expect(r#"44{"message":"Forbidden"}"#).await;
    drop(client);
    server.is_empty().await;
    assert!(calls.try_recv().is_err());
}

#[tokio::test]
async fn a_slow_on_connect_delays_only_its_client() {
    let gate = Arc::new(Notify::new());
    let waiting = gate.clone();
    let slow = Namespace::new()
        .on_connect(move || {
            let gate = waiting.clone();
            async move { gate.notified().await }
        })
        .with_state(());
    let server = serve_config(SocketIoConfig::new().namespace("/slow", slow)).await;
    let mut client = WebSocket::open(server.address).await;
    client.say("40/slow").await;
    client.connect("40").await;
    gate.notify_one();
    assert!(client.text().await.starts_with(r#"40/slow,{"sid":""#));
}

#[tokio::test]
async fn services_are_cancelled_with_their_connection() {
    struct Dropped(mpsc::UnboundedSender<()>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (sender, mut dropped) = mpsc::unbounded_channel();
    let namespace = Namespace::new()
        .on_connect(move || {
            let guard = Dropped(sender.clone());
            async move {
                std::future::pending::<()>().await;
                drop(guard);
            }
        })
        .with_state(());
    let server = serve_namespace(namespace).await;
    let mut client = WebSocket::open(server.address).await;
    client.say("40").await;
    client.is_quiet().await;
    drop(client);
    soon(dropped.recv()).await.unwrap();
    server.is_empty().await;
}

#[tokio::test]
async fn a_connection_that_joins_nothing_is_closed() {
    let config = SocketIoConfig::new().connect_timeout(Duration::from_millis(50));
    let server = serve_config(config).await;
    let mut client = WebSocket::open(server.address).await;
    client.expect_close().await;
    let client = Polling::open(server.address).await;
    let poll = client.poll().await;
    assert!(["1", "6\x1e1"].contains(&poll.text()), "{}", poll.text());
    server.is_empty().await;
}

#[tokio::test]
async fn a_connection_that_has_joined_stays() {
    let config = SocketIoConfig::new().connect_timeout(PATIENCE).ping_interval(100 * PATIENCE);
    let server = serve_config(config).await;
    let (mut joined, _) = WebSocket::join(server.address, "40").await;
    let mut idle = WebSocket::open(server.address).await;
    skip(PATIENCE).await;
    idle.expect_close().await;
    joined.is_quiet().await;
    joined.say("41").await;
    joined.is_quiet().await;
}

#[tokio::test]
async fn a_second_connect_closes_the_connection() {
    let server = serve_config(SocketIoConfig::new()).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.say("40").await;
    client.expect_close().await;
    server.is_empty().await;
}

#[tokio::test]
async fn packets_for_a_namespace_that_is_not_joined_close_the_connection() {
    for packet in [r#"42["a"]"#, "41", r#"431["a"]"#, r#"42/a["ack"]"#] {
        let server = serve_config(SocketIoConfig::new()).await;
        let mut client = WebSocket::open(server.address).await;
        client.say(packet).await;
        client.expect_close().await;
        // The same while the admission is pending.
        let namespace = Namespace::new().on_connect(std::future::pending::<()>);
        let server = serve_namespace(namespace.with_state(())).await;
        let mut client = WebSocket::open(server.address).await;
        client.say("40").await;
        client.say(packet).await;
        client.expect_close().await;
        server.is_empty().await;
    }
}

#[tokio::test]
async fn a_violation_over_polling_ends_the_next_poll() {
    let server = serve_config(SocketIoConfig::new()).await;
    let client = Polling::open(server.address).await;
    client.say("42[\"a\"]").await;
    client.expect("6\x1e1").await;
    client.is_gone().await;
    server.is_empty().await;
}

#[tokio::test]
async fn a_client_can_leave_a_namespace_and_rejoin() {
    let server = serve_config(SocketIoConfig::new().namespace("/a", Namespace::new())).await;
    let (mut client, first) = WebSocket::join(server.address, "40/a").await;
    client.say("41/a,").await;
    client.is_quiet().await;
    assert_eq!(server.io.stats().sockets, 0);
    assert_ne!(client.connect("40/a").await, first);
}

#[tokio::test]
async fn a_success_response_of_a_layer_does_not_accept_a_client() {
    async fn short_cut(_: Request, _: Next) -> StatusCode {
        StatusCode::OK
    }
    let namespace = Namespace::new().layer(from_fn(short_cut)).with_state(());
    let server = serve_namespace(namespace).await;
    let mut client = WebSocket::open(server.address).await;
    client.say("40").await;
    client.expect(r#"44{"message":"the connection was not handed on"}"#).await;
}

#[tokio::test]
async fn a_layers_extension_stays_on_the_socket_without_holding_it() {
    #[derive(Clone)]
    struct User(Arc<String>);
    let name = Arc::new("ada".to_owned());
    let user = User(name.clone());
    async fn who(Extension(user): Extension<User>) -> Ack<String> {
        Ack(String::clone(&user.0))
    }
    async fn joined(Extension(user): Extension<User>, socket: SocketRef) {
        assert_eq!(*user.0, "ada");
        assert!(socket.extensions().get::<User>().is_some());
    }
    let namespace = Namespace::new().on_connect(joined).on("who", who).layer(Extension(user)).with_state(());
    let server = serve_namespace(namespace).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.say(r#"420["who"]"#).await;
    client.expect(r#"430["ada"]"#).await;
    drop(client);
    server.is_empty().await;
    // The layer and this test hold one reference each. Those of the socket have been dropped.
    until(|| Arc::strong_count(&name) == 2).await;
}

#[tokio::test]
async fn a_pattern_makes_namespaces_and_path_extracts_from_them() {
    async fn joined(Path(id): Path<u32>, socket: SocketRef) {
        socket.emit("id", &id).unwrap();
    }
    async fn message(socket: SocketRef, Data(text): Data<String>) {
        socket.broadcast().emit("message", &text).unwrap();
    }
    let room = Namespace::new().on_connect(joined).on("message", message).with_state(());
    let server = serve_config(SocketIoConfig::new().namespace("/salle-é/{id}", room)).await;
    let (mut a, _) = WebSocket::join(server.address, "40/salle-é/7").await;
    let (mut b, _) = WebSocket::join(server.address, "40/salle-é/7").await;
    let (mut c, _) = WebSocket::join(server.address, "40/salle-é/8").await;
    a.expect(r#"42/salle-é/7,["id",7]"#).await;
    b.expect(r#"42/salle-é/7,["id",7]"#).await;
    c.expect(r#"42/salle-é/8,["id",8]"#).await;
    a.say(r#"42/salle-é/7,["message","hi"]"#).await;
    b.expect(r#"42/salle-é/7,["message","hi"]"#).await;
    c.is_quiet().await;
    c.say("40/salle-é/x").await;
    let refusal = json(c.text().await.split_once(',').unwrap().1);
    assert!(refusal["message"].as_str().unwrap().contains("Invalid URL"), "{refusal}");
    assert_eq!(server.io.namespaces().len(), 3);
    drop((a, b, c));
    server.is_empty().await;
    assert_eq!(server.io.namespaces().len(), 1, "empty ones are dropped");
}

#[tokio::test]
async fn namespaces_of_a_pattern_can_be_kept() {
    let config = SocketIoConfig::new().cleanup_empty_namespaces(false).namespace("/room/{id}", Namespace::new());
    let server = serve_config(config).await;
    let (client, _) = WebSocket::join(server.address, "40/room/1").await;
    drop(client);
    server.is_empty().await;
    assert!(server.io.of("/room/1").is_some());
}

#[tokio::test]
async fn a_predicate_is_asked_after_names_and_patterns() {
    async fn joined(socket: SocketRef) {
        socket.emit("via", socket.namespace().name()).unwrap();
    }
    let exact = Namespace::new();
    let config = SocketIoConfig::new()
        .namespace("/team-exact", exact)
        .namespace_fn(|name| name.starts_with("/team-"), Namespace::new().on_connect(joined).with_state(()));
    let server = serve_config(config).await;
    let (mut client, _) = WebSocket::join(server.address, "40/team-a").await;
    client.expect(r#"42/team-a,["via","/team-a"]"#).await;
    client.connect("40/team-exact").await;
    client.is_quiet().await;
}

#[test]
#[should_panic(expected = "the namespace `/a` has been added twice")]
fn a_namespace_cannot_be_added_twice() {
    let _ = SocketIoConfig::new().namespace("/a", Namespace::new()).namespace("a", Namespace::new());
}

#[test]
#[should_panic(expected = "the namespace pattern `/a/{y}` cannot be added")]
fn patterns_cannot_overlap() {
    let _ = SocketIoConfig::new().namespace("/a/{x}", Namespace::new()).namespace("/a/{y}", Namespace::new());
}

#[test]
#[should_panic(expected = "contains a comma or a question mark")]
fn a_name_with_a_comma_cannot_be_added() {
    let _ = SocketIoConfig::new().namespace("/a,b", Namespace::new());
}

#[test]
#[should_panic(expected = "the event `a` has two handlers")]
fn an_event_cannot_have_two_handlers() {
    let _ = Namespace::<()>::new().on("a", || async {}).on("a", || async {});
}

#[test]
#[should_panic(expected = "`disconnect` is reserved by the protocol")]
fn a_reserved_event_cannot_have_a_handler() {
    let _ = Namespace::<()>::new().on("disconnect", || async {});
}

#[tokio::test]
async fn the_handshake_tells_how_a_socket_came_to_be() {
    #[derive(Deserialize)]
    struct Token {
        token: String,
    }
    async fn joined(socket: SocketRef) {
        let handshake = socket.handshake();
        let auth: Token = handshake.auth().unwrap();
        assert_eq!(auth.token, "t");
        assert!(handshake.auth::<String>().is_err());
        assert_eq!(handshake.headers()["x-a"], "abc");
        assert_eq!(handshake.query_param("q").as_deref(), Some("a b"));
        assert_eq!(handshake.query_param("EIO").as_deref(), Some("4"));
        assert_eq!(handshake.query_param("none"), None);
        assert!(handshake.uri().path().starts_with("/socket.io/"));
        assert!(handshake.remote_addr().unwrap().ip().is_loopback());
        assert!(handshake.time().elapsed().unwrap() < PATIENCE);
        assert!(!handshake.is_secure());
        assert!(!handshake.is_cross_origin());
        assert!(!format!("{handshake:?}").contains("abc"), "headers are secrets");
    }
    let server = serve_namespace(Namespace::new().on_connect(joined).with_state(())).await;
    let mut client = WebSocket::open_with(server.address, "&q=a+b", &[("x-a", "abc")]).await;
    client.connect(r#"40{"token":"t"}"#).await;
    assert_eq!(server.io.stats().panics, 0);
}

#[tokio::test]
async fn events_from_on_connect_may_fill_the_buffer() {
    async fn joined(socket: SocketRef) {
        socket.emit("state", &"x".repeat(150_000)).unwrap();
        assert!(socket.emit("more", &"x".repeat(150_000)).is_err());
    }
    let config = SocketIoConfig::new()
        .max_buffered_bytes(100_000)
        .slow_client_policy(SlowClientPolicy::DropPacket)
        .namespace("/", Namespace::new().on_connect(joined).with_state(()));
    let server = serve_config(config).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    assert_eq!(client.text().await.len(), r#"42["state",""]"#.len() + 150_000);
    client.is_quiet().await;
    assert_eq!(server.io.stats().slow_clients, 1);
}

#[tokio::test]
async fn a_socket_that_is_disconnected_while_it_is_admitted_is_refused_once() {
    let gate = Arc::new(Notify::new());
    let waiting = gate.clone();
    let namespace = Namespace::new().on_connect(async move |socket: SocketRef| {
        socket.disconnect();
        waiting.notified().await;
    });
    let server = serve_namespace(namespace.with_state(())).await;
    let mut client = WebSocket::open(server.address).await;
    client.say("40").await;
    client.is_quiet().await;
    gate.notify_one();
    client.expect(r#"44{"message":"disconnected by the server"}"#).await;
    // The namespace may be joined again.
    client.say("40").await;
    gate.notify_one();
    client.expect(r#"44{"message":"disconnected by the server"}"#).await;
    server.has_sockets(0).await;
}

/// A layer that allows one namespace and rejects all others by their path.
#[tokio::test]
async fn a_guard_by_path_is_not_passed_by_a_long_query() {
    async fn guard(request: axum::extract::Request, next: axum::middleware::Next) -> axum::response::Response {
        match request.uri().path() {
            "/" => next.run(request).await,
            _ => StatusCode::FORBIDDEN.into_response(),
        }
    }
    let guarded = || Namespace::new().layer(axum::middleware::from_fn(guard));
    let config = SocketIoConfig::new()
        .max_head_bytes(1_000_000)
        .namespace("/", guarded())
        .namespace("/admin", guarded())
        .namespace("/tenant/{id}", guarded());
    let server = serve_config(config).await;
    let base = "/socket.io/?EIO=4&transport=polling&x=";
    // The longest possible target, and some that leave room for a part of the name.
    for length in [65_534, 65_530, 65_528, 65_510] {
        let client = Polling::open_with(server.address, &format!("&x={}", "x".repeat(length - base.len()))).await;
        for name in ["/admin", "/tenant/7"] {
            client.say(&format!("40{name},")).await;
            let refused = client.poll().await;
            assert!(refused.text().starts_with(&format!("44{name},")), "{length}: {}", refused.text());
        }
        client.say("40").await;
        let joined = client.poll().await;
        assert!(joined.text().starts_with("40{"), "{}", joined.text());
        client.say("1").await;
        server.is_empty().await;
    }
}

#[tokio::test]
async fn auth_payloads_are_bounded_for_a_connection() {
    let config = SocketIoConfig::new()
        .max_auth_bytes(1000)
        .namespace("/a", Namespace::new())
        .namespace("/b", Namespace::new().on_connect(|| async { StatusCode::FORBIDDEN }))
        .namespace("/c", Namespace::new())
        .namespace_async_fn(
            async |request: tower_socketio::namespace::NamespaceRequest| {
                tokio::task::yield_now().await;
                request.name() == "/asked"
            },
            Namespace::new(),
        );
    let server = serve_config(config).await;
    let mut client = WebSocket::open(server.address).await;
    let auth = |bytes: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - 8));
    let too_much = |name: &str| format!(r#"44{name},{{"message":"the auth payload exceeds max_auth_bytes"}}"#);
    client.say(&format!("40/a,{}", auth(1001))).await;
    client.expect(&too_much("/a")).await;
    client.connect(&format!("40/a,{}", auth(600))).await;
    for name in ["/c", "/asked"] {
        client.say(&format!("40{name},{}", auth(401))).await;
        client.expect(&too_much(name)).await;
    }
    // Neither payloads that were refused nor sockets that have left are counted.
    for _ in 0..10 {
        client.say(&format!("40/b,{}", auth(400))).await;
        client.expect(r#"44/b,{"message":"Forbidden"}"#).await;
    }
    client.connect(&format!("40/c,{}", auth(400))).await;
    client.say("41/a").await;
    client.connect(&format!("40/asked,{}", auth(600))).await;
    client.say(&format!("40/a,{}", auth(10))).await;
    client.expect(&too_much("/a")).await;
}

#[tokio::test]
async fn a_reference_to_a_closed_socket_does_not_keep_its_auth() {
    let gate = Arc::new(tokio::sync::Notify::new());
    let (waiting, seen) = (gate.clone(), Arc::new(Mutex::new(Vec::new())));
    let see = seen.clone();
    let namespace = Namespace::new().on_disconnect(move |socket: SocketRef| {
        let (gate, seen) = (waiting.clone(), see.clone());
        async move {
            gate.notified().await;
            // The last handler that may read the payload.
            seen.lock().unwrap().push(socket.handshake().auth::<Value>().unwrap());
        }
    });
    let server = serve_namespace(namespace).await;
    let (client, _) = WebSocket::join(server.address, r#"40{"token":"secret"}"#).await;
    let socket = server.io.sockets().remove(0);
    assert_eq!(socket.handshake().auth::<Value>().unwrap(), json!({"token": "secret"}));
    drop(client);
    server.has_sockets(0).await;
    gate.notify_one();
    until(|| socket.handshake().auth::<Value>().is_err()).await;
    assert_eq!(*seen.lock().unwrap(), [json!({"token": "secret"})]);
}
