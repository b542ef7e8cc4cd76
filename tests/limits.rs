//! What a hostile client can send: each test checks the exact response, and that no memory remains in use.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use allocation_counter::measure;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::{Builder, Handle},
    sync::Semaphore,
};
use tokio_tungstenite::tungstenite::Message;
use tower_socketio::{
    Ack, Args, Namespace, SocketIoConfig,
    event::{EventRequest, EventResponse},
    extract::Data,
};

use crate::support::*;

/// The memory that may remain in use after a scene: a table that has grown, for example.
const KEPT: i64 = 16 * 1024;

fn echo() -> Namespace {
    Namespace::new()
        .on("echo", |Data(args): Data<Args>| async move { Ack(args) })
        .on("none", || async { Ack(()) })
        .with_state(())
}

/// Plays a scene on one thread with the server, and checks that the memory in use returns to its initial size.
fn costs_nothing(config: SocketIoConfig, scene: impl AsyncFn(SocketAddr)) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(serve_config(config.namespace("/", echo())));
    let tasks = runtime.block_on(async { Handle::current().metrics().num_alive_tasks() });
    let play = || {
        runtime.block_on(async {
            scene(server.address).await;
            server.is_empty().await;
            until(|| Handle::current().metrics().num_alive_tasks() <= tasks).await;
        });
    };
    // Allocates the tables and buffers that are made only once.
    play();
    play();
    let kept = measure(play).bytes_current;
    assert!(kept < KEPT, "{kept} bytes were kept");
}

/// A message over WebSocket for which the server closes the connection.
fn closes(message: &'static str) {
    costs_nothing(SocketIoConfig::new(), async |address| {
        let (mut client, _) = WebSocket::join(address, "40").await;
        client.say(message).await;
        client.expect_close().await;
        let client = Polling::join(address).await;
        let reply = client.post(message).await;
        if reply.status == 200 {
            client.expect("6\x1e1").await;
        } else {
            reply.refused(400, 3, "Bad request");
        }
        client.is_gone().await;
    });
}

#[test]
fn six_bytes_that_begin_with_a_multi_byte_character() {
    closes("é1234");
}

#[test]
fn a_lone_b() {
    closes("b");
}

#[test]
fn an_upgrade_packet_on_an_established_transport() {
    costs_nothing(SocketIoConfig::new(), async |address| {
        let (mut client, _) = WebSocket::join(address, "40").await;
        client.say("5").await;
        client.is_quiet().await;
        let client = Polling::join(address).await;
        client.say("5").await;
        client.say("1").await;
    });
}

#[test]
fn a_binary_event_without_a_payload() {
    closes("451-");
}

#[test]
fn an_event_with_a_reserved_name() {
    closes(r#"42["connect"]"#);
}

#[test]
fn violations_of_the_packet_format() {
    for message in [
        "4",
        "4 ",
        "47",
        "4abc",
        "42{}",
        "42[]",
        "42[true]",
        "42[\"a\"",
        "42[\"a\"]garbage",
        "42[\"echo\",]",
        "42[\"echo\",1]garbage",
        "42[\"echo\",01]",
        "421e3[\"a\"]",
        "42-1[\"a\"]",
        "42 1[\"a\"]",
        "4299999999999999999999[\"a\"]",
        "43{}",
        "435{}",
        "435[garbage",
        "40[]",
        "40garbage",
        "44{\"message\":\"m\"}",
        "41/admin,{}",
        "45",
        "451",
        "450-[\"a\"]",
        "4511-[\"a\"]",
    ] {
        closes(message);
    }
}

#[test]
fn json_nested_ten_thousand_times() {
    let deep = format!(r#"42["none",{}{}]"#, "[".repeat(10_000), "]".repeat(10_000));
    closes(deep.leak());
}

#[test]
fn json_nested_up_to_the_limit_is_read_and_one_level_more_is_not() {
    let nested = |levels: usize| format!(r#"420["echo",{}{}]"#, "[".repeat(levels), "]".repeat(levels));
    costs_nothing(SocketIoConfig::new(), async |address| {
        let (mut client, _) = WebSocket::join(address, "40").await;
        client.say(&nested(100)).await;
        assert!(client.text().await.starts_with("430[[[["));
        client.say(&nested(101)).await;
        client.expect_close().await;
    });
    let shallow = SocketIoConfig::new().max_json_depth(2);
    costs_nothing(shallow, async |address| {
        let (mut client, _) = WebSocket::join(address, "40").await;
        // The array of the arguments does not count.
        client.say(r#"420["echo",[{"a":2}]]"#).await;
        client.expect(r#"430[[{"a":2}]]"#).await;
        client.say(r#"420["echo",[{"a":[2]}]]"#).await;
        client.expect_close().await;
    });
}

#[test]
fn attachments_out_of_turn_or_beyond_the_limits() {
    for (text, binary, closing) in [
        // Text while an attachment is expected.
        (r#"451-["none",{"_placeholder":true,"num":0}]"#, None, r#"42["none"]"#),
        // Binary while none is expected.
        (r#"42["none"]"#, Some(b"x"), ""),
    ] {
        costs_nothing(SocketIoConfig::new(), async |address| {
            let (mut client, _) = WebSocket::join(address, "40").await;
            client.say(text).await;
            if let Some(binary) = binary {
                client.say_binary(binary).await;
            }
            if !closing.is_empty() {
                client.say(closing).await;
            }
            client.expect_close().await;
        });
    }
    let asking = |attachments| binary_event("echo", attachments).replacen('-', "-0", 1);
    let config = SocketIoConfig::new().max_attachments(2).max_attachment_bytes(10);
    costs_nothing(config, async |address| {
        let (mut client, _) = WebSocket::join(address, "40").await;
        client.say(&asking(2)).await;
        client.say_binary(b"12345").await;
        client.say_binary(b"12345").await;
        client.expect(r#"462-0[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#).await;
        client.expect_binary(b"12345").await;
        client.expect_binary(b"12345").await;
        client.say(&asking(2)).await;
        client.say_binary(b"12345").await;
        client.say_binary(b"123456").await;
        client.expect_close().await;
        let (mut client, _) = WebSocket::join(address, "40").await;
        client.say(&asking(3)).await;
        client.expect_close().await;
    });
}

#[test]
fn attachments_that_never_come() {
    costs_nothing(SocketIoConfig::new(), async |address| {
        let (mut client, _) = WebSocket::join(address, "40").await;
        client.say(&binary_event("echo", 10)).await;
        for _ in 0..9 {
            client.say_binary(&vec![0; 500_000]).await;
        }
        // Packets of the engine may arrive in between.
        client.say("3").await;
        client.say_binary(b"").await;
        client.say("40/quiet?").await;
        client.expect(r#"44/quiet?,{"message":"Invalid namespace"}"#).await;
        client.say(&binary_event("echo", 10)).await;
        client.say_binary(&vec![0; 1_000_000]).await;
        client.try_send(Message::Close(None)).await;
    });
}

#[test]
fn a_payload_one_byte_over_the_limit() {
    costs_nothing(SocketIoConfig::new(), async |address| {
        let body = format!("42[\"none\",\"{}\"]", "x".repeat(1_000_001 - 13));
        let client = Polling::join(address).await;
        client.post(body.clone()).await.refused(413, 3, "The payload exceeds max_payload");
        client.say("1").await;
        let (mut client, _) = WebSocket::join(address, "40").await;
        client.try_send(Message::text(body)).await;
        assert_eq!(client.frame().await, Frame::Close(Some(1009)));
    });
}

#[test]
fn two_gets_at_once() {
    costs_nothing(SocketIoConfig::new(), async |address| {
        let client = Polling::join(address).await;
        // The poll that arrives second is refused, and the first one receives the close packet.
        let (a, b) = tokio::join!(client.poll(), client.poll());
        let (told, refused) = if a.status == 200 { (a, b) } else { (b, a) };
        told.is(200, "1");
        refused.refused(400, 3, "Bad request");
        client.is_gone().await;
    });
}

#[test]
fn two_posts_at_once() {
    costs_nothing(SocketIoConfig::new(), async |address| {
        let client = Polling::join(address).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        let head = format!("POST {} HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\n42", client.target());
        first.write_all(head.as_bytes()).await.unwrap();
        retry(async || (client.post("6").await.status == 400).then_some(())).await;
        let mut answer = [0; 12];
        soon(first.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 400");
        client.is_gone().await;
    });
}

#[test]
fn ten_thousand_connects_to_invented_namespaces() {
    costs_nothing(SocketIoConfig::new(), async |address| {
        let mut client = WebSocket::open(address).await;
        for number in 0..10_000 {
            client.say(&format!("40/invented-{number}")).await;
            client.expect(&format!(r#"44/invented-{number},{{"message":"Invalid namespace"}}"#)).await;
        }
    });
}

#[test]
fn namespaces_beyond_the_limits_of_connection_server_and_name() {
    let config = || SocketIoConfig::new().max_namespace_length(20).namespace("/room/{id}", Namespace::new());
    costs_nothing(config().max_namespaces(2), async |address| {
        let mut client = WebSocket::open(address).await;
        client.connect("40/room/1").await;
        client.connect("40/room/2").await;
        client.say("40/room/3").await;
        client.expect(r#"44/room/3,{"message":"too many namespaces on this connection"}"#).await;
        client.say("41/room/1").await;
        client.connect("40/room/3").await;
        client.say("40/room/a-very-long-name").await;
        client.expect(r#"44/room/a-very-long-name,{"message":"the namespace name is too long"}"#).await;
    });
    costs_nothing(config().max_dynamic_namespaces(1), async |address| {
        let mut client = WebSocket::open(address).await;
        client.connect("40/room/1").await;
        client.say("40/room/2").await;
        client.expect(r#"44/room/2,{"message":"too many namespaces on this server"}"#).await;
        client.say("41/room/1").await;
        client.connect("40/room/2").await;
    });
}

#[test]
fn a_probe_that_is_abandoned() {
    let config = SocketIoConfig::new().upgrade_timeout(PATIENCE).ping_interval(100 * PATIENCE);
    costs_nothing(config, async |address| {
        let client = Polling::join(address).await;
        let target = format!("/socket.io/?EIO=4&transport=websocket&sid={}", client.sid);
        let mut websocket = WebSocket::raw(address, &target, &[]).await.unwrap();
        websocket.say("2probe").await;
        websocket.expect("3probe").await;
        skip(PATIENCE).await;
        websocket.expect_close().await;
        client.say(r#"420["echo",1]"#).await;
        client.expect("430[1]").await;
        client.say("1").await;
    });
}

#[test]
fn sessions_that_are_opened_and_left_alone() {
    let config = SocketIoConfig::new().connect_timeout(Duration::from_millis(50));
    costs_nothing(config, async |address| {
        for _ in 0..20 {
            Polling::open(address).await;
            drop(WebSocket::open(address).await);
        }
    });
}

/// The text of an event with attachments, masked with zeros.
fn binary_event(name: &str, attachments: usize) -> String {
    let places: Vec<_> = (0..attachments).map(|n| format!(r#",{{"_placeholder":true,"num":{n}}}"#)).collect();
    format!(r#"45{attachments}-["{name}"{}]"#, places.concat())
}

#[test]
fn attachments_for_a_namespace_that_is_not_joined() {
    costs_nothing(SocketIoConfig::new(), async |address| {
        let mut client = WebSocket::open(address).await;
        client.say(&binary_event("echo", 10)).await;
        client.expect_close().await;
        let (mut client, _) = WebSocket::join(address, "40").await;
        client.say(r#"4610-/other,1[]"#).await;
        client.expect_close().await;
        let client = Polling::open(address).await;
        client.post(binary_event("echo", 10)).await;
        assert!(["1", "6\x1e1"].contains(&client.poll().await.text()));
    });
}

/// Frames, attachments and bodies that make no progress time out, over each transport.
#[test]
fn incomplete_messages_time_out() {
    let config = || SocketIoConfig::new().receive_timeout(Duration::from_millis(100));
    costs_nothing(config(), async |address| {
        let (mut client, _) = WebSocket::join(address, "40").await;
        client.say(&binary_event("none", 2)).await;
        client.say_binary(b"the first").await;
        client.expect_close().await;
        // Half a frame.
        let (mut client, _) = WebSocket::join(address, "40").await;
        client.stream.get_mut().write_all(&[0x81, 0xfe, 0, 200, 0, 0, 0, 0, b'4', b'2']).await.unwrap();
        client.expect_close().await;
        // A fragment.
        let (mut client, _) = WebSocket::join(address, "40").await;
        client.stream.get_mut().write_all(&[0x01, 0x82, 0, 0, 0, 0, b'4', b'2']).await.unwrap();
        client.expect_close().await;
    });
    costs_nothing(config(), async |address| {
        let client = Polling::join(address).await;
        client.say(&binary_event("none", 2)).await;
        assert_eq!(client.poll().await.text(), "1");
        client.is_gone().await;
        let client = Polling::join(address).await;
        let mut post = TcpStream::connect(address).await.unwrap();
        let head = format!("POST {} HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\n42", client.target());
        post.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        soon(post.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 400");
        client.is_gone().await;
    });
    // The timeout applies neither to messages that arrive in time nor to running handlers.
    let gate = Arc::new(Semaphore::new(0));
    let waits = gate.clone();
    let namespace = Namespace::new().on("wait", async move || waits.acquire().await.unwrap().forget());
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = SocketIoConfig::new().receive_timeout(PATIENCE).ping_interval(100 * PATIENCE);
        let config = config.max_concurrent_events(1).namespace("/", namespace.with_state(()));
        let server = serve_config(config).await;
        let (mut client, _) = WebSocket::join(server.address, "40").await;
        for _ in 0..3 {
            client.say(&binary_event("wait", 2)).await;
            client.say_binary(&vec![0; 100_000]).await;
            client.say_binary(b"").await;
        }
        client.say(r#"42["wait"]"#).await;
        skip(3 * PATIENCE).await;
        gate.add_permits(4);
        client.is_quiet().await;
    });
}

/// Connections that each hold an incomplete message are closed. The one whose message is oldest is closed first.
#[test]
fn parts_of_messages_are_bounded_over_all_connections() {
    let config = SocketIoConfig::new().max_payload(100_000).memory_budget(0);
    costs_nothing(config, async |address| {
        let mut clients = Vec::new();
        for _ in 0..10 {
            let (mut client, _) = WebSocket::join(address, "40").await;
            let mut part = vec![0x82, 0xff, 0, 0, 0, 0, 0, 1, 0x80, 0, 0, 0, 0, 0];
            part.resize(80_000, 0);
            client.stream.get_mut().write_all(&part).await.unwrap();
            clients.push(client);
        }
        // Five of these parts exceed four times `max_payload`.
        for client in &mut clients[..5] {
            client.expect_close().await;
        }
        for client in &mut clients[5..] {
            client.stream.get_mut().write_all(&vec![0; 98_304 + 14 - 80_000]).await.unwrap();
            // The completed frame is binary, while none is expected.
            client.expect_close().await;
        }
    });
}

#[tokio::test]
async fn events_under_way_are_bounded_in_bytes_for_each_connection_and_for_the_server() {
    let gate = Arc::new(Semaphore::new(0));
    let running = Arc::new(AtomicUsize::new(0));
    let (waits, runs) = (gate.clone(), running.clone());
    let namespace = || {
        let (waits, runs) = (waits.clone(), runs.clone());
        Namespace::new()
            .on("wait", async move |_: Data<Args>| {
                runs.fetch_add(1, Ordering::SeqCst);
                waits.acquire().await.unwrap().forget();
                runs.fetch_sub(1, Ordering::SeqCst);
            })
            .with_state(())
    };
    // Small events, over one connection.
    let server = serve_config(SocketIoConfig::new().max_event_bytes(10_000).namespace("/", namespace())).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    for _ in 0..20 {
        client.say(r#"42["wait",1]"#).await;
    }
    until(|| running.load(Ordering::SeqCst) == 10).await;
    // A map with many entries takes more memory than its text.
    gate.add_permits(20);
    client.is_quiet().await;
    until(|| running.load(Ordering::SeqCst) == 0).await;
    let (a, b) = (r#"{"":0},"#.repeat(1000), r#"42["wait",1]"#);
    client.say(&format!(r#"42["wait",[{a}0]]"#)).await;
    client.say(b).await;
    until(|| running.load(Ordering::SeqCst) == 1).await;
    assert_eq!(server.io.sockets()[0].running_events(), 1);
    gate.add_permits(2);
    client.is_quiet().await;
    // Large events, over several connections. The budget is four times `max_payload`.
    let config = SocketIoConfig::new().max_payload(100_000).memory_budget(0).namespace("/", namespace());
    let server = serve_config(config).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let (mut client, _) = WebSocket::join(server.address, "40").await;
        client.say(&format!(r#"42["wait","{}"]"#, "x".repeat(90_000))).await;
        clients.push(client);
    }
    until(|| running.load(Ordering::SeqCst) == 4).await;
    // Events that wait for the budget do not delay small ones.
    let (mut small, _) = WebSocket::join(server.address, "40").await;
    small.say(r#"42["wait",1]"#).await;
    until(|| running.load(Ordering::SeqCst) == 5).await;
    gate.add_permits(9);
    for client in &mut clients {
        client.is_quiet().await;
    }
    until(|| running.load(Ordering::SeqCst) == 0).await;
}

/// A larger `max_payload` also raises the limit on attachments.
#[tokio::test]
async fn a_larger_payload_is_allowed_as_an_attachment_too() {
    let server = serve_config(SocketIoConfig::new().max_payload(30_000_000).namespace("/", echo())).await;
    let (mut client, _) = WebSocket::join(server.address, "40").await;
    client.say(r#"451-0["echo",{"_placeholder":true,"num":0}]"#).await;
    client.say_binary(&vec![7; 20_000_000]).await;
    client.expect(r#"461-0[{"_placeholder":true,"num":0}]"#).await;
    client.expect_binary(&vec![7; 20_000_000]).await;
}

/// Returns how many bytes a scene leaves in use, on one thread with the server. The value that it returns is kept
/// meanwhile.
fn kept_by<T>(config: SocketIoConfig, scene: &impl AsyncFn(&TestServer) -> T) -> i64 {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    // Inside a router, which adds the original target to each request.
    let app = axum::Router::new().route("/page", axum::routing::get(|| async {}));
    let server = runtime.block_on(serve_app(app, config));
    // Allocates the tables and buffers that are made only once.
    runtime.block_on(async {
        Polling::join(server.address).await.say("1").await;
        drop(WebSocket::join(server.address, "40").await);
        server.is_empty().await;
    });
    let mut kept = None;
    let bytes = measure(|| kept = Some(runtime.block_on(scene(&server)))).bytes_current;
    drop(kept);
    bytes
}

/// Opens WebSockets whose clients read and write raw bytes, and take no memory themselves.
async fn raw_websockets(address: SocketAddr, count: usize, target: &str, headers: &str) -> Vec<TcpStream> {
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "GET {target} HTTP/1.1\r\nhost: h\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 1024];
        let mut read = 0;
        // The response ends with the handshake of the session.
        while !answer[..read].ends_with(b"}") {
            read += soon(stream.read(&mut answer[read..])).await.unwrap();
        }
        // "40", masked with zeros. The response to it ends with a brace as well.
        stream.write_all(b"\x81\x82\x00\x00\x00\x0040").await.unwrap();
        let mut read = 0;
        while !answer[..read].ends_with(b"}") {
            read += soon(stream.read(&mut answer[read..])).await.unwrap();
        }
        clients.push(stream);
    }
    clients
}

const RAW_TARGET: &str = "/socket.io/?EIO=4&transport=websocket";

/// The HTTP server's read buffer has at least 8 KiB. With axum's default features, no part of it is kept.
#[test]
fn an_idle_connection_does_not_keep_the_http_read_buffer() {
    const CLIENTS: usize = 50;
    let kept = kept_by(SocketIoConfig::new(), &async |server: &TestServer| {
        raw_websockets(server.address, CLIENTS, RAW_TARGET, "").await
    });
    let each = kept / CLIENTS as i64;
    assert!(each < 4_000, "{each} bytes for each connection");
}

#[test]
fn a_connection_keeps_no_more_of_a_large_head_than_its_text() {
    const CLIENTS: usize = 20;
    let headers = format!("x-large: {}\r\n", "x".repeat(14_000));
    let kept = kept_by(SocketIoConfig::new(), &async |server: &TestServer| {
        raw_websockets(server.address, CLIENTS, RAW_TARGET, &headers).await
    });
    let each = kept / CLIENTS as i64;
    assert!(each < 14_000 + 4_000, "{each} bytes for each connection");
}

/// Keeps all events, in their original form.
fn keeper() -> Namespace {
    let keep = tower::service_fn(|event: EventRequest| async move {
        std::future::pending::<()>().await;
        drop(event);
        Ok::<_, std::convert::Infallible>(EventResponse::none())
    });
    Namespace::new().event_layer(tower::layer::layer_fn(move |_| keep))
}

/// A pending event does not keep other packets of the same POST alive.
#[test]
fn a_pending_event_does_not_keep_its_post() {
    for (query, separator) in [("EIO=4", "\u{1e}"), ("EIO=3&b64=1", "")] {
        let config = SocketIoConfig::new().allow_eio3(true).max_concurrent_events(1_000).namespace("/", keeper());
        let kept = kept_by(config, &async |server: &TestServer| {
            let address = server.address;
            let target = format!("/socket.io/?{query}&transport=polling");
            let open = get(address, &target).await;
            let target = format!("{target}&sid={}", json(open.text())["sid"].as_str().unwrap());
            let framed = |packet: &str| match separator {
                "" => format!("{}:{packet}", packet.len()),
                _ => packet.to_owned(),
            };
            if query == "EIO=4" {
                post(address, &target, "40").await.is(200, "ok");
            }
            for _ in 0..15 {
                // Events with and without binary, and a large packet that is ignored.
                let binary = framed(r#"451-["wait",{"_placeholder":true,"num":0}]"#);
                let attachment = match separator {
                    "" => framed("b4AQIDBA=="),
                    _ => "bAQIDBA==".to_owned(),
                };
                let noise = framed(&format!("6{}", "x".repeat(500_000)));
                let event = framed(r#"42["wait"]"#);
                let packets = [&*event, &binary, &attachment, &noise];
                post(address, &target, packets.join(separator)).await.is(200, "ok");
            }
        });
        // 7.5 MB were sent. A part of the last POST is still in flight.
        assert!(kept < 2_000_000, "{query}: {kept} bytes for 30 events");
    }
}

/// An event that arrived alone does not keep the buffer into which HTTP has read it.
#[test]
fn a_pending_event_does_not_keep_the_read_buffer() {
    const EVENTS: i64 = 150;
    let config = SocketIoConfig::new().max_concurrent_events(1_000).namespace("/", keeper());
    let kept = kept_by(config, &async |server: &TestServer| {
        let client = Polling::join(server.address).await;
        for _ in 0..EVENTS {
            client.say(r#"42["wait"]"#).await;
        }
    });
    // The buffer has at least 8 KiB.
    assert!(kept < EVENTS * 4_000, "{kept} bytes");
}

#[test]
fn auth_payloads_are_not_kept_past_their_limit() {
    let names: Vec<String> = (0..20).map(|number| format!("/n/{number}")).collect();
    let config = names.iter().fold(SocketIoConfig::new(), |config, name| config.namespace(name, Namespace::new()));
    let kept = kept_by(config, &async |server: &TestServer| {
        let mut client = Memory::open(&server.io);
        assert!(client.text().await.starts_with("0{"));
        let auth = format!(r#"{{"a":"{}"}}"#, "x".repeat(60_000));
        for (number, name) in names.iter().enumerate() {
            client.say(&format!("40{name},{auth}"));
            let reply = client.text().await;
            assert_eq!(reply.starts_with("40"), number == 0, "{reply}");
        }
        client
    });
    assert!(kept < 200_000, "{kept} bytes");
}

#[test]
fn answers_that_are_remembered_are_bounded_by_their_bytes() {
    let layer = tower_socketio::middleware::DeduplicateLayer::by_argument(0).max_bytes(100_000);
    let namespace = Namespace::new()
        .on("large", |Data((key, bytes)): Data<(String, usize)>| async move { Ack((key, "x".repeat(bytes))) })
        .event_layer(layer);
    let kept = kept_by(SocketIoConfig::new().namespace("/", namespace), &async |server: &TestServer| {
        let mut client = Memory::join(&server.io).await;
        for (number, bytes) in (0..100).map(|number| (number, 30_000)).chain([(100, 500_000)]) {
            client.say(&format!(r#"420["large","key {number}",{bytes}]"#));
            assert!(client.text().await.starts_with(&format!(r#"430["key {number}","#)));
        }
        client
    });
    assert!(kept < 250_000, "{kept} bytes");
}
