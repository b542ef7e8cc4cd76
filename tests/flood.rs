//! Many handshakes, and clients that occupy resources without using them.

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use hyper::Request;
use tokio::io::AsyncWriteExt;
use tower::ServiceExt;
use tower_socketio::{Namespace, RecoveryConfig, SocketIoConfig, SocketIoService, SocketRef, engine::ClientAddress};

use crate::support::*;

const SESSION: &str = "/socket.io/?EIO=4&transport=polling";

fn handshake(headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::get(SESSION).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::default()).unwrap()
}

/// Opens sessions over one connection, one after the other.
async fn open_sessions(address: SocketAddr, sessions: usize) {
    let mut http = HttpClient::connect(address).await;
    for _ in 0..sessions {
        assert_eq!(http.send(handshake(&[])).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_handshakes_over_eight_connections_do_not_lock_clients_out() {
    let server = serve_config(SocketIoConfig::new()).await;
    let floods: Vec<_> = (0..8).map(|_| tokio::spawn(open_sessions(server.address, 1_250))).collect();
    for flood in floods {
        flood.await.unwrap();
    }
    assert_eq!(server.io.stats().connections, 10_000);
    let client = Polling::join(server.address).await;
    let (mut websocket, _) = WebSocket::join(server.address, "40").await;
    websocket.is_quiet().await;
    // Further idle sessions evict one another, but no session that has joined a namespace.
    open_sessions(server.address, 100).await;
    until(|| server.io.stats().connections == 10_002).await;
    client.say("40/quiet?").await;
    client.expect(r#"44/quiet?,{"message":"Invalid namespace"}"#).await;
    websocket.is_quiet().await;
}

#[tokio::test]
async fn the_oldest_session_without_a_namespace_is_closed_for_a_new_one() {
    let server = serve_config(SocketIoConfig::new().max_idle_sessions(2)).await;
    let oldest = Polling::open(server.address).await;
    let joined = Polling::join(server.address).await;
    let second = Polling::open(server.address).await;
    let third = Polling::open(server.address).await;
    oldest.is_gone().await;
    for stays in [&second, &third] {
        stays.say("40").await;
    }
    joined.say("6").await;
    server.has_sockets(3).await;
}

#[tokio::test]
async fn the_poll_of_an_evicted_session_gets_a_close() {
    let service = SocketIoService::new(SocketIoConfig::new().max_idle_sessions(1));
    let get = |target: &str| service.clone().oneshot(Request::get(target).body(Body::default()).unwrap());
    let text = async |response: hyper::Response<_>| {
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    };
    let open = text(get(SESSION).await.unwrap()).await;
    let sid = json(&open)["sid"].as_str().unwrap().to_owned();
    let mut poll = std::pin::pin!(get(&format!("{SESSION}&sid={sid}")));
    assert!(futures_util::poll!(&mut poll).is_pending());
    assert_eq!(get(SESSION).await.unwrap().status(), 200);
    assert_eq!(text(soon(poll).await.unwrap()).await, "1");
    until(|| service.io().stats().connections == 1).await;
}

#[tokio::test]
async fn websockets_that_never_join_do_not_lock_clients_out() {
    let server = serve_config(SocketIoConfig::new().max_idle_sessions(100)).await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(WebSocket::open(server.address).await);
    }
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.is_quiet().await;
    // The client was one of the idle sessions before it joined.
    until(|| server.io.stats().connections == 100).await;
    for mut evicted in idle.drain(..201) {
        evicted.expect_close().await;
    }
    for left in &mut idle {
        left.connect("40").await;
    }
    server.has_sockets(100).await;
}

#[tokio::test]
async fn a_custom_transport_counts_as_an_idle_session() {
    let io = SocketIoService::new(SocketIoConfig::new().max_idle_sessions(1)).io();
    let mut first = Memory::open(&io);
    assert!(first.text().await.starts_with("0{"));
    let mut second = Memory::open(&io);
    assert!(second.text().await.starts_with("0{"));
    assert_eq!(first.packet().await, None);
    second.say("40");
    assert!(second.text().await.starts_with("40{"));
}

/// A place that was released is not evicted a second time.
#[tokio::test]
async fn a_released_place_is_reused() {
    let server = serve_config(SocketIoConfig::new().max_idle_sessions(2)).await;
    for _ in 0..10 {
        let leaves = Polling::open(server.address).await;
        let joins = Polling::open(server.address).await;
        leaves.say("1").await;
        joins.say("40").await;
        let (first, second) = (Polling::open(server.address).await, Polling::open(server.address).await);
        for stays in [&first, &second] {
            stays.say("6").await;
        }
        first.say("1").await;
        second.say("1").await;
        joins.say("1").await;
        server.is_empty().await;
    }
}

/// A session that joins no namespace is closed at the timeout, not at the next ping.
#[tokio::test]
async fn a_session_without_a_namespace_is_closed_after_the_connect_timeout() {
    let server = serve_config(SocketIoConfig::new().connect_timeout(Duration::from_millis(100))).await;
    let _polling = Polling::open(server.address).await;
    let mut websocket = WebSocket::open(server.address).await;
    websocket.expect_close().await;
    server.is_empty().await;
}

#[tokio::test]
async fn an_address_evicts_only_its_own_sessions() {
    let config = SocketIoConfig::new()
        .client_address(ClientAddress::x_forwarded_for(1))
        .max_idle_sessions_per_address(2)
        .max_sessions_per_address(4);
    let server = serve_config(config).await;
    let mut http = HttpClient::connect(server.address).await;
    let mut open = async |address: &str| {
        let reply = http.send(handshake(&[("x-forwarded-for", &format!("6.6.6.6, {address}"))])).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let sid = json(reply.text())["sid"].as_str().unwrap().to_owned();
        Polling { address: server.address, sid, open: serde_json::Value::Null }
    };
    let other = open("2.2.2.2").await;
    let mut last = open("1.1.1.1").await;
    for _ in 0..20 {
        last = open("1.1.1.1").await;
    }
    until(|| server.io.stats().connections == 3).await;
    for stays in [&other, &last] {
        stays.say("40").await;
    }
    // Addresses within one IPv6 network count as one host.
    for last in 1..20 {
        let _ = open(&format!("[2001:db8::{last}]:4711")).await;
    }
    until(|| server.io.stats().connections == 3 + 2).await;
}

#[tokio::test]
async fn sessions_are_limited_for_each_address() {
    let server = serve_config(SocketIoConfig::new().max_sessions_per_address(2)).await;
    let first = Polling::join(server.address).await;
    let (mut second, _) = WebSocket::join(server.address, "40").await;
    get(server.address, SESSION).await.refused(429, 4, "Too many sessions from this address");
    assert!(WebSocket::raw(server.address, "/socket.io/?EIO=4&transport=websocket", &[]).await.is_err());
    // The session ends even if a task holds its socket.
    let held = server.io.sockets();
    first.say("1").await;
    let _third = retry(async || (get(server.address, SESSION).await.status == 200).then_some(())).await;
    second.is_quiet().await;
    drop(held);
}

fn rooms() -> SocketIoConfig {
    SocketIoConfig::new().namespace("/room/{id}", Namespace::new()).max_dynamic_namespaces(6)
}

#[tokio::test]
async fn a_few_clients_do_not_take_all_dynamic_namespaces() {
    let server = serve_config(SocketIoConfig::new().namespace("/room/{id}", Namespace::new())).await;
    let mut greedy = Vec::new();
    for client in 0..330 {
        let mut websocket = WebSocket::open(server.address).await;
        for number in 0..31 {
            websocket.say(&format!("40/room/{client}-{number}")).await;
        }
        for number in 0..31 {
            let reply = websocket.text().await;
            assert_eq!(reply.starts_with("40"), number < 10, "{reply}");
            if number == 30 {
                assert!(reply.ends_with(r#"{"message":"too many dynamic namespaces on this connection"}"#), "{reply}");
            }
        }
        greedy.push(websocket);
    }
    WebSocket::join(server.address, "40/room/mine").await;
}

#[tokio::test]
async fn a_connection_has_its_share_of_dynamic_namespaces() {
    let is_dynamic = |name: &str| name.starts_with("/asked/");
    let later = move |request: tower_socketio::namespace::NamespaceRequest| async move {
        tokio::task::yield_now().await;
        is_dynamic(request.name())
    };
    let config = rooms()
        .max_dynamic_namespaces_per_connection(2)
        .namespace("/exact", Namespace::new())
        .namespace_async_fn(later, Namespace::new());
    let server = serve_config(config).await;
    let mut client = WebSocket::open(server.address).await;
    client.connect("40/room/1").await;
    client.connect("40/asked/1").await;
    for name in ["/room/2", "/asked/2"] {
        client.say(&format!("40{name}")).await;
        client.expect(&format!(r#"44{name},{{"message":"too many dynamic namespaces on this connection"}}"#)).await;
    }
    // Namespaces that were registered by name do not count, nor do those that the client has left.
    client.connect("40/exact").await;
    client.say("41/asked/1").await;
    client.connect("40/room/2").await;
    assert!(server.io.of("/asked/2").is_none());
}

#[tokio::test]
async fn namespaces_that_are_kept_without_sockets_make_room() {
    let server = serve_config(rooms().cleanup_empty_namespaces(false)).await;
    let mut client = WebSocket::open(server.address).await;
    for number in 0..4 {
        client.connect(&format!("40/room/{number}")).await;
    }
    for number in [2, 1] {
        client.say(&format!("41/room/{number}")).await;
    }
    client.is_quiet().await;
    client.connect("40/room/4").await;
    client.connect("40/room/5").await;
    let exists = |number: u8| server.io.of(&format!("/room/{number}")).is_some();
    assert!((0..6).all(exists));
    // The namespace that has been empty for the longest time is removed first.
    client.connect("40/room/6").await;
    assert!(!exists(2) && exists(1));
    // A namespace that is joined again is no longer empty.
    client.connect("40/room/1").await;
    client.say("40/room/7").await;
    client.expect(r#"44/room/7,{"message":"too many namespaces on this server"}"#).await;
    client.say("41/room/0").await;
    client.connect("40/room/7").await;
    assert!(!exists(0) && exists(1));
}

#[tokio::test]
async fn namespaces_of_clients_that_may_come_back_make_room() {
    let server = serve_config(rooms().recovery(RecoveryConfig::new())).await;
    for number in 0..6 {
        let (client, _) = WebSocket::join(server.address, &format!("40/room/{number}")).await;
        drop(client);
        server.has_sockets(0).await;
    }
    assert_eq!(server.io.namespaces().len(), 1 + 6);
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let (mut client, _) = WebSocket::join(server.address, "40/room/mine").await;
    assert!(server.io.of("/room/0").is_none() && server.io.of("/room/1").is_some());
    client.is_quiet().await;
    // Neither its state nor its timer remains.
    drop(client);
    server.has_sockets(0).await;
    until(|| tokio::runtime::Handle::current().metrics().num_alive_tasks() <= tasks).await;
}

/// Runs the tasks that are ready now. (`tokio::task::yield_now` polls the driver first.)
async fn turn() {
    let mut is_over = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut is_over, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Counts the events that a handler receives, and the most of them between two polls of another task on the same thread. The handler emits a
/// text of `reply` bytes, if that is not 0.
async fn most_between_two_turns(events: usize, reply: usize, flood: impl AsyncFnOnce(SocketAddr)) -> usize {
    let handled = Arc::new(AtomicUsize::new(0));
    let count = handled.clone();
    let namespace = Namespace::new().on("n", move |socket: SocketRef| {
        count.fetch_add(1, Ordering::Relaxed);
        if reply > 0 {
            socket.emit("reply", &"x".repeat(reply)).unwrap();
        }
        async {}
    });
    let server = serve_namespace(namespace.with_state(())).await;
    let observed = handled.clone();
    let observer = tokio::spawn(async move {
        let (mut most, mut last) = (0, 0);
        while last < events {
            turn().await;
            let now = observed.load(Ordering::Relaxed);
            most = most.max(now - last);
            last = now;
        }
        most
    });
    flood(server.address).await;
    soon(observer).await.unwrap()
}

const EVENTS: usize = 10_000;

/// Sends the same message many times, all in one write.
async fn send_at_once(client: &mut WebSocket, message: &str, times: usize) {
    let mut frame = match u8::try_from(message.len()) {
        Ok(length @ 0..126) => vec![0x81, 0x80 | length],
        _ => [&[0x81, 0x80 | 126][..], &(message.len() as u16).to_be_bytes()].concat(),
    };
    // Masked with zeros.
    frame.extend([0; 4]);
    frame.extend(message.as_bytes());
    soon(client.stream.get_mut().write_all(&frame.repeat(times))).await.unwrap();
}

#[tokio::test]
async fn a_flood_of_events_over_websocket_does_not_delay_others() {
    let most = most_between_two_turns(EVENTS, 0, async |address| {
        let (mut client, _) = WebSocket::join(address, "40").await;
        send_at_once(&mut client, r#"42["n"]"#, EVENTS).await;
        client.is_quiet().await;
    });
    let most = most.await;
    assert!(most <= 64, "{most} events in one turn");
}

#[tokio::test]
async fn a_flood_of_large_events_has_a_turn_for_each() {
    let most = most_between_two_turns(100, 0, async |address| {
        let (mut client, _) = WebSocket::join(address, "40").await;
        send_at_once(&mut client, &format!(r#"42["n","{}"]"#, "x".repeat(20_000)), 100).await;
        client.is_quiet().await;
    });
    assert_eq!(most.await, 1);
}

/// A few bytes of a client may ask for much.
#[tokio::test]
async fn events_that_lead_to_much_have_a_turn_for_each() {
    let most = most_between_two_turns(100, 40_000, async |address| {
        let (mut client, _) = WebSocket::join(address, "40").await;
        send_at_once(&mut client, r#"42["n"]"#, 100).await;
        for _ in 0..100 {
            assert!(client.text().await.starts_with(r#"42["reply","x"#));
        }
    });
    assert_eq!(most.await, 1);
}

#[tokio::test]
async fn a_post_of_many_events_does_not_delay_others() {
    let most = most_between_two_turns(EVENTS, 0, async |address| {
        let client = Polling::join(address).await;
        client.say(&vec![r#"42["n"]"#; EVENTS].join("\x1e")).await;
    });
    let most = most.await;
    assert!(most <= 64, "{most} events in one turn");
}
