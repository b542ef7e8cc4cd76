//! Recovery across nodes, with JetStream as the journal.

use std::sync::Arc;

use tower_socketio::{
    cluster::{ClusterErrorKind, Emitter},
    engine::Packet,
};

use super::*;

async fn nodes(count: usize, broker: &Broker<Nats>) -> Vec<Node> {
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(node(impatient(&broker.url()), true).await);
    }
    nodes
}

/// Returns the auth payload of a client that has seen an event last.
fn claim(pid: &str, seen: &str) -> Value {
    value!({ "pid": pid, "offset": offset(seen) })
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn a_client_is_recovered_by_another_node() {
    let broker = Broker::start(Nats::default()).await;
    let admin = Admin::connect(&broker).await;
    let [a, b, c] = <[_; 3]>::try_from(nodes(3, &broker).await).ok().unwrap();
    let (mut client, sid, pid) = Memory::join_with_auth(&a.io, &value!({})).await;
    a.io.socket(&sid).unwrap().set_data(&value!({"name": "ada"})).unwrap();
    b.io.emit("n", &1).unwrap();
    let seen = client.text().await;
    assert!(seen.starts_with(r#"42["n",1,""#), "{seen}");
    drop(client);
    admin.has_session(&pid).await;
    let mut other = Memory::join(&a.io).await;
    c.io.to("room").emit("n", &2).unwrap();
    c.io.to(&*sid).emit("n", &3).unwrap();
    c.io.to("elsewhere").emit("not for it", &()).unwrap();
    c.io.to("room").except(&*sid).emit("not for it", &()).unwrap();
    c.io.volatile().emit("not kept", &()).unwrap();
    c.io.emit("n", &bytes::Bytes::from_static(&[4])).unwrap();
    // The last one is in the stream.
    while !other.text().await.starts_with("451-") {}
    let auth = claim(&pid, &seen);
    let (mut client, again, pid_again) = Memory::join_with_auth(&b.io, &auth).await;
    assert_eq!((&again, &pid_again), (&sid, &pid));
    for number in [2, 3] {
        let event = client.text().await;
        assert!(event.starts_with(&format!(r#"42["n",{number},""#)), "{event}");
    }
    let event = client.text().await;
    assert!(event.starts_with(r#"451-["n",{"_placeholder":true,"num":0},""#), "{event}");
    assert_eq!(client.packet().await, Some(Packet::binary(&[4][..])));
    let socket = b.io.socket(&sid).unwrap();
    assert!(socket.is_recovered() && socket.is_in("room"));
    assert_eq!(socket.data::<Value>().unwrap(), Some(value!({"name": "ada"})));
    a.io.to("room").emit("n", &5).unwrap();
    let event = client.text().await;
    assert!(event.starts_with(r#"42["n",5,""#), "{event}");
    // A session is recovered once.
    let (_, another, _) = Memory::join_with_auth(&c.io, &auth).await;
    assert_ne!(another, sid);
    for node in [&a, &b, &c] {
        assert!(node.errors.lock().unwrap().is_empty());
    }
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn a_client_is_new_if_its_session_or_offset_is_unknown() {
    let broker = Broker::start(Nats::default()).await;
    let admin = Admin::connect(&broker).await;
    let [a, b] = <[_; 2]>::try_from(nodes(2, &broker).await).ok().unwrap();
    for case in ["", "99-0", "text", "another batch", "another message", "purged", "other session", "garbage", "id"] {
        let (mut client, sid, pid) = Memory::join_with_auth(&a.io, &value!({})).await;
        a.io.emit("n", &1).unwrap();
        let seen = offset(&client.text().await);
        drop(client);
        admin.has_session(&pid).await;
        let (sequence, number) = seen.split_once('-').unwrap();
        let number: u64 = number.parse().unwrap();
        let subject = format!("socket.io.saved.{pid}");
        let (mut claimed, mut offset) = (pid.clone(), seen.clone());
        match case {
            "another batch" => offset = format!("{sequence}-{}", number ^ (1 << 20)),
            "another message" => offset = format!("{sequence}-{}", number + 1),
            "purged" => {
                admin.request("STREAM.PURGE.socket-io", value!({})).await;
            }
            "other session" | "garbage" => {
                let (mut client, _, other) = Memory::join_with_auth(&a.io, &value!({})).await;
                a.io.emit("n", &2).unwrap();
                client.text().await;
                drop(client);
                admin.has_session(&other).await;
                let last = value!({ "last_by_subj": format!("socket.io.saved.{other}") });
                let stored = admin.request("STREAM.MSG.GET.socket-io-sessions", last).await;
                let encoded = stored["message"]["data"].as_str().unwrap();
                use base64::{Engine, engine::general_purpose::STANDARD};
                let payload = if case == "garbage" { b"3f////8=".to_vec() } else { STANDARD.decode(encoded).unwrap() };
                admin.0.request(subject, payload.into()).await.unwrap();
            }
            "id" => claimed = "*".to_owned(),
            other => offset = other.to_owned(),
        }
        let auth = value!({"pid": claimed, "offset": offset});
        let (_client, new, _) = Memory::join_with_auth(&b.io, &auth).await;
        assert_ne!(new, sid, "{case}");
    }
    assert!(b.has_reported(ClusterErrorKind::Malformed));
}

/// Many events, of which those of other namespaces do not count.
#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn missed_events_are_read_up_to_a_limit() {
    let broker = Broker::start(Nats::default()).await;
    let admin = Admin::connect(&broker).await;
    let limited = async || {
        let adapter = NatsJetStreamAdapter::connect(NatsConfig::new(broker.url())).await.unwrap();
        Node::configured(SocketIoConfig::new().adapter(adapter).recovery(RecoveryConfig::new().max_packets(500)))
    };
    let (a, b) = (limited().await, limited().await);
    let emitter = Emitter::new(NatsJetStreamAdapter::connect(NatsConfig::new(broker.url())).await.unwrap());
    for (count, is_recovered) in [(99, true), (500, true), (501, false)] {
        let (mut client, sid, pid) = Memory::join_with_auth(&a.io, &value!({})).await;
        let mut other = Memory::join(&a.io).await;
        emitter.emit("n", &0).unwrap();
        let seen = client.text().await;
        drop(client);
        admin.has_session(&pid).await;
        for number in 1..=count {
            emitter.emit("n", &number).unwrap();
            emitter.of("/elsewhere").emit("n", &number).unwrap();
        }
        while !other.text().await.starts_with(&format!(r#"42["n",{count},"#)) {}
        let (mut client, again, _) = Memory::join_with_auth(&b.io, &claim(&pid, &seen)).await;
        assert_eq!(again == sid, is_recovered, "{count}");
        for number in 1..=if is_recovered { count } else { 0 } {
            let event = client.text().await;
            assert!(event.starts_with(&format!(r#"42["n",{number},""#)), "{event}");
        }
    }
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn sessions_are_stored_and_taken_when_the_broker_is_back() {
    let mut broker = Broker::start(Nats::default()).await;
    let [a, b] = <[_; 2]>::try_from(nodes(2, &broker).await).ok().unwrap();
    let (mut client, sid, pid) = Memory::join_with_auth(&a.io, &value!({})).await;
    a.io.emit("n", &1).unwrap();
    let seen = client.text().await;
    broker.kill().await;
    drop(client);
    until(|| a.io.stats().sockets == 0).await;
    a.io.emit("n", &2).unwrap();
    broker.restart().await;
    Admin::connect(&broker).await.has_session(&pid).await;
    let (mut client, again, _) = Memory::join_with_auth(&b.io, &claim(&pid, &seen)).await;
    assert_eq!(again, sid);
    let event = client.text().await;
    assert!(event.starts_with(r#"42["n",2,""#), "{event}");
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn sessions_are_kept_for_the_configured_time() {
    let broker = Broker::start(Nats::default()).await;
    let admin = Admin::connect(&broker).await;
    let node = async |seconds| {
        let adapter = NatsJetStreamAdapter::connect(NatsConfig::new(broker.url())).await.unwrap();
        let recovery = RecoveryConfig::new().max_disconnection(Duration::from_secs(seconds));
        Node::configured(SocketIoConfig::new().adapter(adapter).recovery(recovery))
    };
    for (seconds, longest) in [(2, 2), (60, 60), (2, 60)] {
        let a = node(seconds).await;
        let (mut client, _, pid) = Memory::join_with_auth(&a.io, &value!({})).await;
        a.io.emit("n", &1).unwrap();
        client.text().await;
        drop(client);
        admin.has_session(&pid).await;
        let config = admin.request("STREAM.INFO.socket-io-sessions", value!({})).await["config"].take();
        assert_eq!(config["max_age"], value!(longest * 1_000_000_000_u64));
        assert_eq!(config["max_msgs_per_subject"], 1);
    }
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn sessions_and_events_outlive_all_nodes() {
    let broker = Broker::start(Nats::default()).await;
    let [a, b] = <[_; 2]>::try_from(nodes(2, &broker).await).ok().unwrap();
    let (mut client, sid, pid) = Memory::join_with_auth(&a.io, &value!({})).await;
    b.io.emit("n", &1).unwrap();
    let seen = client.text().await;
    soon(a.io.close()).await;
    b.io.emit("n", &2).unwrap();
    soon(b.io.close()).await;
    drop((a, b));
    let c = nodes(1, &broker).await.remove(0);
    let (mut client, again, _) = Memory::join_with_auth(&c.io, &claim(&pid, &seen)).await;
    assert_eq!(again, sid);
    let event = client.text().await;
    assert!(event.starts_with(r#"42["n",2,""#), "{event}");
}

/// Clients hop from node to node while all nodes emit. Each gets each event once, and all get them in the same order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "requires brokers: make backends"]
async fn clients_that_hop_between_nodes_get_each_event_once() {
    const EVENTS: usize = 2000;
    let broker = Broker::start(Nats::default()).await;
    let admin = Arc::new(Admin::connect(&broker).await);
    let nodes = Arc::new(nodes(3, &broker).await);
    let mut clients = Vec::new();
    for number in 0..6 {
        let (nodes, admin) = (nodes.clone(), admin.clone());
        let (mut client, sid, mut pid) = Memory::join_with_auth(&nodes[number % 3].io, &value!({})).await;
        clients.push(tokio::spawn(async move {
            let (mut place, mut seen) = (number, Vec::new());
            while seen.len() < EVENTS {
                let text = client.text().await;
                seen.push(json(&text)[1].as_u64().unwrap());
                if seen.len() % (40 + number) == 0 {
                    drop(client);
                    admin.has_session(&pid).await;
                    place += 1;
                    let again;
                    (client, again, pid) = Memory::join_with_auth(&nodes[place % 3].io, &claim(&pid, &text)).await;
                    assert_eq!(again, sid, "after {} events", seen.len());
                }
            }
            seen
        }));
    }
    for number in 1..=EVENTS {
        nodes[number % 3].io.emit("n", &number).unwrap();
        // Slow enough for the clients to keep up: what each of them misses is read for it alone.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut all = Vec::new();
    for client in clients {
        all.push(soon(client).await.unwrap());
    }
    for seen in &all {
        assert_eq!(*seen, all[0]);
        // Those of each node are in order.
        for node in 0..3 {
            assert!(seen.iter().filter(|number| **number % 3 == node).is_sorted());
        }
    }
    all[0].sort_unstable();
    assert!(all[0].iter().copied().eq(1..=EVENTS as u64));
}

/// A client hops between two nodes. Both emit, while it is connected and while it is away.
async fn hops(hops: usize) {
    let broker = Broker::start(Nats::default()).await;
    let admin = Admin::connect(&broker).await;
    let nodes = nodes(2, &broker).await;
    let (mut client, sid, pid) = Memory::join_with_auth(&nodes[0].io, &value!({})).await;
    let (mut emitted, mut seen, mut last) = ([0_u64; 2], [0_u64; 2], String::new());
    let mut emit = |count: u64| {
        for _ in 0..count {
            for (node, number) in nodes.iter().zip(&mut emitted) {
                *number += 1;
                let event = if std::ptr::eq(node, &nodes[0]) { "a" } else { "b" };
                node.io.to("room").emit(event, &*number).unwrap();
            }
        }
        emitted
    };
    for hop in 1..=hops {
        let until = emit(3);
        while seen != until {
            last = client.text().await;
            check(&last, &mut seen);
        }
        drop(client);
        admin.has_session(&pid).await;
        let until = emit(4);
        let again;
        (client, again, _) = Memory::join_with_auth(&nodes[hop % 2].io, &claim(&pid, &last)).await;
        assert_eq!(again, sid, "after {hop} hops");
        while seen != until {
            last = client.text().await;
            check(&last, &mut seen);
        }
    }
    println!("{hops} hops, {} events", seen[0] + seen[1]);
}

/// Notes an event, which is the next one of its node.
fn check(text: &str, seen: &mut [u64; 2]) {
    let event = json(text);
    let node = usize::from(event[0] == "b");
    seen[node] += 1;
    assert_eq!(event[1].as_u64(), Some(seen[node]), "{text}");
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn a_client_hops_between_two_nodes() {
    hops(20).await;
}

#[tokio::test]
#[ignore = "a drill: 200 hops"]
async fn drill_a_client_hops_between_two_nodes() {
    hops(200).await;
}
