//! Sessions of a cluster behind a load balancer that sends each request to the next node.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};
use tower_socketio::{
    DisconnectReason, SocketIoConfig, Transport,
    cluster::{
        ClusterAdapter, ClusterError, ClusterErrorKind, ClusterMessage, ClusterNode, Local, LocalNode, Peers,
        PublishError,
    },
};

use crate::support::*;

/// An adapter that delivers messages in a task, and loses some.
struct Wire {
    local: Arc<LocalNode>,
    switch: Arc<Switch>,
    queue: OnceLock<UnboundedSender<(String, Bytes)>>,
}

#[derive(Default)]
struct Switch {
    node: OnceLock<ClusterNode>,
    /// All messages are lost.
    is_cut: AtomicBool,
    /// The number of messages.
    sent: AtomicUsize,
    /// Counts down. The message for which it is zero is lost.
    until_loss: AtomicIsize,
}

/// How long the owner of a session may take to respond.
const RESPONSE: Duration = Duration::from_secs(2);

impl ClusterAdapter for Wire {
    fn start(&self, node: ClusterNode) {
        let (queue, mut messages) = unbounded_channel::<(String, Bytes)>();
        self.queue.set(queue).unwrap();
        self.switch.node.set(node.clone()).unwrap();
        self.local.start(node.clone());
        let local = self.local.clone();
        tokio::spawn(async move {
            while let Some((to, message)) = messages.recv().await {
                if local.send(&to, message) == Err(PublishError::UnknownNode) {
                    node.peer_left(&to);
                }
            }
        });
    }

    fn publish(&self, message: ClusterMessage) -> Result<(), PublishError> {
        self.local.publish(message)
    }

    fn send(&self, node: &str, message: Bytes) -> Result<(), PublishError> {
        self.switch.sent.fetch_add(1, Ordering::SeqCst);
        let is_lost = self.switch.until_loss.fetch_sub(1, Ordering::SeqCst) == 0;
        // As over pub/sub: the sender does not notice.
        if !is_lost && !self.switch.is_cut.load(Ordering::SeqCst) {
            self.queue.get().unwrap().send((node.to_owned(), message)).unwrap();
        }
        Ok(())
    }

    fn peers(&self, namespace: &str) -> BoxFuture<'static, Result<Peers, ClusterError>> {
        self.local.peers(namespace)
    }

    fn request_timeout(&self) -> Duration {
        RESPONSE
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.local.close()
    }
}

struct Node {
    server: TestServer,
    switch: Arc<Switch>,
    reasons: UnboundedReceiver<DisconnectReason>,
}

impl Node {
    fn cluster(&self) -> &ClusterNode {
        self.switch.node.get().expect("the server has started the adapter")
    }
}

/// Three nodes behind a load balancer.
struct Cluster {
    balancer: Balancer,
    nodes: Vec<Node>,
}

impl Cluster {
    async fn start() -> Self {
        Self::start_with(|config| config).await
    }

    async fn start_with(config: impl Fn(SocketIoConfig) -> SocketIoConfig) -> Self {
        let cluster = Local::new();
        let mut nodes = Vec::new();
        for _ in 0..3 {
            let (namespace, reasons) = echo();
            let switch = Arc::new(Switch { until_loss: AtomicIsize::new(-1), ..Switch::default() });
            let wire = Wire { local: Arc::new(cluster.node()), switch: switch.clone(), queue: OnceLock::new() };
            let config = config(SocketIoConfig::new()).adapter(wire).share_sessions(true).namespace("/", namespace);
            let server = serve_config(config).await;
            nodes.push(Node { server, switch, reasons });
        }
        let balancer = Balancer::start(nodes.iter().map(|node| node.server.address)).await;
        Self { balancer, nodes }
    }

    /// Joins at the first node, and sends all further requests to the second one.
    async fn scattered(&self) -> Polling {
        let mut client = Polling::join(self.nodes[0].server.address).await;
        client.address = self.nodes[1].server.address;
        client
    }

    /// Cuts the first node off. If the others notice, they are told.
    fn cut_first(&self, is_noticed: bool) {
        for node in &self.nodes {
            node.switch.is_cut.store(true, Ordering::SeqCst);
        }
        if is_noticed {
            self.nodes[1].cluster().peer_left(self.nodes[0].cluster().id());
        }
    }

    /// Waits until the poll of the only client of the first node is pending.
    async fn poll_is_pending(&self) {
        let socket = self.nodes[0].server.io.sockets()[0].clone();
        until(move || socket.is_writable()).await;
    }

    async fn is_empty(&self) {
        for node in &self.nodes {
            node.server.is_empty().await;
            assert_eq!(node.server.io.stats().panics, 0);
        }
    }

    async fn first_reason(&mut self) -> DisconnectReason {
        soon(self.nodes[0].reasons.recv()).await.expect("a reason")
    }
}

/// Begins an upgrade.
async fn probe(client: &Polling) -> WebSocket {
    let target = format!("/socket.io/?EIO=4&transport=websocket&sid={}", client.sid);
    let mut websocket = WebSocket::raw(client.address, &target, &[]).await.expect("the session may be upgraded");
    websocket.say("2probe").await;
    websocket.expect("3probe").await;
    websocket
}

/// Upgrades a session whose polls are not pending.
async fn upgrade(client: &Polling) -> WebSocket {
    let mut websocket = probe(client).await;
    client.expect("6").await;
    websocket.say("5").await;
    websocket
}

/// Polls until this many packets have arrived. Answers pings.
async fn packets(client: &Polling, count: usize) -> Vec<String> {
    let mut packets = Vec::new();
    while packets.len() < count {
        let reply = client.poll().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        for packet in reply.text().split('\u{1e}') {
            match packet {
                "2" => client.say("3").await,
                "6" => {}
                packet => packets.push(packet.to_owned()),
            }
        }
    }
    packets
}

#[tokio::test]
async fn events_keep_their_order() {
    let cluster = Cluster::start().await;
    let client = Polling::join(cluster.balancer.address).await;
    let expected: Vec<_> = (0..600).map(|n| format!(r#"42["echo",{n}]"#)).collect();
    // In payloads of one packet and of many, while a poll is pending.
    let sending = async {
        for event in &expected[..200] {
            client.say(event).await;
        }
        for many in expected[200..].chunks(100) {
            client.say(&many.join("\u{1e}")).await;
        }
    };
    let ((), received) = tokio::join!(sending, packets(&client, expected.len()));
    assert_eq!(received, expected);
    client.say("1").await;
    client.is_gone().await;
    cluster.is_empty().await;
}

#[tokio::test]
async fn binary_and_large_payloads_are_passed_on() {
    let cluster = Cluster::start().await;
    let client = Polling::join(cluster.balancer.address).await;
    for (number, length) in [1_usize, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 400_000].into_iter().enumerate() {
        let text = "é".repeat(length);
        let event = format!(r#"42["echo","{text}"]"#);
        client.say(&event).await;
        assert!(packets(&client, 1).await == [event], "{length} {number}");
        let placeholder = r#"451-["echo",{"_placeholder":true,"num":0}]"#;
        let data = format!("b{}", "AQID".repeat(length / 3 + 1));
        client.say(&format!("{placeholder}\u{1e}{data}")).await;
        assert!(packets(&client, 2).await == [placeholder, &data], "{length}");
    }
    // Compressed by the owner.
    client.post(r#"42["echo",1]"#).await.is(200, "ok");
    client.expect(r#"42["echo",1]"#).await;
}

#[tokio::test]
async fn many_clients_are_served_at_once() {
    let cluster = Arc::new(Cluster::start().await);
    let clients = (0..40).map(|client| {
        let cluster = cluster.clone();
        tokio::spawn(async move {
            let client_of = Polling::join(cluster.balancer.address).await;
            let expected: Vec<_> = (0..10).map(|n| format!(r#"42["echo",{client},{n}]"#)).collect();
            let sending = async {
                for event in &expected {
                    client_of.say(event).await;
                }
            };
            let ((), received) = tokio::join!(sending, packets(&client_of, expected.len()));
            assert_eq!(received, expected);
            client_of.say("41").await;
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    let sockets: usize = cluster.nodes.iter().map(|node| node.server.io.stats().sockets).sum();
    assert_eq!(sockets, 0);
}

#[tokio::test]
async fn clients_of_revision_3_are_served() {
    let cluster = Cluster::start_with(|config| config.allow_eio3(true)).await;
    let address = cluster.balancer.address;
    let open = get(address, "/socket.io/?EIO=3&transport=polling&b64=1").await;
    let sid = json(open.text())["sid"].as_str().unwrap().to_owned();
    let target = format!("/socket.io/?EIO=3&transport=polling&b64=1&sid={sid}");
    get(address, &target).await.is(200, "2:40");
    let mut expected = String::new();
    for n in 0..50 {
        let framed = |packet: String| format!("{}:{packet}", packet.chars().count());
        post(address, &target, framed(format!(r#"42["echo","é",{n}]"#))).await.is(200, "ok");
        expected.push_str(&framed(format!(r#"42["echo","\u00e9",{n}]"#)));
    }
    let binary = r#"42:451-["echo",{"_placeholder":true,"num":0}]6:b4AQID"#;
    post(address, &target, binary).await.is(200, "ok");
    expected.push_str(binary);
    let mut received = String::new();
    while received.len() < expected.len() {
        received.push_str(get(address, &target).await.text());
    }
    assert_eq!(received, expected);
    post(address, &target, "1:1").await.is(200, "ok");
    get(address, &target).await.refused(400, 1, "Session ID unknown");
    cluster.is_empty().await;
}

#[tokio::test]
async fn a_session_ends_on_all_nodes() {
    let mut cluster = Cluster::start().await;
    let client = cluster.scattered().await;
    // The server ends it while a poll is pending at another node.
    let (poll, ()) = tokio::join!(client.poll(), async {
        cluster.poll_is_pending().await;
        cluster.nodes[0].server.io.sockets()[0].conn().close();
    });
    poll.is(200, "1");
    client.is_gone().await;
    assert_eq!(cluster.first_reason().await.as_str(), "forced close");
    cluster.is_empty().await;
}

#[tokio::test]
async fn a_client_that_is_silent_times_out() {
    let config = |config: SocketIoConfig| {
        config.ping_interval(Duration::from_millis(500)).ping_timeout(Duration::from_millis(500))
    };
    let mut cluster = Cluster::start_with(config).await;
    let client = Polling::open(cluster.nodes[0].server.address).await;
    let client = Polling { address: cluster.nodes[1].server.address, ..client };
    client.say("40").await;
    // It answers no ping.
    client.poll_to_the_end().await.refused(400, 1, "Session ID unknown");
    assert_eq!(cluster.first_reason().await, DisconnectReason::PingTimeout);
    cluster.is_empty().await;
}

#[tokio::test]
async fn a_second_poll_at_another_node_ends_the_session() {
    let mut cluster = Cluster::start().await;
    let client = cluster.scattered().await;
    let third =
        Polling { address: cluster.nodes[2].server.address, sid: client.sid.clone(), open: client.open.clone() };
    let (first, ()) = tokio::join!(client.poll(), async {
        cluster.poll_is_pending().await;
        third.poll().await.refused(400, 3, "Bad request");
    });
    assert_eq!((first.status.as_u16(), first.text()), (200, "1"));
    assert_eq!(detail(Some(cluster.first_reason().await)).0, "transport error");
    cluster.is_empty().await;
}

#[tokio::test]
async fn a_poll_that_the_client_aborts_ends_the_session() {
    let mut cluster = Cluster::start().await;
    for address in [cluster.nodes[1].server.address, cluster.balancer.address] {
        let client = cluster.scattered().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {} HTTP/1.1\r\nhost: h\r\n\r\n", client.target()).as_bytes()).await.unwrap();
        cluster.poll_is_pending().await;
        drop(stream);
        let expected = ("transport error", Some("poll connection closed prematurely"));
        assert_eq!(detail(Some(cluster.first_reason().await)), expected);
        client.is_gone().await;
    }
    cluster.is_empty().await;
}

#[tokio::test]
async fn a_post_that_the_client_aborts_ends_the_session() {
    let mut cluster = Cluster::start().await;
    let client = cluster.scattered().await;
    let mut stream = TcpStream::connect(client.address).await.unwrap();
    let head = format!("POST {} HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\n42", client.target());
    stream.write_all(head.as_bytes()).await.unwrap();
    drop(stream);
    let expected = ("transport error", Some("data request connection closed prematurely"));
    assert_eq!(detail(Some(cluster.first_reason().await)), expected);
    cluster.is_empty().await;
}

#[tokio::test]
async fn limits_are_those_of_the_owner() {
    let cluster = Cluster::start_with(|config| config.max_payload(100_000).max_head_bytes(4000)).await;
    let client = cluster.scattered().await;
    client.post("4".repeat(100_001)).await.refused(413, 3, "The payload exceeds max_payload");
    client.say(r#"42["echo",1]"#).await;
    client.expect(r#"42["echo",1]"#).await;
    put(client.address, &client.target()).await.refused(405, 2, "Method not allowed");
    let long = format!("{}&x={}", client.target(), "x".repeat(4000));
    get(client.address, &long).await.refused(431, 3, "The request head exceeds max_head_bytes");
    let other = client.target().replace("EIO=4", "EIO=3");
    get(client.address, &other).await.refused(400, 3, "Bad request");
}

#[tokio::test]
async fn callbacks_run_once_on_the_node_of_the_session() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let config = |config: SocketIoConfig| {
        let (on_headers, on_error) = (calls.clone(), calls.clone());
        config
            .on_headers(move |headers, request| {
                on_headers.lock().unwrap().push(request.headers["x-secret"].to_str().unwrap().to_owned());
                headers.insert("x-answer", "yes".parse().unwrap());
            })
            .on_connection_error(move |error| on_error.lock().unwrap().push(format!("{}", error.code())))
            .cookie(tower_socketio::engine::SessionCookie::new("io"))
    };
    let cluster = Cluster::start_with(config).await;
    let (first, second) = (cluster.nodes[0].server.address, cluster.nodes[1].server.address);
    let headers = [("x-secret", "word"), ("content-type", "text/plain")];
    let open = send(first, Method::GET, "/socket.io/?EIO=4&transport=polling", &headers, "").await;
    let sid = json(open.text())["sid"].as_str().unwrap().to_owned();
    assert!(open.header("set-cookie").unwrap().starts_with(&format!("io={sid}")));
    let target = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    let reply = send(second, Method::POST, &target, &headers, "40").await;
    reply.is(200, "ok");
    assert_eq!(reply.header("x-answer"), Some("yes"));
    assert_eq!(reply.header("content-length"), Some("2"));
    send(second, Method::PUT, &target, &headers, "").await.refused(405, 2, "Method not allowed");
    let gone = format!("{target}x");
    send(second, Method::GET, &gone, &headers, "").await.refused(400, 1, "Session ID unknown");
    assert_eq!(*calls.lock().unwrap(), ["word", "word", "2", "1"]);
}

#[tokio::test]
async fn a_session_is_upgraded_at_another_node() {
    let mut cluster = Cluster::start().await;
    let client = cluster.scattered().await;
    let mut websocket = probe(&client).await;
    // Polling goes on meanwhile, at yet another node.
    let third =
        Polling { address: cluster.nodes[2].server.address, sid: client.sid.clone(), open: client.open.clone() };
    third.say(r#"42["echo",1]"#).await;
    packets(&third, 1).await;
    websocket.say("5").await;
    websocket.say(r#"42["echo",2]"#).await;
    websocket.expect(r#"42["echo",2]"#).await;
    assert_eq!(cluster.nodes[0].server.io.sockets()[0].transport(), Transport::WebSocket);
    third.poll().await.refused(400, 3, "Bad request");
    websocket.say(r#"451-["echo",{"_placeholder":true,"num":0}]"#).await;
    websocket.say_binary(&[1, 2, 3]).await;
    websocket.expect(r#"451-["echo",{"_placeholder":true,"num":0}]"#).await;
    websocket.expect_binary(&[1, 2, 3]).await;
    // A second one is closed.
    let target = format!("/socket.io/?EIO=4&transport=websocket&sid={}", client.sid);
    let mut other = WebSocket::raw(client.address, &target, &[]).await.unwrap();
    other.expect_close().await;
    websocket.is_quiet().await;
    drop(websocket);
    assert_eq!(cluster.first_reason().await, DisconnectReason::TransportClose);
    cluster.is_empty().await;
}

/// The owner of the session compresses, and the node in between passes the bytes on.
#[cfg(feature = "permessage-deflate")]
#[tokio::test]
async fn a_websocket_at_another_node_is_compressed() {
    use crate::deflate::{ANY, Raw};

    let deflate = tower_socketio::engine::PerMessageDeflate::new();
    let cluster = Cluster::start_with(|config| config.per_message_deflate(deflate)).await;
    let client = cluster.scattered().await;
    let target = format!("/socket.io/?EIO=4&transport=websocket&sid={}", client.sid);
    Raw::open(client.address, &target, ANY).await.echoes_after_the_upgrade(&client).await;
}

#[tokio::test]
async fn a_probe_releases_a_poll_that_is_pending_at_another_node() {
    let cluster = Cluster::start().await;
    let client = cluster.scattered().await;
    let third =
        Polling { address: cluster.nodes[2].server.address, sid: client.sid.clone(), open: client.open.clone() };
    let (poll, mut websocket) = tokio::join!(third.poll(), async {
        cluster.poll_is_pending().await;
        probe(&client).await
    });
    poll.is(200, "6");
    websocket.say("5").await;
    websocket.is_quiet().await;
}

#[tokio::test]
async fn a_probe_that_fails_leaves_the_session_as_it_was() {
    let cluster = Cluster::start().await;
    let client = cluster.scattered().await;
    let target = format!("/socket.io/?EIO=4&transport=websocket&sid={}", client.sid);
    for nonsense in ["4hello", "2wrong", ""] {
        let mut websocket = retry(async || WebSocket::raw(client.address, &target, &[]).await.ok()).await;
        websocket.say(nonsense).await;
        websocket.expect_close().await;
    }
    // The client leaves without a word.
    drop(retry(async || WebSocket::raw(client.address, &target, &[]).await.ok()).await);
    client.say(r#"42["echo",1]"#).await;
    client.expect(r#"42["echo",1]"#).await;
    let mut websocket = retry(async || WebSocket::raw(client.address, &target, &[]).await.ok()).await;
    websocket.say("2probe").await;
    websocket.expect("3probe").await;
}

#[tokio::test]
async fn a_websocket_carries_much_in_both_directions() {
    let cluster = Cluster::start().await;
    let mut client = Polling::join(cluster.balancer.address).await;
    client.address = cluster.balancer.address;
    let mut websocket = upgrade(&client).await;
    let large = format!(r#"42["echo","{}"]"#, "x".repeat(900_000));
    for _ in 0..5 {
        websocket.say(&large).await;
    }
    // The client reads nothing meanwhile, so that all windows close.
    for n in 0..2000 {
        websocket.say(&format!(r#"42["echo",{n}]"#)).await;
    }
    for _ in 0..5 {
        assert!(websocket.text_but_pings().await == large);
    }
    for n in 0..2000 {
        assert_eq!(websocket.text_but_pings().await, format!(r#"42["echo",{n}]"#));
    }
    websocket.is_quiet().await;
}

/// What a client does not read stays with the owner, which counts it.
#[tokio::test]
async fn a_client_that_does_not_read_a_websocket_is_slow() {
    let config =
        |config: SocketIoConfig| config.max_buffered_bytes(1_000_000).slow_client_timeout(Duration::from_millis(500));
    let mut cluster = Cluster::start_with(config).await;
    let client = cluster.scattered().await;
    let _websocket = upgrade(&client).await;
    let socket = cluster.nodes[0].server.io.sockets()[0].clone();
    until(|| socket.transport() == Transport::WebSocket).await;
    // The kernel has buffers, too.
    let text = "x".repeat(100_000);
    while socket.is_connected() {
        let _ = socket.emit("n", &text);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (reason, _) = detail(Some(cluster.first_reason().await));
    assert_eq!(reason, "slow client");
    cluster.is_empty().await;
}

#[tokio::test]
async fn the_server_closes_a_websocket_of_another_node() {
    let mut cluster = Cluster::start().await;
    let client = cluster.scattered().await;
    let mut websocket = upgrade(&client).await;
    websocket.say(r#"42["echo",1]"#).await;
    websocket.expect(r#"42["echo",1]"#).await;
    cluster.nodes[0].server.io.sockets()[0].conn().close();
    websocket.expect_close().await;
    assert_eq!(cluster.first_reason().await.as_str(), "forced close");
    drop(websocket);
    cluster.is_empty().await;
}

#[tokio::test]
async fn the_death_of_the_owner_fails_its_requests() {
    let cluster = Cluster::start().await;
    let client = cluster.scattered().await;
    let (poll, ()) = tokio::join!(client.poll(), async {
        cluster.poll_is_pending().await;
        cluster.cut_first(true);
    });
    poll.refused(400, 1, "Session ID unknown");
    // The others do not know yet: there is no response in time.
    client.post("4").await.refused(400, 1, "Session ID unknown");
}

#[tokio::test]
async fn an_owner_that_becomes_silent_is_noticed() {
    let config =
        |config: SocketIoConfig| config.ping_interval(Duration::from_secs(1)).ping_timeout(Duration::from_secs(1));
    let mut cluster = Cluster::start_with(config).await;
    let client = cluster.scattered().await;
    let (poll, ()) = tokio::join!(client.poll(), async {
        cluster.poll_is_pending().await;
        cluster.cut_first(false);
    });
    poll.refused(400, 1, "Session ID unknown");
    assert_eq!(cluster.first_reason().await, DisconnectReason::PingTimeout);
    cluster.is_empty().await;
}

/// A message that is lost ends the request, and what has arrived is not changed.
#[tokio::test]
async fn the_loss_of_any_message_is_noticed() {
    /// Sends a request, and returns the status and what arrives of the body.
    async fn raw(client: &Polling, method: &str, body: &str) -> (u16, bool, String) {
        let mut stream = TcpStream::connect(client.address).await.unwrap();
        let (target, length) = (client.target(), body.len());
        let head = format!("{method} {target} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {length}");
        let _ = stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await;
        let mut response = Vec::new();
        let _ = soon(stream.read_to_end(&mut response)).await;
        let response = String::from_utf8(response).unwrap();
        let Some((head, body)) = response.split_once("\r\n\r\n") else {
            // The body has failed before hyper has written the head.
            assert_eq!((method, &*response), ("GET", ""));
            return (0, false, String::new());
        };
        let length = head.split_once("content-length: ").expect("a length").1;
        let length: usize = length.split_once("\r\n").map_or(length, |(length, _)| length).parse().unwrap();
        (head[9..12].parse().unwrap(), body.len() == length, body.to_owned())
    }
    let event = format!(r#"42["echo","{}"]"#, "x".repeat(200_000));
    let run = async |node: usize, until_loss: isize| {
        let config = |config: SocketIoConfig| config.ping_interval(Duration::from_secs(5));
        let cluster = Cluster::start_with(config).await;
        let client = cluster.scattered().await;
        let until_loss_of = &cluster.nodes[node].switch.until_loss;
        until_loss_of.store(until_loss, Ordering::SeqCst);
        let (status, is_complete, body) = raw(&client, "POST", &event).await;
        assert!(is_complete);
        match status {
            200 => assert_eq!(body, "ok"),
            // The session has ended, or the owner has not got all of the body.
            _ => assert!(status == 400 && body.contains(r#""code":"#), "{status} {body}"),
        }
        let (poll, is_complete, body) = raw(&client, "GET", "").await;
        // A ping may precede the event.
        let body = body.strip_prefix("2\u{1e}").unwrap_or(&body);
        match (poll, is_complete) {
            (200, true) => assert!(body == event || body == "2", "{}", body.len()),
            (200, false) => assert!(event.starts_with(body)),
            _ => assert!(poll == 400 || poll == 0, "{poll} {body}"),
        }
        // Whether the message was among those of these two requests.
        until_loss_of.load(Ordering::SeqCst) < 0
    };
    let runs = (0..2).flat_map(|node| (0..18).map(move |until_loss| (node, until_loss)));
    let lost = join_all(runs.map(|(node, until_loss)| run(node, until_loss))).await;
    assert!(lost.iter().filter(|lost| **lost).count() > 18, "{lost:?}");
}

#[tokio::test]
async fn a_websocket_ends_with_either_node() {
    let mut cluster = Cluster::start().await;
    for _ in 0..2 {
        let client = cluster.scattered().await;
        let mut websocket = upgrade(&client).await;
        websocket.is_quiet().await;
        let (first, second) = (cluster.nodes[0].cluster(), cluster.nodes[1].cluster());
        first.peer_left(second.id());
        second.peer_left(first.id());
        assert_eq!(websocket.frame().await, Frame::Close(Some(1006)));
        let (reason, _) = detail(Some(cluster.first_reason().await));
        assert!(["transport error", "transport close"].contains(&reason), "{reason}");
    }
    cluster.is_empty().await;
}

#[tokio::test]
async fn unknown_ids_are_rejected() {
    let cluster = Cluster::start().await;
    let client = cluster.scattered().await;
    let (node, secret) = client.sid.split_at(11);
    assert_eq!(secret.len(), 20);
    let ids = [
        // Of a session of the first node that does not exist; of a node that does not exist; of no node.
        format!("{node}AAAAAAAAAAAAAAAAAAAA"),
        format!("AAAAAAAAAAA{secret}"),
        node.to_owned(),
        secret.to_owned(),
        "x".to_owned(),
        "%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9%C3%A9".to_owned(),
        "AAAAAAAAAAB".repeat(100),
    ];
    for server in &cluster.nodes {
        for id in &ids {
            let target = format!("/socket.io/?EIO=4&transport=polling&sid={id}");
            get(server.server.address, &target).await.refused(400, 1, "Session ID unknown");
            post(server.server.address, &target, "4x").await.refused(400, 1, "Session ID unknown");
            let target = format!("/socket.io/?EIO=4&transport=websocket&sid={id}");
            assert!(WebSocket::raw(server.server.address, &target, &[]).await.is_err());
        }
    }
    client.say(r#"42["echo",1]"#).await;
    client.expect(r#"42["echo",1]"#).await;
}

/// Requests for nodes that do not exist displace one another, and no others.
#[tokio::test]
async fn a_flood_of_unknown_ids_does_not_lock_out_clients() {
    let cluster = Cluster::start().await;
    let client = cluster.scattered().await;
    let third = Polling::join(cluster.nodes[2].server.address).await;
    let second = &cluster.nodes[1];
    // The third node does not respond, and requests for its sessions wait.
    let third_id = &third.sid[..11];
    let before = second.switch.sent.load(Ordering::SeqCst);
    let mut flood = Vec::new();
    cluster.nodes[2].switch.is_cut.store(true, Ordering::SeqCst);
    for number in 0..1100 {
        let mut stream = TcpStream::connect(second.server.address).await.unwrap();
        let target = format!("/socket.io/?EIO=4&transport=polling&sid={third_id}{number}");
        stream.write_all(format!("GET {target} HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()).await.unwrap();
        flood.push(stream);
    }
    until(|| second.switch.sent.load(Ordering::SeqCst) >= before + 1100).await;
    client.say(r#"42["echo",1]"#).await;
    client.expect(r#"42["echo",1]"#).await;
    for mut stream in flood {
        let mut reply = [0; 12];
        soon(stream.read_exact(&mut reply)).await.unwrap();
        assert_eq!(&reply, b"HTTP/1.1 400");
    }
}

#[tokio::test]
async fn garbage_from_other_nodes_is_reported() {
    let errors = Arc::new(Mutex::new(Vec::new()));
    let config = |config: SocketIoConfig| {
        let errors = errors.clone();
        config.on_cluster_error(move |error| errors.lock().unwrap().push(error.kind()))
    };
    let cluster = Cluster::start_with(config).await;
    let client = cluster.scattered().await;
    let node = cluster.nodes[0].cluster();
    assert!(node.shares_sessions());
    let mut count = 0;
    for message in [&b""[..], b"x", b"\x01", &[0xff; 100], &[1; 17], &[0; 40_000]] {
        node.receive(Bytes::copy_from_slice(message));
        count += 1;
        assert_eq!(*errors.lock().unwrap(), vec![ClusterErrorKind::Malformed; count]);
    }
    // Well-formed, but about exchanges that do not exist: data, credit, check, reset; and those of the owner.
    for kind in [3, 4, 5, 6, 0x81, 0x83, 0x84, 0x86] {
        let mut message = vec![1, kind];
        message.extend([7; 16]);
        match kind & 0x7f {
            3 => message.extend([0; 12]),
            4 => message.extend([0xff; 8]),
            1 | 5 => message.extend([1; 10]),
            _ => {}
        }
        node.receive(message.into());
    }
    assert_eq!(errors.lock().unwrap().len(), count);
    client.say(r#"42["echo",1]"#).await;
    client.expect(r#"42["echo",1]"#).await;
}

#[tokio::test]
async fn a_node_that_drains_ends_what_it_passes_on() {
    let mut cluster = Cluster::start().await;
    let client = cluster.scattered().await;
    let mut websocket = upgrade(&client).await;
    websocket.is_quiet().await;
    let polling = cluster.scattered().await;
    let io = cluster.nodes[1].server.io.clone();
    let draining = tokio::spawn(async move { io.drain(Duration::from_secs(2)).await });
    let target = format!("/socket.io/?EIO=4&transport=websocket&sid={}", polling.sid);
    until(|| draining.is_finished() || cluster.nodes[1].server.io.stats().sockets == 0).await;
    // It still passes polls on, but opens no WebSockets.
    retry(async || {
        let opened = WebSocket::raw(polling.address, &target, &[]).await;
        opened.is_err().then_some(())
    })
    .await;
    polling.say(r#"42["echo",1]"#).await;
    polling.expect(r#"42["echo",1]"#).await;
    soon(draining).await.unwrap();
    assert_eq!(websocket.frame().await, Frame::Close(Some(1006)));
    let (reason, _) = detail(Some(cluster.first_reason().await));
    assert!(["transport error", "transport close"].contains(&reason), "{reason}");
    // The session on long-polling goes on at the other nodes.
    cluster.balancer.use_only([cluster.nodes[0].server.address, cluster.nodes[2].server.address]);
    let polling = Polling { address: cluster.balancer.address, ..polling };
    for _ in 0..3 {
        polling.say(r#"42["echo",2]"#).await;
        polling.expect(r#"42["echo",2]"#).await;
    }
}

#[tokio::test]
async fn a_node_that_closes_responds_to_polls_of_others() {
    let mut cluster = Cluster::start().await;
    let client = cluster.scattered().await;
    let io = cluster.nodes[0].server.io.clone();
    let polls = async {
        client.expect("41").await;
        let last = client.poll().await;
        assert!(last.status == 200 && last.text().ends_with('1'), "{}", last.text());
    };
    tokio::join!(polls, async {
        cluster.poll_is_pending().await;
        soon(io.close()).await;
    });
    assert_eq!(cluster.first_reason().await, DisconnectReason::ServerShuttingDown);
    client.is_gone().await;
}

#[tokio::test]
async fn ids_that_the_user_generates_are_extended() {
    let number = Arc::new(AtomicUsize::new(0));
    let config = |config: SocketIoConfig| {
        let number = number.clone();
        config.generate_id(move |_| format!("user-{}", number.fetch_add(1, Ordering::SeqCst)))
    };
    let cluster = Cluster::start_with(config).await;
    let client = cluster.scattered().await;
    assert_eq!(&client.sid[11..], "user-0");
    client.say(r#"42["echo",1]"#).await;
    client.expect(r#"42["echo",1]"#).await;
}

#[tokio::test]
async fn sessions_are_not_shared_by_default() {
    let cluster = Local::new();
    let (first, second) = (
        serve_config(SocketIoConfig::new().adapter(cluster.node())).await,
        serve_config(SocketIoConfig::new().adapter(cluster.node())).await,
    );
    let mut client = Polling::join(first.address).await;
    assert_eq!(client.sid.len(), 20);
    client.address = second.address;
    client.is_gone().await;
    // Nor without an adapter.
    let alone = serve_config(SocketIoConfig::new().share_sessions(true)).await;
    assert_eq!(Polling::join(alone.address).await.sid.len(), 20);
}

/// An adapter that only carries messages.
struct Plain;

impl ClusterAdapter for Plain {
    fn start(&self, _: ClusterNode) {}

    fn publish(&self, _: ClusterMessage) -> Result<(), PublishError> {
        Ok(())
    }

    fn peers(&self, _: &str) -> BoxFuture<'static, Result<Peers, ClusterError>> {
        Box::pin(std::future::ready(Ok(Peers::Count(0))))
    }
}

#[test]
#[should_panic(expected = "the adapter does not support `ClusterAdapter::send`")]
fn an_adapter_that_cannot_share_sessions_is_refused() {
    let _ = tower_socketio::SocketIoService::new(SocketIoConfig::new().adapter(Plain).share_sessions(true));
}
