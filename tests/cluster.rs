//! Servers that are nodes of a cluster within one process.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tower_socketio::{
    Namespace, RecoveryConfig, SocketIo, SocketIoConfig, SocketIoService, SocketRef,
    cluster::{ClusterAdapter, ClusterCommand, ClusterMessage, ClusterNode, EventBody},
    engine::Packet,
    server_side::ServerSideEvent,
};

use crate::support::*;

/// Delivers each message to all other nodes, and records it.
#[derive(Clone, Default)]
struct Bus {
    nodes: Arc<Mutex<Vec<ClusterNode>>>,
    record: Arc<Mutex<Vec<ClusterMessage>>>,
}

struct Member {
    bus: Bus,
    place: usize,
}

impl ClusterAdapter for Member {
    fn start(&self, node: ClusterNode) {
        self.bus.nodes.lock().unwrap().push(node);
    }

    fn publish(&self, message: ClusterMessage) {
        self.bus.record.lock().unwrap().push(message.clone());
        let nodes = self.bus.nodes.lock().unwrap().clone();
        for (place, node) in nodes.iter().enumerate() {
            if place != self.place {
                node.deliver(&message);
            }
        }
    }

    fn node_count(&self) -> usize {
        self.bus.nodes.lock().unwrap().len()
    }
}

/// Two servers in one cluster.
fn cluster() -> (SocketIo, SocketIo, Bus) {
    cluster_of(SocketIoConfig::new)
}

fn cluster_of(config: impl Fn() -> SocketIoConfig) -> (SocketIo, SocketIo, Bus) {
    let bus = Bus::default();
    let node = |place| {
        let namespace = Namespace::new().on_connect(|socket: SocketRef| async move { socket.join("room") });
        let config = config().adapter(Member { bus: bus.clone(), place }).namespace("/", namespace);
        SocketIoService::new(config).io()
    };
    (node(0), node(1), bus)
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
    assert!(bus.record.lock().unwrap().is_empty());
    // For the other nodes, an empty list of rooms addresses all sockets.
    a.all().sockets_join("x");
    assert_eq!((bus.record.lock().unwrap().len(), b.to("x").sockets().len()), (1, 1));
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
    assert_eq!(bus.record.lock().unwrap().len(), 4);
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
    let node = bus.nodes.lock().unwrap()[0].clone();
    let text = |text: &str| Packet::from_text(text.to_owned()).unwrap();
    let binary = || Packet::binary(&[1u8][..]);
    let garbled = [
        vec![],
        vec![binary()],
        vec![text("2")],
        vec![text("41")],
        vec![text("42[\"n\"]"), binary()],
        vec![text(r#"451-["n",{"_placeholder":true,"num":0}]"#)],
        vec![text(r#"451-["n",{"_placeholder":true,"num":0}]"#), text("42[\"n\"]")],
        vec![text("451-[\"n\"]"), binary()],
        vec![text(r#"451-["n",{"_placeholder":true,"num":1}]"#), binary()],
        vec![text(r#"451-["n",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#), binary()],
        vec![text("42")],
        vec![text("42[]")],
        vec![text("42[\"n\"] ")],
        vec![text("42[\"n\"")],
        vec![text("427[\"n\"]")],
        vec![text(r#"452-["n",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#), binary()],
    ];
    let mut message = bus.record.lock().unwrap()[0].clone();
    for packets in garbled {
        message.command = ClusterCommand::Emit { packets, volatile: false };
        node.deliver(&message);
    }
    message.namespace = "/unknown".into();
    node.deliver(&message);
    a.emit("n", &2).unwrap();
    assert!(on_a.text().await.starts_with(r#"42["n",2"#));
}

#[tokio::test]
async fn a_node_does_not_keep_its_server_alive() {
    let (a, b, bus) = cluster();
    let node = bus.nodes.lock().unwrap()[0].clone();
    let kept = Arc::new(());
    let held = kept.clone();
    let namespace = Namespace::new().on("hold", async move || drop(held.clone()));
    let third = Member { bus: bus.clone(), place: 2 };
    let config = SocketIoConfig::new().adapter(third).namespace("/", namespace.with_state(()));
    drop(SocketIoService::new(config));
    assert_eq!(Arc::strong_count(&kept), 1);
    // A message is delivered to the nodes that exist when it is published.
    let mut on_b = Memory::join(&b).await;
    drop(a);
    b.emit("n", &1).unwrap();
    on_b.expect(r#"42["n",1]"#).await;
    let message = bus.record.lock().unwrap().last().unwrap().clone();
    node.deliver(&message);
}

#[tokio::test]
async fn servers_emit_to_one_another() {
    let bus = Bus::default();
    let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let node = |place| {
        let sender = sender.clone();
        let config = SocketIoConfig::new()
            .adapter(Member { bus: bus.clone(), place })
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
    let config = SocketIoConfig::new().adapter(Member { bus: bus.clone(), place: 0 }).on_server_side(
        "note",
        move |event: ServerSideEvent| {
            sender.send(event.args::<(String, f64, Vec<u8>)>().map_err(|error| error.to_string())).unwrap();
            async {}
        },
    );
    let io = SocketIoService::new(config).io();
    let mut client = Memory::join(&io).await;
    let node = bus.nodes.lock().unwrap()[0].clone();
    io.emit("n", &()).unwrap();
    client.expect(r#"42["n"]"#).await;
    let mut message = bus.record.lock().unwrap()[0].clone();
    let mut say = |json: &'static str| {
        let args = EventBody::new(json.into(), vec![bytes::Bytes::from_static(b"x")]);
        message.command =
            ClusterCommand::ServerSideEmit { event: "note".to_owned(), args, from: "other".into(), ack: None };
        node.deliver(&message);
    };
    say(r#"["a\ud83d",-1e400,{"_placeholder":true,"num":0}]"#);
    assert_eq!(soon(heard.recv()).await.unwrap(), Ok(("a\u{fffd}".to_owned(), f64::MIN, b"x".to_vec())));
    say(r#"["a",1,{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#);
    assert_eq!(soon(heard.recv()).await.unwrap().unwrap_err(), "illegal attachments: one is named twice");
    // An event for clients is forwarded unchanged.
    message.command = ClusterCommand::Emit {
        packets: vec![Packet::from_text(r#"42["n","\ud83d",1e400]"#).unwrap()],
        volatile: false,
    };
    node.deliver(&message);
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

        fn publish(&self, _: ClusterMessage) {
            panic!("on purpose");
        }

        fn node_count(&self) -> usize {
            2
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

/// A backend of its own makes messages from what it has received.
#[tokio::test]
async fn a_message_can_be_made_outside_of_the_crate() {
    let (a, b, bus) = cluster();
    let mut client = Memory::join(&a).await;
    let _other = Memory::join(&b).await;
    let mut message = ClusterMessage::new("/", ClusterCommand::Join(vec!["made".into()]));
    message.rooms.push("room".into());
    let node = bus.nodes.lock().unwrap()[0].clone();
    node.deliver(&message);
    assert_eq!((a.to("made").socket_count(), b.to("made").socket_count()), (1, 0));
    message.except.push("made".into());
    message.command = ClusterCommand::Disconnect { close: false };
    node.deliver(&message);
    message.except.clear();
    node.deliver(&message);
    client.expect("41").await;
    assert_eq!(a.socket_count(), 0);
}
