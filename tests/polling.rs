//! Long-polling, request by request.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{
    Request,
    body::{Bytes, Frame},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, mpsc},
};
use tower::ServiceExt;
use tower_socketio::{DisconnectReason, Namespace, SocketIoConfig, SocketIoService, extract::Data};

use crate::support::*;

async fn echo_server() -> (TestServer, mpsc::UnboundedReceiver<DisconnectReason>) {
    let (namespace, reasons) = echo();
    (serve_namespace(namespace).await, reasons)
}

#[tokio::test]
async fn messages_go_both_ways_and_several_share_a_payload() {
    let (server, _) = echo_server().await;
    let client = Polling::join(server.address).await;
    client.say("42[\"echo\",1]\x1e42[\"echo\",2]\x1e427[\"ack\",3]").await;
    let reply = client.poll().await;
    assert_eq!(reply.text(), "42[\"echo\",1]\x1e42[\"echo\",2]\x1e437[3]");
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let reply = client.post("42[\"echo\",4]").await;
    assert_eq!(reply.header("content-type"), Some("text/html"));
    assert_eq!(reply.header("content-length"), Some("2"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn binary_travels_as_base64() {
    let (server, _) = echo_server().await;
    let client = Polling::join(server.address).await;
    client.say("451-[\"echo\",{\"_placeholder\":true,\"num\":0}]\x1ebAQIDBA==").await;
    client.expect("451-[\"echo\",{\"_placeholder\":true,\"num\":0}]\x1ebAQIDBA==").await;
}

#[tokio::test]
async fn variants_of_base64_are_decoded() {
    let (server, _) = echo_server().await;
    let client = Polling::join(server.address).await;
    let event = "451-[\"echo\",{\"_placeholder\":true,\"num\":0}]";
    for (written, data) in [
        ("+/+/AQ==", "+/+/AQ=="),
        ("-_-_AQ==", "+/+/AQ=="),
        ("-_+/AQ", "+/+/AQ=="),
        ("+/+/\r\nAQ==\r\n", "+/+/AQ=="),
        (" +/ +/\tAQ = = ", "+/+/AQ=="),
        ("+/+/AQ=", "+/+/AQ=="),
        ("+/+/AQ====", "+/+/AQ=="),
        ("+/+/AR", "+/+/AQ=="),
        ("", ""),
        ("\n", ""),
    ] {
        client.say(&format!("{event}\x1eb{written}")).await;
        client.expect(&format!("{event}\x1eb{data}")).await;
    }
    // Base64 that Node.js would decode to other bytes than were sent.
    for written in ["AQ*ID", "AQ\0ID", "AQIDB", "AQ==AQ==", "AQéID"] {
        let client = Polling::join(server.address).await;
        client.post(format!("{event}\x1eb{written}")).await.is(400, r#"{"code":3,"message":"Bad request"}"#);
        client.is_gone().await;
    }
    // The same rules apply over a WebSocket.
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.say(event).await;
    client.say("bAQ\nI-").await;
    client.expect(event).await;
    client.expect_binary(&[1, 2, 0x3e]).await;
}

#[tokio::test]
async fn a_pending_poll_is_answered_when_something_is_emitted() {
    let (server, _) = echo_server().await;
    let client = Polling::join(server.address).await;
    let (reply, ()) = tokio::join!(client.poll(), async {
        poll_is_pending(&server).await;
        server.io.emit("late", &()).unwrap();
    });
    reply.is(200, r#"42["late"]"#);
}

/// Waits until the poll of the only client is pending.
async fn poll_is_pending(server: &TestServer) {
    let socket = server.io.sockets()[0].clone();
    until(move || socket.is_writable()).await;
}

#[tokio::test]
async fn a_second_poll_ends_the_session() {
    let (server, mut reasons) = echo_server().await;
    let client = Polling::join(server.address).await;
    let mut first = HttpClient::connect(server.address).await;
    let (first, second) = tokio::join!(first.send(request("GET", &client.target(), "")), async {
        poll_is_pending(&server).await;
        client.poll().await
    });
    first.is(200, "1");
    second.refused(400, 3, "Bad request");
    client.is_gone().await;
    assert_eq!(detail(soon(reasons.recv()).await), ("transport error", Some("overlap from client")));
    server.is_empty().await;
}

fn request(method: &str, target: &str, body: &'static str) -> hyper::Request<Body> {
    hyper::Request::builder().method(method).uri(target).header("host", "h").body(Body::from(body)).unwrap()
}

#[tokio::test]
async fn a_second_post_ends_the_session() {
    let (server, mut reasons) = echo_server().await;
    let client = Polling::join(server.address).await;
    // A POST without its body.
    let mut first = TcpStream::connect(server.address).await.unwrap();
    let head = format!("POST {} HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\n42", client.target());
    first.write_all(head.as_bytes()).await.unwrap();
    // It is pending as soon as another one is refused.
    let mut refused = false;
    for _ in 0..100 {
        let reply = client.post("42[\"echo\"]").await;
        if reply.status == 400 {
            refused = true;
            break;
        }
    }
    assert!(refused);
    let mut answer = Vec::new();
    let mut buffer = [0; 256];
    while !answer.ends_with(br#"{"code":3,"message":"Bad request"}"#) {
        let read = soon(first.read(&mut buffer)).await.unwrap();
        assert!(read > 0);
        answer.extend_from_slice(&buffer[..read]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
    let expected = ("transport error", Some("data request overlap from client"));
    assert_eq!(detail(soon(reasons.recv()).await), expected);
    server.is_empty().await;
}

#[tokio::test]
async fn octet_stream_is_rejected_in_revision_4() {
    let (server, mut reasons) = echo_server().await;
    let client = Polling::join(server.address).await;
    let mut http = HttpClient::connect(server.address).await;
    let mut post = request("POST", &client.target(), "42[\"echo\"]");
    post.headers_mut().insert("content-type", "application/octet-stream".parse().unwrap());
    http.send(post).await.refused(400, 3, "Bad request");
    client.is_gone().await;
    assert_eq!(detail(soon(reasons.recv()).await), ("transport error", Some("invalid content")));
}

#[tokio::test]
async fn a_payload_of_the_limit_is_taken_and_one_byte_more_is_not_but_the_session_lives() {
    let (server, _) = echo_server().await;
    let client = Polling::join(server.address).await;
    let frame = |length: usize| format!("42[\"ack\",\"{}\"]", "x".repeat(length - 12)).into_bytes();
    assert_eq!(frame(1000).len(), 1000);
    client.post(frame(1_000_000)).await.is(200, "ok");
    client.post(frame(1_000_001)).await.refused(413, 3, "The payload exceeds max_payload");
    client.say("421[\"ack\"]").await;
    client.expect("431[]").await;
}

#[tokio::test]
async fn a_payload_that_comes_in_pieces_is_put_together() {
    let (server, _) = echo_server().await;
    let client = Polling::join(server.address).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!("POST {} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n", client.target());
    stream.write_all(head.as_bytes()).await.unwrap();
    for chunk in ["4\r\n423[\r\n", "5\r\n\"ack\"\r\n", "3\r\n,1]\r\n", "0\r\n\r\n"] {
        stream.write_all(chunk.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
    }
    client.expect("433[1]").await;
}

#[tokio::test]
async fn packets_before_a_malformed_one_are_handled() {
    let (sender, mut events) = mpsc::unbounded_channel();
    let namespace = Namespace::new().on("event", move |Data(number): Data<u8>| {
        let sender = sender.clone();
        async move { sender.send(number).unwrap() }
    });
    let server = serve_namespace(namespace.with_state(())).await;
    let client = Polling::join(server.address).await;
    client.post("42[\"event\",1]\x1ex\x1e42[\"event\",2]").await.refused(400, 3, "Bad request");
    assert_eq!(soon(events.recv()).await, Some(1));
    server.is_empty().await;
    assert!(events.is_empty());
}

#[tokio::test]
async fn a_malformed_payload_ends_the_session() {
    for (body, expected) in [
        (&b"abc"[..], "unknown Engine.IO packet type"),
        (b"b**", "a binary packet is not valid base64"),
        (b"", "an Engine.IO packet is empty"),
        (b"42[\"bye\"]\x1e9", "unknown Engine.IO packet type"),
        (b"42[\"bye\"\xff]", "a payload is not valid UTF-8"),
    ] {
        let (server, mut reasons) = echo_server().await;
        let client = Polling::join(server.address).await;
        client.post(Bytes::from_static(body)).await.refused(400, 3, "Bad request");
        client.is_gone().await;
        assert_eq!(detail(soon(reasons.recv()).await), ("parse error", Some(expected)));
        server.is_empty().await;
    }
}

#[tokio::test]
async fn a_close_packet_ends_the_session_and_releases_the_poll() {
    let (server, mut reasons) = echo_server().await;
    let client = Polling::join(server.address).await;
    let (poll, ()) = tokio::join!(client.poll(), async {
        poll_is_pending(&server).await;
        client.say("1").await;
    });
    poll.is(200, "6");
    client.is_gone().await;
    assert_eq!(soon(reasons.recv()).await, Some(DisconnectReason::TransportClose));
}

#[tokio::test]
async fn a_poll_that_the_client_aborts_ends_the_session() {
    let (server, mut reasons) = echo_server().await;
    let client = Polling::join(server.address).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(format!("GET {} HTTP/1.1\r\nhost: h\r\n\r\n", client.target()).as_bytes()).await.unwrap();
    poll_is_pending(&server).await;
    drop(stream);
    let expected = ("transport error", Some("poll connection closed prematurely"));
    assert_eq!(detail(soon(reasons.recv()).await), expected);
    server.is_empty().await;
}

#[tokio::test]
async fn a_post_that_the_client_aborts_ends_the_session() {
    let (server, mut reasons) = echo_server().await;
    let client = Polling::join(server.address).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!("POST {} HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\n42", client.target());
    stream.write_all(head.as_bytes()).await.unwrap();
    drop(stream);
    let expected = ("transport error", Some("data request connection closed prematurely"));
    assert_eq!(detail(soon(reasons.recv()).await), expected);
}

#[tokio::test]
async fn three_pings_are_answered_and_the_fourth_is_not() {
    let (namespace, mut reasons) = echo();
    let config = SocketIoConfig::new().ping_interval(PATIENCE).ping_timeout(PATIENCE).namespace("/", namespace);
    let server = serve_config(config).await;
    let client = Polling::join(server.address).await;
    for _ in 0..3 {
        skip(PATIENCE).await;
        client.expect("2").await;
        client.say("3").await;
    }
    skip(PATIENCE).await;
    client.expect("2").await;
    skip(PATIENCE).await;
    assert_eq!(soon(reasons.recv()).await, Some(DisconnectReason::PingTimeout));
    client.is_gone().await;
    server.is_empty().await;
}

#[tokio::test]
async fn the_xss_filter_of_internet_explorer_is_disabled() {
    let (server, _) = echo_server().await;
    let mut http = HttpClient::connect(server.address).await;
    for (agent, filtered) in [
        ("Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0)", true),
        ("Mozilla/5.0 (Windows NT 6.3; Trident/7.0; rv:11.0) like Gecko", true),
        ("Mozilla/4.0 (compatible;MSIE 6.0)", true),
        ("Mozilla/5.0 (X11; Linux x86_64) Chrome/120", false),
    ] {
        let mut get = request("GET", "/socket.io/?EIO=4&transport=polling", "");
        get.headers_mut().insert("user-agent", agent.parse().unwrap());
        let reply = http.send(get).await;
        assert_eq!(reply.header("x-xss-protection"), filtered.then_some("0"), "{agent}");
    }
}

/// A server whose handlers each wait for one permit of the gate.
async fn gated() -> (TestServer, Arc<Notify>) {
    let gate = Arc::new(Notify::new());
    let waiting = gate.clone();
    let namespace = Namespace::new().on("wait", move || {
        let gate = waiting.clone();
        async move { gate.notified().await }
    });
    let config = SocketIoConfig::new()
        .max_concurrent_events(1)
        .ping_interval(PATIENCE / 5)
        .ping_timeout(PATIENCE / 5)
        .namespace("/", namespace.with_state(()));
    (serve_config(config).await, gate)
}

#[tokio::test]
async fn a_delayed_post_extends_the_heartbeat() {
    let (server, gate) = gated().await;
    let client = Polling::open(server.address).await;
    client.say("40").await;
    let held = client.post("42[\"wait\"]\x1e42[\"wait\"]");
    let polls = async {
        let mut pings = 0;
        while pings < 4 {
            // In total, less than the time for which the POST may wait.
            skip(PATIENCE / 5).await;
            pings += client.poll().await.text().split('\x1e').filter(|packet| *packet == "2").count();
        }
        gate.notify_one();
    };
    let (held, ()) = tokio::join!(held, polls);
    held.is(200, "ok");
    client.say("3").await;
    assert_eq!(server.io.stats().connections, 1);
}

#[tokio::test]
async fn a_post_that_is_held_up_is_released_with_its_socket_or_its_session() {
    let (server, _gate) = gated().await;
    for end_session in [false, true] {
        let client = Polling::open(server.address).await;
        client.say("40").await;
        until(|| server.io.sockets().len() == 1).await;
        let socket = server.io.sockets().remove(0);
        let held = client.post("42[\"wait\"]\x1e42[\"wait\"]");
        let ended = async {
            until(|| socket.running_events() == 1).await;
            if end_session { socket.conn().close() } else { socket.disconnect() }
        };
        let (held, ()) = tokio::join!(held, ended);
        held.is(200, "ok");
        server.has_sockets(0).await;
    }
}

/// A client over long-polling that calls the service directly, so that the clock can be paused.
struct Direct {
    service: SocketIoService,
    target: String,
}

impl Direct {
    async fn open(service: &SocketIoService) -> Self {
        let mut client = Self { service: service.clone(), target: "/socket.io/?EIO=4&transport=polling".to_owned() };
        let (_, open) = client.send(Method::GET, Body::default()).await;
        client.target += &format!("&sid={}", json(&open)["sid"].as_str().unwrap());
        client
    }

    async fn send<B>(&self, method: Method, body: B) -> (u16, String)
    where
        B: hyper::body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let request = Request::builder().method(method).uri(&self.target).body(body).unwrap();
        let response = self.service.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn poll(&self) -> (u16, String) {
        self.send(Method::GET, Body::default()).await
    }

    async fn post(&self, body: &'static str) {
        assert_eq!(self.send(Method::POST, Body::from(body)).await, (200, "ok".to_owned()));
    }
}

const UNKNOWN: &str = r#"{"code":1,"message":"Session ID unknown"}"#;

#[tokio::test(start_paused = true)]
async fn a_session_whose_client_is_gone_is_closed_after_its_timeouts() {
    let service = SocketIoService::new(SocketIoConfig::new());
    for joins in [true, false] {
        let client = Direct::open(&service).await;
        if joins {
            client.post("40").await;
            client.poll().await;
        }
        tokio::time::sleep(Duration::from_secs(45) - Duration::from_millis(10)).await;
        assert_eq!(service.io().stats().connections, 1);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(service.io().stats().connections, 0);
        assert_eq!(client.poll().await, (400, UNKNOWN.to_owned()));
    }
    // The same if the server closes the session meanwhile.
    let client = Direct::open(&service).await;
    client.post("40").await;
    client.poll().await;
    tokio::time::sleep(Duration::from_secs(40)).await;
    service.io().sockets()[0].disconnect_all();
    tokio::time::sleep(Duration::from_secs(5) + Duration::from_millis(10)).await;
    assert_eq!(client.poll().await, (400, UNKNOWN.to_owned()));
}

/// On a slow connection, a large message may take longer than the heartbeat allows.
#[tokio::test(start_paused = true)]
async fn a_body_that_arrives_bit_by_bit_is_a_sign_of_life() {
    let (namespace, mut reasons) = echo();
    let service = SocketIoService::new(SocketIoConfig::new().namespace("/", namespace));
    let client = Direct::open(&service).await;
    client.post("40").await;
    client.poll().await;
    let part = |n: i32| match n {
        0 => r#"420["ack",""#.to_owned(),
        20 => r#""]"#.to_owned(),
        _ => "x".repeat(1000),
    };
    let parts = futures_util::stream::iter(0..=20).then(move |n| async move {
        tokio::time::sleep(Duration::from_secs(15)).await;
        Ok(Frame::data(Bytes::from(part(n))))
    });
    assert_eq!(client.send(Method::POST, StreamBody::new(Box::pin(parts))).await, (200, "ok".to_owned()));
    let (status, answer) = client.poll().await;
    assert_eq!((status, answer.split('\u{1e}').next_back().unwrap().len()), (200, 19 * 1000 + 7));
    // No further data arrives.
    assert!(matches!(reasons.recv().await, Some(DisconnectReason::PingTimeout)));
}

/// A POST of one hundred thousand events does not block other tasks of its thread.
#[tokio::test]
async fn a_post_of_many_packets_yields_to_other_tasks() {
    const EVENTS: usize = 20_000;
    let rounds = Arc::new(AtomicUsize::new(0));
    let (seen, handled) = (rounds.clone(), Arc::new(Mutex::new(BTreeSet::new())));
    let note = handled.clone();
    let namespace = Namespace::new().on("n", move || {
        note.lock().unwrap().insert(seen.load(Ordering::Relaxed));
        async {}
    });
    let service = SocketIoService::new(SocketIoConfig::new().namespace("/", namespace.with_state(())));
    let client = Direct::open(&service).await;
    client.post("40").await;
    client.poll().await;
    let other = tokio::spawn(async move {
        loop {
            rounds.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    let body = vec![r#"42["n"]"#; EVENTS].join("\u{1e}");
    assert_eq!(client.send(Method::POST, Full::new(Bytes::from(body))).await, (200, "ok".to_owned()));
    other.abort();
    let times = handled.lock().unwrap().len();
    assert!(times >= EVENTS / 1024, "the other task ran {times} times");
}
