//! Rooms, and emits to several sockets.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures_util::StreamExt;
use tower_socketio::{Namespace, SocketIoConfig, SocketIoService, SocketRef, extract::Data, operators::EmitReport};

use crate::support::*;

/// A namespace whose clients choose their own rooms.
fn rooms() -> Namespace {
    Namespace::new()
        .on("join", |socket: SocketRef, Data(rooms): Data<Vec<String>>| async move { socket.join(rooms) })
        .on("leave", |socket: SocketRef, Data(room): Data<String>| async move { socket.leave(room) })
        .on("to", |socket: SocketRef, Data(rooms): Data<Vec<String>>| async move {
            socket.to(rooms).emit("to", &()).unwrap();
        })
        .on("within", |socket: SocketRef, Data(rooms): Data<Vec<String>>| async move {
            socket.within(rooms).emit("within", &()).unwrap();
        })
        .on("except", |socket: SocketRef, Data(rooms): Data<Vec<String>>| async move {
            socket.except(rooms).emit("except", &()).unwrap();
        })
        .on("broadcast", |socket: SocketRef| async move {
            socket.broadcast().emit("broadcast", &()).unwrap();
            socket.local().emit("local", &()).unwrap();
        })
}

async fn three() -> (TestServer, [(WebSocket, String); 3]) {
    let server = serve_namespace(rooms()).await;
    let a = WebSocket::join(server.address, "40").await;
    let b = WebSocket::join(server.address, "40").await;
    let c = WebSocket::join(server.address, "40").await;
    (server, [a, b, c])
}

#[tokio::test]
async fn a_broadcast_excludes_its_sender_except_within() {
    let (_server, [(mut a, _), (mut b, _), (mut c, _)]) = three().await;
    a.say(r#"42["join",["x","y"]]"#).await;
    b.say(r#"42["join",["x","y"]]"#).await;
    a.is_quiet().await;
    b.is_quiet().await;
    a.say(r#"42["to",["x","y"]]"#).await;
    b.expect(r#"42["to"]"#).await;
    a.say(r#"42["within",["x","y"]]"#).await;
    a.expect(r#"42["within"]"#).await;
    b.expect(r#"42["within"]"#).await;
    a.say(r#"42["except",["y"]]"#).await;
    c.expect(r#"42["except"]"#).await;
    a.say(r#"42["broadcast"]"#).await;
    for client in [&mut b, &mut c] {
        client.expect(r#"42["broadcast"]"#).await;
        client.expect(r#"42["local"]"#).await;
    }
    for client in [&mut a, &mut b, &mut c] {
        client.is_quiet().await;
    }
}

#[tokio::test]
async fn the_server_emits_to_rooms_ids_and_all_sockets() {
    let (server, [(mut a, id_a), (mut b, _), (mut c, id_c)]) = three().await;
    let io = &server.io;
    io.socket(&id_a).unwrap().join(["x", "y"]);
    io.to("x").sockets_join("z");
    io.emit("all", &()).unwrap();
    io.to(["x", "y", "z"]).emit("once", &()).unwrap();
    io.to(&*id_c).emit("private", &(1, 2)).unwrap();
    io.to("x").to(&*id_c).except("y").emit("left", &()).unwrap();
    io.except("x").emit("others", &()).unwrap();
    for (client, expected) in [
        (&mut a, vec![r#"42["all"]"#, r#"42["once"]"#]),
        (&mut b, vec![r#"42["all"]"#, r#"42["others"]"#]),
        (&mut c, vec![r#"42["all"]"#, r#"42["private",1,2]"#, r#"42["left"]"#, r#"42["others"]"#]),
    ] {
        for text in expected {
            client.expect(text).await;
        }
        client.is_quiet().await;
    }
    io.to("x").sockets_leave(["x", "y"]);
    assert_eq!(io.of("/").unwrap().rooms().len(), 1, "rooms that are empty are gone");
    io.to("z").disconnect_sockets(false);
    a.expect("41").await;
    io.to(&*id_c).disconnect_sockets(true);
    c.expect("41").await;
    c.expect_close().await;
    assert_eq!(io.sockets().len(), 1);
}

#[tokio::test]
async fn an_empty_list_of_rooms_selects_no_socket() {
    let (server, [(mut a, id_a), (mut b, _), (mut c, _)]) = three().await;
    let (io, none) = (&server.io, Vec::<String>::new());
    let (root, socket) = (io.of("/").unwrap(), io.socket(&id_a).unwrap());
    for empty in [
        io.to(none.clone()),
        io.within(none.clone()),
        io.to(none.clone()).to(none.clone()),
        io.except("nowhere").to(none.clone()),
        io.to(none.clone()).except(none.clone()),
        root.to([] as [&str; 0]),
        socket.to(none.clone()),
        socket.within(none.clone()),
        socket.broadcast().to(none.clone()),
        socket.all().to(none.clone()),
        socket.volatile().within(none.clone()),
        io.to(HashSet::<String>::new()),
    ] {
        empty.emit("n", &()).unwrap();
        assert_eq!(empty.emit_with_report("n", &()).unwrap(), EmitReport::default());
        assert_eq!(empty.emit_yielding("n", &()).await.unwrap(), EmitReport::default());
        assert_eq!(empty.emit_with_ack::<()>("n", &()).unwrap().count().await, 0);
        assert_eq!((empty.sockets().len(), empty.fetch_sockets().await.unwrap().len()), (0, 0));
        empty.sockets_join("joined");
        empty.sockets_leave(&*id_a);
        empty.disconnect_sockets(true);
    }
    assert_eq!((io.stats().sockets, io.to("joined").sockets().len()), (3, 0));
    // One matching room is enough, and an empty list of exceptions excludes no socket.
    io.to(none.clone()).to(&*id_a).emit("one", &()).unwrap();
    a.expect(r#"42["one"]"#).await;
    for everyone in [io.all(), root.all(), socket.all(), socket.volatile().all(), io.except(none.clone())] {
        everyone.emit("all", &()).unwrap();
        for client in [&mut a, &mut b, &mut c] {
            client.expect(r#"42["all"]"#).await;
        }
    }
    socket.except(none).emit("others", &()).unwrap();
    for client in [&mut b, &mut c] {
        client.expect(r#"42["others"]"#).await;
    }
    a.is_quiet().await;
}

#[tokio::test]
async fn operators_can_be_kept_and_branch() {
    let (server, [(mut a, id_a), (mut b, _), _]) = three().await;
    server.io.socket(&id_a).unwrap().join("x");
    let to_x = server.io.to("x");
    let to_both = to_x.clone().to(server.io.sockets().iter().map(|s| s.id().clone()).collect::<Vec<_>>());
    to_x.emit("first", &()).unwrap();
    to_both.emit("second", &()).unwrap();
    to_x.emit("third", &()).unwrap();
    for expected in [r#"42["first"]"#, r#"42["second"]"#, r#"42["third"]"#] {
        a.expect(expected).await;
    }
    b.expect(r#"42["second"]"#).await;
    b.is_quiet().await;
}

#[tokio::test]
async fn binary_reaches_all_clients_over_every_transport() {
    let (server, [(mut a, _), (mut b, _), _]) = three().await;
    let polling = Polling::join(server.address).await;
    server.io.emit("bin", &(Bytes::from_static(&[1, 2, 3]), "text")).unwrap();
    for client in [&mut a, &mut b] {
        client.expect(r#"451-["bin",{"_placeholder":true,"num":0},"text"]"#).await;
        client.expect_binary(&[1, 2, 3]).await;
    }
    polling.expect("451-[\"bin\",{\"_placeholder\":true,\"num\":0},\"text\"]\x1ebAQID").await;
}

#[tokio::test]
async fn namespaces_do_not_hear_each_other() {
    let config = SocketIoConfig::new().namespace("/", rooms()).namespace("/a", rooms());
    let server = serve_config(config).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.connect("40/a").await;
    server.io.emit("root", &()).unwrap();
    client.expect(r#"42["root"]"#).await;
    server.io.of("a").unwrap().emit("a", &()).unwrap();
    client.expect(r#"42/a,["a"]"#).await;
    client.say(r#"42/a,["join",["x"]]"#).await;
    client.is_quiet().await;
    server.io.to("x").emit("root", &()).unwrap();
    client.is_quiet().await;
    assert!(server.io.of("/b").is_none());
}

#[tokio::test]
async fn volatile_events_are_sent_at_once_or_dropped() {
    let server = serve_namespace(rooms()).await;
    let client = Polling::join(server.address).await;
    let socket = server.io.sockets()[0].clone();
    assert!(!socket.is_writable());
    socket.volatile().emit("dropped", &()).unwrap();
    server.io.volatile().emit("dropped", &()).unwrap();
    let (poll, ()) = tokio::join!(client.poll(), async {
        let writable = socket.clone();
        until(move || writable.is_writable()).await;
        socket.volatile().emit("taken", &Bytes::from_static(b"x")).unwrap();
        socket.volatile().emit("dropped", &()).unwrap();
    });
    poll.is(200, "451-[\"taken\",{\"_placeholder\":true,\"num\":0}]\x1ebeA==");
    socket.emit("normal", &()).unwrap();
    socket.volatile().emit("dropped", &()).unwrap();
    client.expect(r#"42["normal"]"#).await;

    let (mut client, id) = WebSocket::join(server.address, "40").await;
    let socket = server.io.socket(&id).unwrap();
    socket.emit("normal", &()).unwrap();
    socket.volatile().emit("dropped", &()).unwrap();
    client.expect(r#"42["normal"]"#).await;
    socket.drained().await;
    socket.volatile().emit("taken", &()).unwrap();
    client.expect(r#"42["taken"]"#).await;
    client.is_quiet().await;
}

#[tokio::test]
async fn errors_of_encoding_and_reserved_names_are_returned() {
    let (server, [(mut a, id), ..]) = three().await;
    let socket = server.io.socket(&id).unwrap();
    let unspeakable = std::collections::HashMap::from([((1, 2), 3)]);
    assert!(server.io.emit("x", &unspeakable).unwrap_err().is_encode());
    assert!(socket.emit("x", &unspeakable).unwrap_err().is_encode());
    assert!(server.io.emit("connect", &()).unwrap_err().is_reserved_event());
    assert!(socket.emit("disconnecting", &()).unwrap_err().is_reserved_event());
    assert!(socket.emit_with_ack::<()>("connect_error", &()).await.unwrap_err().is_emit());
    assert!(server.io.emit_with_ack::<()>("disconnect", &()).unwrap_err().is_reserved_event());
    a.is_quiet().await;
}

#[tokio::test]
async fn sockets_are_found_and_fetched() {
    let (server, [(_a, id_a), (_b, id_b), _c]) = three().await;
    let io = &server.io;
    io.socket(&id_a).unwrap().join("x");
    io.socket(&id_b).unwrap().join("x");
    let fetched = io.to("x").except(&*id_b).fetch_sockets().await.unwrap();
    assert_eq!(fetched.len(), 1);
    assert_eq!(fetched[0].id().as_str(), id_a);
    assert!(fetched[0].rooms().contains("x") && fetched[0].rooms().contains(&*id_a));
    assert_eq!(io.fetch_sockets().await.unwrap().len(), 3);
    fetched[0].leave("x");
    fetched[0].join("y");
    assert_eq!(io.of("/").unwrap().rooms().len(), 2);
    assert_eq!(io.of("/").unwrap().name(), "/");
    assert!(io.socket("nobody").is_none());
    assert!(fetched[0].data::<u8>().unwrap().is_none());
    fetched[0].handshake().headers().get("host").unwrap();
    assert!(io.socket("nobody").is_none());
    fetched[0].disconnect();
    assert!(io.socket(&id_a).is_none());
    assert!(fetched[0].emit("late", &()).unwrap_err().is_disconnected());
}

#[tokio::test]
async fn a_broadcast_in_slices_yields_to_other_tasks_and_keeps_the_order_of_its_sender() {
    let io = SocketIoService::new(SocketIoConfig::new()).io();
    let mut clients = Vec::new();
    for _ in 0..2_500 {
        clients.push(Memory::join(&io).await);
    }
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = turns.clone();
    let other = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    tokio::task::yield_now().await;
    let everyone = io.local();
    let before = turns.load(Ordering::Relaxed);
    for number in 0..2 {
        assert_eq!(everyone.emit_yielding("tick", &number).await.unwrap().recipients, 2_500);
    }
    assert!(turns.load(Ordering::Relaxed) > before, "others ran between the slices");
    other.abort();
    for client in &mut clients {
        client.expect(r#"42["tick",0]"#).await;
        client.expect(r#"42["tick",1]"#).await;
    }
}

#[tokio::test]
async fn sockets_and_rooms_are_counted_and_a_socket_leaves_all_rooms() {
    let config = SocketIoConfig::new().namespace("/", Namespace::new()).namespace("/x", Namespace::new());
    let io = SocketIoService::new(config).io();
    let _clients = [Memory::join(&io).await, Memory::join(&io).await, Memory::join(&io).await];
    let [a, b, c] = &io.sockets()[..] else { panic!("three sockets") };
    a.join(["red", "blue"]);
    b.join(["red", "green"]);
    let root = io.namespace("/");
    let count = |room: &str| io.to(room.to_owned()).socket_count();
    assert_eq!((io.socket_count(), root.socket_count(), root.room_count()), (3, 3, 3));
    assert_eq!((count("red"), count("blue"), count(a.id()), count("none")), (2, 1, 1, 0));
    assert_eq!(io.to(["red", "blue"]).except("green").socket_count(), 1);
    assert_eq!(io.to(Vec::<String>::new()).socket_count(), 0);
    assert_eq!((c.broadcast().socket_count(), a.to("red").socket_count()), (2, 1));
    assert_eq!(io.namespace("x").socket_count(), 0);
    a.leave_all();
    assert_eq!(a.rooms(), [a.id().as_ref()]);
    assert!(a.joined_rooms().is_empty());
    assert_eq!((count("red"), root.room_count()), (1, 2));
    // The room of its own id is left at the end only.
    assert_eq!(count(a.id()), 1);
}

#[test]
#[should_panic(expected = "there is no namespace `/nowhere`")]
fn a_namespace_that_was_not_declared_is_a_mistake() {
    let _ = SocketIoService::new(SocketIoConfig::new()).io().namespace("/nowhere");
}

/// The number of members of a large room. One task writes broadcasts to so many.
const MANY: usize = 100;

async fn many(server: &TestServer) -> Vec<WebSocket> {
    let mut clients = Vec::new();
    for _ in 0..MANY {
        clients.push(WebSocket::join(server.address, "40").await.0);
    }
    clients
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_get_broadcasts_emits_and_acks_in_order() {
    let namespace = rooms().on("ask", |socket: SocketRef| async move {
        socket.emit("first", &()).unwrap();
        tower_socketio::Ack("second")
    });
    let server = serve_namespace(namespace).await;
    let mut clients = many(&server).await;
    let sockets = server.io.fetch_sockets().await.unwrap();
    for client in &mut clients {
        client.say(r#"420["ask"]"#).await;
    }
    for round in 0..50_u8 {
        server.io.emit("all", &round).unwrap();
        for socket in &sockets {
            socket.emit("one", &round).unwrap();
        }
        server.io.emit("bytes", &Bytes::from(vec![round; 3])).unwrap();
        tokio::task::yield_now().await;
    }
    for client in &mut clients {
        let mut next = async || loop {
            match client.frame().await {
                // Between the others.
                Frame::Text(text) if text == r#"42["first"]"# || text == r#"430["second"]"# => {}
                frame => break frame,
            }
        };
        for round in 0..50_u8 {
            assert_eq!(next().await, Frame::Text(format!(r#"42["all",{round}]"#)));
            assert_eq!(next().await, Frame::Text(format!(r#"42["one",{round}]"#)));
            assert_eq!(next().await, Frame::Text(r#"451-["bytes",{"_placeholder":true,"num":0}]"#.to_owned()));
            assert_eq!(next().await, Frame::Binary(Bytes::from(vec![round; 3])));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_get_a_large_broadcast_and_then_the_end() {
    let server = serve_namespace(rooms()).await;
    let clients = many(&server).await;
    let text = "x".repeat(300_000);
    server.io.emit("large", &text).unwrap();
    server.io.disconnect_sockets(true);
    for mut client in clients {
        client.expect(&format!(r#"42["large","{text}"]"#)).await;
        client.expect("41").await;
        client.expect_close().await;
    }
    server.is_empty().await;
}

/// What is left to write when the runtime of a task ends is written by the drivers of another.
#[test]
fn many_get_broadcasts_after_another_runtime_has_ended() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (emitting, serving) = (runtime(), runtime());
    let (server, mut clients) = serving.block_on(async {
        let server = serve_namespace(rooms()).await;
        let clients = many(&server).await;
        (server, clients)
    });
    let io = server.io.clone();
    emitting.block_on(async move { io.emit("first", &()).unwrap() });
    drop(emitting);
    server.io.emit("second", &()).unwrap();
    serving.block_on(async {
        for client in &mut clients {
            client.expect(r#"42["first"]"#).await;
            client.expect(r#"42["second"]"#).await;
        }
    });
}
