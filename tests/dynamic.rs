//! Namespaces that are created when a client asks for them.

use std::sync::{Arc, Mutex};

use axum::{
    extract::Request,
    middleware::{Next, from_fn},
};
use serde_json::Value;
use tokio::sync::Semaphore;
use tower_socketio::{
    Ack, DisconnectReason, Namespace, NamespaceRef, RecoveryConfig, SocketIo, SocketIoConfig, SocketIoService,
    SocketRef,
    namespace::{AddNamespaceError, NamespaceRequest},
};

use crate::support::*;

fn namespace() -> Namespace {
    Namespace::new()
        .on("where", |socket: SocketRef| async move { Ack(socket.namespace().name().to_owned()) })
        .with_state(())
}

fn service(config: SocketIoConfig) -> SocketIo {
    SocketIoService::new(config).io()
}

async fn opened(io: &SocketIo) -> Memory {
    let mut client = Memory::open(io);
    assert!(client.text().await.starts_with("0{"));
    client
}

#[tokio::test]
async fn a_predicate_may_be_async_and_read_the_request() {
    let accepts = async |request: NamespaceRequest| {
        tokio::task::yield_now().await;
        let auth: Value = request.auth().unwrap();
        assert_eq!(request.request().headers()["x-from"], "memory");
        request.name().starts_with("/tenant/") && auth["token"] == "secret"
    };
    let config =
        SocketIoConfig::new().namespace_async_fn(accepts, namespace()).namespace_fn(|name| name == "/z", namespace());
    let io = service(config);
    let mut client = opened(&io).await;
    client.say(r#"40/tenant/1,{"token":"secret"}"#);
    assert!(client.text().await.starts_with("40/tenant/1,{"));
    client.say(r#"42/tenant/1,0["where"]"#);
    client.expect(r#"43/tenant/1,0["/tenant/1"]"#).await;
    for connect in ["40/tenant/2,", r#"40/else,{"token":"secret"}"#] {
        client.say(connect);
        let name = connect[2..].split(',').next().unwrap();
        client.expect(&format!(r#"44{name},{{"message":"Invalid namespace"}}"#)).await;
    }
    // The predicate is asked for each client, even after the namespace exists.
    let mut other = opened(&io).await;
    other.say(r#"40/tenant/1,{"token":"wrong"}"#);
    other.expect(r#"44/tenant/1,{"message":"Invalid namespace"}"#).await;
    // Predicates are asked in the order in which they were added.
    client.say("40/z");
    assert!(client.text().await.starts_with("40/z,{"));
    client.say("41/tenant/1");
    until(|| io.of("/tenant/1").is_none()).await;
}

/// A server whose predicate waits for a permit.
fn waiting() -> (SocketIo, Arc<Semaphore>) {
    let permits = Arc::new(Semaphore::new(0));
    let waiting = permits.clone();
    let accepts = move |_: NamespaceRequest| {
        let permits = waiting.clone();
        async move {
            permits.acquire().await.unwrap().forget();
            true
        }
    };
    (service(SocketIoConfig::new().max_namespaces(2).namespace_async_fn(accepts, namespace())), permits)
}

#[tokio::test]
async fn concurrent_connects_create_one_namespace() {
    let (io, permits) = waiting();
    let (mut a, mut b) = (opened(&io).await, opened(&io).await);
    for client in [&mut a, &mut b] {
        client.say("40/x");
        // The default namespace does not wait for the predicate.
        client.say("40");
        assert!(client.text().await.starts_with("40{"));
    }
    permits.add_permits(2);
    for client in [&mut a, &mut b] {
        assert!(client.text().await.starts_with("40/x,{"));
    }
    assert_eq!(io.of("/x").unwrap().sockets().len(), 2);
}

#[tokio::test]
async fn a_name_that_is_being_asked_for_counts() {
    let (io, _permits) = waiting();
    let mut client = opened(&io).await;
    for name in ["a", "b"] {
        client.say(&format!("40/{name}"));
    }
    client.say("40/c");
    client.expect(r#"44/c,{"message":"too many namespaces on this connection"}"#).await;
    // A second CONNECT for the same namespace closes the connection, which cancels the predicate.
    let alive = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    client.say("40/a");
    assert_eq!(client.packet().await, None);
    until(|| io.stats().connections == 0).await;
    until(|| tokio::runtime::Handle::current().metrics().num_alive_tasks() <= alive - 2).await;
}

#[tokio::test]
async fn a_predicate_that_panics_accepts_nothing() {
    let later = async |request: NamespaceRequest| {
        tokio::task::yield_now().await;
        panic!("on purpose: {}", request.name())
    };
    let io = service(
        SocketIoConfig::new()
            .namespace_fn(|_| panic!("on purpose"), namespace())
            .namespace_async_fn(later, namespace())
            .namespace_async_fn(async |_| panic!("on purpose"), namespace()),
    );
    let mut client = opened(&io).await;
    client.say("40/a");
    client.expect(r#"44/a,{"message":"Invalid namespace"}"#).await;
    assert_eq!(io.stats().panics, 3);
}

#[tokio::test]
async fn a_callback_is_called_for_new_namespaces() {
    let made = Arc::new(Mutex::new(Vec::new()));
    let log = made.clone();
    let config = SocketIoConfig::new().namespace("/room/{id}", namespace()).on_namespace(move |new: &NamespaceRef| {
        assert!(new.sockets().is_empty());
        log.lock().unwrap().push(new.name().to_owned());
        assert!(new.name() != "/room/bad", "on purpose");
    });
    let io = service(config);
    let mut client = opened(&io).await;
    for name in ["/room/1", "/room/2", "/room/bad"] {
        client.say(&format!("40{name}"));
        assert!(client.text().await.starts_with(&format!("40{name},{{")));
    }
    let mut other = opened(&io).await;
    other.say("40/room/1");
    assert!(other.text().await.starts_with("40/room/1,{"));
    assert_eq!(*made.lock().unwrap(), ["/room/1", "/room/2", "/room/bad"]);
    assert_eq!(io.stats().panics, 1);
}

#[tokio::test]
async fn all_namespaces_of_a_pattern_are_emitted_to() {
    let io = service(SocketIoConfig::new().namespace("/room/{id}", namespace()).namespace("/hall", namespace()));
    let mut client = opened(&io).await;
    for connect in ["40/room/1", "40/room/2", "40/hall"] {
        client.say(connect);
        client.text().await;
    }
    let rooms = io.of_pattern("/room/{id}").unwrap();
    assert_eq!(rooms.namespaces().len(), 2);
    rooms.emit("all", &1).unwrap();
    io.of("/hall").unwrap().emit("last", &()).unwrap();
    let mut said = [client.text().await, client.text().await];
    said.sort();
    assert_eq!(said, [r#"42/room/1,["all",1]"#, r#"42/room/2,["all",1]"#]);
    client.expect(r#"42/hall,["last"]"#).await;
    assert!(io.of_pattern("/hall").is_none());
}

/// Three clients in two namespaces of a pattern, one of them in the room `a` of each.
async fn in_rooms(io: &SocketIo) -> [Memory; 3] {
    let mut clients = [opened(io).await, opened(io).await, opened(io).await];
    for (client, name) in clients.iter_mut().zip(["/room/1", "/room/2", "/room/2"]) {
        client.say(&format!("40{name}"));
        assert!(client.text().await.starts_with(&format!("40{name},{{")));
    }
    for name in ["/room/1", "/room/2"] {
        io.of(name).unwrap().sockets()[0].join("a");
    }
    clients
}

#[tokio::test]
async fn the_namespaces_of_a_pattern_have_all_operators() {
    let io = service(SocketIoConfig::new().namespace("/room/{id}", namespace()));
    let clients = in_rooms(&io).await;
    let rooms = io.of_pattern("/room/{id}").unwrap();
    let counts = |rooms: &tower_socketio::operators::PatternRef| (rooms.socket_count(), rooms.sockets().len());
    assert_eq!(counts(&rooms), (3, 3));
    assert_eq!(counts(&rooms.clone().to("a")), (2, 2));
    assert_eq!(counts(&rooms.clone().within(["a", "b"]).local()), (2, 2));
    assert_eq!(counts(&rooms.clone().except("a")), (1, 1));
    let mut fetched = Vec::new();
    for socket in rooms.clone().to("a").fetch_sockets().await.unwrap() {
        fetched.push(socket.rooms().iter().any(|room| **room == *"a"));
    }
    assert_eq!(fetched, [true, true]);

    // The reader of each client decides which events it has got when the last one arrives.
    rooms.clone().to("a").emit("in", &1).unwrap();
    rooms.clone().except("a").compress(false).emit("out", &2).unwrap();
    rooms.clone().to("nobody").emit("none", &3).unwrap();
    rooms.sockets_join("b");
    rooms.clone().to("a").sockets_leave("b");
    rooms.clone().to("b").timeout(std::time::Duration::from_secs(1)).emit("b", &4).unwrap();
    until(|| rooms.sockets().iter().all(SocketRef::is_writable)).await;
    rooms.clone().volatile().emit("all", &5).unwrap();
    assert!(rooms.emit("connect", &()).is_err());
    rooms.disconnect_sockets(false);
    let mut said = Vec::new();
    for mut client in clients {
        let mut texts = Vec::new();
        loop {
            let text = client.text().await;
            if text.starts_with("41") {
                break;
            }
            texts.push(text.split_once(',').unwrap().1.to_owned());
        }
        said.push(texts);
    }
    said.sort();
    let (member, other) = (vec![r#"["in",1]"#, r#"["all",5]"#], vec![r#"["out",2]"#, r#"["b",4]"#, r#"["all",5]"#]);
    assert_eq!(said, [member.clone(), member, other]);
    assert_eq!(io.of_pattern("/room/{id}").unwrap().namespaces().len(), 0);
}

#[tokio::test]
async fn the_namespaces_of_a_predicate_are_emitted_to() {
    let is_room = |name: &str| name.starts_with("/room/");
    let io = service(SocketIoConfig::new().namespace_fn(is_room, namespace()).namespace("/hall", namespace()));
    let [mut first, mut second, _third] = in_rooms(&io).await;
    first.say("40/hall");
    assert!(first.text().await.starts_with("40/hall,"));
    io.of_matching(is_room).emit("all", &1).unwrap();
    io.of("/hall").unwrap().emit("last", &()).unwrap();
    first.expect(r#"42/room/1,["all",1]"#).await;
    first.expect(r#"42/hall,["last"]"#).await;
    second.expect(r#"42/room/2,["all",1]"#).await;
    assert_eq!(io.of_matching(|_| false).namespaces().len(), 0);
    // The default namespace is one of all.
    assert_eq!(io.of_matching(|_| true).namespaces().len(), 4);
}

#[tokio::test]
async fn the_server_may_create_a_namespace_that_a_pattern_accepts() {
    let made = Arc::new(Mutex::new(Vec::new()));
    let log = made.clone();
    let config = SocketIoConfig::new()
        .namespace("/room/{id}", namespace())
        .namespace_fn(|name| name == "/tenant", namespace())
        .namespace_async_fn(async |_| true, namespace())
        .on_namespace(move |new: &NamespaceRef| log.lock().unwrap().push(new.name().to_owned()));
    let io = service(config);
    assert!(io.of("/room/1").is_none());
    assert_eq!(io.of_or_create("room/1").unwrap().name(), "/room/1");
    assert_eq!(io.of_or_create("/tenant").unwrap().name(), "/tenant");
    assert_eq!(io.of_or_create("/").unwrap().name(), "/");
    for name in ["/elsewhere", "/room/1,2", "/room/1?2", &format!("/room/{}", "x".repeat(300))] {
        assert!(io.of_or_create(name).is_none(), "{name}");
    }
    // It is there, and once.
    assert_eq!((io.of_pattern("/room/{id}").unwrap().namespaces().len(), io.namespaces().len()), (1, 3));
    assert!(io.of("/room/1").is_some() && io.of_or_create("/room/1").is_some());
    assert_eq!(*made.lock().unwrap(), ["/room/1", "/tenant"]);
    // A client joins the same one, and the last one to leave ends it.
    let namespace = io.of("/room/1").unwrap();
    let mut client = opened(&io).await;
    client.say("40/room/1");
    assert!(client.text().await.starts_with("40/room/1,{"));
    namespace.emit("n", &1).unwrap();
    client.expect(r#"42/room/1,["n",1]"#).await;
    client.say("41/room/1");
    until(|| io.of("/room/1").is_none()).await;
}

#[tokio::test]
async fn namespaces_that_the_server_creates_are_bounded() {
    let config = SocketIoConfig::new().namespace("/room/{id}", namespace()).max_dynamic_namespaces(2);
    let io = service(config);
    for name in ["/room/1", "/room/2", "/room/3"] {
        assert!(io.of_or_create(name).is_some());
    }
    // The one that has been empty for the longest time has made room.
    assert_eq!(["/room/1", "/room/2", "/room/3"].map(|name| io.of(name).is_some()), [false, true, true]);
    let mut client = opened(&io).await;
    for name in ["/room/2", "/room/3"] {
        client.say(&format!("40{name}"));
        assert!(client.text().await.starts_with(&format!("40{name},{{")));
    }
    assert!(io.of_or_create("/room/4").is_none());
}

/// axum's router would interpret some of these names differently, or reject them.
#[tokio::test]
async fn patterns_may_contain_special_characters() {
    async fn id(axum::extract::Path(id): axum::extract::Path<String>, socket: SocketRef) {
        socket.emit("id", &id).unwrap();
    }
    let namespace = || Namespace::new().on_connect(id);
    let config = SocketIoConfig::new()
        .namespace("/:colon/{id}", namespace())
        .namespace("/*star/{id}", namespace())
        .namespace("/{{braces}}/{id}", namespace())
        .namespace("/50% \"été\"/{id}", namespace())
        .namespace("/rest/{*id}", namespace());
    let io = service(config);
    for (name, id) in [
        ("/:colon/1", "1"),
        ("/*star/1", "1"),
        ("/{braces}/a b%20c", "a b%20c"),
        ("/50% \"été\"/é#{}", "é#{}"),
        ("/rest/a/../b", "a/../b"),
    ] {
        let mut client = opened(&io).await;
        client.say(&format!("40{name},"));
        assert!(client.text().await.starts_with(&format!("40{name},{{")), "{name}");
        client.expect(&format!(r#"42{name},["id","{id}"]"#)).await;
    }
}

/// A namespace that reports why its sockets left.
fn noting() -> (Namespace, Arc<Mutex<Vec<DisconnectReason>>>) {
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let log = reasons.clone();
    let left = move |reason: DisconnectReason| {
        log.lock().unwrap().push(reason);
        async {}
    };
    (namespace().on_disconnect(left), reasons)
}

#[tokio::test]
async fn a_namespace_may_be_added_to_a_running_server_and_removed() {
    const REFUSED: &str = r#"44/x,{"message":"Invalid namespace"}"#;
    for recovery in [false, true] {
        let config = SocketIoConfig::new();
        let io = service(if recovery { config.recovery(RecoveryConfig::new()) } else { config });
        let (mut client, mut other) = (opened(&io).await, Memory::join(&io).await);
        client.say("40/x");
        client.expect(REFUSED).await;
        let (namespace, reasons) = noting();
        assert_eq!(io.add_namespace("x", namespace).unwrap().name(), "/x");
        assert_eq!(io.add_namespace("/x", Namespace::new()).unwrap_err(), AddNamespaceError::Exists);
        client.say("40/x");
        assert!(client.text().await.starts_with("40/x,{"));
        client.say(r#"42/x,0["where"]"#);
        client.expect(r#"43/x,0["/x"]"#).await;
        let socket = io.namespace("/x").sockets().remove(0);
        socket.join("room");
        let namespace = socket.namespace();
        assert!(io.remove_namespace("x"));
        client.expect("41/x,").await;
        assert!(!io.remove_namespace("/x") && io.of("/x").is_none());
        assert_eq!(*reasons.lock().unwrap(), [DisconnectReason::ServerNamespaceDisconnect]);
        assert_eq!((namespace.socket_count(), namespace.room_count()), (0, 0));
        assert!(!socket.is_connected() && socket.rooms().is_empty());
        // What was on its way is ignored, the connection stays, and other namespaces are untouched.
        client.say(r#"42/x,1["where"]"#);
        client.say("40/x");
        client.expect(REFUSED).await;
        io.emit("n", &()).unwrap();
        assert!(other.text().await.starts_with(r#"42["n""#));
        // The name is free.
        io.add_namespace("/x", self::namespace()).unwrap();
        client.say("40/x");
        assert!(client.text().await.starts_with("40/x,{"));
        assert_eq!((io.namespace("/x").socket_count(), namespace.socket_count()), (1, 0));
        assert_eq!(io.stats().connections, 2);
    }
}

/// A client whose layers have not answered yet, and one whose `on_connect` has not, are refused.
#[tokio::test]
async fn clients_that_are_being_admitted_are_refused_when_their_namespace_is_removed() {
    for recovery in [false, true] {
        for in_layer in [false, true] {
            let gate = Arc::new(Semaphore::new(0));
            let waits = gate.clone();
            let wait = async move || drop(waits.acquire().await.unwrap());
            let (namespace, reasons) = noting();
            let namespace = if in_layer {
                namespace.layer(from_fn(move |request: Request, next: Next| {
                    let wait = wait.clone();
                    async move {
                        wait().await;
                        next.run(request).await
                    }
                }))
            } else {
                namespace.on_connect(async move || wait().await)
            };
            let config = SocketIoConfig::new().namespace("/x", namespace);
            let io = service(if recovery { config.recovery(RecoveryConfig::new()) } else { config });
            let mut client = opened(&io).await;
            client.say("40/x");
            if in_layer {
                // The answer says that the packet before it has been read.
                client.say("40");
                assert!(client.text().await.starts_with("40{"));
            } else {
                until(|| io.namespace("/x").socket_count() == 1).await;
            }
            assert!(io.remove_namespace("/x"));
            gate.add_permits(1);
            client.expect(r#"44/x,{"message":"Invalid namespace"}"#).await;
            // `on_disconnect` is for sockets that have reached `on_connect`.
            assert_eq!(reasons.lock().unwrap().len(), usize::from(!in_layer));
            assert_eq!(io.stats().connections, 1);
        }
    }
}

/// Nothing refers to a namespace that has been removed: what it held is dropped.
#[tokio::test]
async fn a_namespace_that_is_removed_is_dropped_with_what_it_remembers() {
    let io = service(SocketIoConfig::new().recovery(RecoveryConfig::new()));
    let kept = Arc::new(());
    let (of_handler, of_socket) = (kept.clone(), kept.clone());
    let namespace = Namespace::new()
        .on("event", async move || drop(of_handler.clone()))
        .on_connect(async move |socket: SocketRef| {
            socket.extensions().insert(of_socket.clone());
        })
        .with_state(());
    io.add_namespace("/x", namespace).unwrap();
    let (mut away, mut here) = (opened(&io).await, opened(&io).await);
    for client in [&mut away, &mut here] {
        client.say("40/x");
        assert!(client.text().await.starts_with("40/x,{"));
    }
    io.namespace("/x").emit("kept", &()).unwrap();
    // One session is remembered, with its extensions.
    drop(away);
    until(|| io.namespace("/x").socket_count() == 1).await;
    assert!(Arc::strong_count(&kept) > 3);
    assert!(io.remove_namespace("/x"));
    assert!(here.text().await.starts_with(r#"42/x,["kept""#));
    here.expect("41/x,").await;
    until(|| Arc::strong_count(&kept) == 1).await;
}

#[tokio::test]
async fn only_namespaces_with_exact_names_are_added_and_removed() {
    let config = SocketIoConfig::new().namespace("/room/{id}", namespace());
    let io = service(config);
    assert_eq!(io.add_namespace("/a/{b}", namespace()).unwrap_err(), AddNamespaceError::Pattern);
    for name in ["/a,b", "/a?b"] {
        assert_eq!(io.add_namespace(name, namespace()).unwrap_err(), AddNamespaceError::InvalidName);
    }
    let mut client = opened(&io).await;
    client.say("40/room/1");
    assert!(client.text().await.starts_with("40/room/1,{"));
    assert_eq!(io.add_namespace("/room/1", namespace()).unwrap_err(), AddNamespaceError::Exists);
    for name in ["/room/1", "/room/{id}", "/nowhere"] {
        assert!(!io.remove_namespace(name), "{name}");
    }
    client.say(r#"42/room/1,0["where"]"#);
    client.expect(r#"43/room/1,0["/room/1"]"#).await;
    // A name of its own precedes the pattern.
    io.add_namespace("/room/2", Namespace::new().on("where", async || Ack("here"))).unwrap();
    client.say("40/room/2");
    assert!(client.text().await.starts_with("40/room/2,{"));
    client.say(r#"42/room/2,0["where"]"#);
    client.expect(r#"43/room/2,0["here"]"#).await;
}

#[test]
#[should_panic(expected = "the default namespace cannot be removed")]
fn the_default_namespace_is_not_removed() {
    service(SocketIoConfig::new()).remove_namespace("/");
}
