//! Recovery across nodes, with a stream as the journal.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json as value};

use super::*;
use crate::{
    brokers::{Broker, Redis, redis::command},
    matrix::{node::NodeJs, operation::all},
};

async fn nodes(count: usize, broker: &Broker<Redis>) -> Vec<Node> {
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(Node::start(Kind::Journal, RedisConfig::new(broker.url())).await.unwrap());
    }
    nodes
}

async fn has_session(port: u16, pid: &str) {
    let key = format!("sio:session:{pid}");
    let is_there = async {
        while command(port, &["EXISTS", &key]).await != ":1" {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon(is_there).await;
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn a_client_is_recovered_by_another_node() {
    let broker = Broker::start(Redis::default()).await;
    let [a, b, c] = <[_; 3]>::try_from(nodes(3, &broker).await).ok().unwrap();
    let (mut client, sid, pid) = Memory::join_with_auth(&a.io, &value!({})).await;
    client.say(r#"42["join","room"]"#);
    until(|| a.io.to("room").sockets().len() == 1).await;
    a.io.socket(&sid).unwrap().set_data(&value!({"name": "ada"})).unwrap();
    b.io.emit("n", &1).unwrap();
    let seen = client.text().await;
    assert!(seen.starts_with(r#"42["n",1,""#), "{seen}");
    drop(client);
    has_session(broker.port(), &pid).await;
    c.io.to("room").emit("n", &2).unwrap();
    c.io.to(&*sid).emit("n", &3).unwrap();
    c.io.to("elsewhere").emit("not for it", &()).unwrap();
    c.io.to("room").except(&*sid).emit("not for it", &()).unwrap();
    c.io.volatile().emit("not kept", &()).unwrap();
    c.io.emit("n", &bytes::Bytes::from_static(&[4])).unwrap();
    retry(async || (command(broker.port(), &["XLEN", "socket.io"]).await == ":7").then_some(())).await;
    let auth = value!({"pid": pid, "offset": offset(&seen)});
    let (mut client, again, pid_again) = Memory::join_with_auth(&b.io, &auth).await;
    assert_eq!((&again, &pid_again), (&sid, &pid));
    for number in [2, 3] {
        let event = client.text().await;
        assert!(event.starts_with(&format!(r#"42["n",{number},""#)), "{event}");
    }
    let event = client.text().await;
    assert!(event.starts_with(r#"451-["n",{"_placeholder":true,"num":0},""#), "{event}");
    assert_eq!(client.packet().await.unwrap().data(), [4]);
    let socket = b.io.socket(&sid).unwrap();
    assert!(socket.is_recovered() && socket.is_in("room"));
    assert_eq!(socket.data::<Value>().unwrap(), Some(value!({"name": "ada"})));
    a.io.to("room").emit("n", &5).unwrap();
    let event = client.text().await;
    assert!(event.starts_with(r#"42["n",5,""#), "{event}");
    // A session is recovered once.
    let (_, other, _) = Memory::join_with_auth(&c.io, &auth).await;
    assert_ne!(other, sid);
    for node in [&a, &b, &c] {
        assert!(node.reports.lock().unwrap().is_empty());
    }
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn a_client_is_new_if_its_session_or_offset_is_unknown() {
    let broker = Broker::start(Redis::default()).await;
    let port = broker.port();
    let [a, b] = <[_; 2]>::try_from(nodes(2, &broker).await).ok().unwrap();
    for case in ["", "99-0", "text", "trimmed", "other session", "garbage"] {
        let (mut client, sid, pid) = Memory::join_with_auth(&a.io, &value!({})).await;
        a.io.emit("n", &1).unwrap();
        let event = client.text().await;
        let seen = offset(&event);
        drop(client);
        let key = format!("sio:session:{pid}");
        has_session(port, &pid).await;
        let offset = match case {
            "trimmed" => {
                command(port, &["XDEL", "socket.io", &seen]).await;
                &seen
            }
            "other session" => {
                let (mut client, other, other_pid) = Memory::join_with_auth(&a.io, &value!({})).await;
                a.io.emit("n", &2).unwrap();
                client.text().await;
                drop(client);
                has_session(port, &other_pid).await;
                assert_ne!(other, sid);
                assert_eq!(command(port, &["RENAME", &format!("sio:session:{other_pid}"), &key]).await, "+OK");
                &seen
            }
            "garbage" => {
                assert_eq!(command(port, &["SET", &key, "3f////8="]).await, "+OK");
                &seen
            }
            other => other,
        };
        let (_client, new, _) = Memory::join_with_auth(&b.io, &value!({"pid": pid, "offset": offset})).await;
        assert_ne!(new, sid, "{case}");
    }
    assert!(b.has_reported(ClusterErrorKind::Malformed));
}

/// Many events, in pages, of which those of other namespaces do not count.
#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn missed_events_are_read_in_pages_up_to_a_limit() {
    let broker = Broker::start(Redis::default()).await;
    let limited = async || {
        let adapter = RedisStreamsAdapter::connect(RedisConfig::new(broker.url())).await.unwrap();
        Node::serve(SocketIoConfig::new().adapter(adapter).recovery(RecoveryConfig::new().max_packets(500)))
    };
    let (a, b) = (limited().await, limited().await);
    let adapter = RedisStreamsAdapter::connect(RedisConfig::new(broker.url())).await.unwrap();
    let emitter = tower_socketio::cluster::Emitter::new(adapter);
    for (count, is_recovered) in [(99, true), (100, true), (500, true), (501, false)] {
        let (mut client, sid, pid) = Memory::join_with_auth(&a.io, &value!({})).await;
        emitter.emit("n", &0).unwrap();
        let seen = client.text().await;
        drop(client);
        has_session(broker.port(), &pid).await;
        let before: usize = command(broker.port(), &["XLEN", "socket.io"]).await[1..].parse().unwrap();
        for number in 1..=count {
            emitter.emit("n", &number).unwrap();
            emitter.of("/elsewhere").emit("n", &number).unwrap();
        }
        let all = format!(":{}", before + 2 * count);
        retry(async || (command(broker.port(), &["XLEN", "socket.io"]).await == all).then_some(())).await;
        let (mut client, again, _) =
            Memory::join_with_auth(&b.io, &value!({"pid": pid, "offset": offset(&seen)})).await;
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
    let mut broker = Broker::start(Redis::default()).await;
    let [a, b] = <[_; 2]>::try_from(nodes(2, &broker).await).ok().unwrap();
    let (mut client, sid, pid) = Memory::join_with_auth(&a.io, &value!({})).await;
    a.io.emit("n", &1).unwrap();
    let seen = client.text().await;
    broker.kill().await;
    drop(client);
    until(|| a.io.stats().sockets == 0).await;
    a.io.emit("n", &2).unwrap();
    broker.restart().await;
    has_session(broker.port(), &pid).await;
    let (mut client, again, _) = Memory::join_with_auth(&b.io, &value!({"pid": pid, "offset": offset(&seen)})).await;
    assert_eq!(again, sid);
    let event = client.text().await;
    assert!(event.starts_with(r#"42["n",2,""#), "{event}");
}

#[tokio::test]
#[ignore = "requires brokers: make backends"]
async fn sessions_and_events_outlive_all_nodes() {
    let broker = Broker::start(Redis::default()).await;
    let [a, b] = <[_; 2]>::try_from(nodes(2, &broker).await).ok().unwrap();
    let (mut client, sid, pid) = Memory::join_with_auth(&a.io, &value!({})).await;
    b.io.emit("n", &1).unwrap();
    let seen = client.text().await;
    soon(a.io.close()).await;
    b.io.emit("n", &2).unwrap();
    soon(b.io.close()).await;
    drop((a, b));
    let c = nodes(1, &broker).await.remove(0);
    let (mut client, again, _) = Memory::join_with_auth(&c.io, &value!({"pid": pid, "offset": offset(&seen)})).await;
    assert_eq!(again, sid);
    let event = client.text().await;
    assert!(event.starts_with(r#"42["n",2,""#), "{event}");
}

/// Clients hop from node to node while all nodes emit. Each gets each event once, and all get them in the same order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "requires brokers: make backends"]
async fn clients_that_hop_between_nodes_get_each_event_once() {
    const EVENTS: usize = 2000;
    let broker = Broker::start(Redis::default()).await;
    let port = broker.port();
    let nodes = Arc::new(nodes(3, &broker).await);
    let mut clients = Vec::new();
    for number in 0..6 {
        let nodes = nodes.clone();
        let (mut client, sid, mut pid) = Memory::join_with_auth(&nodes[number % 3].io, &value!({})).await;
        clients.push(tokio::spawn(async move {
            let (mut place, mut seen) = (number, Vec::new());
            while seen.len() < EVENTS {
                let text = client.text().await;
                seen.push(json(&text)[1].as_u64().unwrap());
                if seen.len() % (40 + number) == 0 {
                    drop(client);
                    has_session(port, &pid).await;
                    place += 1;
                    let auth = value!({"pid": pid, "offset": offset(&text)});
                    let again;
                    (client, again, pid) = Memory::join_with_auth(&nodes[place % 3].io, &auth).await;
                    assert_eq!(again, sid, "after {} events", seen.len());
                }
            }
            seen
        }));
    }
    for number in 1..=EVENTS {
        nodes[number % 3].io.emit("n", &number).unwrap();
        if number % 5 == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
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

/// A client over a network, of a node in any language.
struct Client {
    socket: WebSocket,
    sid: String,
    pid: String,
    offset: String,
    /// The numbers of the events so far.
    seen: Vec<u64>,
}

impl Client {
    async fn connect(address: SocketAddr, auth: &Value, seen: Vec<u64>) -> Self {
        let mut socket = WebSocket::open(address).await;
        socket.say(&format!("40{auth}")).await;
        let mut client = Self { socket, sid: String::new(), pid: String::new(), offset: String::new(), seen };
        // Node.js sends what was missed first.
        while client.sid.is_empty() {
            client.read().await;
        }
        client
    }

    async fn read(&mut self) {
        let text = self.socket.text_but_pings().await;
        if text.starts_with("40") {
            let answer = json(&text);
            self.sid = answer["sid"].as_str().unwrap().to_owned();
            self.pid = answer["pid"].as_str().unwrap().to_owned();
        } else {
            self.seen.push(json(&text)[1].as_u64().unwrap());
            self.offset = offset(&text);
        }
    }

    async fn read_to(&mut self, last: u64) {
        while self.seen.last() != Some(&last) {
            self.read().await;
        }
    }

    async fn hop(self, port: u16, away: impl Future<Output = ()>, to: SocketAddr) -> Self {
        let Self { socket, sid, pid, offset, seen } = self;
        drop(socket);
        has_session(port, &pid).await;
        away.await;
        let auth = value!({"pid": pid, "offset": offset});
        let client = Self::connect(to, &auth, seen).await;
        assert_eq!((&client.sid, &client.pid), (&sid, &pid), "after {:?}", client.seen.last());
        let offset = if client.offset.is_empty() { offset } else { client.offset };
        Self { offset, ..client }
    }
}

/// A client hops from Rust to Node.js to Rust. All of them emit, while it is connected and while it is away.
async fn hops_with_node_js(hops: usize) {
    let broker = Broker::start(Redis::default()).await;
    let port = broker.port();
    let mut servers = Vec::new();
    for _ in 0..2 {
        let adapter = RedisStreamsAdapter::connect(RedisConfig::new(broker.url())).await.unwrap();
        let config = SocketIoConfig::new().adapter(adapter).recovery(RecoveryConfig::new());
        let root = Namespace::new().on_connect(|socket: SocketRef| async move {
            if !socket.is_recovered() {
                socket.join("room");
            }
        });
        servers.push(serve_config(config.namespace("/", root)).await);
    }
    let node_js = NodeJs::node("redis-streams-recovery", &broker.url(), "b").await;
    let places = [servers[0].address, node_js.address, servers[1].address, node_js.address];
    let number = std::cell::Cell::new(0);
    let emit = async |count| {
        for _ in 0..count {
            let next = number.get() + 1;
            number.set(next);
            match next % 3 {
                0 => drop(node_js.actor.run(all().to(["room"]).emit(value!(["n", next]))).await.unwrap()),
                rust => servers[rust as usize - 1].io.to("room").emit("n", &next).unwrap(),
            }
            // It is in the stream before the next, which another node may emit.
            retry(async || (command(port, &["XLEN", "socket.io"]).await == format!(":{next}")).then_some(())).await;
        }
    };
    let auth = value!({"rooms": ["room"], "data": {}});
    let mut client = Client::connect(places[0], &auth, Vec::new()).await;
    for hop in 1..=hops {
        emit(3).await;
        client.read_to(number.get()).await;
        client = client.hop(port, emit(4), places[hop % 4]).await;
        client.read_to(number.get()).await;
    }
    emit(1).await;
    client.read_to(number.get()).await;
    assert!(client.seen.iter().copied().eq(1..=number.get()), "{:?}", client.seen);
    println!("{hops} hops, {} events", client.seen.len());
}

#[tokio::test]
#[ignore = "requires brokers and Node.js: make backends"]
async fn a_client_hops_between_rust_and_node_js() {
    hops_with_node_js(20).await;
}

#[tokio::test]
#[ignore = "a drill: 200 hops"]
async fn drill_a_client_hops_between_rust_and_node_js() {
    hops_with_node_js(200).await;
}
