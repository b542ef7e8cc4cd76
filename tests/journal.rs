//! Recovery across the nodes of a cluster that has a journal.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json as value};
use tower_socketio::{
    Namespace, RecoveryConfig, SocketIo, SocketIoConfig, SocketIoService, SocketRef, cluster::Local, extract::Data,
};

use crate::support::*;

fn namespace() -> Namespace {
    Namespace::new()
        .on("join", |socket: SocketRef, Data(room): Data<String>| async move { socket.join(room) })
        .on("data", |socket: SocketRef, Data(data): Data<Value>| async move { socket.set_data(&data).unwrap() })
        .with_state(())
}

fn node(cluster: &Local, namespace: Namespace) -> SocketIo {
    let config = SocketIoConfig::new().adapter(cluster.node()).recovery(RecoveryConfig::new());
    SocketIoService::new(config.namespace("/", namespace).allow_eio3(true)).io()
}

fn nodes(count: usize) -> Vec<SocketIo> {
    let cluster = Local::with_journal();
    (0..count).map(|_| node(&cluster, namespace())).collect()
}

async fn is_away(io: &SocketIo) {
    until(|| io.stats().sockets == 0).await;
    // The session is stored in a task.
    tokio::task::yield_now().await;
}

#[tokio::test]
async fn a_client_is_recovered_by_another_node() {
    let [a, b, c] = <[_; 3]>::try_from(nodes(3)).unwrap();
    let (mut client, sid, pid) = Memory::join_with_auth(&a, &value!({})).await;
    client.say(r#"42["join","room"]"#);
    client.say(r#"42["data",{"name":"ada"}]"#);
    until(|| a.to("room").sockets().len() == 1).await;
    b.emit("n", &1).unwrap();
    let seen = client.text().await;
    assert_eq!(seen, r#"42["n",1,"1-0"]"#);
    drop(client);
    is_away(&a).await;
    c.to("room").emit("n", &2).unwrap();
    b.to(&*sid).emit("n", &3).unwrap();
    b.to("elsewhere").emit("not for it", &()).unwrap();
    b.to("room").except(&*sid).emit("not for it", &()).unwrap();
    b.volatile().emit("not kept", &()).unwrap();
    b.emit("n", &bytes::Bytes::from_static(&[4])).unwrap();
    let (mut client, again, pid_again) =
        Memory::join_with_auth(&b, &value!({"pid": pid, "offset": offset(&seen)})).await;
    assert_eq!((&again, &pid_again), (&sid, &pid));
    client.expect(r#"42["n",2,"2-0"]"#).await;
    client.expect(r#"42["n",3,"3-0"]"#).await;
    client.expect(r#"451-["n",{"_placeholder":true,"num":0},"6-0"]"#).await;
    assert_eq!(client.packet().await.unwrap().data(), [4]);
    let socket = b.socket(&sid).unwrap();
    assert!(socket.is_recovered() && socket.is_in("room"));
    assert_eq!(socket.data::<Value>().unwrap(), Some(value!({"name": "ada"})));
    a.to("room").emit("n", &5).unwrap();
    client.expect(r#"42["n",5,"7-0"]"#).await;
    // A session is recovered once.
    let (_, other, _) = Memory::join_with_auth(&c, &value!({"pid": pid, "offset": "7-0"})).await;
    assert_ne!(other, sid);
}

#[tokio::test]
async fn an_event_to_a_lost_socket_reaches_its_client_on_another_node() {
    let [a, b] = <[_; 2]>::try_from(nodes(2)).unwrap();
    let (mut client, sid, pid) = Memory::join_with_auth(&a, &value!({})).await;
    let socket = a.socket(&sid).unwrap();
    socket.emit("n", &1).unwrap();
    let seen = client.text().await;
    drop(client);
    is_away(&a).await;
    socket.emit("n", &2).unwrap();
    let (mut client, ..) = Memory::join_with_auth(&b, &value!({"pid": pid, "offset": offset(&seen)})).await;
    client.expect(r#"42["n",2,"2-0"]"#).await;
    socket.emit("n", &3).unwrap();
    client.expect(r#"42["n",3,"3-0"]"#).await;
    b.socket(&sid).unwrap().disconnect();
    client.expect("41").await;
    assert!(b.sockets().is_empty());
}

#[tokio::test]
async fn what_a_client_sends_as_an_offset_may_be_anything() {
    let [a, b] = <[_; 2]>::try_from(nodes(2)).unwrap();
    for offset in
        [value!("99-0"), value!(""), value!("text"), value!(7), value!(null), value!("1-99999999999999999999")]
    {
        let (client, sid, pid) = Memory::join_with_auth(&a, &value!({})).await;
        a.emit("n", &1).unwrap();
        drop(client);
        is_away(&a).await;
        let (client, other, _) = Memory::join_with_auth(&b, &value!({"pid": pid, "offset": offset})).await;
        assert_ne!(other, sid);
        drop(client);
        is_away(&b).await;
    }
}

#[tokio::test]
async fn a_half_open_predecessor_on_the_same_node_is_closed() {
    let a = nodes(1).remove(0);
    let (mut client, sid, pid) = Memory::join_with_auth(&a, &value!({})).await;
    client.say(r#"42["join","room"]"#);
    until(|| a.to("room").sockets().len() == 1).await;
    a.emit("n", &1).unwrap();
    let seen = client.text().await;
    let (mut again, same, _) = Memory::join_with_auth(&a, &value!({"pid": pid, "offset": offset(&seen)})).await;
    assert_eq!(same, sid);
    assert_eq!(client.packet().await, None);
    a.to("room").emit("n", &2).unwrap();
    again.expect(r#"42["n",2,"2-0"]"#).await;
    assert_eq!(a.stats().sockets, 1);
}

#[tokio::test]
async fn a_session_whose_client_is_rejected_can_be_claimed_again() {
    let cluster = Local::with_journal();
    let picky = Namespace::new().on_connect(|socket: SocketRef| async move {
        if socket.is_recovered() { Err(StatusCode::SERVICE_UNAVAILABLE) } else { Ok(()) }
    });
    let (a, b) = (node(&cluster, namespace()), node(&cluster, picky));
    let (mut client, sid, pid) = Memory::join_with_auth(&a, &value!({})).await;
    a.emit("n", &1).unwrap();
    let seen = client.text().await;
    drop(client);
    is_away(&a).await;
    a.emit("n", &2).unwrap();
    let auth = value!({"pid": pid, "offset": offset(&seen)});
    let mut client = Memory::open(&b);
    client.say(&format!("40{auth}"));
    assert!(client.text().await.starts_with("0{"));
    assert!(client.text().await.starts_with("44{"));
    until(|| b.stats().sockets == 0).await;
    drop(client);
    // It is stored again in a task.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let (mut client, again, _) = Memory::join_with_auth(&a, &auth).await;
    assert_eq!(again, sid);
    client.expect(r#"42["n",2,"2-0"]"#).await;
}

#[tokio::test]
async fn dismissed_clients_and_those_of_revision_3_are_not_recovered() {
    let [a, b] = <[_; 2]>::try_from(nodes(2)).unwrap();
    let (mut client, sid, pid) = Memory::join_with_auth(&a, &value!({})).await;
    a.emit("n", &1).unwrap();
    let seen = client.text().await;
    client.say("41");
    until(|| a.sockets().is_empty()).await;
    let (_, other, _) = Memory::join_with_auth(&b, &value!({"pid": pid, "offset": offset(&seen)})).await;
    assert_ne!(other, sid);
    let server = a.clone();
    let mut old = Memory::open_with(tower_socketio::test::TestClient::builder(&server).query("EIO=3"));
    assert!(old.text().await.starts_with("0{"));
    old.expect("40").await;
    b.emit("n", &2).unwrap();
    old.expect(r#"42["n",2]"#).await;
}

#[tokio::test]
async fn events_in_on_connect_and_in_layers_follow_connect() {
    let cluster = Local::with_journal();
    let greeting = Namespace::new().on_connect(|socket: SocketRef| async move {
        socket.join("room");
        socket.emit("hello", &1).unwrap();
        socket.io().to("room").emit("hello", &2).unwrap();
    });
    let io = node(&cluster, greeting);
    let (mut client, ..) = Memory::join_with_auth(&io, &value!({})).await;
    client.expect(r#"42["hello",1,"1-0"]"#).await;
    client.expect(r#"42["hello",2,"2-0"]"#).await;
    // Not in the journal: acks, local and volatile events.
    io.local().emit("local", &()).unwrap();
    client.expect(r#"42["local"]"#).await;
    io.volatile().emit("volatile", &()).unwrap();
    client.expect(r#"42["volatile"]"#).await;
}

/// Clients hop from node to node while all nodes emit. Each gets each event once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_hop_between_nodes_get_each_event_once() {
    const EVENTS: u64 = 2000;
    let nodes = nodes(3);
    let mut clients = Vec::new();
    for number in 0..6 {
        let nodes = nodes.clone();
        let (mut client, sid, mut pid) = Memory::join_with_auth(&nodes[number % 3], &value!({})).await;
        clients.push(tokio::spawn(async move {
            let (mut place, mut seen) = (number, Vec::new());
            while seen.last() != Some(&EVENTS) {
                let text = client.text().await;
                let event = json(&text);
                seen.push(event[1].as_u64().unwrap());
                if seen.len() % (40 + number) == 0 {
                    let before = nodes[place % 3].clone();
                    drop(client);
                    until(|| before.socket(&sid).is_none()).await;
                    place += 1;
                    let auth = value!({"pid": pid, "offset": offset(&text)});
                    let again;
                    (client, again, pid) = Memory::join_with_auth(&nodes[place % 3], &auth).await;
                    assert_eq!(again, sid, "after {} events", seen.len());
                }
            }
            seen
        }));
    }
    for number in 1..=EVENTS {
        nodes[usize::try_from(number % 3).unwrap()].emit("n", &number).unwrap();
        if number % 20 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    for client in clients {
        let seen = soon(client).await.unwrap();
        assert_eq!(seen, (1..=EVENTS).collect::<Vec<_>>());
    }
}
