//! Servers that are nodes of a cluster within one process.

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use futures_util::{StreamExt, future::BoxFuture};
use serde_json::json;
use tower_socketio::{
    Namespace, RecoveryConfig, SocketIo, SocketIoConfig, SocketIoService, SocketRef,
    client::RemoteSocket,
    cluster::{
        BroadcastOptions, ClusterAdapter, ClusterCommand, ClusterError, ClusterErrorKind, ClusterMessage, ClusterNode,
        Emitter, EventBody, Local, LocalChange, LocalNode, Payload, Peers, PublishError,
    },
    engine::Packet,
    operators::AckSource,
    server_side::ServerSideEvent,
    test::TestClient,
};

use crate::support::*;

/// A cluster in this process that records what its nodes publish.
#[derive(Clone, Default)]
struct Bus {
    cluster: Local,
    nodes: Arc<Mutex<Vec<ClusterNode>>>,
    record: Arc<Mutex<Vec<ClusterMessage>>>,
}

impl Bus {
    fn member(&self) -> Member {
        Member { bus: self.clone(), local: self.cluster.node() }
    }

    fn node(&self, place: usize) -> ClusterNode {
        self.nodes.lock().unwrap()[place].clone()
    }

    fn published(&self) -> usize {
        self.record.lock().unwrap().len()
    }
}

struct Member {
    bus: Bus,
    local: LocalNode,
}

impl ClusterAdapter for Member {
    fn start(&self, node: ClusterNode) {
        self.bus.nodes.lock().unwrap().push(node.clone());
        self.local.start(node);
    }

    fn publish(&self, message: ClusterMessage) -> Result<(), PublishError> {
        self.bus.record.lock().unwrap().push(message.clone());
        self.local.publish(message)
    }

    fn peers(&self, namespace: &str) -> BoxFuture<'static, Result<Peers, ClusterError>> {
        self.local.peers(namespace)
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.local.close()
    }
}

/// Two servers in one cluster.
fn cluster() -> (SocketIo, SocketIo, Bus) {
    cluster_of(SocketIoConfig::new)
}

fn cluster_of(config: impl Fn() -> SocketIoConfig) -> (SocketIo, SocketIo, Bus) {
    let bus = Bus::default();
    let node = || {
        let namespace = Namespace::new().on_connect(|socket: SocketRef| async move { socket.join("room") });
        let config = config().adapter(bus.member()).namespace("/", namespace);
        SocketIoService::new(config).io()
    };
    (node(), node(), bus)
}

#[tokio::test]
async fn messages_without_recipients_are_not_published() {
    let (a, b, bus) = cluster();
    let _client = Memory::join(&b).await;
    let none = a.to(Vec::<String>::new());
    none.emit("n", &()).unwrap();
    none.emit_yielding("n", &()).await.unwrap();
    none.sockets_join("x");
    none.sockets_leave("room");
    none.disconnect_sockets(true);
    assert!(bus.published() == 0);
    // For the other nodes, an empty list of rooms addresses all sockets.
    a.all().sockets_join("x");
    assert_eq!((bus.published(), b.to("x").sockets().len()), (1, 1));
}

#[tokio::test]
async fn a_broadcast_reaches_the_rooms_of_all_nodes() {
    let (a, b, bus) = cluster();
    let (mut on_a, mut on_b) = (Memory::join(&a).await, Memory::join(&b).await);
    a.to("room").emit("n", &1).unwrap();
    on_a.expect(r#"42["n",1]"#).await;
    on_b.expect(r#"42["n",1]"#).await;
    // The sender is excluded on its own node, where its socket exists.
    a.sockets()[0].to("room").emit("n", &bytes::Bytes::from_static(&[1])).unwrap();
    on_b.expect(r#"451-["n",{"_placeholder":true,"num":0}]"#).await;
    assert_eq!(on_b.packet().await, Some(Packet::binary(&[1u8][..])));
    // Exceptions apply on all nodes, and the room of a single socket is found on whichever node it is on.
    b.except(a.sockets()[0].id()).emit("n", &2).unwrap();
    on_b.expect(r#"42["n",2]"#).await;
    b.to(a.sockets()[0].id()).emit("n", &3).unwrap();
    on_a.expect(r#"42["n",3]"#).await;
    a.local().emit("n", &4).unwrap();
    on_a.expect(r#"42["n",4]"#).await;
    assert_eq!(bus.published(), 4);
    a.emit("n", &5).unwrap();
    on_b.expect(r#"42["n",5]"#).await;
}

#[tokio::test]
async fn sockets_of_other_nodes_join_leave_and_are_disconnected() {
    let (a, b, _) = cluster();
    let (mut on_a, mut on_b) = (Memory::join(&a).await, Memory::join(&b).await);
    a.to("room").sockets_join("both");
    assert_eq!((a.to("both").sockets().len(), b.to("both").sockets().len()), (1, 1));
    a.to("room").sockets_leave("both");
    assert_eq!((a.to("both").sockets().len(), b.to("both").sockets().len()), (0, 0));
    b.to("room").disconnect_sockets(false);
    on_a.expect("41").await;
    on_b.expect("41").await;
    let (mut on_a, mut on_b) = (Memory::join(&a).await, Memory::join(&b).await);
    b.to("room").disconnect_sockets(true);
    for client in [&mut on_a, &mut on_b] {
        client.expect("41").await;
        assert_eq!(client.packet().await, None);
    }
}

#[tokio::test]
async fn malformed_messages_of_other_nodes_are_ignored() {
    for config in [SocketIoConfig::new, || SocketIoConfig::new().recovery(RecoveryConfig::new())] {
        nothing_garbled_arrives(cluster_of(config)).await;
    }
}

async fn nothing_garbled_arrives((a, b, bus): (SocketIo, SocketIo, Bus)) {
    let mut on_a = Memory::join(&a).await;
    b.to("room").emit("n", &1).unwrap();
    assert!(on_a.text().await.starts_with(r#"42["n",1"#));
    let node = bus.node(0);
    let binary = bytes::Bytes::from_static(&[1]);
    for (json, attachments) in [
        ("", 0),
        ("[]", 0),
        ("{}", 0),
        ("[true]", 0),
        (r#"["n""#, 0),
        (r#"["n"]]"#, 0),
        (r#"["n"]"#, 1),
        (r#"["n",{"_placeholder":true,"num":1}]"#, 1),
        (r#"["n",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#, 1),
        (r#"["n",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#, 1),
    ] {
        assert!(EventBody::new(json, vec![binary.clone(); attachments]).is_err(), "{json}");
    }
    let emit = |namespace: &str, json: &'static str| {
        let event = EventBody::new(json, Vec::new()).unwrap();
        ClusterMessage::new(
            "other",
            namespace,
            ClusterCommand::Emit { options: BroadcastOptions::default(), event, request: None },
        )
    };
    // Clients disconnect if they get a reserved event.
    node.deliver(emit("/", r#"["disconnect"]"#));
    node.deliver(emit("/", r#"["disc\u006fnnect"]"#));
    node.deliver(emit("/unknown", r#"["n"]"#));
    node.deliver(emit("/", r#"["n",1]"#).to("a third node"));
    a.emit("n", &2).unwrap();
    assert!(on_a.text().await.starts_with(r#"42["n",2"#));
}

#[tokio::test]
async fn a_node_does_not_keep_its_server_alive() {
    let (a, b, bus) = cluster();
    let node = bus.node(0);
    let kept = Arc::new(());
    let held = kept.clone();
    let namespace = Namespace::new().on("hold", async move || drop(held.clone()));
    let config = SocketIoConfig::new().adapter(bus.member()).namespace("/", namespace.with_state(()));
    drop(SocketIoService::new(config));
    assert_eq!(Arc::strong_count(&kept), 1);
    // A message is delivered to the nodes that exist when it is published.
    let mut on_b = Memory::join(&b).await;
    drop(a);
    b.emit("n", &1).unwrap();
    on_b.expect(r#"42["n",1]"#).await;
    let message = bus.record.lock().unwrap().last().unwrap().clone();
    node.deliver(message);
    assert!(!node.is_alive() && node.namespaces().is_empty());
}

#[tokio::test]
async fn servers_emit_to_one_another() {
    let bus = Bus::default();
    let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let node = |place| {
        let sender = sender.clone();
        let config = SocketIoConfig::new()
            .adapter(bus.member())
            .on_server_side("note", move |event: ServerSideEvent| {
                sender.send((place, event.args::<(String, bytes::Bytes)>().unwrap())).unwrap();
                async {}
            })
            .on_server_side("place", move |event: ServerSideEvent| async move {
                assert_eq!(event.args::<u8>().unwrap(), 7, "on purpose");
                (place, event.io().stats().sockets)
            });
        SocketIoService::new(config).io()
    };
    let nodes = [node(0), node(1), node(2)];
    // A server starts its work with its first connection.
    let clients = [Memory::join(&nodes[0]).await, Memory::join(&nodes[1]).await, Memory::join(&nodes[2]).await];
    nodes[0].server_side_emit("note", &("hi", bytes::Bytes::from_static(&[1]))).unwrap();
    let mut notes = [soon(heard.recv()).await.unwrap(), soon(heard.recv()).await.unwrap()];
    notes.sort();
    let hi = |place| (place, ("hi".to_owned(), bytes::Bytes::from_static(&[1])));
    assert_eq!(notes, [hi(1), hi(2)]);
    let minute = Duration::from_secs(60);
    let acks = nodes[1].server_side_emit_with_ack::<(usize, usize)>("place", &7, minute).unwrap();
    let mut responses = soon(acks.responses()).await;
    responses.answers.sort_unstable();
    assert_eq!((responses.answers, responses.missing), (vec![(0, 1), (2, 1)], 0));
    // A node whose handler panics, or that has none, does not answer.
    let short = Duration::from_millis(100);
    let acks = nodes[1].server_side_emit_with_ack::<(usize, usize)>("place", &8, short).unwrap();
    assert_eq!(soon(acks.responses()).await.missing, 2);
    assert_eq!(nodes[0].stats().panics, 1);
    let acks = nodes[1].server_side_emit_with_ack::<()>("unknown", &(), short).unwrap();
    assert_eq!(soon(acks.responses()).await.missing, 2);
    drop(clients);
}

/// Servers in other languages may send JSON that JavaScript accepts and serde does not.
#[tokio::test]
async fn json_of_other_servers_is_mended() {
    let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let bus = Bus::default();
    let config = SocketIoConfig::new().adapter(bus.member()).on_server_side("note", move |event: ServerSideEvent| {
        sender.send(event.args::<(String, f64, Vec<u8>)>().map_err(|error| error.to_string())).unwrap();
        async {}
    });
    let io = SocketIoService::new(config).io();
    let mut client = Memory::join(&io).await;
    let node = bus.node(0);
    io.emit("n", &()).unwrap();
    client.expect(r#"42["n"]"#).await;
    let deliver = |command| node.deliver(ClusterMessage::new("other", "/", command));
    let event = |json: &'static str| EventBody::new(json, vec![bytes::Bytes::from_static(b"x")]);
    let json = r#"["note","a\ud83d",-1e400,{"_placeholder":true,"num":0}]"#;
    deliver(ClusterCommand::ServerSideEmit { event: event(json).unwrap(), request: None });
    assert_eq!(soon(heard.recv()).await.unwrap(), Ok(("a\u{fffd}".to_owned(), f64::MIN, b"x".to_vec())));
    let twice = r#"["note","a",1,{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#;
    assert_eq!(event(twice).unwrap_err().to_string(), "illegal attachments: one is named twice");
    // An event for clients is forwarded unchanged.
    let event = EventBody::new(r#"["n","\ud83d",1e400]"#, Vec::new()).unwrap();
    deliver(ClusterCommand::Emit { options: BroadcastOptions::default(), event, request: None });
    client.expect(r#"42["n","\ud83d",1e400]"#).await;
}

#[tokio::test]
async fn a_server_without_a_cluster_gets_no_responses() {
    let io = SocketIoService::new(SocketIoConfig::new()).io();
    io.server_side_emit("note", &()).unwrap();
    let acks = io.server_side_emit_with_ack::<()>("note", &(), Duration::from_secs(60)).unwrap();
    let responses = soon(async { acks.await }).await;
    assert_eq!((responses.answers.len(), responses.missing), (0, 0));
}

/// An adapter that panics affects neither the sockets of this node nor the emitting task.
#[tokio::test]
async fn an_adapter_that_panics_is_counted() {
    struct Broken;

    impl ClusterAdapter for Broken {
        fn start(&self, _: ClusterNode) {}

        fn publish(&self, _: ClusterMessage) -> Result<(), PublishError> {
            panic!("on purpose");
        }

        fn peers(&self, _: &str) -> BoxFuture<'static, Result<Peers, ClusterError>> {
            panic!("on purpose");
        }
    }
    let io = SocketIoService::new(SocketIoConfig::new().adapter(Broken)).io();
    let mut client = Memory::join(&io).await;
    io.emit("n", &1).unwrap();
    client.expect(r#"42["n",1]"#).await;
    io.sockets_join("room");
    assert_eq!(io.to("room").emit_with_report("n", &2).unwrap().recipients, 1);
    client.expect(r#"42["n",2]"#).await;
    io.server_side_emit("n", &()).unwrap();
    io.disconnect_sockets(false);
    client.expect("41").await;
    assert_eq!(io.stats().panics, 5);
}

/// A thread without a runtime may await the answers of other servers.
#[test]
fn answers_of_other_servers_may_be_awaited_without_a_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (a, _b, _) = cluster();
    let ask = || {
        let acks = a.server_side_emit_with_ack::<()>("nobody listens", &(), Duration::from_millis(10)).unwrap();
        block_on(acks.responses()).missing
    };
    // No connection has been opened yet, so no task keeps the time.
    assert_eq!(ask(), 1);
    let _client = runtime.block_on(Memory::join(&a));
    assert_eq!(ask(), 1);
}

/// An adapter that emits when a room changes would wait for itself if it was called under the lock of recovery.
#[tokio::test]
async fn an_adapter_hears_of_rooms_without_a_lock() {
    #[derive(Clone, Default)]
    struct Talkative {
        io: Arc<OnceLock<SocketIo>>,
        left: Arc<Mutex<Vec<String>>>,
    }
    impl ClusterAdapter for Talkative {
        fn start(&self, _: ClusterNode) {}

        fn publish(&self, _: ClusterMessage) -> Result<(), PublishError> {
            Ok(())
        }

        fn peers(&self, _: &str) -> BoxFuture<'static, Result<Peers, ClusterError>> {
            Box::pin(std::future::ready(Ok(Peers::Count(0))))
        }

        fn follows_rooms(&self) -> bool {
            true
        }

        fn local_change(&self, change: LocalChange<'_>) {
            let (Some(io), Some(room)) = (self.io.get(), change.room) else { return };
            let members = io.to(room).emit_with_report("changed", &room).unwrap().recipients;
            if members == 0 {
                self.left.lock().unwrap().push(room.to_owned());
            }
        }
    }
    let adapter = Talkative::default();
    let namespace = Namespace::new().on_connect(|socket: SocketRef| async move { socket.join(["a", "b"]) });
    let config =
        SocketIoConfig::new().recovery(RecoveryConfig::new()).adapter(adapter.clone()).namespace("/", namespace);
    let io = SocketIoService::new(config).io();
    adapter.io.set(io.clone()).unwrap();
    let client = TestClient::connect(&io).await.unwrap();
    client.socket().unwrap().leave("a");
    assert_eq!(*adapter.left.lock().unwrap(), ["a"]);
    let id = client.socket().unwrap().id().to_string();
    client.lose_connection().await;
    let mut left = adapter.left.lock().unwrap().split_off(1);
    left.sort_unstable_by_key(|room| *room != "b");
    assert_eq!(left, ["b".to_owned(), id]);
}

/// A backend of its own makes messages from what it has received.
#[tokio::test]
async fn a_message_can_be_made_outside_of_the_crate() {
    let (a, b, bus) = cluster();
    let mut client = Memory::join(&a).await;
    let _other = Memory::join(&b).await;
    let node = bus.node(0);
    let deliver = |command| node.deliver(ClusterMessage::new("other", "/", command));
    let room = || vec!["room".into()];
    let options = BroadcastOptions::new(room(), Vec::new());
    deliver(ClusterCommand::Join { options, rooms: vec!["made".into()] });
    assert_eq!((a.to("made").socket_count(), b.to("made").socket_count()), (1, 0));
    let options = BroadcastOptions::new(room(), vec!["made".into()]);
    deliver(ClusterCommand::Disconnect { options, close: false });
    assert_eq!(a.socket_count(), 1);
    let options = BroadcastOptions::new(room(), Vec::new());
    deliver(ClusterCommand::Disconnect { options, close: false });
    client.expect("41").await;
    assert_eq!(a.socket_count(), 0);
}

/// A client answers the next event, whose id follows the header.
async fn answer(client: &mut Memory, event: &str, answer: &str) {
    let text = client.text().await;
    let id = text.strip_prefix("42").unwrap().strip_suffix(event).unwrap_or_else(|| panic!("{text}"));
    client.say(&format!("43{id}{answer}"));
}

#[tokio::test]
async fn acks_of_all_nodes_are_collected() {
    let (a, b, _) = cluster();
    let (mut on_a, mut on_b) = (Memory::join(&a).await, Memory::join(&b).await);
    let acks = a.emit_with_ack::<u32>("n", &()).unwrap();
    let responses = tokio::spawn(acks.responses());
    answer(&mut on_a, r#"["n"]"#, "[1]").await;
    answer(&mut on_b, r#"["n"]"#, "[2]").await;
    let mut responses = soon(responses).await.unwrap();
    responses.answers.sort_by_key(|(_, answer)| *answer);
    assert!(matches!(&responses.answers[..], [(AckSource::Local(_), 1), (AckSource::Remote { node: Some(_), .. }, 2)]));
    assert!(responses.missing.is_empty());
    // Only another node has such a socket, or no node has.
    let acks = tokio::spawn(a.except(a.sockets()[0].id()).emit_with_ack::<String>("n", &7).unwrap().responses());
    answer(&mut on_b, r#"["n",7]"#, r#"["only the first","argument"]"#).await;
    let responses = soon(acks).await.unwrap();
    assert!(responses.missing.is_empty());
    assert_eq!(responses.answers.into_iter().map(|(_, answer)| answer).collect::<Vec<_>>(), ["only the first"]);
    let responses = soon(a.to("an empty room").emit_with_ack::<u8>("n", &()).unwrap().responses()).await;
    assert_eq!(responses.answers.len() + responses.missing.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_of_another_node_that_does_not_acknowledge_is_reported_after_the_timeout() {
    let (a, b, _) = cluster();
    let (mut on_a, mut on_b) = (Memory::join(&a).await, Memory::join(&b).await);
    let started = tokio::time::Instant::now();
    let acks = a.timeout(Duration::from_secs(7)).emit_with_ack::<u32>("n", &()).unwrap();
    let responses = tokio::spawn(acks.responses());
    answer(&mut on_a, r#"["n"]"#, "[1]").await;
    assert!(on_b.text().await.ends_with(r#"["n"]"#));
    let responses = responses.await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 7);
    assert_eq!(responses.answers.len(), 1);
    let [(AckSource::Remote { .. }, error)] = &responses.missing[..] else { panic!("{responses:?}") };
    assert!(error.is_timeout());
}

/// As if a node had died: it is counted, and does not respond.
struct Silent(Local);

impl ClusterAdapter for Silent {
    fn start(&self, _: ClusterNode) {}

    fn publish(&self, _: ClusterMessage) -> Result<(), PublishError> {
        Ok(())
    }

    fn peers(&self, _: &str) -> BoxFuture<'static, Result<Peers, ClusterError>> {
        let _ = &self.0;
        Box::pin(std::future::ready(Ok(Peers::Count(2))))
    }
}

#[tokio::test(start_paused = true)]
async fn requests_return_what_came_when_nodes_do_not_respond() {
    let io = SocketIoService::new(SocketIoConfig::new().adapter(Silent(Local::new()))).io();
    let _client = Memory::join(&io).await;
    let started = tokio::time::Instant::now();
    let error = io.fetch_sockets().await.unwrap_err();
    assert_eq!((error.sockets().len(), error.missing(), started.elapsed().as_secs()), (1, 2, 5));
    let cause = std::error::Error::source(&error).unwrap();
    assert_eq!(cause.to_string(), "2 nodes of the cluster did not respond in time");
    let responses = io.server_side_emit_with_ack::<()>("n", &(), Duration::from_secs(2)).unwrap().await;
    assert_eq!((responses.missing, started.elapsed().as_secs()), (2, 7));
    assert!(matches!(responses.error.unwrap().kind(), ClusterErrorKind::Timeout { missing: 2 }));
    let responses = io.to("empty").timeout(Duration::from_secs(1)).emit_with_ack::<()>("n", &()).unwrap().await;
    assert_eq!((responses.missing.len(), started.elapsed().as_secs()), (2, 8));
    assert_eq!(io.node_count().await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_request_does_not_wait_for_a_node_that_has_left() {
    let (a, b, bus) = cluster();
    let _client = Memory::join(&a).await;
    let acks = a.server_side_emit_with_ack::<()>("no handler", &(), Duration::from_secs(60)).unwrap();
    let started = tokio::time::Instant::now();
    let responses = tokio::spawn(acks.responses());
    bus.node(0).peer_left(bus.node(1).id());
    assert_eq!(responses.await.unwrap().answers.len(), 0);
    assert_eq!(a.node_count().await.unwrap(), 2);
    b.close().await;
    assert_eq!(a.node_count().await.unwrap(), 1);
    assert_eq!(a.fetch_sockets().await.unwrap().len(), 1);
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn sockets_of_other_nodes_are_fetched_and_used() {
    let (a, b, _) = cluster();
    let _on_a = Memory::join(&a).await;
    let mut on_b = Memory::join(&b).await;
    let socket = b.sockets()[0].clone();
    socket.set_data(&json!({"user": 7})).unwrap();
    let all = soon(a.fetch_sockets()).await.unwrap();
    let mut remote: Vec<RemoteSocket> = all.into_iter().filter(|socket| socket.local().is_none()).collect();
    let remote = remote.pop().unwrap();
    assert_eq!(remote.id(), socket.id());
    assert_eq!(remote.rooms(), &socket.rooms().into_iter().collect());
    assert_eq!(remote.data::<serde_json::Value>().unwrap(), Some(json!({"user": 7})));
    let (here, there) = (socket.handshake(), remote.handshake());
    assert_eq!(here.headers(), there.headers());
    assert_eq!(here.uri().path_and_query(), there.uri().path_and_query());
    assert_eq!(here.auth::<serde_json::Value>().unwrap(), there.auth::<serde_json::Value>().unwrap());
    assert_eq!(here.time().duration_since(there.time()).unwrap().as_millis(), 0);
    remote.emit("n", &(1, "two")).unwrap();
    on_b.expect(r#"42["n",1,"two"]"#).await;
    assert!(remote.emit("disconnect", &()).unwrap_err().is_reserved_event());
    let ack = tokio::spawn(remote.emit_with_ack::<String>("n", &()));
    answer(&mut on_b, r#"["n"]"#, r#"["hello"]"#).await;
    assert_eq!(soon(ack).await.unwrap().unwrap(), "hello");
    remote.join("x");
    assert_eq!(b.to("x").socket_count(), 1);
    remote.leave("x");
    assert_eq!(b.to("x").socket_count(), 0);
    remote.disconnect();
    on_b.expect("41").await;
    // No node has the socket now.
    assert!(soon(remote.emit_with_ack::<String>("n", &())).await.unwrap_err().is_disconnected());
}

#[tokio::test]
async fn an_emitter_reaches_the_sockets_and_the_servers_of_a_cluster() {
    let cluster = Local::new();
    let (heard, mut hear) = tokio::sync::mpsc::unbounded_channel();
    let chat = Namespace::new().on_connect(|socket: SocketRef| async move { socket.join("room") }).on_server_side(
        "note",
        move |event: ServerSideEvent| {
            heard.send((event.namespace().name().to_owned(), event.args::<u8>().unwrap())).unwrap();
            async {}
        },
    );
    let config = SocketIoConfig::new().adapter(cluster.node()).namespace("/chat", chat);
    let io = SocketIoService::new(config).io();
    let mut client = Memory::open(&io);
    assert!(client.text().await.starts_with("0{"));
    client.say("40/chat,");
    assert!(client.text().await.starts_with("40/chat,"));
    let emitter = Emitter::new(cluster.node()).of("chat");
    emitter.to("elsewhere").emit("n", &0).unwrap();
    emitter.to(Vec::<String>::new()).emit("n", &0).unwrap();
    emitter.except("room").emit("n", &0).unwrap();
    emitter.to("room").emit("n", &(1, bytes::Bytes::from_static(b"x"))).unwrap();
    client.expect(r#"451-/chat,["n",1,{"_placeholder":true,"num":0}]"#).await;
    assert_eq!(client.packet().await, Some(Packet::binary(&b"x"[..])));
    emitter.server_side_emit("note", &7).unwrap();
    assert_eq!(soon(hear.recv()).await.unwrap(), ("/chat".to_owned(), 7));
    emitter.sockets_join("more").unwrap();
    let chat = io.namespace("/chat");
    assert_eq!(chat.to("more").socket_count(), 1);
    emitter.sockets_leave("more").unwrap();
    assert_eq!(chat.to("more").socket_count(), 0);
    assert!(emitter.emit("disconnect", &()).is_err());
    emitter.disconnect_sockets(false).unwrap();
    client.expect("41/chat,").await;
}

/// An event to the other clients of the sender's client excludes it on the other nodes too, to which it may return.
#[tokio::test]
async fn the_sender_of_a_broadcast_is_named_as_an_exception() {
    let (a, _b, bus) = cluster();
    let _client = Memory::join(&a).await;
    let socket = a.sockets()[0].clone();
    socket.broadcast().emit("n", &()).unwrap();
    let message = bus.record.lock().unwrap().pop().unwrap();
    let ClusterCommand::Emit { options, .. } = message.command else { panic!("{message:?}") };
    assert_eq!(options.except, [tower_socketio::Room::from(socket.id().as_str())]);
}

#[tokio::test]
async fn failures_of_the_cluster_are_reported() {
    struct Full;

    impl ClusterAdapter for Full {
        fn start(&self, node: ClusterNode) {
            node.report(ClusterError::new(ClusterErrorKind::Malformed).caused_by("garbage"));
        }

        fn publish(&self, _: ClusterMessage) -> Result<(), PublishError> {
            Err(PublishError::Full)
        }

        fn peers(&self, _: &str) -> BoxFuture<'static, Result<Peers, ClusterError>> {
            Box::pin(std::future::ready(Err(ClusterError::new(ClusterErrorKind::Disconnected))))
        }
    }
    let errors = Arc::new(Mutex::new(Vec::new()));
    let heard = errors.clone();
    let config =
        SocketIoConfig::new().adapter(Full).on_cluster_error(move |error| heard.lock().unwrap().push(error.kind()));
    let io = SocketIoService::new(config).io();
    let mut client = Memory::join(&io).await;
    io.emit("n", &1).unwrap();
    client.expect(r#"42["n",1]"#).await;
    let lost = ClusterErrorKind::Lost { count: 1 };
    assert_eq!(*errors.lock().unwrap(), [ClusterErrorKind::Malformed, lost]);
    let error = io.fetch_sockets().await.unwrap_err();
    assert_eq!((error.sockets().len(), error.missing()), (1, 0));
    let mut acks = io.to("empty").emit_with_ack::<()>("n", &()).unwrap();
    let (_, error) = soon(acks.next()).await.unwrap();
    assert!(error.unwrap_err().is_cluster());
    assert!(soon(acks.next()).await.is_none());
    assert!(io.node_count().await.is_err());
}

#[test]
fn payloads_are_checked() {
    assert_eq!(Payload::new(" {} ", Vec::new()).unwrap().json(), "{}");
    assert!(Payload::new("{", Vec::new()).is_err());
    let node: BoxFuture<'static, Result<Peers, ClusterError>> = Local::new().node().peers("/");
    assert_eq!(futures_util::FutureExt::now_or_never(node).unwrap().unwrap().count(), 0);
}

/// The node that emits has no socket in the namespace.
#[tokio::test]
async fn a_namespace_of_a_pattern_that_exists_on_another_node_is_emitted_to() {
    let (here, there, _) = cluster_of(|| SocketIoConfig::new().namespace("/room/{id}", Namespace::new()));
    let mut client = Memory::open(&there);
    assert!(client.text().await.starts_with("0{"));
    client.say("40/room/1");
    assert!(client.text().await.starts_with("40/room/1,"));
    assert!(here.of("/room/1").is_none());
    let room = here.of_or_create("/room/1").unwrap();
    room.emit("n", &1).unwrap();
    client.expect(r#"42/room/1,["n",1]"#).await;
    assert_eq!(room.fetch_sockets().await.unwrap().len(), 1);
    let rooms = here.of_pattern("/room/{id}").unwrap();
    rooms.emit("n", &2).unwrap();
    client.expect(r#"42/room/1,["n",2]"#).await;
    assert_eq!(rooms.fetch_sockets().await.unwrap().len(), 1);
}

#[tokio::test]
async fn events_between_servers_belong_to_a_namespace() {
    let (here, there, _) = cluster_of(|| {
        let namespace =
            |name: &'static str| Namespace::new().on_server_side("note", move |_: ServerSideEvent| async move { name });
        SocketIoConfig::new().namespace("/a", namespace("of a")).namespace("/b", namespace("of b"))
    });
    // A server starts its work with its first connection.
    let _clients = [Memory::join(&here).await, Memory::join(&there).await];
    for (name, expected) in [("/a", "of a"), ("/b", "of b")] {
        let acks =
            here.namespace(name).server_side_emit_with_ack::<String>("note", &(), Duration::from_secs(60)).unwrap();
        let responses = soon(acks.responses()).await;
        assert_eq!((responses.answers, responses.missing), (vec![expected.to_owned()], 0));
    }
}
